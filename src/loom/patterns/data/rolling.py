"""``rolling``: sums, means, minima and maxima of every window of an array.

Layer: patterns. Invariant: no window is computed from its neighbour by taking something away, so that a large
number (or a NaN) spoils only the windows it is in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag, is_int
from loom.core.tracebacks import brief_class
from loom.patterns.array_calls import Arrays
from loom.patterns.given import as_given, read_any, read_rows
from loom.patterns.own_operations import Operation
from loom.patterns.reduce import gpu_max, gpu_min, gpu_sum
from loom.patterns.stats.moments import mean, std, variance
from loom.patterns.stats.quantile import median
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.schedules.rolling import Windows
from loom.tensor import Tensor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["Rolling", "rolling"]


def rolling(data: Any, window: int, *, partial: bool = False, on: str | Device | None = None) -> Rolling:
    """Return the windows of ``window`` neighbours in ``data`` (one dimension), to be folded.

    ``rolling(x, w).sum()`` has len(x) - w + 1 elements, of which element i is the sum of x[i : i + w]; so for
    the others. With ``partial`` there are w - 1 more before them, of the windows that the beginning cuts off, so that
    element i is of x[max(0, i - w + 1) : i + 1]. ArgumentError unless 1 <= window <= len(data).

    Args:
        data: Array (n,) of any dtype.
        window: Elements of a window, from 1 to n.
        partial: Whether windows that the beginning cuts off are there too.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Rolling``.

    Raises:
        ArgumentError: The window is out of range; ``partial`` is no truth; an array on another device than ``on``.
        DTypeError: Not numbers; a window that is no whole number; not a device.
        ShapeError: Not one dimension.

    >>> rolling([1, 2, 3, 10], 2).sum().tolist()
    [3, 5, 13]
    >>> rolling([1, 2, 3, 10], 2, partial=True).sum().tolist()
    [1, 3, 5, 13]
    """
    partial = flag(partial, "data.rolling, partial")
    x = Arrays("data.rolling", on, data).input(data, ndim=1)
    if not is_int(window):
        raise DTypeError(
            "data.rolling, window", "not a whole number", expected="an int", got=repr(window), remedy="Round it first"
        )
    width = int(window)
    if not 1 <= width <= x.size:
        raise ArgumentError(
            "data.rolling, window", "out of range", got=width,
            expected=f"1 to the {x.size} elements of data" if x.size else "elements in data",
            remedy="Pass a shorter window",
        )  # fmt: skip
    return Rolling(data, width, on, partial=partial)


@brief_class
class Rolling:
    """The windows of an array (see ``rolling``).

    The end of a block of ``window`` elements is folded backwards, the beginning of the next one forwards, and the
    two are joined (``kernels.fold.rolling``): the order depends on the window's place and width alone. A NaN is in the
    result of every window it is in.
    """

    def __init__(self, data: Any, window: int, on: str | Device | None, *, partial: bool = False) -> None:
        self._data = data
        self._partial = partial
        self._window = window
        self._on = on

    def sum(self) -> Any:
        """Return the sums: floats in their dtype (f16, bf16 added in f32), integers as int64 or uint64, bools as int64.

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

    def var(self, *, ddof: int = 0) -> Any:
        """Return the variances, each of two passes over its window, divided by its number less ``ddof``.

        Args:
            ddof: Number that is taken from that of elements before it divides, at least 0.

        Returns:
            Array of floats, one for each window.

        Raises:
            ArgumentError: ``ddof`` leaves nothing to divide by.

        >>> rolling([1.0, 3.0, 3.0], 2).var().tolist()
        [1.0, 0.0]
        """
        return self._each("var", lambda row: variance(row, -1, ddof=ddof, on=self._on))

    def std(self, *, ddof: int = 0) -> Any:
        """Return the standard deviations: the square roots of ``var``.

        Args:
            ddof: Number that is taken from that of elements before it divides, at least 0.

        Returns:
            Array of floats, one for each window.

        Raises:
            ArgumentError: ``ddof`` leaves nothing to divide by.

        >>> rolling([1.0, 3.0, 3.0], 2).std().tolist()
        [1.0, 0.0]
        """
        return self._each("std", lambda row: std(row, -1, ddof=ddof, on=self._on))

    def median(self) -> Any:
        """Return the medians: floats in their dtype, integers and bools as float64.

        >>> rolling([1.0, 9.0, 2.0, 3.0], 3).median().tolist()
        [2.0, 3.0]
        """
        return self._each("median", lambda row: median(row, -1, on=self._on))

    def _each(self, name: str, fold: Callable[[Any], Any]) -> Any:
        """Fold every window as a row of its own."""
        x = read_rows(f"data.rolling.{name}", self._data, self._on)
        rows = np.lib.stride_tricks.sliding_window_view(x, self._window)
        found = [np.asarray(fold(np.ascontiguousarray(rows)))]
        if self._partial:
            found = [np.asarray(fold(x[None, :k])) for k in range(1, self._window)] + found
        return as_given(self._data, np.concatenate(found))

    def _fold(self, name: str) -> Any:
        where = f"data.rolling.{name}"
        options = {"name": name, "window": self._window, "on": self._on}
        found = answer(where, _fold, [self._data], options)
        if not self._partial:
            return found
        x, _ = read_any(where, self._data, self._on)
        fold = {"sum": gpu_sum, "mean": mean, "min": gpu_min, "max": gpu_max}[name]
        first = [np.asarray(fold(x[:k], on=self._on)) for k in range(1, self._window)]
        tail = found.numpy() if isinstance(found, Tensor) else found
        return as_given(self._data, np.concatenate([np.array(first, tail.dtype), tail]))


def _record(draft: Draft, node: Node, x: Any, out: Any) -> None:
    (windows,) = node.attributes[0]
    windows.record(draft, x, out, draft.device.allocate(windows.room))


_WINDOWS = Operation("data.rolling", _record)


def _fold(x: Tensor, *, name: str, window: int) -> Tensor:
    windows = Windows.of(name, x.size, window, x.dtype)
    return _WINDOWS([x], (windows.results,), windows.result, windows)
