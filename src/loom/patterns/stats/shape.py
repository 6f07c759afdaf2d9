"""The shape of a distribution: moments, ``skew``, ``kurtosis``, other means, ``entropy``; and ``linregress``.

Layer: patterns. Means and sums are canonical ones, of powers of the deviations from the rounded mean. Floats keep their
dtype (f16 and bf16 are computed in f32), integers and bools give float64. Invariant: a row gives the bits it gives
alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.patterns.given import as_given, host_arithmetic, read_rows
from loom.patterns.maps.elementwise import gpu_exp, gpu_log
from loom.patterns.reduce import gpu_sum
from loom.patterns.stats.moments import freedom, mean, variance
from loom.runtime.port.device import Device

__all__ = ["Line", "entropy", "gmean", "hmean", "kurtosis", "linregress", "moment", "sem", "skew"]

_MOST_ORDER = 16


class Line(NamedTuple):
    """The line of least squares: y is about ``slope`` x + ``intercept``; ``r`` is the correlation of the two."""

    slope: float
    intercept: float
    r: float
    slope_error: float
    intercept_error: float


@host_arithmetic()
def moment(data: Any, order: int = 2, *, on: str | Device | None = None) -> Any:
    """Return the mean of the deviations' powers of every row (..., n).

    >>> moment([1.0, 2.0, 3.0, 4.0]).item()
    1.25
    """
    where = "stats.moment"
    power = whole(order, f"{where}, order", least=1)
    if power > _MOST_ORDER:
        raise ArgumentError(f"{where}, order", "too high", expected=f"at most {_MOST_ORDER}", got=power,
                            remedy="Take a lower one")  # fmt: skip
    return as_given(data, _moments(read_rows(where, data, on), (power,), on)[0][()])


@host_arithmetic()
def skew(data: Any, *, unbiased: bool = False, on: str | Device | None = None) -> Any:
    """Return the skewness m3 / m2^1.5 of every row (..., n); NaN where all elements are equal.

    ``unbiased``: times sqrt(n (n - 1)) / (n - 2), for rows of at least 3.

    >>> skew([0.0, 0.0, 3.0]).round(4).item()
    0.7071
    """
    x = read_rows("stats.skew", data, on)
    second, third = _moments(x, (2, 3), on)
    n = x.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(_level(x), np.nan, third / (second * np.sqrt(second))).astype(second.dtype)
    if flag(unbiased, "stats.skew, unbiased") and n > 2:
        found = found * found.dtype.type(np.sqrt(n * (n - 1)) / (n - 2))
    return as_given(data, found[()])


@host_arithmetic()
def kurtosis(data: Any, *, unbiased: bool = False, on: str | Device | None = None) -> Any:
    """Return the excess kurtosis m4 / m2^2 - 3 of every row (..., n); NaN where all elements are equal.

    >>> kurtosis([1.0, -1.0]).item()
    -2.0
    """
    x = read_rows("stats.kurtosis", data, on)
    second, fourth = _moments(x, (2, 4), on)
    n = x.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(_level(x), np.nan, fourth / (second * second) - 3).astype(second.dtype)
    if flag(unbiased, "stats.kurtosis, unbiased") and n > 3:
        found = ((n + 1) * found + 6) * found.dtype.type((n - 1) / ((n - 2) * (n - 3)))
    return as_given(data, found[()])


def _level(x: Any) -> Any:
    """Tell which rows have one element again and again: their mean is rounded, so that deviations may not be zero."""
    return x.max(-1) == x.min(-1)


def _moments(x: Any, powers: tuple[int, ...], on: Any) -> list[Any]:
    away = x - np.asarray(mean(x, -1, on=on))[..., None]
    found: list[Any] = []
    for power in powers:
        product = away
        for _ in range(power - 1):
            product = product * away
        found.append(np.asarray(mean(product, -1, on=on)))
    return found


@host_arithmetic()
def sem(data: Any, *, ddof: int = 1, on: str | Device | None = None) -> Any:
    """Return the standard error of the mean of every row (..., n): the deviation by the root of n.

    >>> sem([1.0, 3.0, 5.0, 7.0]).round(4).item()
    1.291
    """
    x = read_rows("stats.sem", data, on)
    freedom("stats.sem", ddof, x.shape[-1])
    spread = np.asarray(variance(x, -1, ddof=ddof, on=on))
    return as_given(data, np.sqrt(spread / spread.dtype.type(x.shape[-1]))[()])


@host_arithmetic()
def gmean(data: Any, *, on: str | Device | None = None) -> Any:
    """Return e to the mean logarithm of every row (..., n): the geometric mean.

    >>> gmean([1.0, 4.0]).round(6).item()
    2.0
    """
    x = read_rows("stats.gmean", data, on)
    return as_given(data, np.asarray(gpu_exp(np.asarray(mean(np.asarray(gpu_log(x, on=on)), -1, on=on)), on=on))[()])


@host_arithmetic()
def hmean(data: Any, *, on: str | Device | None = None) -> Any:
    """Return 1 over the mean of 1 / x of every row (..., n): the harmonic mean; NaN below zero.

    >>> hmean([1.0, 3.0]).item()
    1.5
    """
    x = read_rows("stats.hmean", data, on)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1 / np.asarray(mean(1 / np.where(x < 0, np.nan, x), -1, on=on))
    return as_given(data, found[()])


@host_arithmetic()
def entropy(data: Any, *, base: float | None = None, on: str | Device | None = None) -> Any:
    """Return minus the sum of p log p of every row (..., n) of numbers that are shares once divided by their sum.

    In units of e, or of ``base`` (C. E. Shannon, 1948).

    >>> entropy([0.5, 0.5], base=2).item()
    1.0
    """
    where = "stats.entropy"
    x = read_rows(where, data, on)
    if (x < 0).any():
        raise ArgumentError(
            where, "shares below zero", expected="at least 0", got=float(np.nanmin(x)), remedy="Leave them out"
        )
    with np.errstate(invalid="ignore"):
        shares = x / np.asarray(gpu_sum(x, axis=-1, on=on))[..., None]
    logs = np.asarray(gpu_log(np.where(shares > 0, shares, x.dtype.type(1)), on=on))
    found = -np.asarray(gpu_sum(shares * logs, axis=-1, on=on))
    if base is not None:
        scale = real(base, f"{where}, base")
        if not scale > 1:
            raise ArgumentError(f"{where}, base", "out of range", expected="above 1", got=base, remedy="Pass 2, or 10")
        found = found / np.asarray(gpu_log(np.full(1, scale, x.dtype), on=on))[0]
    return as_given(data, found[()])


@host_arithmetic()
def linregress(x: Any, y: Any, *, on: str | Device | None = None) -> Line:
    """Return the line of least squares through points, two series of one length, at least 2.

    Computed in f64. All numbers are NaN where an element is NaN or infinite, and ``r`` where all of ``y`` are equal;
    ArgumentError where all of ``x`` are.

    >>> linregress([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])[:3]
    (2.0, 1.0, 1.0)
    """
    where = "stats.linregress"
    a, b = (read_rows(where, side, on, what=name).astype(np.float64) for name, side in (("x", x), ("y", y)))
    n = a.size
    if a.ndim != 1 or a.shape != b.shape or n < 2:
        raise ShapeError(where, "not two series of one length", expected="(n,) and (n,), n at least 2",
                         got=f"{a.shape} and {b.shape}", remedy="Match the lengths")  # fmt: skip
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Line(*[float("nan")] * 5)
    middles = [float(mean(side, on=on)) for side in (a, b)]
    a, b = a - middles[0], b - middles[1]
    xx, xy, yy = (float(gpu_sum(product, on=on)) for product in (a * a, a * b, b * b))
    if xx == 0 or a.min() == a.max():
        raise ArgumentError(f"{where}, x", "all elements are equal", expected="at least two different ones",
                            got=middles[0], remedy="Pass points that are not above one another")  # fmt: skip
    if yy == 0 or b.min() == b.max():
        return Line(0.0, middles[1], float("nan"), 0.0, 0.0)
    slope, r = xy / xx, max(-1.0, min(1.0, xy / float(np.sqrt(xx * yy))))
    error = float(np.sqrt(max(0.0, (1 - r * r) * yy / xx / (n - 2)))) if n > 2 else 0.0
    return Line(slope, middles[1] - slope * middles[0], r, error, error * float(np.sqrt(xx / n + middles[0] ** 2)))
