"""From the record to dispatches: equal nodes become one, views become accesses, elementwise nodes become few kernels.

Layer: tensor. The elements of a ``LoweredNode`` are ``access`` in the buffer of its ``base``. Nodes that run are MAP
and KERNEL nodes, and views that something needs packed (``dense``). Fusion is in ``fusion``. Invariant: what is fused,
and in which order groups run, cannot be seen in the bits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from loom.core.late import late
from loom.ir.kernel import Access
from loom.kernels.maps.nest import Apply, Coordinate, Folded, Load, LoopNest, Store, number
from loom.schedules.axis import rows_along
from loom.tensor.fusing.copies import Copies, take_over
from loom.tensor.fusing.fusion import Group, LoweredNode, Stores, fuse
from loom.tensor.ops.elementwise import COORDINATE, NUMBER
from loom.tensor.ops.joining import CONCAT, places
from loom.tensor.ops.parts import JOIN, PART, as_pairs, part_places
from loom.tensor.ops.reductions import EXTREME, SUM
from loom.tensor.ops.views import DETACH, ROUTE
from loom.tensor.record.draft import BufferView, Draft, DraftBuffer
from loom.tensor.record.graph import Node, NodeKind, TensorOp, ancestors, make
from loom.tensor.record.layout import StridedLayout, row_major

if TYPE_CHECKING:
    from loom.schedules import rows as rows_of_folds
else:
    rows_of_folds = late("loom.schedules", "rows")

__all__ = ["COPY", "SEEN_THROUGH", "follow", "follow_unless", "is_known", "lower"]

COPY = TensorOp("copy", NodeKind.MAP, operation="")
"""Puts its input where an end is to be."""
PARTLY = TensorOp("copy", NodeKind.MAP, operation="")
"""Puts its input where a part of a complex tensor is to be; equal ones are one."""
_ALIASES = (DETACH, ROUTE)
SEEN_THROUGH = frozenset((*_ALIASES, PART))
"""Views of which not all inputs make the elements, or others than they name."""
_MOST_COPIES = 3
"""Places to which an element is written besides its own; each is a buffer of the kernel."""


def lower(
    draft: Draft,
    outputs: Sequence[tuple[Node, DraftBuffer]],
    updates: Sequence[tuple[Node, Node]],
    source: Callable[[Node], DraftBuffer],
    is_there: Callable[[Node], bool] | None = None,
) -> None:
    """Record everything that ``outputs`` and ``updates`` (parameter, new value) need.

    ``source`` gives the buffer of a node whose elements are there, as ``is_there`` tells (None: those that are known).
    """
    lowering = _Lowering(draft, source, is_there or is_known)
    try:
        lowering.run(outputs, updates)
    finally:
        for item in lowering.items:
            item.let_go()


def is_known(node: Node) -> bool:
    """Tell whether a node's elements are in memory."""
    return node.op.kind is NodeKind.SOURCE or node.data is not None


def follow(node: Node) -> Sequence[Node]:
    """Return the inputs that a node's elements are made of, while they are not known."""
    if node.data is not None:
        return ()
    return _behind(node, is_known) if node.op in SEEN_THROUGH else node.inputs


def follow_unless(is_there: Callable[[Node], bool]) -> Callable[[Node], Sequence[Node]]:
    """Return the same for another idea of which nodes' elements are there."""
    return lambda node: () if is_there(node) else _behind(node, is_there)


def _behind(node: Node, is_there: Callable[[Node], bool]) -> Sequence[Node]:
    """Return what the elements of a node are made of; of a part of what is joined, that part."""
    if node.op in _ALIASES:
        return node.inputs[-1:]
    if node.op is not PART:
        return node.inputs
    whole = node.inputs[0]
    while whole.op in _ALIASES and not is_there(whole):
        whole = whole.inputs[-1]
    return whole.inputs[node.attributes[0] :][:1] if whole.op is JOIN and not is_there(whole) else node.inputs


class _Lowering:
    def __init__(self, draft: Draft, source: Callable[[Node], DraftBuffer], is_there: Callable[[Node], bool]) -> None:
        self.draft = draft
        self.source = source
        self.is_there = is_there
        self.follow = follow_unless(is_there)
        self.items: list[LoweredNode] = []
        self.of: dict[int, LoweredNode] = {}
        self.known: dict[Any, LoweredNode] = {}
        self.kept: list[Node] = []
        self.copies = Copies()

    def run(self, outputs: Sequence[tuple[Node, DraftBuffer]], updates: Sequence[tuple[Node, Node]]) -> None:
        keep = self.add_ends(outputs, updates)
        for item in list(self.items):
            self.require_packed(item)
        take_over(self.items)
        for item in self.items:
            self.gather(item)
            item.folds = self.folds_rows(item)
        for group in _in_order(fuse([i for i in self.items if i.runs])):
            self.emit(group)
        del keep

    # items

    def add_ends(self, outputs: Sequence[tuple[Node, DraftBuffer]], updates: Sequence[tuple[Node, Node]]) -> list[Node]:
        copies: list[Node] = []
        for node in ancestors([node for node, _ in outputs] + [value for _, value in updates], self.follow):
            self.add(node)
        for node, buffer in outputs:
            item = self.of[id(node)]
            if item.node.op.kind is NodeKind.VIEW and not item.is_source and _is_whole(item):
                item = item.base
            if not (item.node.op.kind in (NodeKind.MAP, NodeKind.KERNEL) and item.buffer is None):
                copies.append(self.copy(node))
                item = self.add(copies[-1])
            item.buffer = buffer
        updated = {id(self.add(parameter)) for parameter, _ in updates}
        values = [value for _, value in updates]
        for n, value in enumerate(values):
            base = self.of[id(value)].base
            if id(base) in updated and base is not self.add(updates[n][0]):  # to be read before anything is written
                values[n] = self.copy(value)
                copies.append(values[n])
                self.add(values[n])
        for (parameter, _), value in zip(updates, values, strict=True):
            copies.append(self.copy(value))
            item = self.add(copies[-1])
            item.buffer, item.updates = self.source(parameter), self.add(parameter)
        return copies

    def copy(self, node: Node) -> Node:
        """Return a copy of a node, of a complex one as pairs."""
        if node.dtype.is_complex and node.op is not COPY:
            node = as_pairs(node)
            self.add(node)
        return make(COPY, [node], node.shape, node.dtype)

    def add(self, node: Node) -> LoweredNode:
        """Return the item of a node, the one of an equal node if there is one."""
        found = self.of.get(id(node))
        if found is not None:
            return found
        inputs = [self.of[id(i)] for i in self.follow(node)]
        if node.op is PART and inputs and not inputs[0].node.dtype.is_complex:  # of what was joined: no item of its own
            self.of[id(node)] = inputs[0]
            return inputs[0]
        if node.op is JOIN and inputs:
            inputs = [self.as_part(i) for i in inputs]
        key: Any = id(node)
        if not self.is_there(node) and node.op is not COPY:
            key = (id(node.op), tuple(i.index for i in inputs), node.shape, node.dtype, node.attributes)
        item = self.known.get(key)
        if item is None:
            item = LoweredNode(len(self.items), node, inputs)
            self.known[key] = item
            self.items.append(item)
            self.settle(item)
        self.of[id(node)] = item
        return item

    def as_part(self, part: LoweredNode) -> LoweredNode:
        """Return what makes a part of a complex tensor element by element: itself, or a copy, which joins a kernel."""
        if part.node.op.kind in (NodeKind.MAP, NodeKind.KERNEL) and not part.is_source:
            return part
        copied = make(PARTLY, [part.node], part.node.shape, part.node.dtype)
        self.kept.append(copied)
        return self.add(copied)

    def settle(self, item: LoweredNode) -> None:
        """Find where the elements of an item are."""
        node = item.node
        if self.is_there(node):
            item.buffer, item.is_source = self.source(node), True
        if item.is_source or node.op.kind is not NodeKind.VIEW:
            return
        parent = item.inputs[0]
        assert node.op.view is not None
        access = node.op.view(node, parent.access)
        base = parent.base
        is_number = base.node.op is COORDINATE and not base.is_source
        if access is None or (is_number and access != row_major(base.node.shape)):
            self.make_dense(parent)
            base, access = parent, node.op.view(node, row_major(parent.node.shape))
            assert access is not None, "packed elements can be seen in any way"
        item.base, item.access, item.after = base, access, parent.after
        if len(item.inputs) > 1:  # a barrier
            item.after = (*parent.after, item.inputs[1])

    def make_dense(self, item: LoweredNode) -> None:
        """Let an item have a packed buffer of its own."""
        item.dense = item.dense or item.node.op.kind in (NodeKind.VIEW, NodeKind.NUMBER)

    def require_packed(self, item: LoweredNode) -> None:
        """See that the operands of an item's kernels can be read where they are."""
        op = item.node.op
        if item.is_source:
            return
        if item.updates is not None:
            operand = item.inputs[0]
            if operand.base is item.updates and operand.access != row_major(item.node.shape):
                self.make_dense(operand)
                item.reads_dense = True
        if op.kind is NodeKind.KERNEL:
            for operand in item.inputs:
                fits = operand.access.is_packed if op.accepts is None else op.accepts(operand.access)
                if operand.base.is_number or not fits:
                    self.give_copy(operand, op)

    def give_copy(self, operand: LoweredNode, op: TensorOp) -> None:
        """Let a kernel read a packed copy of a view: one that there is, or one of its own."""
        from loom.schedules.matmul import reads_both_ways  # what copies nothing multiplies nothing

        turned = reads_both_ways(self.draft.device.caps)
        if not self.copies.reads_earlier(operand, op.accepts, turned=turned):
            self.copies.note(operand)
            self.make_dense(operand)

    def gather(self, item: LoweredNode) -> None:
        """Let what is joined be written in its place by the kernels that make it, element by element."""
        op = item.node.op
        if op not in (CONCAT, JOIN) or item.is_source:
            return
        joined = part_places(item.node) if op is JOIN else places(item.node)
        makers: list[LoweredNode] = []
        for n, (part, place) in enumerate(zip(item.inputs, joined, strict=True)):
            maker = part.base
            is_whole = part.access.is_packed and part.node.size == maker.node.size and not part.after
            access = place.reshape(maker.node.shape) if is_whole else None
            is_made = maker.node.op.kind is NodeKind.MAP and not maker.is_source and maker.runs
            if access is not None and is_made and len(maker.copies) < _MOST_COPIES:
                maker.copies.append((item, access))
                item.gathered.add(n)
                makers.append(maker)
        if op is JOIN and len(makers) == 2 and makers[0] is not makers[1]:
            first, last = sorted(makers, key=lambda m: m.index)
            last.partners.append(first)

    def folds_rows(self, item: LoweredNode) -> bool:
        """Tell whether an item is a fold of rows that may be in one kernel with others."""
        op = item.node.op
        if item.is_source or op not in (SUM, *EXTREME.values()):
            return False
        (first, last, folding), shape = item.node.attributes, item.inputs[0].node.shape
        is_last = (first, last) == (len(shape) - 1, len(shape))
        if self.draft.is_passing or not is_last:  # a kernel knows its shape
            return False
        return rows_of_folds.takes_rows(self.draft.device.caps, rows_along(shape, first, last), folding)

    # dispatches

    def buffer_of(self, item: LoweredNode) -> DraftBuffer:
        if item.buffer is None:
            item.buffer = DraftBuffer(item.node.nbytes)
        return item.buffer

    def emit(self, group: Group) -> None:
        first = group.members[0]
        if first.node.op.kind is NodeKind.KERNEL and not first.is_source and len(group.members) == 1:
            node = first.node
            assert node.op.record is not None
            operands = [
                None if n in first.gathered else self.operand(i, node.op) for n, i in enumerate(first.inputs)
            ]  # fmt: skip
            node.op.record(node, self.draft, operands, self.buffer_of(first))
            return
        for part in group.parts():
            if group.rows is None:
                nest, buffers = _Nest(self, part, part[0][0].node.shape).finish()
                self.draft.strided(nest, buffers)
            else:
                nest, buffers = _Nest(self, part, group.rows).finish()
                self.draft.rows(nest, buffers)

    def operand(self, item: LoweredNode, op: TensorOp) -> BufferView:
        """Return the buffer that a kernel reads, and how."""
        fits = item.access.is_packed if op.accepts is None else op.accepts(item.access)
        if item.base.is_number or not fits:
            return BufferView(self.buffer_of(item), row_major(item.node.shape))
        return BufferView(self.buffer_of(item.base), item.access)


def _is_whole(item: LoweredNode) -> bool:
    """Tell whether an item has the very elements that its base is to have, in their order."""
    base = item.base
    is_made = base.node.op.kind in (NodeKind.MAP, NodeKind.KERNEL) and base.buffer is None and not base.is_source
    is_same = item.node.dtype == base.node.dtype and item.node.size == base.node.size
    return is_made and not item.after and item.access.is_packed and is_same


class _Nest:
    """The loop nest of a group's members, of one shape, or of rows of one."""

    def __init__(self, lowering: _Lowering, part: tuple[list[LoweredNode], Stores], shape: tuple[int, ...]) -> None:
        self.members, self.stored = part
        self.lowering = lowering
        self.shape = shape
        self.values: list[Any] = []
        self.places: dict[Any, int] = {}
        self.buffers: dict[DraftBuffer, list[Any]] = {}
        self.inside = {id(m): -1 for m in self.members}

    def finish(self) -> tuple[LoopNest, list[DraftBuffer]]:
        stores: list[Store] = []
        for member in self.members:
            self.inside[id(member)] = self.compute(member)
        for member, is_kept in self.stored.items():
            for item, access in [(member, row_major(member.node.shape))] * is_kept + member.copies:
                access = self.in_shape(access)
                slot = self.slot(self.lowering.buffer_of(item), item, writes=True)
                stores.append(Store(self.inside[id(member)], slot, access.offset, access.strides))
        buffers = tuple((dtype, _use(reads, writes)) for dtype, reads, writes in self.buffers.values())
        return LoopNest(self.shape, tuple(self.values), tuple(stores), buffers), list(self.buffers)

    def compute(self, item: LoweredNode) -> int:
        node = item.node
        if item.folds:
            base, access, _ = item.reads()[0]  # a packed copy, not what that is of: it may be updated, or never made
            return self.append(Folded(node.attributes[2].name, self.read(base, access), node.dtype))
        if item.makes is not None:
            return self.apply(item.base.node, item.makes)
        if node.op.kind is not NodeKind.MAP or item.is_source:  # a packed copy of a view, or of a number
            return self.read(item.base, item.access)
        return self.apply(node, [item.read(o) for o in item.inputs])

    def apply(self, node: Node, reads: Sequence[tuple[LoweredNode, StridedLayout]]) -> int:
        """Return what an operation makes of what is read."""
        operands = tuple(self.read(*each) for each in reads)
        if node.op in (COPY, PARTLY):
            return operands[0]
        operation: Any = node.op.operation  # a function in a field is no method
        return self.append(Apply(operation, operands, node.dtype))

    def read(self, base: LoweredNode, access: Any) -> int:
        inside = self.inside.get(id(base), -1)
        if inside >= 0:
            return inside
        if base.is_number and not base.is_source:
            if base.node.op is NUMBER:
                return self.append(base.node.attributes[0])
            if access == row_major(base.node.shape):
                axis = base.node.attributes[0]
                is_only = access.shape != self.shape and access.shape[axis] == 1  # of a row: the nest's axis is longer
                return self.append(number(0, base.node.dtype) if is_only else Coordinate(axis, base.node.dtype))
        slot, access = self.slot(self.lowering.buffer_of(base), base, writes=False), self.in_shape(access)
        return self.append(Load(slot, access.offset, access.strides))

    def in_shape(self, access: StridedLayout) -> StridedLayout:
        """Return an access in the nest's shape: of what there is one of for each row, without steps along the row."""
        if access.shape == self.shape:
            return access
        return StridedLayout(self.shape, (*access.strides[: len(self.shape) - 1], 0), access.offset)

    def append(self, value: Any) -> int:
        if value not in self.places:
            self.places[value] = len(self.values)
            self.values.append(value)
        return self.places[value]

    def slot(self, buffer: DraftBuffer, item: LoweredNode, *, writes: bool) -> int:
        entry = self.buffers.setdefault(buffer, [item.node.dtype.part, False, False])
        entry[2 if writes else 1] = True
        return list(self.buffers).index(buffer)


def _use(reads: bool, writes: bool) -> Access:
    return Access.READ_WRITE if reads and writes else Access.WRITE if writes else Access.READ


def _in_order(groups: Sequence[Group]) -> list[Group]:
    """Return groups after those they need, otherwise in the order of the record."""
    numbers = {group: n for n, group in enumerate(groups)}
    waiting = {group: len(group.needs) for group in groups}
    users: dict[Group, list[Group]] = {}
    for group in groups:
        for need in group.needs:
            users.setdefault(need, []).append(group)
    ready = [(g.first, n) for g, n in numbers.items() if not g.needs]
    heapq.heapify(ready)
    found: list[Group] = []
    while ready:
        group = groups[heapq.heappop(ready)[1]]
        found.append(group)
        for user in users.get(group, ()):
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (user.first, numbers[user]))
    assert len(found) == len(groups), "groups need one another in a circle"
    return found
