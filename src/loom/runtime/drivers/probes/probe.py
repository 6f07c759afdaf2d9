"""What a probe of a device is, and how the host works out what it must leave.

Layer: runtime. Invariant: what the host computes is IEEE 754's, whatever state the calling thread computes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction

__all__ = ["Array", "Probe", "extreme", "on_host"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Probe:
    """``make`` gives a kernel of ``inputs`` and an output, and ``expected`` what it must be; ``groups`` run."""

    operation: str
    make: Callable[[], KernelFunction]
    inputs: Callable[[], tuple[Array, ...]]
    expected: Callable[..., Array]
    groups: int = 0


def on_host(function: Callable[..., Any]) -> Callable[..., Array]:
    """Compute with numpy as IEEE 754 says."""

    @ordinary_arithmetic()
    def compute(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return compute


def extreme(name: str) -> Callable[..., Array]:
    """Return the smaller ("min") or larger of two arrays: NaN wins, -0 is below +0."""

    def choose(x: Array, y: Array) -> Array:
        less = (x < y) | ((x == y) & np.signbit(x))
        found = np.where(less == (name == "min"), x, y)
        return np.where(np.isnan(x) | np.isnan(y), np.array(np.nan, x.dtype), found)

    return choose
