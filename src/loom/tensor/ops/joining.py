"""Copies of tensors into larger ones: padding, concatenation, stacking; and the slices that undo them.

Layer: tensor. Invariant: every element of a result is written by one copy, or by the fill before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import items
from loom.core.late import late
from loom.core.promotion import promote
from loom.ir.kernel import Access
from loom.kernels.maps.nest import Load, LoopNest, Number, Store
from loom.tensor.ops.elementwise import as_number, cast, split_number
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.views import expand_dims, normal_axis, take_slices
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, as_shape, make, require_tensor
from loom.tensor.record.layout import StridedLayout, row_major

if TYPE_CHECKING:
    from loom.core import numbers
else:
    numbers = late("loom.core", "numbers")

__all__ = ["CONCAT", "PLACE", "concat", "copy_into", "fill", "pad", "place", "places", "split", "stack"]


def copy_into(draft: Draft, source: BufferView, out: Any, whole: tuple[int, ...], starts: Any, steps: Any,
              dtype: Any) -> None:  # fmt: skip
    """Record a copy to every ``steps``-th place from ``starts`` on of ``out``, of shape ``whole``."""
    _copy(draft, source, out, row_major(whole).slice(starts, steps, source.access.shape), dtype)


def _copy(draft: Draft, source: BufferView, out: Any, place: StridedLayout, dtype: Any) -> None:
    values = (Load(0, source.access.offset, source.access.strides),)
    stores = (Store(0, 1, place.offset, place.strides),)
    _dispatch(
        draft,
        LoopNest(source.access.shape, values, stores, ((dtype, Access.READ), (dtype, Access.WRITE))),
        [source.buffer, out],
    )


def _dispatch(draft: Draft, nest: LoopNest, buffers: Sequence[Any]) -> None:
    if math.prod(nest.shape):
        draft.strided(nest, buffers)


def fill(draft: Draft, out: Any, size: int, value: Number) -> None:
    """Record that all elements of ``out`` become a number."""
    own = replace(value)  # a number node's object stands for what a kept program is given anew (see ``eager``)
    nest = LoopNest((size,), (own,), (Store(0, 0, 0, (1,)),), ((value.dtype, Access.WRITE),))
    _dispatch(draft, nest, [out])


def _record_place(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    starts, steps, value = node.attributes
    fill(draft, out, node.size, value)
    copy_into(draft, operands[0], out, node.shape, starts, steps, node.dtype)


PLACE = TensorOp("place", NodeKind.KERNEL, record=_record_place, accepts=lambda _: True)
"""Its input at every ``steps``-th place from ``starts`` on, a number elsewhere."""


def place(x: NodeT, shape: Sequence[int], starts: Sequence[int], steps: Sequence[int], value: float = 0) -> NodeT:
    """Return ``shape`` elements of ``value`` but for ``x`` at every ``steps``-th place from ``starts`` on.

    ShapeError if a place of ``x`` is outside, DTypeError for a value that the dtype of ``x`` lacks.

    Args:
        x: Tensor to place.
        shape: Lengths of the result.
        starts: First index along each axis.
        steps: Steps along each axis.
        value: Number everywhere else.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor; not one for each.
        DTypeError: A number does not fit the dtype.
        ShapeError: The elements do not fit; not a shape; too many elements.
    """
    require_tensor(x, "place")
    wanted = as_shape(shape, "place")
    given = items(starts, "place, starts", "whole numbers"), items(steps, "place, steps", "whole numbers")
    starts, steps = (tuple(numbers.whole(n, "place") for n in each) for each in given)
    axes = zip(starts, steps, x.shape, wanted, strict=False)
    if {len(wanted), len(starts), len(steps)} != {x.ndim} or not all(
        first >= 0 and step >= 1 and (n == 0 or first + (n - 1) * step < size) for first, step, n, size in axes
    ):
        raise ShapeError("place", "the elements do not fit", expected=f"places of {x.shape} in {wanted}",
                         got=f"every {steps} from {starts} on", remedy="Match starts, steps and shape")  # fmt: skip
    if x.dtype.is_complex:
        halves = zip((0, 1), split_number(value, "place"), strict=True)
        return join(*(place(part_of(x, k), wanted, starts, steps, half) for k, half in halves))
    return make(PLACE, [x], wanted, x.dtype, (starts, steps, as_number(value, x.dtype, "place")))


def pad(x: NodeT, widths: Sequence[tuple[int, int]], value: float = 0) -> NodeT:
    """Return the tensor with ``widths[a] = (before, after)`` elements of ``value`` around it along axis a.

    Args:
        x: Tensor of any shape.
        widths: Pairs of how many before and after, one for each axis.
        value: Number that is put in, or a tensor of one element.

    Raises:
        ArgumentError: Unusable widths; an operand is no tensor.
        DTypeError: A number does not fit the dtype.
    """
    require_tensor(x, "pad")
    try:
        pairs = [(numbers.whole(a, "pad"), numbers.whole(b, "pad")) for a, b in widths]
    except (TypeError, ValueError):
        pairs = [(-1, -1)]
    if len(pairs) != x.ndim or any(a < 0 or b < 0 for a, b in pairs):
        raise ArgumentError("pad", "unusable widths", expected=f"{x.ndim} pairs of at least 0", got=widths,
                            remedy="Give (before, after) for each axis")  # fmt: skip
    if not any(a or b for a, b in pairs):
        return x
    if not x.dtype.is_complex:
        as_number(value, x.dtype, "pad")
    shape = tuple(a + n + b for (a, b), n in zip(pairs, x.shape, strict=True))
    return place(x, shape, [a for a, _ in pairs], [1] * x.ndim, value)


def places(node: Node) -> list[StridedLayout]:
    """Return where in a concatenation each of its inputs comes to be."""
    axis, at = node.attributes[0], 0
    found: list[StridedLayout] = []
    for part in node.inputs:
        starts = [at if a == axis else 0 for a in range(node.ndim)]
        found.append(row_major(node.shape).slice(starts, [1] * node.ndim, part.shape))
        at += part.shape[axis]
    return found


def _record_concat(node: Node, draft: Draft, operands: Sequence[BufferView | None], out: Any) -> None:
    for operand, place in zip(operands, places(node), strict=True):
        if operand is not None:  # else whatever makes it puts it there
            _copy(draft, operand, out, place, node.dtype)


CONCAT = TensorOp("concat", NodeKind.KERNEL, record=_record_concat, accepts=lambda _: True, by_parts=True)


def concat(tensors: Sequence[NodeT], axis: int = 0) -> NodeT:
    """Return tensors joined along an existing axis, in the dtype in which theirs meet."""
    tensors = items(tensors, "concat", "tensors")
    for x in tensors:
        require_tensor(x, "concat")
    if not tensors:
        raise ArgumentError("concat", "no tensors", expected="at least 1", got=0, remedy="Pass some")
    first = tensors[0]
    at = normal_axis(first, axis, "concat")
    for x in tensors:
        if x.ndim != first.ndim or any(
            a != at and n != m for a, (n, m) in enumerate(zip(x.shape, first.shape, strict=True))
        ):
            raise ShapeError(
                "concat",
                "the shapes do not fit",
                expected=f"{first.shape} but for axis {at}",
                got=x.shape,
                remedy="Reshape or pad",
            )
    dtype = promote("concat", [x.dtype for x in tensors])
    tensors = [cast(x, dtype) for x in tensors]
    if len(tensors) == 1:
        return tensors[0]
    shape = (*first.shape[:at], sum(x.shape[at] for x in tensors), *first.shape[at + 1 :])
    return make(CONCAT, tensors, shape, dtype, (at,))


def stack(tensors: Sequence[NodeT], axis: int = 0) -> NodeT:
    """Return tensors of one shape joined along a new axis, in the dtype in which theirs meet.

    Args:
        tensors: Tensors of one shape; they meet in one dtype.
        axis: Place of the new axis.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number; no tensors; not one for each.
        ShapeError: The shapes differ.
        IndexOutside: There is no such place.
    """
    tensors = items(tensors, "stack", "tensors")
    for x in tensors:
        require_tensor(x, "stack")
    if len({x.shape for x in tensors}) > 1:
        raise ShapeError("stack", "the shapes differ", expected=tensors[0].shape, got=[x.shape for x in tensors],
                         remedy="Use concat")  # fmt: skip
    return concat([expand_dims(x, axis) for x in tensors], axis)


_MOST_EMPTY = 1 << 16  # parts of an axis of no elements


def split(x: NodeT, parts: int | Sequence[int], axis: int = 0) -> list[NodeT]:
    """Return the tensor in ``parts`` equal parts, or parts of these lengths, along an axis.

    Args:
        x: Tensor of any shape.
        parts: Number of equal parts, or their lengths.
        axis: Axis, negative ones counted from the end.

    Raises:
        ArgumentError: An operand is no tensor; not one for each.
        DTypeError: An axis is no integer.
        ShapeError: The parts do not fill the axis.
        IndexOutside: There is no such axis.
    """
    at = normal_axis(x, axis, "split")
    n = x.shape[at]
    if isinstance(parts, Iterable) and not (isinstance(parts, np.ndarray) and not parts.ndim):
        sizes = [numbers.whole(size, "split, parts", least=0) for size in items(parts, "split, parts", "lengths")]
    else:
        count = numbers.whole(parts, "split, parts", least=1, most=max(n, _MOST_EMPTY))
        sizes = [] if n % count else [n // count] * count
    if sum(sizes) != n:
        raise ShapeError("split", "the parts do not fill the axis", expected=f"{n} in all", got=parts,
                         remedy="Match the length")  # fmt: skip
    found: list[NodeT] = []
    start = 0
    for size in sizes:
        starts = [start if a == at else 0 for a in range(x.ndim)]
        found.append(take_slices(x, starts, [1] * x.ndim, (*x.shape[:at], size, *x.shape[at + 1 :])))
        start += size
    return found
