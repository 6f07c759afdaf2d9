"""What ``where`` asks of a column, as SQL with its values bound.

Layer: tables. Invariant: a condition that compares unlike things (a text with a number) is refused, never false in
silence; a missing value fulfils "is-null", ``== None``, "in" where None is named and "not-in" of nothing alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_list, items, one_of
from loom.tables.columns.types import ColumnType, is_missing

__all__ = ["LEFT_OUT", "OPERATORS", "condition", "operand"]


class _LeftOut:
    def __repr__(self) -> str:
        return "left out"


LEFT_OUT: Any = _LeftOut()
"""Stands for a value that a caller did not name, which is not None."""

_SIMPLE = {"==": "=", "!=": "<>", ">": ">", "<": "<", ">=": ">=", "<=": "<="}
OPERATORS = (*_SIMPLE, "contains", "in", "not-in", "between", "is-null", "not-null")
"""What a condition may say."""

_MOST_VALUES = 30_000
"""SQLite binds 32,766 values to a statement."""


def condition(name: str, column: ColumnType, op: Any, value: Any, where: str) -> tuple[str, list[Any]]:
    """Return the SQL of a condition on the column that ``name`` is in SQL, and the values to bind."""
    op = one_of(op, f"{where}, op", OPERATORS)
    if op in ("is-null", "not-null"):
        if value is not None and value is not LEFT_OUT:
            raise ArgumentError(f"{where}, value", f"{op} compares with nothing", got=repr(value)[:80],
                                remedy="Leave it out")  # fmt: skip
        return f"{name} IS {'NOT ' if op == 'not-null' else ''}NULL", []
    if value is LEFT_OUT:
        raise ArgumentError(f"{where}, value", f"{op} compares with a value", expected="what to compare with",
                            got="nothing", remedy="Pass it; of missing values ask 'is-null'")  # fmt: skip
    if op in ("in", "not-in"):
        return _among(name, column, op, value, where)
    if op == "between":
        return _between(name, column, value, where)
    bound = operand(column, value, f"{where}, value")
    if op == "contains":
        if column.name not in ("str", "bytes"):
            raise DTypeError(where, "only texts and bytes contain something", expected="a column of str or bytes",
                             got=f"{column.name} contains {value!r}"[:80], remedy="Compare it with ==")  # fmt: skip
        if bound is None:
            raise ArgumentError(f"{where}, value", "nothing contains a missing value", got=repr(value),
                                remedy="Ask 'is-null' or 'not-null'")  # fmt: skip
        return f"instr({name}, ?) > 0", [bound]
    if bound is None:
        if op not in ("==", "!="):
            raise ArgumentError(f"{where}, value", f"nothing is {op} a missing value", got=repr(value),
                                remedy="Ask 'is-null' or 'not-null'")  # fmt: skip
        return f"{name} IS {'NOT ' if op == '!=' else ''}NULL", []
    return f"{name} {_SIMPLE[op]} ?", [bound]


def operand(column: ColumnType, value: Any, where: str) -> Any:
    """Return what a column is compared with, as it is bound: for numbers any number, else a value of its type."""
    if column.name in ("int", "float") and not is_missing(value):
        found = value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value
        if isinstance(found, float) and not isinstance(value, bool):
            return None if math.isnan(found) else float(found)
        if isinstance(found, int) and not isinstance(found, bool):
            return _whole(column, int(found), where)
        if found is not None:
            raise DTypeError(where, f"a column of {column.name} is not compared with this", expected="a number",
                             got=repr(value)[:80], remedy="Convert it first")  # fmt: skip
    return column.one(value, where)


def _whole(column: ColumnType, value: int, where: str) -> int | float:
    """Return a whole number as it is bound: beyond 64 bits what stands to the column's values as it does."""
    if -(1 << 63) <= value < 1 << 63:
        return value
    if column.name == "int":
        return math.inf if value > 0 else -math.inf
    with suppress(OverflowError):
        if (near := float(value)) == value:
            return near
    raise DTypeError(where, "a whole number of more than 64 bits that float64 lacks", expected="one that it holds",
                     got=str(value)[:80], remedy="Compare with the float next to it, or with infinity")  # fmt: skip


def _among(name: str, column: ColumnType, op: str, value: Any, where: str) -> tuple[str, list[Any]]:
    is_set = isinstance(value, (set, frozenset))
    given: list[Any] = sorted(cast("set[Any]", value), key=repr) if is_set else items(value, f"{where}, value")
    if len(given) > _MOST_VALUES:
        raise ArgumentError(f"{where}, value", "too many values", expected=f"at most {_MOST_VALUES}", got=len(given),
                            remedy="Put them into a table and join it")  # fmt: skip
    bound = [operand(column, v, f"{where}, value") for v in given]
    present = [v for v in bound if v is not None]
    marks = ", ".join("?" * len(present))
    if op == "in":
        return f"({name} IN ({marks}){f' OR {name} IS NULL' if len(present) < len(bound) else ''})", present
    missing = f"{name} IS NOT NULL" if len(present) < len(bound) or present else "1"
    return f"({name} NOT IN ({marks}) AND {missing})", present


def _between(name: str, column: ColumnType, value: Any, where: str) -> tuple[str, list[Any]]:
    if not is_list(value) or len(value) != 2:
        raise ArgumentError(f"{where}, value", "not two ends", expected="(least, most), both of them within",
                            got=repr(value)[:80], remedy="Write (1, 10)")  # fmt: skip
    ends: Sequence[Any] = [operand(column, v, f"{where}, value") for v in value]
    if None in ends:
        raise ArgumentError(f"{where}, value", "an end is missing", expected="two values", got=repr(value)[:80],
                            remedy="Use >= or <= for one end")  # fmt: skip
    return f"{name} BETWEEN ? AND ?", list(ends)
