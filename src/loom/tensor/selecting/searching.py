"""``searchsorted``, ``bucketize``, ``histogram``, ``bincount``, ``count_nonzero``: where elements belong, and how many.

Layer: tensor. Numbers are compared as ``loom.gpu_searchsorted`` does: -0 equals +0, NaN equals NaN and is above all.
Invariant: nothing outside the arrays is read, even if what should be in order is not.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, i64, u32
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag, is_array, is_list, one_of
from loom.core.numbers import real, whole
from loom.core.promotion import promote
from loom.kernels.move.histogram import MOST_GUESSED
from loom.kernels.types import real_type
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.creation.creation import arange, zeros
from loom.tensor.ops.elementwise import apply, cast, constant, where
from loom.tensor.ops.indexing import fold_by, positions_of
from loom.tensor.ops.ordering import counts_between, find_places
from loom.tensor.ops.reductions import max_of, min_of, sum_of
from loom.tensor.ops.views import broadcast_to, reshape
from loom.tensor.record.graph import Node, require_tensor
from loom.tensor.selecting.taking import take_along_axis

__all__ = ["bincount", "bucketize", "count_nonzero", "histogram", "searchsorted"]


def searchsorted(x1: Tensor, x2: Any, *, side: str = "left", sorter: Any = None, right: bool | None = None) -> Tensor:
    """Return where each of ``x2`` belongs in ``x1``: the number of elements before it (i64).

    ``x1`` is in order along its last axis, the order of ``sort``, or ``sorter`` are the positions that put it there. It
    has one dimension and ``x2`` any shape, or both have the same shape but for the last axis. ``side="left"``: equal
    elements come after the value, "right" (or ``right=True``): before it.

    Args:
        x1: Tensor of one dimension, in order.
        x2: Tensor of any shape, or a number.
        side: "left": before equal ones; "right": behind them.
        sorter: Tensor of positions that put ``x1`` in order; None: it is.
        right: torch's word for ``side``; None: ``side`` counts.

    Returns:
        Tensor of the shape of ``x2``, i64.

    Raises:
        ArgumentError: There is no such option; an operand is no tensor.
        DTypeError: Complex numbers are refused; indices are no integers; the elements are no numbers.
        ShapeError: The index has another number of axes; the shapes do not fit.

    >>> from loom import tensor
    >>> tensor.searchsorted(tensor.array([10, 20, 20, 30]), tensor.array([20, 5, 35])).tolist()
    [1, 0, 4]
    """
    name = "searchsorted"
    require_tensor(x1, name)
    after = one_of(side, f"{name}, side", ("left", "right")) == "right"
    if right is not None:
        after = flag(right, f"{name}, right")
    values: Any = x2 if isinstance(x2, Node) else array(x2, x1.dtype, on=x1.device)
    if not x1.ndim or (x1.ndim > 1 and x1.shape[:-1] != values.shape[:-1]):
        raise ShapeError(name, "the shapes do not fit", expected="one dimension, or the same but for the last axis",
                         got=f"{x1.shape} and {values.shape}", remedy="Search each row apart")  # fmt: skip
    dtype = promote(name, [x1.dtype, values.dtype])
    in_order = x1 if sorter is None else take_along_axis(x1, sorter, -1)
    if not in_order.shape[-1]:
        return zeros(values.shape, i64)
    return find_places(cast(in_order, dtype), cast(values, dtype), right=after)


def bucketize(x: Any, boundaries: Tensor, *, right: bool = False) -> Tensor:
    """Return for each element how many ``boundaries``, in order, are below it (``right``: or equal), as torch's.

    Args:
        x: Tensor of any shape, or a number.
        boundaries: Tensor of one dimension, in order.
        right: Whether equal boundaries count as below.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: The elements are no numbers; complex numbers do not become real ones.
    """
    return searchsorted(boundaries, x, right=flag(right, "bucketize, right"))


def count_nonzero(x: Tensor, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """Return how many elements are not 0 (i64) along an axis, several, or all; NaN is not 0.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes, i64.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "count_nonzero")
    is_set = x if x.dtype.is_bool else apply("ne", x, 0)
    return cast(sum_of(is_set, axis, keepdims=keepdims), i64)


def bincount(x: Tensor, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Tensor:
    """Return how often each of 0, 1, .. is among ``x``, integers of one dimension; or the sums of their ``weights``.

    There are as many as the largest of ``x`` needs, ``minlength`` at least: so the elements are waited for. With
    ``length``, which compiled programs need, there are so many, and larger elements count nowhere. Negative ones count
    nowhere, and are refused where they are waited for. Counts are i64, weights are added in the order of positions.

    Args:
        x: Tensor of integers of one dimension.
        weights: Tensor of a number for each; None: 1.
        minlength: Least length of the result.
        length: Length of the result, which then waits for nothing; None: by the largest.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number.
        DTypeError: The elements are no numbers; no integer type holds all the numbers.
        ShapeError: Not one for each element; not integers of one dimension.

    >>> from loom import tensor
    >>> tensor.bincount(tensor.array([0, 2, 2])).tolist()
    [1, 0, 2]
    """
    name = "bincount"
    require_tensor(x, name)
    if x.ndim != 1 or not x.dtype.is_integer:
        raise ShapeError(name, "not integers of one dimension", expected="integers (n,)", got=f"{x.dtype} {x.shape}",
                         remedy="Flatten and convert")  # fmt: skip
    least = whole(minlength, f"{name}, minlength", least=0)
    rows = _count_needed(x, least, name) if length is None else whole(length, f"{name}, length", least=0)
    if weights is None:
        counted = broadcast_to(constant(1, u32, x), x.shape)
        return cast(fold_by(counted, positions_of(x, name, rows), 0, rows, shared=True), i64)
    given = as_weights(weights, x, name)
    return fold_by(given, positions_of(x, name, rows), 0, rows, shared=True)


def _count_needed(x: Tensor, least: int, name: str) -> int:
    if not x.size:
        return least
    require_elements(x, name, "Pass length=, the number of counts")
    lowest, highest = int(min_of(x).item()), int(max_of(x).item())
    if lowest < 0:
        raise ArgumentError(name, "a negative element", expected="at least 0", got=lowest, remedy="Shift them")
    return max(least, highest + 1)


def require_elements(x: Tensor, name: str, remedy: str) -> None:
    """See that a tensor's elements can be waited for; ArgumentError if a program must be fed first."""
    if x.is_fed:
        raise ArgumentError(name, "the size of the result depends on what a program is fed",
                            expected="elements that are known when it is recorded", got=f"an input of shape {x.shape}",
                            remedy=remedy)  # fmt: skip


def histogram(
    x: Tensor,
    bins: Any = 10,
    range: Any = None,  # noqa: A002 - as numpy's
    *,
    weights: Any = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return counts (i64, or sums of ``weights``) of the elements of each bin, and the edges, as ``numpy.histogram``.

    ``bins``: how many of one width over ``range`` (by default the extremes of ``x``), or their edges, ascending.
    Bin k holds edges[k] <= v < edges[k + 1], the last one its upper edge too; numbers outside and NaNs are in none.
    ``density``: counts over their sum and the width of their bin. Edges are f32 of floats up to 32 bits, else f64.
    ArgumentError for infinities or NaNs without a range; of what a program is fed they make edges of NaN.

    Args:
        x: Tensor of any shape.
        bins: Number of bins, or their edges.
        range: Lowest and highest edge; None: of the elements.
        weights: Tensor of a number for each element; None: 1.
        density: Whether the counts are divided by their sum and the widths.

    Raises:
        ArgumentError: Not a range; an operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; the dtype is not supported; the elements are no numbers.
        ShapeError: Not one for each element; too many elements.
    """
    name = "histogram"
    require_tensor(x, name)
    computed = real_type(x.dtype)
    flat = cast(reshape(x, (x.size,)), computed)
    edges, scale = _edges(flat, bins, range, computed, name)
    if weights is None:
        counts: Any = counts_between(flat, edges, scale)
    else:
        counts = _weigh_bins(flat, edges, as_weights(weights, x, name))
    if flag(density, f"{name}, density"):
        whole_sum = cast(counts, computed)
        counts = whole_sum / sum_of(whole_sum) / (edges[1:] - edges[:-1])
    return counts, edges


def _weigh_bins(flat: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of the weights in each bin."""
    count = edges.shape[0] - 1
    at = find_places(edges, flat, right=True) - 1
    at = where(apply("eq", flat, edges[count:]) & apply("eq", at, count), count - 1, at)
    at = where(apply("eq", flat, flat), at, count)  # a NaN is in none
    return fold_by(reshape(weights, flat.shape), positions_of(at, "histogram", count), 0, count, shared=True)


def as_weights(weights: Any, x: Tensor, name: str) -> Tensor:
    """Return a weight for each element; ShapeError if they are not that."""
    given: Any = weights if isinstance(weights, Node) else array(weights, on=x.device)
    if given.shape != x.shape:
        raise ShapeError(f"{name}, weights", "not one for each element", expected=x.shape, got=given.shape,
                         remedy="Match the shapes")  # fmt: skip
    return given


def _edges(flat: Tensor, bins: Any, span: Any, computed: Any, name: str) -> tuple[Tensor, float | None]:
    """Return the edges of bins, and how many bins there are to one if that is known."""
    if isinstance(bins, Node) or is_list(bins) or (is_array(bins) and bins.ndim):
        edges: Any = cast(bins, computed) if isinstance(bins, Node) else array(bins, computed, on=flat.device)
        if edges.ndim != 1 or edges.shape[0] < 2:
            raise ShapeError(f"{name}, bins", "no edges", expected="at least 2, one dimension", got=edges.shape,
                             remedy="Pass how many bins there are, or all edges")  # fmt: skip
        return edges, None
    count = whole(bins, f"{name}, bins", least=1)
    scale: float | None = None
    if span is None and not flat.size:
        span = (0.0, 1.0)
    if span is None:
        low, high = min_of(flat), max_of(flat)
        if not (flat.is_fed or math.isfinite((high - low).item())):
            raise ArgumentError(f"{name}, range", "cannot be cut into bins", expected="finite numbers",
                                got=f"({low.item()}, {high.item()})",
                                remedy="Pass range=(lowest, highest)")  # fmt: skip
        same = apply("eq", low, high)
        low, high = where(same, low - 0.5, low), where(same, high + 0.5, high)
    else:
        try:
            first, last = (real(end, f"{name}, range") for end in span)
        except (TypeError, ValueError):
            raise ArgumentError(f"{name}, range", "not a range", expected="(low, high)", got=repr(span),
                                remedy="Pass two numbers") from None  # fmt: skip
        if not first <= last:
            raise ArgumentError(f"{name}, range", "it ends before it begins", expected="low <= high",
                                got=(first, last), remedy="Exchange them")  # fmt: skip
        if first == last:
            first, last = first - 0.5, last + 0.5
        low, high = constant(first, f64, flat), constant(last, f64, flat)
        scale = count / (last - first)
    at = cast(arange(count + 1, u32), low.dtype)
    edges = cast(where(apply("eq", at, count), high, low + at * ((high - low) / count)), computed)
    return edges, scale if count <= MOST_GUESSED and math.isfinite(scale or 0) else None
