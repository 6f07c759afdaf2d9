"""One axis of an array: patterns go along one, or over all elements in a row.

Layer: patterns. Invariant: an axis is counted from the start once it was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom import tensor
from loom.core.errors import DTypeError, EmptyError, IndexOutside
from loom.core.given import is_int
from loom.schedules.axis import Rows, rows_along
from loom.tensor import Tensor

__all__ = ["along", "normal_axis", "require_elements", "rows_of", "shape_of_results"]


def along(twin: str, what: str = "") -> Callable[..., Tensor]:
    """Return the function of tensors called ``twin``, which takes one axis, or None, alone; ``what``: not of none."""

    def one(x: Tensor, axis: int | None = None, **options: Any) -> Tensor:
        at = None if axis is None else normal_axis(x.shape, axis, twin)
        if what:
            require_elements(x, at, twin, what)
        function: Callable[..., Tensor] = getattr(tensor, twin)
        return function(x, axis=at, **options)

    return one


def rows_of(shape: tuple[int, ...], axis: Any, where: str) -> Rows:
    """Return an array's rows along ``axis`` (an int, counted from the end if negative; None: one of all elements)."""
    if axis is None:
        return Rows(1, math.prod(shape))
    at = normal_axis(shape, axis, where)
    return rows_along(shape, at, at + 1)


def shape_of_results(shape: tuple[int, ...], axis: Any, where: str) -> tuple[int, ...]:
    """Return the shape of one result for each row along ``axis``."""
    if axis is None:
        return ()
    at = normal_axis(shape, axis, where)
    return (*shape[:at], *shape[at + 1 :])


def require_elements(x: Tensor, axis: Any, where: str, what: str) -> None:
    """Raise EmptyError if there is a row along ``axis`` without elements to find ``what`` of."""
    rows = rows_of(x.shape, axis, where)
    if rows.results and not rows.n:
        raise EmptyError(where, f"no elements to take the {what} of", expected="at least 1", got=0,
                         remedy="Check for emptiness first")  # fmt: skip


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
