"""Reductions: sums and products, means, deviations, extremes, truths, and where the largest is.

Layer: tensor. Chapters "Statistical", "Searching" and "Utility functions" of the array API standard 2024.12, of which
sorting, ``nonzero`` and cumulative sums are elsewhere. ``axis`` names one, several in a tuple, or all by None.
Invariant: the order of a sum is that of ``ops.reductions``.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import bool_, dtype_of
from loom.core.given import flag
from loom.core.numbers import real
from loom.kernels.types import kinds
from loom.tensor.ops import joining, reductions, views
from loom.tensor.ops.elementwise import apply, cast, constant
from loom.tensor.ops.parts import part_of
from loom.tensor.record.composite import Composite
from loom.tensor.record.graph import Node, NodeT, require_tensor
from loom.tensor.standard.logic import truth

__all__ = ["all", "any", "max", "mean", "min", "prod", "std", "sum", "var"]


def sum(x: NodeT, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> NodeT:
    """Return sums; floats keep their dtype, integers give 64 bits, bools i64. ``dtype``: what elements become first.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        dtype: Dtype that elements become first; None: the rule above.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats and complex numbers keep their dtype; bools give i64; integers
            give i64, unsigned ones u64.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: An axis is no integer; there is no such dtype.
        IndexOutside: There is no such axis.
    """
    if dtype is None:
        return reductions.sum_of(x, axis, keepdims=keepdims)
    require_tensor(x, "sum")
    wanted = dtype_of(dtype, "sum")
    return cast(reductions.sum_of(cast(x, wanted), axis, keepdims=keepdims), wanted)


def prod(x: NodeT, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> NodeT:
    """Return products in the order of ``sum``; floats keep their dtype, integers give 64 bits and wrap, bools i64.

    f16 and bf16 are computed in f32 and rounded once. 1 where there are none. With ``dtype`` elements become that
    first. Products of complex numbers are those of neighbours first, of their products' neighbours then, and so on.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        dtype: Dtype that elements become first; None: the rule above.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats and complex numbers keep their dtype; bools give i64; integers
            give i64, unsigned ones u64.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: There is no such dtype; an axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "prod")
    given = x if dtype is None else cast(x, dtype_of(dtype, "prod"))
    if not given.dtype.is_complex:
        found = reductions.product_of(given, axis, keepdims=keepdims)
        return found if dtype is None else cast(found, given.dtype)
    axes = views.normal_axes(x, axis, "prod")
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    left = [a for a in range(x.ndim) if a not in axes]
    length = math.prod(x.shape[a] for a in axes)
    found = _product(views.reshape(views.permute(given, [*left, *axes]), (*(x.shape[a] for a in left), length)))
    return views.reshape(found, kept) if flag(keepdims, "prod, keepdims") else found


def _product(x: NodeT) -> NodeT:
    """Return the products of complex numbers along the last axis, halved again and again; an odd last one waits."""
    if x.shape[-1] == 0:
        return views.broadcast_to(constant(1.0, x.dtype, x), x.shape[:-1])
    while (n := x.shape[-1]) > 1:
        pairs = apply("mul", views.slice_by(x, (..., slice(0, n - 1, 2))), views.slice_by(x, (..., slice(1, n, 2))))
        x = joining.concat([pairs, views.slice_by(x, (..., slice(n - 1, n)))], -1) if n % 2 else pairs
    return views.reshape(x, x.shape[:-1])


def mean(x: NodeT, /, *, axis: Any = None, keepdims: bool = False) -> NodeT:
    """Return means; floats keep their dtype, integers give f64; NaN of none.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats and complex numbers keep their dtype; bools and integers give
            f64.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    return reductions.mean_of(x, axis, keepdims=keepdims)


def var(x: NodeT, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> NodeT:
    """Return variances in two passes: squared distances from the mean, divided by their number less ``correction``.

    ``correction=1`` gives that of a sample. Integers give f64; f16 and bf16 are computed in f32 and rounded once. NaN
    or infinite where ``correction`` leaves nothing to divide by, NaN of none.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        correction: Number taken from the count of elements that is divided by.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats keep their dtype; bools and integers give f64; complex numbers
            give f32 of c64, f64 of c128.

    Raises:
        ArgumentError: Not a number; a number is not usable there; an operand is no tensor.
        DTypeError: An axis is no integer; a number does not fit the dtype.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "var")
    if x.dtype.is_complex:  # of both parts
        both = (var(part_of(x, k), axis=axis, correction=correction, keepdims=keepdims) for k in (0, 1))
        return apply("add", *both)
    return _spread(_VAR, x, axis, correction, keepdims, "var")


def std(x: NodeT, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> NodeT:
    """Return standard deviations, the roots of ``var``.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        correction: Number taken from the count of elements that is divided by.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats keep their dtype; bools and integers give f64; complex numbers
            give f32 of c64, f64 of c128.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor; not a number.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "std")
    if x.dtype.is_complex:
        return apply("sqrt", var(x, axis=axis, correction=correction, keepdims=keepdims))
    return _spread(_STD, x, axis, correction, keepdims, "std")


def _is_of_none(x: Node, axis: Any, where: str) -> bool:
    return math.prod(x.shape[a] for a in views.normal_axes(x, axis, where)) == 0


def _nothing(x: NodeT, axis: Any, keepdims: bool, where: str) -> NodeT:
    """Return NaN for every mean of no elements."""
    axes, kept = views.normal_axes(x, axis, where), flag(keepdims, f"{where}, keepdims")
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if kept or a not in axes)
    dtype = x.dtype if x.dtype.is_complex else kinds(x.dtype).result
    return views.broadcast_to(constant(math.nan, dtype, x), shape)


def _spread(op: Composite, x: NodeT, axis: Any, correction: float, keepdims: bool, where: str) -> NodeT:
    """Return variances, or what else is made of them."""
    require_tensor(x, where)
    less = real(correction, f"{where}, correction")
    axes = views.normal_axes(x, axis, where)
    if _is_of_none(x, axes, where):
        found = _nothing(x, axes, keepdims, where)
        return cast(found if op is _VAR else apply("sqrt", found), kinds(x.dtype).result)
    kept = flag(keepdims, f"{where}, keepdims")
    shape = reductions.shape_without(x.shape, axes, kept)
    return op((x,), ((shape, kinds(x.dtype).result),), axes, less, kept)[0]


def _variance(x: NodeT, axes: tuple[int, ...], less: float, kept: bool) -> NodeT:
    count = math.prod(x.shape[a] for a in axes)
    wide = cast(x, kinds(x.dtype).computed)
    away = apply("sub", wide, reductions.mean_of(wide, axes, keepdims=True))
    total = reductions.sum_of(apply("mul", away, away), axes, keepdims=kept)
    return apply("div", total, float(count - less if count > less else 0.0))


def _variances(x: NodeT, axes: tuple[int, ...], less: float, kept: bool) -> list[NodeT]:
    return [cast(_variance(x, axes, less, kept), kinds(x.dtype).result)]


def _deviations(x: NodeT, axes: tuple[int, ...], less: float, kept: bool) -> list[NodeT]:
    return [cast(apply("sqrt", _variance(x, axes, less, kept)), kinds(x.dtype).result)]


_VAR, _STD = Composite("var", _variances), Composite("std", _deviations)


def max(x: NodeT, /, *, axis: Any = None, keepdims: bool = False) -> NodeT:
    """Return the largest elements; NaN wins. The gradient goes to the first of several; EmptyError of none.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.
    """
    return reductions.max_of(x, axis, keepdims=keepdims)


def min(x: NodeT, /, *, axis: Any = None, keepdims: bool = False) -> NodeT:
    """Return the smallest elements; NaN wins. The gradient goes to the first of several; EmptyError of none.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.
    """
    return reductions.min_of(x, axis, keepdims=keepdims)


def _truths(x: NodeT, axis: Any, keepdims: bool, where: str) -> NodeT:
    flags = truth(x, where)
    axes = views.normal_axes(x, axis, where)
    if math.prod(x.shape[a] for a in axes):
        return (reductions.min_of if where == "all" else reductions.max_of)(flags, axes, keepdims=keepdims)
    kept = flag(keepdims, f"{where}, keepdims")
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if kept or a not in axes)
    return views.broadcast_to(constant(where == "all", bool_, x), shape)


def all(x: NodeT, /, *, axis: Any = None, keepdims: bool = False) -> NodeT:
    """Tell whether all are true, numbers unless 0; True of none.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes, bools.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    return _truths(x, axis, keepdims, "all")


def any(x: NodeT, /, *, axis: Any = None, keepdims: bool = False) -> NodeT:
    """Tell whether one is true, numbers unless 0; False of none.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes, bools.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    return _truths(x, axis, keepdims, "any")
