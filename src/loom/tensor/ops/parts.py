"""Complex tensors and their parts: in memory each number is two floats, re before im, and no kernel knows more.

Layer: tensor. A part is a view of a complex tensor; joining two parts writes both into one buffer, in the kernels that
make them. The part of what was joined is the part it was joined of: between two operations nothing lies in memory.
Operations that move elements (views, concatenation, rows by index) do so part by part. Invariant: only the operations
of this file, and those that say ``takes_complex``, have complex operands or results when a record is lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from loom.core.dtype import DType, complex_of
from loom.core.errors import DTypeError
from loom.core.given import is_list
from loom.ir.kernel import Access
from loom.kernels.maps.nest import Load, LoopNest, Store
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, lift_with, make
from loom.tensor.record.layout import StridedLayout, row_major

__all__ = ["JOIN", "PAIRS", "PART", "as_pairs", "by_parts", "join", "part_of", "part_places"]


def _part_access(node: Node, access: StridedLayout) -> StridedLayout:
    return StridedLayout(access.shape, tuple(2 * s for s in access.strides), 2 * access.offset + node.attributes[0])


PART = TensorOp("part", NodeKind.VIEW, view=_part_access, takes_complex=True)
"""The real parts (0) or imaginary parts (1) of its input."""

PAIRS = TensorOp(
    "pairs", NodeKind.VIEW, takes_complex=True,
    view=lambda _node, a: StridedLayout((*a.shape, 2), (*(2 * s for s in a.strides), 1), 2 * a.offset),
)  # fmt: skip
"""Its input's numbers as rows (re, im), along a new last axis."""


def part_places(node: Node) -> list[StridedLayout]:
    """Return where the two inputs of a joining come to be, counted in floats."""
    strides = tuple(2 * s for s in row_major(node.shape).strides)
    return [StridedLayout(node.shape, strides, k) for k in (0, 1)]


def _record_join(node: Node, draft: Draft, operands: Sequence[BufferView | None], out: Any) -> None:
    dtype = node.dtype.part
    for operand, place in zip(operands, part_places(node), strict=True):
        if operand is not None and node.size:  # else whatever makes it puts it there
            loads = (Load(0, operand.access.offset, operand.access.strides),)
            stores = (Store(0, 1, place.offset, place.strides),)
            buffers = ((dtype, Access.READ), (dtype, Access.WRITE))
            draft.strided(LoopNest(node.shape, loads, stores, buffers), [operand.buffer, out])


JOIN = TensorOp("complex", NodeKind.KERNEL, record=_record_join, accepts=lambda _: True, takes_complex=True)
"""Two real tensors of one shape as the parts of a complex one."""


def part_of(z: NodeT, which: int) -> NodeT:
    """Return the real (0) or imaginary (1) parts of a complex tensor."""
    return make(PART, [z], z.shape, z.dtype.part, (which,))


def join(re: NodeT, im: NodeT) -> NodeT:
    """Return the complex tensor of two real ones of one shape and dtype, f32 or f64."""
    return make(JOIN, [re, im], re.shape, complex_of(re.dtype))


def as_pairs(z: NodeT) -> NodeT:
    """Return a complex tensor's numbers as rows (re, im), along a new last axis."""
    return make(PAIRS, [z], (*z.shape, 2), z.dtype.part)


def _lift(
    op: TensorOp, inputs: Sequence[NodeT], shape: tuple[int, ...], dtype: DType, attributes: tuple[Any, ...]
) -> NodeT:
    """Return what an operation that moves elements makes of complex inputs; DTypeError for other operations."""
    if not (op.kind is NodeKind.VIEW or op.by_parts) or not dtype.is_complex:
        given = next(x.dtype for x in inputs if x.dtype.is_complex)
        raise DTypeError(op.name, "complex numbers", expected="real numbers", got=given,
                         remedy="Pass tensor.real(x), tensor.imag(x) or abs(x)")  # fmt: skip
    halves = [
        make(op, [part_of(x, k) if x.dtype.is_complex else x for x in inputs], shape, dtype.part, attributes)
        for k in (0, 1)
    ]
    return join(*halves)


lift_with(_lift)


def by_parts(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function that is linear in its first operand, a tensor, take a complex one: part by part.

    ``fn`` then sees real tensors alone. What it returns, a tensor or a list of them, is joined.
    """

    @wraps(fn)
    def lift(x: Any, *args: Any, **options: Any) -> Any:
        if not (isinstance(x, Node) and x.dtype.is_complex):
            return fn(x, *args, **options)
        re, im = (fn(part_of(x, k), *args, **options) for k in (0, 1))
        if is_list(re):
            return [join(a, b) for a, b in zip(re, im, strict=True)]
        return join(re, im)

    return lift
