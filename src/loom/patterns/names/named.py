"""Names that people guess for what other modules hold, and short maps: ``gpu_median``, ``gpu_fft``, ``gpu_floor``, ...

Layer: patterns. Invariant: a name here is the function it stands for, or one map of ``gpu_map``.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DeviceError
from loom.patterns.data.select import filter as gpu_filter
from loom.patterns.linalg.products import transpose as gpu_transpose
from loom.patterns.scan import scan
from loom.patterns.signal.fft import fft as gpu_fft
from loom.patterns.stats.moments import std as gpu_std
from loom.patterns.stats.moments import variance as gpu_var
from loom.patterns.stats.quantile import median as gpu_median
from loom.patterns.tensor_rows import answer, row
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = [
    "gpu_cumsum",
    "gpu_fft",
    "gpu_filter",
    "gpu_floor",
    "gpu_median",
    "gpu_mod",
    "gpu_range",
    "gpu_relu",
    "gpu_round",
    "gpu_sign",
    "gpu_square",
    "gpu_std",
    "gpu_transpose",
    "gpu_var",
]


def _cumsum(x: Tensor) -> Tensor:
    if x.ndim > 1:
        raise ArgumentError(
            "gpu_cumsum",
            "no axis to sum along",
            expected="one dimension",
            got=f"shape {x.shape}",
            remedy="Use gpu_scan(data, axis=...), or flatten the array",
        )
    return scan(x)


@row(_cumsum)
def gpu_cumsum(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the sums of the elements up to each, as ``gpu_scan``.

    >>> gpu_cumsum([1, 2, 3]).tolist()
    [1, 3, 6]
    """


@row("floor", complexes=True)
def gpu_floor(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the largest whole number not above each float."""


@row("round", complexes=True)
def gpu_round(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the nearest whole number of each float, halves to even."""


@row("square", complexes=True)
def gpu_square(data: Any, *, on: str | Device | None = None) -> Any:
    """Return x x of every element; integers wrap."""


@row("relu", complexes=True)
def gpu_relu(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the larger of x and 0 of every element; NaN stays."""


@row("sign", complexes=True)
def gpu_sign(data: Any, *, on: str | Device | None = None) -> Any:
    """Return -1, 0 or 1 of every element, in its dtype; NaN stays.

    >>> gpu_sign([-2.5, 0.0, 7.0]).tolist()
    [-1.0, 0.0, 1.0]
    """


@row("remainder", 2, complexes=True, whole=True)
def gpu_mod(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return a - b floor(a / b), with the sign of ``b`` as in numpy; of integers x modulo 0 is x.

    Floats are exact before the sign is right, as in ``loom.tensor.remainder``.

    >>> gpu_mod([-7, 7], 3).tolist()
    [2, 1]
    """


def gpu_range(start: float, end: float | None = None, step: float = 1, *, on: str | Device | None = None) -> Any:
    """Return the numbers from ``start`` (0, if one is given) up to but not including ``end``, as numpy does.

    Whole numbers give int64, floats float64: start + i step, rounded twice. ArgumentError for a step of 0 or too many.

    >>> gpu_range(0, 10, 3).tolist()
    [0, 3, 6, 9]
    """
    first, last = (0, start) if end is None else (start, end)
    given: tuple[Any, ...] = (first, last, step)
    numbers: list[Any] = [cast("Any", n).item() if isinstance(n, np.generic) else n for n in given]
    whole = all(type(n) is int for n in numbers)
    if any(type(n) not in (int, float) for n in numbers) or numbers[2] == 0 or not all(map(_is_usable, numbers)):
        raise ArgumentError(
            "gpu_range", "unusable bounds", expected="finite numbers of 64 bits, and a step other than 0", got=given,
            remedy="Write gpu_range(start, end, step)",
        )  # fmt: skip
    first, last, step = numbers
    span = -((first - last) // step) if whole else (last - first) / step
    count = math.ceil(max(0, min(span, _MOST + 1)))
    if count > _MOST:
        raise ArgumentError(
            "gpu_range", "too many elements", expected="less than 2^32", got=count, remedy="Take a larger step"
        )
    kind = np.int64 if whole else np.float64
    try:
        indexes = np.arange(count, dtype=kind)
    except MemoryError:
        raise DeviceError(
            "gpu_range", "out of memory", got=f"{count * 8} bytes", remedy="Make the range in parts"
        ) from None
    return answer("gpu_range", _line, [indexes, kind(step), kind(first)], {"on": on})


_MOST = 0xFFFF_FFFF


def _is_usable(n: int | float) -> bool:
    return -(1 << 63) <= n < 1 << 63 if isinstance(n, int) else math.isfinite(n)


def _line(i: Tensor, step: Any, first: Any) -> Tensor:
    return first + i * step
