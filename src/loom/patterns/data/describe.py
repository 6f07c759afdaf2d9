"""``describe``: an array in eight numbers.

Layer: patterns. Invariant: each number is what the function of its name in ``loom.stats`` gives.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.patterns.array_calls import Arrays
from loom.patterns.reduce import gpu_max, gpu_min
from loom.patterns.stats import mean, quantile, std
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["Description", "describe"]


@dataclass(frozen=True, slots=True)
class Description:
    """What ``describe`` found, as Python numbers; ``q25``, ``median`` and ``q75`` are the quartiles."""

    count: int
    mean: float
    std: float
    min: float
    q25: float
    median: float
    q75: float
    max: float

    def __repr__(self) -> str:
        names = [f.name for f in fields(self)]
        return "\n".join(f"{name:<6} {getattr(self, name):>12.6g}" for name in names)


def describe(data: Any, *, on: str | Device | None = None) -> Description:
    """Return count, mean, standard deviation (of a sample: n - 1), extremes and quartiles of all elements.

    Any dtype and shape. NaN for everything but the count if an element is NaN or there are none; one element
    has no deviation, which is NaN too.

    Args:
        data: Array of any shape and dtype.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Description``: numbers of Python.

    Raises:
        ArgumentError: An array on another device than ``on``.
        DTypeError: Not numbers; not a device.

    >>> describe([1.0, 2.0, 3.0, 4.0])
    count             4
    mean            2.5
    std         1.29099
    min               1
    q25            1.75
    median          2.5
    q75            3.25
    max               4
    """
    call = Arrays("data.describe", on, data)
    n = call.input(data).size
    if not n:
        return Description(0, *[math.nan] * 7)
    found = answer("data.describe", _numbers, [data], {"on": on})
    middle, spread, quartiles, least, most = (x.numpy() if isinstance(x, Tensor) else x for x in found)
    low, half, high = map(_number, quartiles)
    spread = _number(spread) if n > 1 else math.nan
    return Description(n, _number(middle), spread, _number(least), low, half, high, _number(most))


def _numbers(x: Tensor) -> tuple[Any, ...]:
    """Return mean, deviation, quartiles and extremes."""
    return mean(x), std(x, ddof=int(x.size > 1)), quantile(x, [0.25, 0.5, 0.75]), gpu_min(x), gpu_max(x)


def _number(value: Any) -> Any:
    """Return a numpy scalar as a Python number; one of ml_dtypes' bfloat16 has no item of Python's."""
    return float(value) if value.dtype.kind not in "biu" else int(value)
