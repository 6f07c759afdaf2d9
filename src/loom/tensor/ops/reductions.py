"""Reductions along axes: sums, products, means, extremes and where they are.

Layer: tensor. Axes side by side are folded as one; axes apart one run after the other, the last run first
(docs/numerics.md, section 2); a template's fold is one node, which has the axes in place of a run. Invariant: the order
of a sum depends on the shape and axes alone (``kernels.fold.tiles``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from loom.core.dtype import DType, i64, u32
from loom.core.errors import EmptyError
from loom.core.given import flag
from loom.core.numbers import is_symbolic
from loom.kernels.maps.nest import number
from loom.kernels.types import extreme_type, kinds, read_type, wide_type
from loom.schedules.axis import rows_along
from loom.schedules.fold import Folding, record_fold
from loom.tensor.ops.elementwise import apply, cast
from loom.tensor.ops.joining import fill
from loom.tensor.ops.parts import by_parts, part_of
from loom.tensor.ops.views import normal_axes, normal_axis, with_shape
from loom.tensor.record.composite import Composite
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make, require_tensor

__all__ = [
    "EXTREME", "PRODUCT", "SUM", "argmax", "argmin", "find_extreme", "max_of", "mean_of", "min_of", "product_of",
    "shape_without", "sum_of", "variance_of",
]  # fmt: skip


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    first, last, folding = node.attributes
    shape = rows_along(node.inputs[0].shape, first, last)
    if shape.n == 0:
        fill(draft, out, node.size, number(int(node.op is PRODUCT), folding.result))
    elif shape.results:
        record_fold(draft, operands[0].buffer, shape, folding, out)


SUM = TensorOp("sum", NodeKind.KERNEL, record=_record)
PRODUCT = TensorOp("prod", NodeKind.KERNEL, record=_record)
EXTREME = {name: TensorOp(name, NodeKind.KERNEL, record=_record) for name in ("max", "min")}


def _fold(x: NodeT, op: TensorOp, axis: Any, keepdims: bool, folding: Folding) -> NodeT:
    """Return the fold of ``x`` along axes, run by run of axes side by side."""
    axes = normal_axes(x, axis, op.name)
    if is_symbolic(x.shape):
        return _fold_at_once(x, op, axes, keepdims, folding)
    steps, result, kept = _steps(op, x.shape, x.dtype, axes, folding)
    found = x
    for shape, dtype, attributes in steps:
        found = make(op, [found], shape, dtype, attributes)
    if not steps and not (x.dtype.is_bool and op in EXTREME.values()):  # every axis has length 1
        found = cast(x, folding.result)
        if op is SUM and found.dtype.is_float:
            found = apply("add", found, 0.0)  # a sum begins at +0, of one element as well
    return with_shape(found, kept if keepdims is not False and flag(keepdims, f"{op.name}, keepdims") else result)


def _fold_at_once(x: NodeT, op: TensorOp, axes: tuple[int, ...], keepdims: bool, folding: Folding) -> NodeT:
    """Return the fold of a template, of which sizes decide later which axes are folded as one."""
    kept = shape_without(x.shape, axes, True)
    found = make(op, [x], kept, folding.result, (axes, folding))
    return with_shape(found, kept if keepdims else shape_without(x.shape, axes, False))


@lru_cache(maxsize=4096)
def _steps(
    op: TensorOp, sizes: tuple[int, ...], element: DType, axes: tuple[int, ...], folding: Folding
) -> tuple[list[tuple[tuple[int, ...], DType, tuple[Any, ...]]], tuple[int, ...], tuple[int, ...]]:
    """Return shape, dtype and attributes of each fold, the shape of the result, and that with the axes kept."""
    wide, is_extreme = folding.accumulator, op in EXTREME.values()
    runs, shape = _runs(axes, sizes), sizes
    steps: list[tuple[tuple[int, ...], DType, tuple[Any, ...]]] = []
    for first, last in reversed(runs):
        shape = (*shape[:first], *(1,) * (last - first), *shape[last:])
        given = folding if (first, last) == runs[0] else Folding(folding.name, folding.element, wide, wide)
        steps.append((shape, element if element.is_bool and is_extreme else given.result, (first, last, given)))
        folding = Folding(folding.name, given.result, wide, folding.result)
    return steps, shape_without(sizes, axes, False), shape_without(sizes, axes, True)


def _runs(axes: Sequence[int], shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return runs of axes as (first, one after the last); axes of length 1 in between do not part them."""
    runs: list[tuple[int, int]] = []
    for axis in axes:
        if shape[axis] == 1:
            continue
        if runs and math.prod(shape[runs[-1][1] : axis]) == 1:
            runs[-1] = runs[-1][0], axis + 1
        else:
            runs.append((axis, axis + 1))
    return runs


@by_parts
def sum_of(x: NodeT, axis: Any = None, *, keepdims: bool = False) -> NodeT:
    """Return sums; floats keep their dtype, integers give 64 bits, bools i64."""
    require_tensor(x, "sum")
    return _fold(x, SUM, axis, keepdims, _whole_folding("sum", x.dtype))


@cache
def _whole_folding(name: str, dtype: DType) -> Folding:
    """Return the fold of elements of a dtype, none of whose digits are lost."""
    return Folding(name, read_type(dtype), *wide_type(dtype))


def product_of(x: NodeT, axis: Any = None, *, keepdims: bool = False) -> NodeT:
    """Return products in the order of sums; floats keep their dtype, integers give 64 bits and wrap, bools i64."""
    return _fold(x, PRODUCT, axis, keepdims, _whole_folding("product", x.dtype))


@by_parts
def mean_of(x: NodeT, axis: Any = None, *, keepdims: bool = False) -> NodeT:
    """Return means: the sum divided by the number, NaN of none; f16 and bf16 are added in f32 and rounded once.

    Integers give f64; those of 64 bits are added as f64, since their sum may have no integer type.
    """
    axes = normal_axes(x, axis, "mean")
    shape = shape_without(x.shape, axes, keepdims is not False and flag(keepdims, "sum, keepdims"))
    return _MEAN((x,), ((shape, kinds(x.dtype).result),), axes, shape)[0]


def _mean(x: NodeT, axes: tuple[int, ...], shape: tuple[int, ...]) -> list[NodeT]:
    count = math.prod(x.shape[a] for a in axes)
    types = kinds(x.dtype)
    total = with_shape(_fold(x, SUM, axes, False, Folding("sum", types.element, types.total, types.total)), shape)
    total = cast(total, types.computed)
    return [cast(apply("div", total, count) if count else apply("add", total, math.nan), types.result)]


_MEAN = Composite("mean", _mean)


def shape_without(shape: tuple[int, ...], axes: tuple[int, ...], kept: bool) -> tuple[int, ...]:
    """Return a shape without axes, or with those kept as 1."""
    without = _shape_without.__wrapped__ if is_symbolic(shape) else _shape_without
    return without(shape, axes, kept)


@lru_cache(maxsize=4096)
def _shape_without(shape: tuple[int, ...], axes: tuple[int, ...], kept: bool) -> tuple[int, ...]:
    return tuple(1 if a in axes else n for a, n in enumerate(shape) if kept or a not in axes)


def variance_of(x: NodeT, axis: Any = None, *, keepdims: bool = False) -> NodeT:
    """Return variances in two passes: the mean of the squared distances from the mean.

    Integers and bools give f64; f16 and bf16 are computed in f32 and rounded once.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats keep their dtype; bools and integers give f64; complex numbers
            give f32 of c64, f64 of c128.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "variance")
    if x.dtype.is_complex:  # of both parts
        both = (variance_of(part_of(x, k), axis, keepdims=keepdims) for k in (0, 1))
        return apply("add", *both)
    types = kinds(x.dtype)
    wide = cast(x, types.computed)
    away = apply("sub", wide, mean_of(wide, axis, keepdims=True))
    return cast(mean_of(apply("mul", away, away), axis, keepdims=keepdims), types.result)


def max_of(x: NodeT, axis: Any = None, *, keepdims: bool = False) -> NodeT:
    """Return the largest elements; NaN wins. The gradient goes to the first of several."""
    return _extreme(x, "max", axis, keepdims)


def min_of(x: NodeT, axis: Any = None, *, keepdims: bool = False) -> NodeT:
    """Return the smallest elements; NaN wins. The gradient goes to the first of several."""
    return _extreme(x, "min", axis, keepdims)


def _extreme(x: NodeT, name: str, axis: Any, keepdims: bool) -> NodeT:
    _require(x, name, normal_axes(x, axis, name))
    element = read_type(x.dtype)
    return _fold(x, EXTREME[name], axis, keepdims, Folding(name, element, extreme_type(x.dtype), element))


def _require(x: Node, name: str, axes: Sequence[int]) -> None:
    if math.prod(x.shape[a] for a in axes) == 0:
        raise EmptyError(name, "no elements", expected="at least 1", got=x.shape, remedy="Check for emptiness first")


def _record_arg(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    from loom.schedules.arg import record_arg

    axis, largest = node.attributes
    x = node.inputs[0]
    shape = rows_along(x.shape, axis, axis + 1)
    if shape.results:
        record_arg(draft, operands[0].buffer, shape, read_type(x.dtype), out, largest=largest)


ARG = TensorOp("argmax", NodeKind.KERNEL, record=_record_arg)


def find_extreme(x: NodeT, axis: int, *, largest: bool) -> NodeT:
    """Return where the extreme is along an axis, as u32, the axis kept with length 1."""
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return make(ARG, [x], shape, u32, (axis, largest))


def argmax(x: NodeT, axis: int | None = None, *, keepdims: bool = False) -> NodeT:
    """Return where the largest element is along an axis (None: of all, in row-major order), the first of several.

    As in ``max``, NaN wins and +0 is above -0.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: all, in row-major order.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axis, i64.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; an axis is no integer.
        EmptyError: Nothing lies along the axis, or there is no element at all.
        IndexOutside: There is no such axis.
    """
    return _index(x, "argmax", axis, keepdims)


def argmin(x: NodeT, axis: int | None = None, *, keepdims: bool = False) -> NodeT:
    """Return where the smallest element is along an axis (None: of all, in row-major order), the first of several.

    As in ``min``, NaN wins and -0 is below +0.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: all, in row-major order.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axis, i64.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; an axis is no integer.
        EmptyError: Nothing lies along the axis, or there is no element at all.
        IndexOutside: There is no such axis.
    """
    return _index(x, "argmin", axis, keepdims)


def _index(x: NodeT, name: str, axis: int | None, keepdims: bool) -> NodeT:
    require_tensor(x, name)
    axes = normal_axes(x, None, name) if axis is None else (normal_axis(x, axis, name),)
    if not x.size:
        _require(x, name, axes)
    shape = shape_without(x.shape, axes, keepdims is not False and flag(keepdims, f"{name}, keepdims"))
    return _INDEX[name]((x,), ((shape, i64),), None if axis is None else axes[0], shape)[0]


def _index_of(name: str) -> Composite:
    def found(x: NodeT, axis: int | None, shape: tuple[int, ...]) -> list[NodeT]:
        flat = with_shape(x, (x.size,)) if axis is None else x
        return [with_shape(cast(find_extreme(flat, axis or 0, largest=name == "argmax"), i64), shape)]

    return Composite(name, found)


_INDEX = {name: _index_of(name) for name in ("argmax", "argmin")}
