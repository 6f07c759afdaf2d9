"""Reads single numbers that a caller passes: Python's and numpy's alike.

Layer: core. Invariant: a bool is no number, and a whole number is never made of a float.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.given import is_array, is_scalar
from loom.core.symbols import Size

__all__ = ["real", "whole"]


def _plain(value: Any) -> Any:
    """Return numpy's numbers, arrays of one included, as Python's."""
    if (is_array(value) or is_scalar(value)) and np.ndim(value) == 0 and value.dtype.kind in "biuf":
        return value.item()
    return value


def whole(value: Any, where: str, *, least: int | None = None, most: int | None = None, remedy: str = "") -> int:
    """Return an int from ``least`` to ``most``: Python's, numpy's, or whatever is an index; ArgumentError otherwise.

    >>> whole(np.int64(2), "f, epochs", least=1)
    2
    """
    found = _plain(value)
    try:
        number = None if isinstance(found, bool) else found if type(found) is Size else operator.index(found)
    except TypeError:
        number = None
    if number is None:
        raise ArgumentError(where, "not a whole number", expected=f"an int{_range(least, most)}", got=repr(value),
                            remedy=remedy or "Pass an int")  # fmt: skip
    if (least is not None and number < least) or (most is not None and number > most):
        raise ArgumentError(where, "out of range", expected=f"an int{_range(least, most)}", got=number,
                            remedy=remedy or "Pass one within the range")  # fmt: skip
    return number


def real(
    value: Any, where: str, *, least: float | None = None, most: float | None = None, remedy: str = ""
) -> float | int:
    """Return a number that is finite, from ``least`` to ``most``: Python's or numpy's; ArgumentError otherwise.

    >>> real(np.float32(0.5), "f, learning_rate", least=0)
    0.5
    """
    found = _plain(value)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ArgumentError(where, "not a number", expected=f"a number{_range(least, most)}", got=repr(value),
                            remedy=remedy or "Pass an int or a float")  # fmt: skip
    inside = (least is None or found >= least) and (most is None or found <= most)
    if not inside or (isinstance(found, float) and not math.isfinite(found)):
        raise ArgumentError(where, "out of range", expected=f"a number{_range(least, most)}", got=found,
                            remedy=remedy or "Pass one within the range")  # fmt: skip
    return found


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f" of at most {most}"
    return f" of at least {least}" if most is None else f" from {least} to {most}"
