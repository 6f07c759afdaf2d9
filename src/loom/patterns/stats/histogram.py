"""``histogram``: how many elements lie in each of a row of bins.

Layer: patterns. Invariant: the counts are those of comparing every element with the edges returned, exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, f64, u8
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_int
from loom.core.late.dataclass import dataclass
from loom.kernels.move.histogram import MOST_GUESSED
from loom.kernels.types import real_type
from loom.patterns.array_calls import Arrays
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.ordering import counts_between
from loom.tensor.ops.reductions import max_of, min_of
from loom.tensor.ops.views import reshape

__all__ = ["histogram"]

_MOST_BINS = 1 << 24


def histogram(
    data: Any,
    bins: Any = 10,
    range: tuple[float, float] | None = None,  # noqa: A002
    *,
    on: str | Device | None = None,
) -> tuple[Any, Any]:
    """Return ``(counts, edges)`` of the elements of ``data`` (any shape), by the rules of ``numpy.histogram``.

    ``bins``: how many bins of one width over ``range`` (by default the extremes of data), or their edges in
    ascending order. Bin k holds edges[k] <= v < edges[k + 1], the last one its upper edge too; numbers outside
    and NaNs are in none. ``counts`` is int64; edges and comparisons are float32 for data of at most 32-bit
    floats, else float64. Nothing gives zeros, over 0 to 1 if no range is given. ArgumentError for bins or a
    range that cannot be used, for a range beside edges, and for infinities or NaNs without a range.

    >>> counts, edges = histogram([1.0, 2.0, 2.0, 5.0], bins=2)
    >>> counts.tolist(), edges.tolist()
    ([3, 1], [1.0, 3.0, 5.0])
    """
    call = Arrays("stats.histogram", on, data, bins)
    dtype = call.input(data).dtype if call.of_tensors else call.read(data)[1]
    found = _edges(call, data, bins, range, real_type(dtype))
    edges = call.lend(found.array, real_type(dtype)) if call.of_tensors else found.array
    return answer(call.name, _counts, [data, edges], {"scale": found.scale, "on": on}, apart=(1,)), edges


def _counts(x: Tensor, edges: Tensor, *, scale: float | None) -> Tensor:
    return counts_between(reshape(cast(x, u8) if x.dtype.is_bool else x, (x.size,)), edges, scale)


def _ends(x: Tensor) -> tuple[Tensor, Tensor]:
    return min_of(x), max_of(x)


@dataclass(frozen=True, slots=True)
class _Edges:
    """The edges, and bins to one if they are evenly spaced (else None)."""

    array: np.ndarray[Any, Any]
    scale: float | None


@ordinary_arithmetic()
def _edges(call: Arrays, data: Any, bins: Any, limits: Any, computed: DType) -> _Edges:
    where = f"{call.name}, bins"
    if is_int(bins):
        if not 1 <= bins <= _MOST_BINS:
            raise ArgumentError(where, "out of range", expected=f"1 to {_MOST_BINS}", got=bins, remedy="Stay within it")
        limits = (0.0, 1.0) if limits is None and not call.input(data).size else limits
        low, high = _limits(call, data, limits)
        return _even(where, int(bins), low, high, computed, f64 if limits is not None else computed)
    if isinstance(bins, (float, str, bool)) or bins is None:
        raise DTypeError(
            where, "not bins", expected="their number or their edges", got=repr(bins), remedy="Pass an int or an array"
        )
    if limits is not None:
        raise ArgumentError(f"{call.name}, range", "the bins have edges of their own", expected="a number of bins",
                            got=repr(limits)[:80], remedy="Leave range out")  # fmt: skip
    given = call.input(bins, "bins", ndim=1).numpy()
    with np.errstate(all="ignore"):
        array = given.astype(computed.numpy)
    if array.size < 2 or not (array[1:] > array[:-1]).all():
        raise ArgumentError(
            where, "not the edges of bins", expected=f"at least two numbers, each above the one before as {computed}",
            got=_text(array), remedy="Sort them and leave out repetitions",
        )  # fmt: skip
    return _Edges(array, None)


def _text(array: np.ndarray[Any, Any]) -> str:
    more = ", ..." if array.size > 6 else ""
    return "[" + ", ".join(f"{float(v):g}" for v in array[:6]) + more + "]"


def _limits(call: Arrays, data: Any, limits: Any) -> tuple[float, float]:
    """Return the lowest and highest edge, checked; a range without width gets one of 1, as in numpy."""
    where = f"{call.name}, range"
    if limits is not None:
        try:
            low, high = (float(v) for v in limits)
        except (TypeError, ValueError):
            raise DTypeError(
                where, "not a range", expected="two numbers", got=repr(limits), remedy="Pass (lowest, highest)"
            ) from None
    else:
        low, high = (float(end.item()) for end in answer(call.name, _ends, [data], {"on": call.on}))
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ArgumentError(
            where, "cannot be cut into bins", expected="finite numbers in ascending order", got=f"({low}, {high})",
            remedy="Pass range=(lowest, highest)",
        )  # fmt: skip
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _even(where: str, bins: int, low: float, high: float, computed: DType, arithmetic: DType) -> _Edges:
    """Return edges low + k (high - low) / bins, the last one ``high``: in the type of extremes, in f64 of a range."""
    number = arithmetic.numpy.type
    with np.errstate(over="ignore", invalid="ignore"):
        width = float((number(high) - number(low)) / number(bins))
        array = np.arange(bins + 1, dtype=arithmetic.numpy) * number(width) + number(low)
    array[-1] = high
    array = array.astype(computed.numpy)
    if not (math.isfinite(width) and (array[1:] > array[:-1]).all()):
        raise ArgumentError(
            where, f"{computed} cannot tell the edges apart", expected="fewer bins or a wider range",
            got=f"{bins} from {low} to {high}", remedy="Pass fewer bins, or range=(low, high)",
        )  # fmt: skip
    scale = float(computed.numpy.type(1.0 / width))
    return _Edges(array, scale if bins <= MOST_GUESSED and math.isfinite(scale) else None)
