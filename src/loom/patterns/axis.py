"""An array seen along one axis: (outer, n, inner), n being the axis's length.

Layer: patterns. Invariant: ``outer * n * inner`` is the number of elements, in row-major order.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.errors import DTypeError, IndexOutside
from loom.core.given import flag, is_int
from loom.schedules.axis import Rows, rows_along

__all__ = ["normal_axis", "reduced_shape", "rows_of"]


def rows_of(shape: tuple[int, ...], axis: Any, where: str) -> Rows:
    """Return an array's rows along ``axis`` (an int, counted from the end if negative; None: one of all elements)."""
    if axis is None:
        return Rows(1, math.prod(shape))
    at = normal_axis(shape, axis, where)
    return rows_along(shape, at, at + 1)


def reduced_shape(shape: tuple[int, ...], axis: Any, where: str, *, keepdims: bool = False) -> tuple[int, ...]:
    """Return the shape of one result for each row along ``axis``."""
    kept = (1,) if flag(keepdims, f"{where}, keepdims") else ()
    if axis is None:
        return kept * len(shape)
    at = normal_axis(shape, axis, where)
    return (*shape[:at], *kept, *shape[at + 1 :])


def normal_axis(shape: tuple[int, ...], axis: Any, where: str) -> int:
    """Return ``axis`` counted from the start; DTypeError if it is no int, IndexOutside if there is none such."""
    if not is_int(axis):
        raise DTypeError(f"{where}, axis", "not an axis", expected="an int or None", got=repr(axis), remedy="Name one")
    if not -len(shape) <= axis < len(shape):
        raise IndexOutside(
            f"{where}, axis", "there is no such axis",
            expected=f"{-len(shape)} to {len(shape) - 1}" if shape else "None for an array of no dimension",
            got=int(axis), remedy=f"The array has shape {shape}",
        )  # fmt: skip
    return int(axis) % len(shape)
