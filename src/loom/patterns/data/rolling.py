"""``rolling``: sums, means, minima and maxima of every window of an array.

Layer: patterns. Invariant: no window is computed from its neighbour by taking something away, so that a large
number (or a NaN) spoils only the windows it is in.
"""

from __future__ import annotations

import operator
from typing import Any

from loom.core.dtype import DType, f32, f64, i64, u64
from loom.core.errors import ArgumentError, DTypeError
from loom.kernels.fold.rolling import BLOCK_LANES, DIVIDE_LANES, fold_windows, window_results
from loom.kernels.types import read_type
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.workspace import workspace
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot

__all__ = ["Rolling", "rolling"]

_GROUP = 4096
"""Elements a workgroup folds, at least."""


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
        return self._fold("sum", "sum")

    def mean(self) -> Any:
        """Return the means: the sums divided once; integers and bools give float64.

        >>> rolling([1, 2, 4], 2).mean().tolist()
        [1.5, 3.0]
        """
        return self._fold("mean", "sum")

    def min(self) -> Any:
        """Return the smallest elements; NaN wins, and -0 is below +0.

        >>> rolling([3, 1, 2], 2).min().tolist()
        [1, 1]
        """
        return self._fold("min", "min")

    def max(self) -> Any:
        """Return the largest elements; NaN wins, and +0 is above -0.

        >>> rolling([3, 1, 2], 2).max().tolist()
        [3, 2]
        """
        return self._fold("max", "max")

    def _fold(self, name: str, join: str) -> Any:
        call = Call(f"data.rolling.{name}", self._on)
        x = call.input(self._data)
        *_, result = _kinds(x.dtype, name)
        out = call.output(x.size - self._window + 1, result, like=x)
        key, room = (call.name, x.dtype, x.size, self._window), _room(x, name, out.size)
        with workspace([room], call.device) as lent:
            call.run(key, lambda chain: _record(chain, x, self._window, name, join, room), x, out, *lent)
        return call.result(out)


def _kinds(dtype: DType, name: str) -> tuple[DType, DType, DType, DType]:
    """Return the types elements are read as, folded in, computed in at the end, and of the result."""
    element = read_type(dtype)
    if name in ("min", "max"):
        held = f32 if dtype.storage_only else element
        return element, held, held, dtype
    if dtype.is_float:
        held = f32 if dtype.storage_only else dtype
        return element, held, held, dtype
    wide = i64 if element.is_signed else u64
    if name == "sum":
        return element, wide, wide, wide
    return element, f64 if element.bits == 64 else wide, f64, f64


def _room(x: Operand, name: str, results: int) -> int:
    """Return the bytes that folds take apart from the results; one if they are the results."""
    _, held, _, result = _kinds(x.dtype, name)
    return 1 if name != "mean" and held == read_type(result) else results * held.nbytes


def _record(chain: Chain, source: Operand, window: int, name: str, join: str, room: int) -> tuple[list[HostSlot], Any]:
    element, held, computed, result = _kinds(source.dtype, name)
    n, results = source.size, source.size - window + 1
    slots = [HostSlot(nbytes) for nbytes in (source.nbytes, results * result.nbytes, room)]
    x, out, folds = slots
    threads = chain.device.caps.threads
    lanes, blocks = (BLOCK_LANES, 1) if threads else (1, max(1, _GROUP // window))
    kernel = fold_windows(element, held, join, lanes)
    target = out if room == 1 else folds
    chain.dispatch(kernel, [x, target], [n, window, blocks], groups=-(-results // (lanes * blocks * window)))
    if target is folds:
        finish = window_results(held, computed, read_type(result), mean=name == "mean")
        chain.dispatch(finish, [target, out], [results, window], groups=-(-results // DIVIDE_LANES))
    return slots, None
