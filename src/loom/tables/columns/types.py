"""Types of columns: what Python gives and takes, how SQLite declares and keeps it.

Layer: tables. A column's declared type in the file is the one place where its type is kept. Invariant: a value that
does not fit is refused, never converted to another type; None, in a float column also NaN, is a missing value.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, FileError
from loom.core.given import is_scalar
from loom.core.late.dataclass import dataclass

__all__ = ["COLUMN_TYPES", "ColumnType", "as_python", "is_missing", "read_type", "type_of_declaration"]

_LIMITS = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type of columns.

    ``name`` in Python, ``declared`` in SQL, ``stored`` as SQLite's typeof says, ``takes``: Python's types that are kept
    as they are; ``keep`` makes of any other value what is bound, or raises ValueError; ``show`` gives back what was
    kept (None: as it is).
    """

    name: str
    declared: str
    stored: str
    takes: frozenset[type]
    keep: Callable[[Any], Any]
    show: Callable[[Any], Any] | None = None

    def bound(self, values: Sequence[Any], where: str, first: int = 0) -> Sequence[Any]:
        """Return values as they are bound; DTypeError names the row, counted from ``first``, that does not fit."""
        found = set(map(type, values))
        if found <= self.takes and (self.name != "int" or _fits(values)):
            return values
        keep, made = self.keep, list[Any]()
        for row, value in enumerate(values, first):
            try:
                made.append(None if is_missing(value) else keep(value))
            except (ValueError, TypeError, OverflowError):
                raise DTypeError(where, f"row {row} does not fit", expected=f"{self.expected} or None",
                                 got=f"{type(value).__name__} {_short(value)}",
                                 remedy="Convert it first, or choose another type of column") from None  # fmt: skip
        return made

    def one(self, value: Any, where: str) -> Any:
        """Return one value as it is bound; DTypeError if it does not fit."""
        try:
            return None if is_missing(value) else self.keep(value)
        except (ValueError, TypeError, OverflowError):
            raise DTypeError(where, "the value does not fit", expected=f"{self.expected} or None",
                             got=f"{type(value).__name__} {_short(value)}",
                             remedy="Convert it first") from None  # fmt: skip

    @property
    def expected(self) -> str:
        """What fits, in words."""
        return _EXPECTED.get(self.name, self.name)

    def check(self, name: str) -> str:
        """Return the condition that SQLite holds a column to, whoever writes; ``name`` is quoted."""
        condition = f"typeof({name}) IN ('{self.stored}', 'null')"
        further = _FURTHER.get(self.name)
        return f"{condition} AND ({further.format(name)} OR {name} IS NULL)" if further else condition


_DIGITS_OF_DAY = "-".join(("[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2))
_DIGITS_OF_STAMP = f"{_DIGITS_OF_DAY} [0-9][0-9]:[0-9][0-9]:[0-9][0-9].{'[0-9]' * 6}"
_FURTHER = {
    "bool": "{0} IN (0, 1)",
    "date": f"{{0}} GLOB '{_DIGITS_OF_DAY}' AND substr({{0}}, 1, 4) > '0000' AND date({{0}}, '+0 days') IS {{0}}",
    "datetime": f"{{0}} GLOB '{_DIGITS_OF_STAMP}' AND substr({{0}}, 1, 4) > '0000' "
    "AND datetime(substr({0}, 1, 19), '+0 days') IS substr({0}, 1, 19)",
}
"""What values of a column meet besides their storage: a day of the calendar, written in the one way that compares."""


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for a missing one of any type: None, or pandas' NA."""
    return value is None or type(value).__name__ == "NAType"


def as_python(value: Any, column: ColumnType) -> Any:
    """Return a value that was kept as Python shows it."""
    return value if column.show is None or value is None else column.show(value)


def _fits(values: Sequence[Any]) -> bool:
    present = [v for v in values if v is not None]
    return not present or (_LIMITS[0] <= min(present) and max(present) <= _LIMITS[1])


def _short(value: Any) -> str:
    try:
        return repr(value)[:60]
    except Exception:  # an object of others whose repr fails
        return "..."


def _plain(value: Any) -> Any:
    """Return numpy's values, arrays and tensors of one included, as Python's."""
    if is_scalar(value):
        return value.item()
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return value.item()
    return value


def _int(value: Any) -> int:
    found = _plain(value)
    if not isinstance(found, int) or isinstance(found, bool) or not _LIMITS[0] <= found <= _LIMITS[1]:
        raise ValueError
    return int(found)


def _float(value: Any) -> float | None:
    found: Any = _plain(value)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ValueError
    if isinstance(found, int) and int(float(found)) != found:
        raise ValueError  # float64 lacks it
    return None if math.isnan(found) else float(found)


def _text(value: Any) -> str:
    found = _plain(value)
    if not isinstance(found, str):
        raise ValueError
    return str.__str__(found)  # what it holds: a member of an enumeration writes its own name


def _bool(value: Any) -> int:
    found = _plain(value)
    if not isinstance(found, bool):
        raise ValueError
    return int(found)


def _bytes(value: Any) -> bytes:
    found = _plain(value)
    if not isinstance(found, (bytes, bytearray, memoryview)):
        raise ValueError
    return bytes(cast("bytes", found))


def _is_no_time(value: Any) -> bool:
    """Tell whether a value is numpy's or pandas' NaT, which alone among dates is unlike itself."""
    return isinstance(value, (np.datetime64, datetime.date)) and bool(cast("Any", value) != value)


def _day(value: Any) -> str | None:
    if _is_no_time(value):
        return None
    found = _plain(value)
    if not isinstance(found, datetime.date) or isinstance(found, datetime.datetime):
        raise ValueError
    return found.isoformat()


def _stamp(value: Any) -> str | None:
    if _is_no_time(value):
        return None
    if isinstance(value, np.datetime64):
        if value != (rounded := cast("Any", value).astype("datetime64[us]")):
            raise ValueError  # finer than a microsecond
        value = rounded
    found = _plain(value)
    if not isinstance(found, datetime.datetime) or found.tzinfo is not None or getattr(found, "nanosecond", 0):
        raise ValueError  # pandas' have nanoseconds
    return found.isoformat(" ", "microseconds")


def _day_of(kept: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(kept)
    except (TypeError, ValueError):
        raise _not_written_so(kept, "date") from None


def _stamp_of(kept: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(kept)
    except (TypeError, ValueError):
        raise _not_written_so(kept, "datetime") from None


def _not_written_so(kept: Any, name: str) -> FileError:
    return FileError("tables", f"a column of {name} holds a text that is none", got=repr(kept)[:80],
                     expected="what Loom writes: 2020-01-31, 2020-01-31 12:00:00.000000",
                     remedy="Another tool wrote it: mend the row by sql()")  # fmt: skip


_NONE = type(None)
COLUMN_TYPES: dict[str, ColumnType] = {
    column.name: column
    for column in (
        ColumnType("int", "INTEGER", "integer", frozenset({int, _NONE}), _int),
        ColumnType("float", "REAL", "real", frozenset({float, _NONE}), _float),
        ColumnType("str", "TEXT", "text", frozenset({str, _NONE}), _text),
        ColumnType("bool", "BOOLEAN", "integer", frozenset({bool, _NONE}), _bool, bool),
        ColumnType("bytes", "BLOB", "blob", frozenset({bytes, _NONE}), _bytes),
        ColumnType("date", "DATE", "text", frozenset({_NONE}), _day, _day_of),
        ColumnType("datetime", "DATETIME", "text", frozenset({_NONE}), _stamp, _stamp_of),
    )
}
"""The types of columns by name."""

_EXPECTED = {"int": "int of 64 bits", "datetime": "datetime without a time zone", "float": "float (an int it holds)"}
_DECLARED = {column.declared: column for column in COLUMN_TYPES.values()}
_PYTHON: dict[Any, str] = {
    int: "int", float: "float", str: "str", bool: "bool", bytes: "bytes", datetime.date: "date",
    datetime.datetime: "datetime",
}  # fmt: skip


def read_type(given: Any, where: str) -> ColumnType:
    """Return the type of a column that a caller names: a Python type, or its name; DTypeError for another."""
    try:
        name = _PYTHON.get(given, given)
    except TypeError:  # not hashable
        name = None
    if isinstance(name, str) and name in COLUMN_TYPES:
        return COLUMN_TYPES[name]
    raise DTypeError(where, "not a type of columns", expected=", ".join(COLUMN_TYPES), got=_short(given),
                     remedy="Pass one of these types, or its name")  # fmt: skip


def type_of_declaration(declared: str, where: str) -> ColumnType:
    """Return the type of a column in a file by its declaration; ArgumentError for one of another tool."""
    found = _DECLARED.get(declared.upper())
    if found is None:
        raise ArgumentError(where, f"a column is declared {declared!r}", expected=", ".join(_DECLARED),
                            got="a type that Loom does not write", remedy="Read it by sql()")  # fmt: skip
    return found
