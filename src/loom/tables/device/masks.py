"""Which rows of a device's columns fulfil a condition: a mask, computed there.

Layer: tables. Invariant: a mask is true exactly where SQLite finds the same condition true, numbers being compared as
the numbers they are: a column of whole numbers with 2.5, one of floats with 2^53 + 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from loom.core.given import items
from loom.core.late.dataclass import dataclass
from loom.patterns.data.move import gather
from loom.patterns.data.series import is_in
from loom.tables.columns.conditions import LEFT_OUT, condition, operand
from loom.tables.columns.types import ColumnType
from loom.tensor.arrays.tensor import array

__all__ = ["DeviceColumn", "mask_of"]

_LIMITS = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class DeviceColumn:
    """A column on a device: its elements (of texts their numbers), which of them are there (None: all), its texts."""

    type: ColumnType
    data: Any
    there: Any
    names: np.ndarray[Any, Any] | None

    def as_python(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return elements, read from the device, as arrays of a table show them."""
        if self.names is not None:
            return self.names[values]
        if self.type.name in ("date", "datetime"):
            return values.view("datetime64[D]" if self.type.name == "date" else "datetime64[us]")
        return values


def mask_of(column: DeviceColumn, op: str, value: Any, on: Any, where: str) -> Any:
    """Return the mask of a condition, of one of the operators there are, over all rows of a column."""
    if op in ("in", "not-in") and not isinstance(value, (set, frozenset)) and value is not LEFT_OUT:
        value = items(value, f"{where}, value")  # once: it may be an iterator
    condition("", column.type, op, value, where)  # refuses what SQL is not asked either
    there = column.there
    if op in ("is-null", "not-null") or (op in ("==", "!=") and operand(column.type, value, where) is None):
        wants_null = op in ("is-null", "==")
        return _all(column, not wants_null, on) if there is None else ~there if wants_null else there
    if op in ("in", "not-in"):
        return _among(column, op, list(cast("Iterable[Any]", value)), on, where)
    if op == "contains":
        found = operand(column.type, value, where)
        mask = _by_text(column, [found in name for name in _names(column)], on)
    elif op == "between":
        least, most = (operand(column.type, v, where) for v in cast("list[Any]", value))
        mask = _compare(column, ">=", least, on) & _compare(column, "<=", most, on)
    else:
        mask = _compare(column, op, operand(column.type, value, where), on)
    return mask if there is None else mask & there


def _all(column: DeviceColumn, truth: bool, on: Any) -> Any:
    return array(np.full(column.data.size, truth), on=on)


def _names(column: DeviceColumn) -> list[str]:
    return [] if column.names is None else column.names.tolist()


def _by_text(column: DeviceColumn, allowed: list[bool], on: Any) -> Any:
    """Return the mask of the rows whose text is allowed."""
    if not allowed:
        return _all(column, False, on)
    return gather(array(np.array(allowed, np.bool_), on=on), column.data)


def _among(column: DeviceColumn, op: str, values: list[Any], on: Any, where: str) -> Any:
    bound = [operand(column.type, v, where) for v in values]
    present = [v for v in bound if v is not None]
    has_missing = len(present) < len(bound)
    keys = [k for v in present if (k := _element(column, v)) is not None]
    if column.data.dtype.is_bool:
        mask = _truths(column, 0 in keys, 1 in keys, on)
    elif keys:
        mask = is_in(column.data, np.array(keys, column.data.dtype.numpy))
    else:
        mask = _all(column, False, on)
    there = column.there
    if op == "in":
        mask = mask if there is None else mask & there
        return mask | ~there if has_missing and there is not None else mask
    return ~mask if there is None or not (present or has_missing) else ~mask & there


def _element(column: DeviceColumn, value: Any) -> int | float | None:
    """Return what a column's elements are where they equal a value; None where none can."""
    if column.names is not None:
        at = bisect_left(_names(column), value)
        return at if at < bisect_right(_names(column), value) else None
    if column.type.name == "float":
        found = float(value)
        return found if found == value else None
    number = _number(column, value)
    if not math.isfinite(number) or int(number) != number:
        return None
    return int(number) if _LIMITS[0] <= number <= _LIMITS[1] else None


def _number(column: DeviceColumn, value: Any) -> Any:
    """Return a value as a number that elements are compared with."""
    if column.type.name in ("date", "datetime"):
        return int(np.datetime64(value, "D" if column.type.name == "date" else "us").astype(np.int64))
    return value


def _compare(column: DeviceColumn, op: str, value: Any, on: Any) -> Any:
    if op in ("==", "!="):
        key = _element(column, value)
        if column.data.dtype.is_bool:
            return _truths(column, (key == 0) == (op == "=="), (key == 1) == (op == "=="), on)
        if key is None:
            return _all(column, op == "!=", on)
        return column.data == key if op == "==" else column.data != key
    if column.type.name == "float":
        return _of_floats(column.data, op, value)
    is_upper, bound = _bound(column, op, value)
    if column.data.dtype.is_bool:
        takes_false, takes_true = (k <= bound if is_upper else k >= bound for k in (0, 1))
        return _truths(column, takes_false, takes_true, on)
    if not _LIMITS[0] <= bound <= _LIMITS[1]:
        return _all(column, is_upper == (bound > 0), on)
    return column.data <= int(bound) if is_upper else column.data >= int(bound)


def _bound(column: DeviceColumn, op: str, value: Any) -> tuple[bool, Any]:
    """Return whether elements are at most (else at least) what, which is whole or an infinity."""
    if column.names is not None:
        ends = bisect_left(_names(column), value), bisect_right(_names(column), value)
        return {"<": (True, ends[0] - 1), "<=": (True, ends[1] - 1), ">": (False, ends[1]), ">=": (False, ends[0])}[op]
    number = _number(column, value)
    if not math.isfinite(number):
        return op in ("<", "<="), number
    low, high = math.floor(number), math.ceil(number)
    return {"<": (True, high - 1), "<=": (True, low), ">": (False, low + 1), ">=": (False, high)}[op]


def _of_floats(x: Any, op: str, value: Any) -> Any:
    """Return the comparison of floats with any number: one that float64 lacks lies between two of its numbers."""
    nearest = float(value)
    if nearest != value:  # which Python compares exactly
        op = {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}[op] if nearest < value else {
            "<": "<", "<=": "<", ">": ">=", ">=": ">="}[op]  # fmt: skip
    return x < nearest if op == "<" else x <= nearest if op == "<=" else x > nearest if op == ">" else x >= nearest


def _truths(column: DeviceColumn, takes_false: bool, takes_true: bool, on: Any) -> Any:
    if takes_false == takes_true:
        return _all(column, takes_true, on)
    return column.data if takes_true else ~column.data
