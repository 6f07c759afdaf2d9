"""Scaling and sums of exponentials, and how a series goes with itself.

Layer: patterns, over tensors. Floats only. Invariant: what is constant scales to 0, never to NaN.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.errors import ArgumentError, EmptyError
from loom.core.given import is_int
from loom.patterns.operand_kinds import as_statistic
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["autocorrelation", "logsumexp", "minmax"]


def _minmax(data: Tensor, axis: int | None = None) -> Tensor:
    x = _some(data, "stats.minmax")
    least, largest = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
    span = largest - least
    return (x - least) / tensor.where(span == 0, 1.0, span)


def _autocorrelation(data: Tensor, lags: int) -> Tensor:
    where = "stats.autocorrelation"
    x = _some(data, where)
    if x.ndim != 1 or not is_int(lags) or not 0 <= lags < x.size:
        raise ArgumentError(
            where, "no such lags", expected="a series, and fewer lags than elements",
            got=f"{lags!r} of shape {x.shape}", remedy="Pass fewer",
        )  # fmt: skip
    away = x - x.mean()
    sums = [(away[: x.size - lag] * away[lag:]).sum() for lag in range(int(lags) + 1)]
    none = tensor.where(x.max() == x.min(), float("nan"), sums[0])
    return tensor.stack([each / none for each in sums], 0)


def _some(x: Tensor, where: str) -> Tensor:
    if not x.size:
        raise EmptyError(where, "no elements", expected="at least 1", got=0, remedy="Check for emptiness first")
    return as_statistic(x)


@row(_minmax, where="stats.minmax")
def minmax(data: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return (x - least) / (largest - least), over all of it or along ``axis``: numbers from 0 to 1.

    >>> minmax([2.0, 4.0, 6.0]).tolist()
    [0.0, 0.5, 1.0]
    """


@row("logsumexp", where="stats.logsumexp", complexes=True)
def logsumexp(data: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return the logarithm of the sum of e^x, over all of it or along ``axis``; nothing overflows on the way.

    Floats keep their dtype, integers and bools give float64. No elements give -inf.

    >>> bool(logsumexp([1000.0, 1000.0]) - 1000 < 0.7)
    True
    """


@row(_autocorrelation, where="stats.autocorrelation")
def autocorrelation(data: Any, lags: int, *, on: str | Device | None = None) -> Any:
    """Return the correlation of a series with itself 0 to ``lags`` steps later, divided by that of lag 0.

    Deviations are from the mean of the whole series, as usual (G. Box and G. Jenkins). NaN where all elements are
    equal. ArgumentError unless 0 <= lags < len(data).
    """
