"""An array seen along one axis: (outer, n, inner), n being the axis's length.

Layer: patterns. Invariant: ``outer * n * inner`` is the number of elements, in row-major order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag
from loom.schedules.fold import Rows

__all__ = ["Geometry", "geometry", "normal_axis"]


@dataclass(frozen=True, slots=True)
class Geometry(Rows):
    """``outer`` and ``inner`` are the elements before and after the axis; ``shape`` is a reduction's result."""

    shape: tuple[int, ...]


def geometry(shape: tuple[int, ...], axis: Any, where: str, *, keepdims: bool = False) -> Geometry:
    """Return how a shape is reduced along ``axis`` (an int, counted from the end if negative; None: all elements)."""
    keepdims = flag(keepdims, f"{where}, keepdims")
    if axis is None:
        return Geometry(1, math.prod(shape), 1, (1,) * len(shape) if keepdims else ())
    at = normal_axis(shape, axis, where)
    kept = (1,) if keepdims else ()
    before, after = shape[:at], shape[at + 1 :]
    return Geometry(math.prod(before), shape[at], math.prod(after), (*before, *kept, *after))


def normal_axis(shape: tuple[int, ...], axis: Any, where: str) -> int:
    """Return ``axis`` counted from the start; DTypeError if it is no int, ArgumentError if there is none such."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise DTypeError(f"{where}, axis", "not an axis", expected="an int or None", got=repr(axis), remedy="Name one")
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(
            f"{where}, axis", "there is no such axis",
            expected=f"{-len(shape)} to {len(shape) - 1}" if shape else "None for an array of no dimension",
            got=int(axis), remedy=f"The array has shape {shape}",
        )  # fmt: skip
    return int(axis) % len(shape)
