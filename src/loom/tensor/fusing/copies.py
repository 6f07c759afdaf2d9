"""Packed copies of views that kernels need: which are made once for several, and which are made in place of their base.

Layer: tensor. Invariant: what a kernel reads are the elements that it would read of a copy of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from loom.tensor.fusing.fusion import LoweredNode
from loom.tensor.ops.elementwise import NUMBER
from loom.tensor.record.graph import NodeKind
from loom.tensor.record.layout import StridedLayout, row_major

__all__ = ["Copies", "take_over"]


class Copies:
    """Copies that kernels were given so far, by what they are copies of."""

    def __init__(self) -> None:
        self._of: dict[tuple[int, StridedLayout], LoweredNode] = {}

    def reads_earlier(
        self, view: LoweredNode, accepts: Callable[[StridedLayout], bool] | None, *, turned: bool
    ) -> bool:
        """Let a view be one of an earlier copy, if a kernel accepts that.

        ``turned``: also of one with its last two axes exchanged.
        """
        axes = tuple(range(len(view.access.shape)))
        orders = [axes, (*axes[:-2], axes[-1], axes[-2])] if turned and len(axes) > 1 else [axes]
        for order in orders:
            found = self._of.get((id(view.base), view.access.permute(order)))
            if found is None or found.index >= view.index or view.after or view.dense:
                continue
            access = row_major(found.node.shape).permute(order)
            if access.is_packed if accepts is None else accepts(access):
                view.base, view.access = found, access
                return True
        return False

    def note(self, view: LoweredNode) -> None:
        """Take note of a copy."""
        if view.node.op.kind is NodeKind.VIEW and not view.after and not view.base.is_number:
            self._of.setdefault((id(view.base), view.access), view)


def take_over(items: Sequence[LoweredNode]) -> None:
    """Let copies of what is made element by element, and read by nobody else, be made in its place."""
    copies = [i for i in items if i.dense and i.runs and i.node.op.kind is NodeKind.VIEW and _is_alone(i)]
    if not copies:
        return
    readers = Counter(id(base) for item in items if item.runs for base in item.bases())
    for copy in copies:
        maker = copy.base
        if readers[id(maker)] != 1:
            continue
        accesses = [through(o.access, copy.access) for o in maker.inputs]
        found = [a for a in accesses if a is not None]
        if len(found) == len(accesses):
            copy.makes, maker.is_taken = list(zip((o.base for o in maker.inputs), found, strict=True)), True


def _is_alone(copy: LoweredNode) -> bool:
    """Tell whether what a copy is of is made of nothing that it could be in one kernel with, and is no result."""
    maker = copy.base
    is_map = maker.node.op.kind is NodeKind.MAP and maker.runs and not maker.reads_dense
    is_end = copy.after or maker.buffer is not None or maker.updates is not None or maker.partners
    known = (o.base.node.op is NUMBER or o.base.is_source or not o.base.is_map for o in maker.inputs)
    return is_map and not is_end and all(known) and not any(o.after for o in maker.inputs)


def through(access: StridedLayout, view: StridedLayout) -> StridedLayout | None:
    """Return the access that a view of packed elements makes of that of one of their operands.

    None unless the view has each element once, and the operand's steps can be told in its shape.
    """
    axes = sorted((a for a, n in enumerate(view.shape) if n != 1), key=lambda a: -view.strides[a])
    sizes = tuple(view.shape[a] for a in axes)
    if view.offset or tuple(view.strides[a] for a in axes) != row_major(sizes).strides:
        return None
    if math.prod(sizes) != math.prod(access.shape):
        return None
    parted = access.reshape(sizes)
    if parted is None:
        return None
    strides = [0] * len(view.shape)
    for axis, stride in zip(axes, parted.strides, strict=True):
        strides[axis] = stride
    return StridedLayout(view.shape, tuple(strides), parted.offset)
