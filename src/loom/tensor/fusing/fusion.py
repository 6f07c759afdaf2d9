"""Which elementwise nodes run in one kernel.

Layer: tensor. Items are taken in the order of the record; one joins the groups that make its operands, of the same
shape and read at the same index, unless that would make a circle of groups that need one another, or too large a
kernel. Where folds of rows are fused, a group is of rows of one shape: it has elements, folds of these along the last
axis, and what is made of folds, one for each row, which elements may be made of in turn.
Invariant: groups never need one another in a circle.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence

from loom.tensor.record.draft import DraftBuffer
from loom.tensor.record.graph import Node, NodeKind
from loom.tensor.record.layout import StridedLayout, row_major

__all__ = ["Group", "LoweredNode", "Stores", "fuse"]

_MOST_BUFFERS = 8
"""As many as every GPU can bind."""
_MOST_MEMBERS = 64
_MOST_LOOKED_AT = 128
"""Groups that are looked at to find a circle, so that the time is linear in the length of a record."""


class Meeting(enum.Enum):
    """How an item reads another, as far as they may be in one kernel."""

    APART = "not so"
    SAME = "the element of the same index"
    ROW = "the one element of the row, or of an index that counts rows in another shape"


class LoweredNode:
    """A node as it is lowered; see ``lowering``. ``updates``: the parameter whose place it takes.

    ``after``: items that must be there before its elements are used. ``reads_dense``: its operand is read packed.
    ``copies``: where else its elements are written as they are made, as (item, access in it), and ``gathered``: which
    inputs come to this item in that way. ``partners``: items that are best made in one kernel with this, as they are
    the other parts of complex numbers. ``folds``: it is a fold of rows that may be in one kernel with others.
    ``makes``: of a copy that is made in place of its base, what that is made of, as (item, access); it ``is_taken``.
    """

    __slots__ = (
        "_reads", "access", "after", "base", "buffer", "copies", "dense", "folds", "gathered", "group", "index",
        "inputs", "is_source", "is_taken", "makes", "node", "partners", "reads_dense", "updates",
    )  # fmt: skip

    def __init__(self, index: int, node: Node, inputs: Sequence[LoweredNode]) -> None:
        self.index = index
        self.node = node
        self.inputs = tuple(inputs)
        self.base = self
        self.access: StridedLayout = row_major(node.shape)
        self.after: tuple[LoweredNode, ...] = ()
        self.buffer: DraftBuffer | None = None
        self.updates: LoweredNode | None = None
        self.copies: list[tuple[LoweredNode, StridedLayout]] = []
        self.gathered: set[int] = set()
        self.partners: list[LoweredNode] = []
        self.dense = self.is_source = self.reads_dense = self.folds = self.is_taken = False
        self.makes: list[tuple[LoweredNode, StridedLayout]] | None = None
        self.group: Group | None = None
        self._reads: list[tuple[LoweredNode, StridedLayout, Meeting]] | None = None

    def let_go(self) -> None:
        """Forget everything: items refer to each other in circles, which would keep the elements of sources."""
        del self.node, self.inputs, self.base, self.after, self.buffer, self.updates, self.copies, self.group
        del self.partners, self.makes
        self._reads = None

    @property
    def is_number(self) -> bool:
        """True for a number or coordinate."""
        return self.node.op.kind is NodeKind.NUMBER and not self.is_source

    @property
    def runs(self) -> bool:
        """True if it takes a kernel, its own or a share of one."""
        if self.is_source or self.node.size == 0 or self.is_taken:
            return False
        return self.dense or self.node.op.kind in (NodeKind.MAP, NodeKind.KERNEL)

    @property
    def is_map(self) -> bool:
        """True if it is made element by element."""
        return self.node.op.kind is not NodeKind.KERNEL

    def read(self, operand: LoweredNode) -> tuple[LoweredNode, StridedLayout]:
        """Return the item whose elements are read for an operand, and where they are in it."""
        if self.reads_dense:
            return operand, row_major(operand.node.shape)
        return operand.base, operand.access

    @property
    def is_fused(self) -> bool:
        """True if it may be in one kernel with others."""
        return self.is_map or self.folds

    @property
    def fits_rows(self) -> bool:
        """True if it may be in one kernel with folds of rows."""
        is_named = isinstance(self.node.op.operation, str)  # functions may have arrays, zero for each element
        return is_named and self.updates is None and not self.copies and not self.partners

    def reads(self) -> list[tuple[LoweredNode, StridedLayout, Meeting]]:
        """Return what it reads as (item that runs or is a source, access, how).

        To be asked for once it is settled what is dense and what is gathered.
        """
        if self._reads is None:
            self._reads = self._found_reads()
        return self._reads

    def bases(self) -> Iterable[LoweredNode]:
        """Return the items that it reads, as far as that is settled."""
        return [base for base, _, _ in self._found()]

    def _found_reads(self) -> list[tuple[LoweredNode, StridedLayout, Meeting]]:
        near = self.is_fused
        return [(b, a, _meeting(b, a) if near and not after else Meeting.APART) for b, a, after in self._found()]

    def _found(self) -> list[tuple[LoweredNode, StridedLayout, tuple[LoweredNode, ...]]]:
        """Return what it reads as (item, access, what must be there before)."""
        if self.makes is not None:
            return [(base, access, ()) for base, access in self.makes]
        if self.node.op.kind in (NodeKind.VIEW, NodeKind.NUMBER):  # dense
            return [(self.base, self.access, self.after)] if self.base is not self else []
        if self.is_map:
            return [(*self.read(o), o.after) for o in self.inputs]
        pairs: list[tuple[LoweredNode, StridedLayout, tuple[LoweredNode, ...]]] = []
        accepts = self.node.op.accepts
        for o in (o for n, o in enumerate(self.inputs) if n not in self.gathered):
            fits = o.access.is_packed if accepts is None else accepts(o.access)
            dense = o.base.is_number or not fits
            pairs.append((o, row_major(o.node.shape), o.after) if dense else (o.base, o.access, o.after))
        return pairs

    def waits_for(self) -> Iterable[LoweredNode]:
        """Return items that must have run before, though they are not read."""
        inputs = [self] if self.node.op.kind is NodeKind.VIEW else self.inputs
        return [late.base for o in inputs for late in o.after] + [self.inputs[n].base for n in self.gathered]


def _meeting(base: LoweredNode, access: StridedLayout) -> Meeting:
    """Return how an access reads an item."""
    if access == row_major(base.node.shape):
        return Meeting.SAME
    if access.offset or not access.shape:
        return Meeting.APART
    if access.is_packed and math.prod(access.shape) == base.node.size:
        return Meeting.ROW
    rows = StridedLayout(access.shape[:-1], access.strides[:-1])
    is_row = access.strides[-1] == 0 and rows.is_packed and math.prod(rows.shape) == base.node.size
    return Meeting.ROW if is_row else Meeting.APART


Stores = dict[LoweredNode, bool]
"""Items whose elements a kernel writes; True: to a buffer of their own, not only to the places of ``copies``."""


class Group:
    """Items that run in one kernel.

    ``needs``: groups that run before it, ``apart``: those of them never in one, ``users``: those that need it. A
    group's ``rank`` is above the ranks of those it needs. ``rows``: the shape of what a group folds rows of.
    """

    __slots__ = ("apart", "first", "last", "members", "needs", "rank", "rows", "shape", "stored", "users")

    def __init__(self, item: LoweredNode) -> None:
        self.members = [item]
        self.shape = item.node.shape
        self.rows: tuple[int, ...] | None = _fold_shape(item)
        self.needs: set[Group] = set()
        self.apart: set[Group] = set()
        self.users: set[Group] = set()
        self.rank = 0
        self.first = self.last = item.index
        self.stored: Stores = {}

    def parts(self) -> list[tuple[list[LoweredNode], Stores]]:
        """Return its kernels as (members, what they store): several if one had too many buffers."""
        if len(self.stored) == 1 or len(_buffers(self.members, self.stored)) <= _MOST_BUFFERS:
            return [(self.members, self.stored)]
        found: list[tuple[list[LoweredNode], Stores]] = []
        done: list[LoweredNode] = []  # by earlier kernels, into buffers of their own
        for item in _safe_order(self):
            stored = {item: self.stored[item]}
            if found:
                both = found[-1][1] | stored
                members = _inner_ancestors(both, self.members, done)
                if len(_buffers(members, both)) <= _MOST_BUFFERS:
                    found[-1] = members, both
                    continue
                done += [m for m, is_kept in found[-1][1].items() if is_kept]
            found.append((_inner_ancestors(stored, self.members, done), stored))
        return found


def _safe_order(group: Group) -> list[LoweredNode]:
    """Return what a group stores, parameters after all that read their old values."""
    found = [m for m in group.stored if m.updates is None]
    left = [m for m in group.stored if m.updates is not None]
    while left:
        kept = [m for m in found if group.stored[m]]
        others = {m: {id(b) for i in _inner_ancestors([m], group.members, kept) for b, _, _ in i.reads()} for m in left}
        free = next((m for m in left if not any(id(m.updates) in others[o] for o in left if o is not m)), None)
        assert free is not None, "two parameters are made of each other in one kernel"
        left.remove(free)
        found.append(free)
    return found


def _inner_ancestors(
    items: Iterable[LoweredNode], members: Sequence[LoweredNode], done: Sequence[LoweredNode]
) -> list[LoweredNode]:
    """Return the members that ``items`` are made of, themselves included, as far as those stored before."""
    inside, known = {id(m) for m in members}, {id(m) for m in done}
    found: dict[int, LoweredNode] = {}
    waiting = list(items)
    while waiting:
        here = waiting.pop()
        found[id(here)] = here
        waiting += [b for b, _, _ in here.reads() if id(b) in inside and id(b) not in known and id(b) not in found]
    return sorted(found.values(), key=lambda m: m.index)


def _buffers(members: Sequence[LoweredNode], stored: Stores) -> set[int]:
    """Return what stands for the buffers of a kernel."""
    inside = {id(m) for m in members}
    read = [b for m in members for b, _, _ in m.reads() if id(b) not in inside and not (b.is_number and not b.dense)]
    written = [m.updates or m for m, is_kept in stored.items() if is_kept] + [c for m in stored for c, _ in m.copies]
    return {id(b) for b in (*read, *written)}


def _fold_shape(item: LoweredNode) -> tuple[int, ...] | None:
    """Return the shape of what an item folds, None of what folds nothing."""
    return item.inputs[0].node.shape if item.folds else None


def _rows_of(item: LoweredNode, groups: Sequence[Group]) -> tuple[bool, tuple[int, ...] | None]:
    """Return whether shapes let an item and groups be one, and the shape of rows that these then fold."""
    shapes = {_fold_shape(item), *(g.rows for g in groups)} - {None}
    if not shapes:
        return all(g.shape == item.node.shape for g in groups), None
    rows = shapes.pop()
    if shapes or rows is None:
        return False, None
    members = [item, *(m for g in groups if g.rows is None for m in g.members)]
    allowed = (rows, rows[:-1], (*rows[:-1], 1))
    return all(m.fits_rows and (m.folds or m.node.shape in allowed) for m in members), rows


def fuse(items: Sequence[LoweredNode]) -> list[Group]:
    """Return the groups of items that run, in the order of the record."""
    return _Fusion(items).groups()


class _Fusion:
    def __init__(self, items: Sequence[LoweredNode]) -> None:
        self.items = items
        self.all: dict[Group, None] = {}
        self.ranks = 0
        self.readers: dict[int, list[LoweredNode]] = {}

    def groups(self) -> list[Group]:
        for item in self.items:
            self.place(item)
            for base, _, _ in item.reads():
                self.readers.setdefault(id(base), []).append(item)
        for group in self.all:
            group.members.sort(key=lambda m: m.index)
            group.stored = self.choose_stored(group.members)
        return list(self.all)

    def choose_stored(self, members: Sequence[LoweredNode]) -> Stores:
        """Return members whose elements are results, read by others or gathered, as far as is known."""
        inside = {id(m) for m in members}
        kept = [
            m.buffer is not None or any(id(r) not in inside for r in self.readers.get(id(m), ())) for m in members
        ]  # fmt: skip
        return {m: is_kept for m, is_kept in zip(members, kept, strict=True) if is_kept or m.copies}

    def place(self, item: LoweredNode) -> None:
        """Put an item in a group."""
        needed: dict[Group, None] = {}
        hard: set[Group] = set()
        wanted: set[Group] = set()
        for base, _, how in item.reads():
            group = base.group
            if group is None:
                continue
            needed[group] = None
            is_near = how is Meeting.SAME or (how is Meeting.ROW and group.rows is not None)
            (wanted if is_near and base.is_fused else hard).add(group)
        for late in item.waits_for():
            if late.group is not None:
                needed[late.group] = None
                hard.add(late.group)
        for reader in [] if item.updates is None else self.readers.get(id(item.updates), []):
            assert reader.group is not None
            needed[reader.group] = None
            if not all(how is Meeting.SAME for b, _, how in reader.reads() if b is item.updates):
                hard.add(reader.group)
        for partner in item.partners:
            if partner.group is not None:
                wanted.add(partner.group)
        self.join(item, needed, wanted - hard, hard)

    def join(self, item: LoweredNode, needed: dict[Group, None], wanted: set[Group], apart: set[Group]) -> None:
        """Make one group of the item and as many of those wanted as can be."""
        chosen: list[Group] = []
        for group in sorted(wanted, key=lambda g: -g.last):
            trial = [*chosen, group]
            if (
                _rows_of(item, trial)[0]
                and self.fits(item, trial)
                and not _circular(needed, trial)
                and _users_of(trial) is not None
            ):
                chosen = trial
        above = _users_of(chosen)
        assert above is not None
        target = Group(item)
        target.rows = _rows_of(item, chosen)[1]
        target.apart |= apart
        target.needs |= set(needed)
        for group in chosen:
            target.members += group.members
            target.first, target.last = min(target.first, group.first), max(target.last, group.last)
            target.needs |= group.needs
            target.apart |= group.apart
            target.users |= group.users
            del self.all[group]
        inside = set(chosen)
        target.needs -= inside
        target.users -= inside
        for member in target.members:
            member.group = target
        for user in target.users:
            user.needs = (user.needs - inside) | {target}
            if not user.apart.isdisjoint(inside):
                user.apart = (user.apart - inside) | {target}
        for need in target.needs:
            need.users -= inside
            need.users.add(target)
        for group in (target, *sorted(above, key=lambda g: g.rank)):
            self.ranks += 1
            group.rank = self.ranks
        self.all[target] = None

    def fits(self, item: LoweredNode, chosen: Sequence[Group]) -> bool:
        """Tell whether one kernel can be bound to all the buffers."""
        members = [item, *(m for g in chosen for m in g.members)]
        return len(members) <= _MOST_MEMBERS and len(_buffers(members, self.choose_stored(members))) <= _MOST_BUFFERS


def _circular(needed: Iterable[Group], chosen: Sequence[Group]) -> bool:
    """Tell whether one of the groups, or something that they together would need, must run after another of them.

    What would take long to tell counts as if it did: then they are not made one, which is always right.
    """
    inside = set(chosen)
    if any(not g.apart.isdisjoint(inside) for g in chosen):
        return True
    lowest = min(g.rank for g in chosen)
    waiting = [g for g in needed if g not in inside] + [n for g in chosen for n in g.needs if n not in inside]
    seen: set[Group] = set()
    while waiting:
        group = waiting.pop()
        if group in inside:
            return True
        if group in seen or group.rank < lowest:  # those have a higher rank than all they need
            continue
        if len(seen) == _MOST_LOOKED_AT:
            return True
        seen.add(group)
        waiting += group.needs
    return False


def _users_of(groups: Sequence[Group]) -> set[Group] | None:
    """Return all other groups that run after one of these because they need it; None if they are very many."""
    inside = set(groups)
    found: set[Group] = set()
    waiting = [u for g in groups for u in g.users if u not in inside]
    while waiting:
        group = waiting.pop()
        if group in found:
            continue
        if len(found) == _MOST_LOOKED_AT:
            return None
        found.add(group)
        waiting += [u for u in group.users if u not in inside]
    return found
