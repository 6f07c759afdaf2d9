"""``describe``: an array in eight numbers.

Layer: patterns. Invariant: each number is what the function of its name in ``loom.stats`` gives.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from loom.core.dataclass import dataclass
from loom.patterns.calling.call import Call
from loom.patterns.reduce import gpu_max, gpu_min
from loom.patterns.stats import mean, quantile, std
from loom.runtime.port.device import Device

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
    call = Call("data.describe", on)
    x = call.input(data)
    nan = math.nan
    if not x.size:
        return Description(0, nan, nan, nan, nan, nan, nan, nan)
    source = call.array(x)
    spread = _number(std(source, ddof=1).numpy()) if x.size > 1 else nan
    lower, middle, upper = (_number(v) for v in quantile(source, [0.25, 0.5, 0.75]).numpy())
    least, most = _number(gpu_min(source).numpy()), _number(gpu_max(source).numpy())
    return Description(x.size, _number(mean(source).numpy()), spread, least, lower, middle, upper, most)


def _number(value: Any) -> Any:
    """Return a numpy scalar as a Python number; one of ml_dtypes' bfloat16 has no item of Python's."""
    return float(value) if value.dtype.kind not in "biu" else int(value)
