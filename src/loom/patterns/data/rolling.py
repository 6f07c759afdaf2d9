"""``rolling``: sums, means, minima and maxima of every window of an array.

Layer: patterns. Invariant: no window is computed from its neighbour by taking something away, so that a large
number (or a NaN) spoils only the windows it is in.
"""

from __future__ import annotations

import operator
from typing import Any

from loom.core.errors import ArgumentError, DTypeError
from loom.patterns.calling.call import Call
from loom.patterns.calling.workspace import workspace
from loom.runtime.device import Device
from loom.schedules.rolling import Windows

__all__ = ["Rolling", "rolling"]


def rolling(data: Any, window: int, *, on: str | Device | None = None) -> Rolling:
    """Return the windows of ``window`` neighbours in ``data`` (one dimension), to be folded.

    ``rolling(x, w).sum()`` has len(x) - w + 1 elements, of which element i is the sum of x[i : i + w]; so for
    ``mean``, ``min`` and ``max``. ArgumentError unless 1 <= window <= len(data).

    >>> rolling([1, 2, 3, 10], 2).sum().tolist()
    [3, 5, 13]
    """
    call = Call("data.rolling", on)
    x = call.input(data, ndim=1)
    try:
        width = operator.index(window)
    except TypeError:
        raise DTypeError(
            "data.rolling, window", "not a whole number", expected="an int", got=repr(window), remedy="Round it first"
        ) from None
    if not 1 <= width <= x.size:
        raise ArgumentError(
            "data.rolling, window", "out of range", got=width,
            expected=f"1 to the {x.size} elements of data" if x.size else "elements in data",
            remedy="Pass a shorter window",
        )  # fmt: skip
    return Rolling(data, width, on)


class Rolling:
    """The windows of an array (see ``rolling``).

    The end of a block of ``window`` elements is folded backwards, the beginning of the next one forwards, and the
    two are joined (``kernels.fold.rolling``): the order depends on the window's place and width alone. A NaN is in the
    result of every window it is in.
    """

    def __init__(self, data: Any, window: int, on: str | Device | None) -> None:
        self._data = data
        self._window = window
        self._on = on

    def sum(self) -> Any:
        """Return the sums: floats in their dtype (f16 and bf16 added in f32), integers as int64 or uint64.

        >>> rolling([0.5, 1.0, 1.5], 2).sum().tolist()
        [1.5, 2.5]
        """
        return self._fold("sum")

    def mean(self) -> Any:
        """Return the means: the sums divided once; integers and bools give float64.

        >>> rolling([1, 2, 4], 2).mean().tolist()
        [1.5, 3.0]
        """
        return self._fold("mean")

    def min(self) -> Any:
        """Return the smallest elements; NaN wins, and -0 is below +0.

        >>> rolling([3, 1, 2], 2).min().tolist()
        [1, 1]
        """
        return self._fold("min")

    def max(self) -> Any:
        """Return the largest elements; NaN wins, and +0 is above -0.

        >>> rolling([3, 1, 2], 2).max().tolist()
        [3, 2]
        """
        return self._fold("max")

    def _fold(self, name: str) -> Any:
        call = Call(f"data.rolling.{name}", self._on)
        x = call.input(self._data)
        windows = Windows.of(name, x.size, self._window, x.dtype)
        out = call.output(windows.results, windows.result, like=x)

        with workspace([windows.room], call.device) as lent:
            call.run((call.name, x.dtype, windows), windows.record, x, out, *lent)
        return call.result(out)
