"""Finance: ``rsi``, ``macd``, ``atr``, ``sharpe``, ``drawdown``, ``volatility``, ``vwap``, ``black_scholes``.

Layer: patterns. Averages are ``signal.ema`` or canonical sums; what is done to single elements is rounded once a step.
Invariant: element i of a series depends on elements up to i alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.numbers import real, whole
from loom.patterns.data.changes import log_returns
from loom.patterns.given import as_given, host_arithmetic, read_numbers, read_rows
from loom.patterns.maps.elementwise import gpu_exp, gpu_log, gpu_sqrt
from loom.patterns.maps.map import gpu_map
from loom.patterns.scan import gpu_scan
from loom.patterns.signal.convolve import ema
from loom.patterns.stats.moments import mean, std
from loom.runtime.port.device import Device

__all__ = ["Macd", "Option", "atr", "black_scholes", "drawdown", "macd", "rsi", "sharpe", "volatility", "vwap"]


class Macd(NamedTuple):
    """What ``macd`` gives: three series of the length of the prices."""

    line: Any
    signal: Any
    histogram: Any


class Option(NamedTuple):
    """What ``black_scholes`` gives for every option: its price and how that changes."""

    price: Any
    delta: Any
    gamma: Any
    vega: Any
    theta: Any
    rho: Any


@host_arithmetic()
def rsi(prices: Any, window: int = 14, *, on: str | Device | None = None) -> Any:
    """Return the relative strength of a series of n prices, n - 1 numbers from 0 to 100 (J. W. Wilder, 1978).

    100 G / (G + L), G and L being averages of gains and losses by ``ema`` with alpha = 1 / window; 50 where there were
    neither. NaN from the first NaN on.

    Args:
        prices: Array (n,) of floats; integers and bools are taken as f64; n at least 2.
        window: Elements of the averages, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n - 1,) of floats, from 0 to 100.

    Raises:
        ArgumentError: A window below 1.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, or too few elements.

    Source:
        J. W. Wilder, "New Concepts in Technical Trading Systems", 1978.

    >>> rsi([1.0, 2.0, 3.0]).tolist()
    [100.0, 100.0]
    """
    x = _series("data.rsi", prices, on, least=2)
    alpha = 1.0 / whole(window, "data.rsi, window", least=1)
    change = x[1:] - x[:-1]
    none = x.dtype.type(0)
    up, down = (np.asarray(ema(np.where(side <= 0, none, side), alpha, on=on)) for side in (change, -change))
    total = up + down
    found = np.where(total == 0, 50, 100 * up / np.where(total == 0, 1, total))
    return as_given(prices, found.astype(x.dtype))


@host_arithmetic()
def macd(prices: Any, fast: int = 12, slow: int = 26, signal: int = 9, *, on: str | Device | None = None) -> Macd:
    """Return the fast less the slow average of prices, the average of that, and their difference (G. Appel, 1979).

    Averages by ``ema`` with alpha = 2 / (window + 1).

    Args:
        prices: Array (n,) of floats; integers and bools are taken as f64.
        fast: Elements of the fast average, at least 1.
        slow: Elements of the slow average, at least 1.
        signal: Elements of the average of their difference, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Macd``: line, signal and histogram, (n,) of floats each.

    Raises:
        ArgumentError: A window below 1.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, or too few elements.

    Source:
        G. Appel, "Technical Analysis: Power Tools for Active Investors", 2005.
    """
    x = _series("data.macd", prices, on)
    spans = [2.0 / (whole(n, f"data.macd, {name}", least=1) + 1) for n, name in
             ((fast, "fast"), (slow, "slow"), (signal, "signal"))]  # fmt: skip
    line = np.asarray(ema(x, spans[0], on=on)) - np.asarray(ema(x, spans[1], on=on))
    smooth = np.asarray(ema(line, spans[2], on=on))
    return Macd(*(as_given(prices, side) for side in (line, smooth, line - smooth)))


@host_arithmetic()
def atr(high: Any, low: Any, close: Any, window: int = 14, *, on: str | Device | None = None) -> Any:
    """Return the average true range of a series of bars: of high - low, |high - c| and |low - c| the largest, averaged.

    c is the close before; the average is ``ema`` with alpha = 1 / window (J. W. Wilder, 1978).

    Args:
        high: Array (n,) of floats: the highest price of each bar.
        low: Array (n,): the lowest.
        close: Array (n,): the last.
        window: Elements of the average, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n,) of floats.

    Raises:
        ArgumentError: A window below 1.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, no elements, or other lengths.

    Source:
        J. W. Wilder, "New Concepts in Technical Trading Systems", 1978.

    >>> atr([2.0, 3.0], [1.0, 2.0], [1.0, 2.5], 1).tolist()
    [1.0, 2.0]
    """
    h, b, c = (_series("data.atr", side, on, what=name) for side, name in
               ((high, "high"), (low, "low"), (close, "close")))  # fmt: skip
    if not h.shape == b.shape == c.shape:
        raise ShapeError("data.atr", "not series of one length", expected=h.shape, got=f"{b.shape} and {c.shape}",
                         remedy="Match the lengths")  # fmt: skip
    before = np.concatenate([c[:1], c[:-1]])
    span = np.maximum(h - b, np.maximum(np.abs(h - before), np.abs(b - before)))
    span[0] = h[0] - b[0]
    return as_given(high, np.asarray(ema(span, 1.0 / whole(window, "data.atr, window", least=1), on=on)))


@host_arithmetic()
def volatility(prices: Any, periods: float = 252.0, *, on: str | Device | None = None) -> Any:
    """Return the standard deviation (of n - 1) of the logarithmic returns of prices, times the root of ``periods``.

    Args:
        prices: Array (n,) of floats; integers and bools are taken as f64; n at least 3.
        periods: Elements of a year, above 0.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Number of the dtype of the prices.

    Raises:
        ArgumentError: ``periods`` is not above 0, or not finite.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, or too few elements.
    """
    x = _series("data.volatility", prices, on, least=3)
    return as_given(
        prices, std(np.asarray(log_returns(x, on=on)), ddof=1, on=on) * _root(periods, "data.volatility", x)
    )


@host_arithmetic()
def sharpe(returns: Any, riskless: float = 0.0, periods: float = 252.0, *, on: str | Device | None = None) -> Any:
    """Return the mean return above a ``riskless`` one by its deviation, times the root of ``periods``.

    W. F. Sharpe, 1966; the deviation is that of n - 1; infinite, or NaN, where all returns are equal.

    Args:
        returns: Array (n,) of floats, n at least 2.
        riskless: Return of an element without risk.
        periods: Elements of a year, above 0.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Number of the dtype of the returns.

    Raises:
        ArgumentError: A number is not finite; ``periods`` is not above 0.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, or too few elements.

    Source:
        W. F. Sharpe, "Mutual fund performance", Journal of Business 39, 1966.

    >>> sharpe([0.1, 0.3], periods=1.0).round(6).item()
    1.414214
    """
    x = _series("data.sharpe", returns, on, least=2)
    over = x - x.dtype.type(real(riskless, "data.sharpe, riskless"))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = std(over, ddof=1, on=on) if over.min() != over.max() else x.dtype.type(0)
        found = mean(over, on=on) / spread * _root(periods, "data.sharpe", x)
    return as_given(returns, found)


@host_arithmetic()
def drawdown(prices: Any, *, on: str | Device | None = None) -> Any:
    """Return how far every price is below the highest before it, as a share of that: 0, or below.

    NaN while the highest is not above 0, and from the first NaN on.

    Args:
        prices: Array (n,) of floats; integers and bools are taken as f64.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n,) of floats.

    Raises:
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, or too few elements.

    >>> drawdown([1.0, 2.0, 1.0]).tolist()
    [0.0, 0.0, -0.5]
    """
    x = _series("data.drawdown", prices, on)
    top = np.asarray(gpu_scan(x, "max", on=on))
    with np.errstate(divide="ignore", invalid="ignore"):
        return as_given(prices, np.where(top <= 0, x.dtype.type("nan"), x / top - 1))


@host_arithmetic()
def vwap(prices: Any, volumes: Any, *, on: str | Device | None = None) -> Any:
    """Return the mean price so far, each price weighted by its volume: running sums of products by those of volumes.

    Args:
        prices: Array (n,) of floats; integers and bools are taken as f64.
        volumes: Array (n,): the volume of each price.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n,) of floats.

    Raises:
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, no elements, or other lengths.

    >>> vwap([1.0, 3.0], [1.0, 3.0]).tolist()
    [1.0, 2.5]
    """
    x, v = (_series("data.vwap", side, on, what=name) for side, name in ((prices, "prices"), (volumes, "volumes")))
    if x.shape != v.shape:
        raise ShapeError("data.vwap", "not a volume for each price", expected=x.shape, got=v.shape,
                         remedy="Match the lengths")  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(gpu_scan(x * v, on=on)) / np.asarray(gpu_scan(v, on=on))
    return as_given(prices, found)


@host_arithmetic()
def black_scholes(
    price: Any,
    strike: Any,
    years: Any,
    rate: Any,
    volatility: Any,
    kind: str = "call",
    *,
    on: str | Device | None = None,
) -> Option:
    """Return European options' prices and greeks (F. Black, M. Scholes, 1973); arguments broadcast.

    ``rate`` is continuous, by the year; theta is by the year. ``kind``: "call" or "put". ArgumentError unless price,
    strike, years and volatility are above 0.

    Args:
        price: Price of what the option is on, above 0: a number or an array.
        strike: Price agreed on, above 0.
        years: Years until the option ends, above 0.
        rate: Continuous rate without risk, by the year.
        volatility: Deviation of logarithmic returns, by the root of a year, above 0.
        kind: "call" or "put".
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Option``: price, delta, gamma, vega (by 1), theta (by the year) and rho (by 1), in the shape that the
        arguments meet in.

    Raises:
        ArgumentError: A number that is not above 0 where it must be; an unknown kind; arguments on other devices.
        DTypeError: Not numbers; not a device.
        ShapeError: The arguments do not broadcast.

    Source:
        F. Black, M. Scholes, "The pricing of options and corporate liabilities", Journal of Political Economy 81, 1973.

    >>> [float(side.round(4)) for side in black_scholes(100.0, 100.0, 1.0, 0.05, 0.2)]
    [10.4506, 0.6368, 0.0188, 37.524, -6.414, 53.2325]
    """
    where = "data.black_scholes"
    if not isinstance(kind, str) or kind not in ("call", "put"):
        raise ArgumentError(
            f"{where}, kind", "unknown", expected="'call' or 'put'", got=repr(kind), remedy="Pass one of them"
        )
    given = {"price": price, "strike": strike, "years": years, "rate": rate, "volatility": volatility}
    rows = {name: _floats(where, value, name, on) for name, value in given.items()}
    for name in ("price", "strike", "years", "volatility"):
        if not (rows[name] > 0).all():
            raise ArgumentError(
                f"{where}, {name}", "out of range", expected="above 0", got="others", remedy="Leave them out"
            )
    arrays = [rows[name].dtype for name, value in given.items() if not isinstance(value, (int, float))]
    kind_of = np.result_type(*arrays) if arrays else np.float64
    try:
        s, k, t, r, v = np.broadcast_arrays(*(side.astype(kind_of) for side in rows.values()))
    except ValueError:
        raise ShapeError(where, "the arguments do not broadcast", expected="numpy's rules",
                         got=", ".join(str(side.shape) for side in rows.values()),
                         remedy="Match the shapes") from None  # fmt: skip
    found = _prices(s, k, t, r, v, 1.0 if kind == "call" else -1.0, on)
    return Option(*(as_given(price, side[()]) for side in found))


def _prices(s: Any, k: Any, t: Any, r: Any, v: Any, sign: float, on: Any) -> list[Any]:
    number = s.dtype.type

    def of(function: Any, x: Any) -> Any:
        return np.asarray(function(np.ascontiguousarray(x), on=on)).reshape(s.shape)

    root = of(gpu_sqrt, t)
    d1 = (of(gpu_log, s / k) + (r + v * v / 2) * t) / (v * root)
    d2 = d1 - v * root
    low = number(math.sqrt(0.5))
    n1, n2 = (of(_tail, -sign * low * d) / 2 for d in (d1, d2))
    density = of(gpu_exp, -d1 * d1 / 2) * number(1 / math.sqrt(2 * math.pi))
    later = k * of(gpu_exp, -r * t)
    return [
        sign * (s * n1 - later * n2), sign * n1, density / (s * v * root), s * density * root,
        -s * density * v / (2 * root) - sign * r * later * n2, sign * t * later * n2,
    ]  # fmt: skip


def _tail(x: Any, on: Any) -> Any:
    return gpu_map(x, "erfc", on=on)


def _floats(where: str, value: Any, name: str, on: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return np.asarray(real(value, f"{where}, {name}"), np.float64)
    return read_numbers(where, value, on, what=name)


def _series(where: str, data: Any, on: Any, *, what: str = "data", least: int = 1) -> Any:
    x = read_rows(where, data, on, what=what)
    if x.ndim != 1 or x.size < least:
        raise ShapeError(f"{where}, {what}", "not a series", expected=f"(n,), n at least {least}", got=x.shape,
                         remedy="Pass one row")  # fmt: skip
    return x


def _root(periods: Any, where: str, x: Any) -> Any:
    found = real(periods, f"{where}, periods")
    if not 0 < found < math.inf:
        raise ArgumentError(
            f"{where}, periods", "out of range", expected="above 0", got=periods, remedy="Pass 252, or 1"
        )
    return x.dtype.type(math.sqrt(found))
