"""Single numbers of settings: Python's and numpy's alike, kept as Python's.

Layer: nn. Invariant: equal numbers make equal settings, whatever type they came in.
"""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.core.given import flag as core_flag

__all__ = ["flag", "real", "whole"]

_LARGEST = sys.float_info.max


def whole(where: str, value: Any, *, least: int, most: float = _LARGEST) -> int:
    """Return an integer from ``least`` to ``most`` as an int; ArgumentError for anything else."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) <= most:
        ends = f"of at least {least:g}" if most == _LARGEST else f"from {least:g} to {most}"
        raise ArgumentError(where, "not usable", expected=f"an int {ends}", got=repr(value), remedy="Correct it")
    return int(value)


def real(where: str, value: Any, *, least: float = 0.0, below: float = float("inf"), what: str = "not usable") -> Any:
    """Return a number from ``least`` up to but not including ``below`` as a Python number; ArgumentError else."""
    if not isinstance(value, Real) or isinstance(value, bool) or not least <= _float(value) < below:
        expected = f"{least:g} up to but not including {below:g}" if below < float("inf") else "a number"
        expected += f" of at least {least:g}" if below == float("inf") else ""
        raise ArgumentError(where, what, expected=expected, got=repr(value), remedy="Correct it")
    return int(value) if isinstance(value, Integral) else float(value)


def _float(value: Real) -> float:
    """Return a number as a float; infinite if it is larger than all of them."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if cast(Any, value) > 0 else float("-inf")


def flag(where: str, value: Any) -> bool:
    """Return a truth as a bool; ArgumentError for anything else."""
    return core_flag(value, where)
