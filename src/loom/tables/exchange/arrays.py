"""Columns as numpy's arrays, and what numpy's arrays are as columns.

Layer: tables. Invariant: an array holds what the column holds: a value that its dtype lacks is an error, never another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.errors import DTypeError
from loom.tables.columns.types import ColumnType, as_python

__all__ = ["Array", "array_of", "fits_numpy"]

_EXACT = 1 << 53
"""Whole numbers up to this are exact in float64."""

_MOST_CHARACTERS = 1 << 28
"""A GiB of them; beyond it, as where one of many texts is very long, they stay Python's."""

Array = np.ndarray[Any, np.dtype[Any]]


def array_of(values: Sequence[Any], column: ColumnType, where: str, missing: Any = None) -> Array:
    """Return a column's values, as SQLite gives them, as an array; ``missing``: what stands for a missing value.

    int64, float64 (missing: NaN), bool, texts (dtype str), datetime64 (missing: NaT). Where values are missing, whole
    numbers become float64 if it holds all of them, and bools, texts and bytes objects, with None.
    """
    if missing is not None:
        filled = column.one(missing, f"{where}, missing")
        values = [filled if v is None else v for v in values]
    has_missing = not isinstance(values, np.ndarray) and None in values
    name = column.name
    if name == "float":
        return np.array(values, np.float64)
    if name == "int":
        return _whole(values, where) if has_missing else np.array(values, np.int64)
    if name in ("date", "datetime"):
        unit = "D" if name == "date" else "us"
        return np.array(["NaT" if v is None else v for v in values], f"datetime64[{unit}]")
    if name == "bool" and not has_missing:
        return np.array(values, np.bool_)
    if name == "str" and not has_missing and fits_numpy(values):
        return np.array(values, np.str_)
    made = np.empty(len(values), object)
    made[:] = [as_python(v, column) for v in values]
    return made


def fits_numpy(texts: Sequence[str]) -> bool:
    """Tell whether numpy holds texts as they are: it takes NULs off the end, and gives each the longest's room."""
    return max(map(len, texts), default=0) * len(texts) <= _MOST_CHARACTERS and not any(t.endswith("\0") for t in texts)


def _whole(values: Sequence[Any], where: str) -> Array:
    for value in values:
        if value is not None and abs(value) > _EXACT:
            raise DTypeError(
                where,
                "whole numbers with missing ones among them, and float64 lacks one of them",
                expected="at most 2^53",
                got=value,
                remedy="Leave them out by where(column, 'not-null'); to_numpy also takes missing=0",
            )
    return np.array(values, np.float64)
