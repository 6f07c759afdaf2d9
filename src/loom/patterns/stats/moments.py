"""``mean``, ``variance``, ``std`` and ``zscore``, of a whole array or along an axis.

Layer: patterns. The mean is the canonical sum by the number of elements; the variance is a second canonical sum,
of the squared deviations from it. Invariant: along an axis, a row gives the bits it gives alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor
from loom.core.errors import ArgumentError
from loom.core.given import is_int
from loom.kernels.types import kinds
from loom.patterns.axis import reduced_shape, rows_of
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.inputs import require_elements
from loom.patterns.calling.workspace import workspace
from loom.patterns.reduce import gpu_max, gpu_min, mean_of
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.deviations import Spread
from loom.tensor import Tensor

__all__ = ["freedom", "level_rows", "mean", "std", "variance", "without_level", "zscore"]


def mean(data: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return the mean of all elements of ``data``, or of those along ``axis``: canonical sums, divided once.

    ``data``: any shape. Floats keep their dtype (f16 and bf16 are computed in f32), integers and bools give
    float64. NaN where an element is NaN. EmptyError where there are no elements.

    >>> mean([[1.0, 2.0], [3.0, 6.0]], axis=1).tolist()
    [1.5, 4.5]
    """
    call = Call("stats.mean", on)
    x = call.input(data)
    return mean_of(call, x, axis)


def variance(data: Any, axis: int | None = None, *, ddof: int = 0, on: str | Device | None = None) -> Any:
    """Return the variance: the sum of squared deviations from the mean, divided by n - ``ddof``.

    Two passes: the mean, rounded to the type computed in, then the canonical sum of (x - mean)^2. Shapes, types
    and NaN as in ``mean``; numbers too far apart for their squares give infinity. EmptyError where there are no
    elements, ArgumentError if ``ddof`` leaves nothing to divide by.

    >>> variance([1.0, 2.0, 3.0, 4.0]).item()
    1.25
    """
    return _spread("stats.variance", "variance", data, axis, ddof, on)


def std(data: Any, axis: int | None = None, *, ddof: int = 0, on: str | Device | None = None) -> Any:
    """Return the standard deviation: the square root of ``variance``, taken before it is rounded to 16 bits.

    >>> std([1.0, 1.0, 5.0, 5.0]).item()
    2.0
    """
    return _spread("stats.std", "standard deviation", data, axis, ddof, on)


def zscore(data: Any, axis: int | None = None, *, ddof: int = 0, on: str | Device | None = None) -> Any:
    """Return (x - mean) / std for every element, in the shape of ``data``, over all of it or along ``axis``.

    Types as in ``mean``. All NaN where the elements are equal or one is NaN. Nothing gives nothing;
    ArgumentError if ``ddof`` leaves nothing to divide by.

    >>> zscore([1.0, 1.0, 5.0, 5.0]).tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    call = Call("stats.zscore", on)
    x = call.input(data)
    shape = rows_of(x.shape, axis, call.name)
    out = call.output(x.shape, kinds(x.dtype).result, like=x)
    if not x.size:
        return call.result(out)
    _run(call, x, Spread(shape, kinds(x.dtype), freedom(call, ddof, shape.n), root=True), out)
    return without_level(call.result(out), level_rows(data, axis, on))


def level_rows(data: Any, axis: int | None, on: str | Device | None) -> Any:
    """Tell which rows have one element again and again, which no deviation from a rounded mean tells."""
    least, most = (fold(data, axis=axis, keepdims=axis is not None, on=on) for fold in (gpu_min, gpu_max))
    return least == most


def without_level(found: Any, level: Any) -> Any:
    """Return what was found of rows, NaN for the level ones."""
    if isinstance(found, Tensor):
        level = level if isinstance(level, Tensor) else tensor.array(np.asarray(level), on=found.device)
        return tensor.where(level, float("nan"), found)
    return np.where(level, np.float32("nan"), found).astype(found.dtype)[()] if np.any(level) else found


def _spread(name: str, what: str, data: Any, axis: int | None, ddof: int, on: str | Device | None) -> Any:
    call = Call(name, on)
    x = call.input(data)
    shape = rows_of(x.shape, axis, call.name)
    out = call.output(reduced_shape(x.shape, axis, call.name), kinds(x.dtype).result, like=x)
    if out.size:
        require_elements(x, call.name, what)
        root = name == "stats.std"
        _run(call, x, Spread(shape, kinds(x.dtype), freedom(call, ddof, shape.n), root), out)
    return call.result(out)


def _run(call: Call, x: Operand, spread: Spread, out: Operand) -> None:
    """Compute variances, their roots, or what is made of those."""

    def record(chain: Chain, data: HostSlot, result: HostSlot, squares: HostSlot) -> None:
        means = chain.device.allocate(spread.shape.results * spread.types.computed.nbytes)
        if call.name == "stats.zscore":
            spread.record_scores(chain, data, means, squares, result)
        else:
            spread.record(chain, data, means, squares, result, spread.types.result)

    with workspace([spread.squares_nbytes], call.device) as lent:
        call.run((call.name, x.dtype, spread.shape, spread.left), record, x, out, *lent)


def freedom(call: Call, ddof: Any, n: int) -> int:
    """Return ``n - ddof``, what sums of squares are divided by; ArgumentError unless it is at least 1."""
    if not is_int(ddof) or ddof < 0:
        raise ArgumentError(
            f"{call.name}, ddof", "unusable", expected="a whole number of at least 0", got=repr(ddof),
            remedy="Pass 0 for a population, 1 for a sample",
        )  # fmt: skip
    if n <= ddof:
        raise ArgumentError(
            f"{call.name}, ddof", "no degree of freedom is left",
            expected=f"less than the {n} elements" if n > 1 else "0 for one element", got=int(ddof),
            remedy="Pass a smaller ddof or more elements",
        )  # fmt: skip
    return n - int(ddof)
