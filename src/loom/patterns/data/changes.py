"""Changes along a series: differences, relative changes, logarithmic returns, momentum, bands.

Layer: patterns, over tensors. Invariant: element i depends on the elements i and i + lag of the series alone (bands: on
those of one window).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from loom import tensor
from loom.core.errors import ArgumentError
from loom.core.numbers import real, whole
from loom.patterns.operand_kinds import as_statistic, require_alike
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["Bands", "bollinger", "diff", "log_returns", "momentum", "percent_change"]


class Bands(NamedTuple):
    """What ``bollinger`` gives: three series, one element for each window."""

    lower: Any
    middle: Any
    upper: Any


def _diff(x: Tensor, lag: int = 1, where: str = "data.diff") -> Tensor:
    require_alike(where, {"data": x}, integers=True)
    before, after = _pairs(where, x, lag)
    return after - before


def _momentum(x: Tensor, lag: int = 10) -> Tensor:
    return _diff(x, lag, "data.momentum")


def _percent_change(x: Tensor, lag: int = 1) -> Tensor:
    before, after = _pairs("data.percent_change", as_statistic(x), lag)
    return after / before - 1


def _log_returns(x: Tensor, lag: int = 1) -> Tensor:
    before, after = _pairs("data.log_returns", as_statistic(x), lag)
    return (after / before).log()


def _bollinger(data: Tensor, window: int = 20, width: float = 2.0) -> Bands:
    x = as_statistic(data)
    width = real(width, "data.bollinger, width")
    window = whole(window, "data.bollinger, window")
    if x.ndim != 1 or not 1 <= window <= x.size:
        raise ArgumentError(
            "data.bollinger", "no windows", expected="a series, and a window of 1 to its length",
            got=f"window {window!r} of shape {x.shape}", remedy="Pass a shorter window",
        )  # fmt: skip
    parts = tensor.windows(x, [0], [window], [1])
    middle = parts.mean(-1)
    away = tensor.variance(parts, -1).sqrt() * float(width)
    return Bands(middle - away, middle, middle + away)


def _pairs(where: str, x: Tensor, lag: Any) -> tuple[Tensor, Tensor]:
    """Return the elements that have one ``lag`` after them, and those."""
    lag = whole(lag, f"{where}, lag")
    if x.ndim != 1 or lag < 1:
        raise ArgumentError(
            where, "no series or no lag", expected="one dimension, and a lag of at least 1",
            got=f"lag {lag!r} of shape {x.shape}", remedy="Pass one series",
        )  # fmt: skip
    left = max(0, x.size - lag)
    return x[:left], x[min(lag, x.size) :]


@row(_diff, where="data.diff")
def diff(data: Any, lag: int = 1, *, on: str | Device | None = None) -> Any:
    """Return x[i + lag] - x[i] of a series of numbers; integers wrap. ArgumentError for a lag below 1.

    Args:
        data: Array (n,) of integers or floats.
        lag: Steps from the earlier to the later element, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n - lag,) of the dtype of ``data``.

    Raises:
        ArgumentError: A lag below 1, or more dimensions than one; an array on another device than ``on``.
        DTypeError: Not numbers; not a device.

    >>> diff([1, 4, 9, 16]).tolist()
    [3, 5, 7]
    """


@row(_momentum, where="data.momentum")
def momentum(data: Any, lag: int = 10, *, on: str | Device | None = None) -> Any:
    """Return what a series gained in ``lag`` steps: ``diff`` with that lag.

    Args:
        data: Array (n,) of integers or floats.
        lag: Steps from the earlier to the later element, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n - lag,) of the dtype of ``data``.

    Raises:
        ArgumentError: A lag below 1, or more dimensions than one; an array on another device than ``on``.
        DTypeError: Not numbers; not a device.
    """


@row(_percent_change, where="data.percent_change")
def percent_change(data: Any, lag: int = 1, *, on: str | Device | None = None) -> Any:
    """Return x[i + lag] / x[i] - 1 of a series of numbers: 0.1 for a tenth more.

    Args:
        data: Array (n,) of numbers; integers are taken as f64.
        lag: Steps from the earlier to the later element, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n - lag,) of floats.

    Raises:
        ArgumentError: A lag below 1, or more dimensions than one; an array on another device than ``on``.
        DTypeError: Not numbers; not a device.

    >>> percent_change([2.0, 3.0, 1.5]).tolist()
    [0.5, -0.5]
    """


@row(_log_returns, where="data.log_returns")
def log_returns(data: Any, lag: int = 1, *, on: str | Device | None = None) -> Any:
    """Return the natural logarithm of x[i + lag] / x[i] of a series of numbers.

    Args:
        data: Array (n,) of numbers; integers are taken as f64.
        lag: Steps from the earlier to the later element, at least 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (n - lag,) of floats.

    Raises:
        ArgumentError: A lag below 1, or more dimensions than one; an array on another device than ``on``.
        DTypeError: Not numbers; not a device.
    """


@row(_bollinger, where="data.bollinger")
def bollinger(data: Any, window: int = 20, width: float = 2.0, *, on: str | Device | None = None) -> Any:
    """Return the means of every window of a series of numbers, and ``width`` deviations of it below and above.

    Args:
        data: Array (n,) of numbers; integers are taken as f64.
        window: Elements of a window, from 1 to n.
        width: Deviations between the middle and a band.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Bands``: lower, middle and upper, (n - window + 1,) of floats each.

    Raises:
        ArgumentError: No window of that many elements; a width that is not finite; more dimensions than one; an array
            on another device than ``on``.
        DTypeError: Not numbers; not a device.

    Source:
        J. Bollinger, "Bollinger on Bollinger Bands", 2001.

    >>> [band.tolist() for band in bollinger([1.0, 3.0, 5.0], 2, 1.0)]
    [[1.0, 3.0], [2.0, 4.0], [3.0, 5.0]]
    """
