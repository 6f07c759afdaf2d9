"""Changes of a table's columns that keep its rows, those that are deleted as well.

Layer: tables. Each is one transaction over the table and that of its deleted rows. Invariant: a change that cannot keep
every value is refused, with the row that is in its way, and nothing is changed.
"""

from __future__ import annotations

import datetime
import math
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.formats.csv_cells import read_real, read_whole
from loom.tables.columns.names import ID, quote, refuse_twins
from loom.tables.columns.schema import NUMBER, definition, trash_of
from loom.tables.columns.types import ColumnType, as_python

__all__ = ["add_column", "change_type", "drop_column", "rename_column"]

Columns = Mapping[str, ColumnType]


def add_column(connection: sqlite3.Connection, table: str, columns: Columns, name: str, kind: ColumnType,
               default: Any, where: str) -> None:  # fmt: skip
    """Add a column at the end, with one value, or none, in all rows there are."""
    refuse_twins([*columns, name], where)
    value = kind.one(default, f"{where}, default")
    for each in (table, trash_of(table)):
        connection.execute(f"ALTER TABLE {quote(each)} ADD COLUMN {definition(name, kind)}")
        if value is not None:
            connection.execute(f"UPDATE {quote(each)} SET {quote(name)} = ?", (value,))


def rename_column(connection: sqlite3.Connection, table: str, columns: Columns, old: str, new: str, where: str) -> None:
    """Call a column otherwise."""
    require(columns, old, where)
    refuse_twins([new if name == old else name for name in columns], where)
    for each in (table, trash_of(table)):
        connection.execute(f"ALTER TABLE {quote(each)} RENAME COLUMN {quote(old)} TO {quote(new)}")


def drop_column(connection: sqlite3.Connection, table: str, columns: Columns, name: str, where: str) -> None:
    """Take a column away, with its values."""
    require(columns, name, where)
    if len(columns) == 1:
        raise ArgumentError(where, f"{name!r} is the table's last column", remedy="Drop the table: db.drop(name)")
    for each in (table, trash_of(table)):
        connection.execute(f"ALTER TABLE {quote(each)} DROP COLUMN {quote(name)}")


def change_type(connection: sqlite3.Connection, table: str, columns: Columns, name: str, kind: ColumnType,
                where: str) -> None:  # fmt: skip
    """Convert a column's values to another type, in a table that takes the place of the old."""
    require(columns, name, where)
    old = columns[name]
    if kind == old:
        return
    convert = _conversion(old, kind, where)
    changed = {n: kind if n == name else t for n, t in columns.items()}
    at = 1 + list(columns).index(name)
    for each in (table, trash_of(table)):
        rows = connection.execute(f"SELECT {_column_list(columns)} FROM {quote(each)} ORDER BY {quote(ID)}").fetchall()
        made: list[Any] = []
        for row in rows:
            try:
                made.append(None if row[at] is None else kind.keep(convert(as_python(row[at], old))))
            except (ValueError, TypeError, OverflowError, KeyError):
                raise DTypeError(where, f"row {row[0]} of column {name!r} is no {kind.name}", expected=kind.expected,
                                 got=repr(as_python(row[at], old))[:80],
                                 remedy="Nothing was changed: update the row first") from None  # fmt: skip
        _replace(
            connection, table, each, changed, ((*r[:at], v, *r[at + 1 :]) for r, v in zip(rows, made, strict=True))
        )


def _replace(connection: sqlite3.Connection, table: str, each: str, columns: Columns, rows: Any) -> None:
    fresh = f"_octodb_{each}"
    ever = " AUTOINCREMENT" if each == table else ""
    defined = ", ".join(definition(column, kind) for column, kind in columns.items())
    (given,) = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (each,)).fetchone()
    others = connection.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL", (each,)
    ).fetchall()
    connection.execute(f"CREATE TABLE {quote(fresh)} ({NUMBER}{ever}, {defined})")
    marks = ", ".join("?" * (1 + len(columns)))
    connection.executemany(f"INSERT INTO {quote(fresh)} ({_column_list(columns)}) VALUES ({marks})", rows)
    connection.execute("PRAGMA legacy_alter_table=ON")  # views and triggers name the table, which comes back at once
    try:
        connection.execute(f"DROP TABLE {quote(each)}")
        connection.execute(f"ALTER TABLE {quote(fresh)} RENAME TO {quote(each)}")
    finally:
        connection.execute("PRAGMA legacy_alter_table=OFF")
    if given is not None:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (each,))
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (each, given))
    for (sql,) in others:
        connection.execute(sql)


def _column_list(columns: Columns) -> str:
    return ", ".join(map(quote, (ID, *columns)))


def require(columns: Columns, name: str, where: str) -> None:
    """ArgumentError where there is no such column."""
    if name not in columns:
        raise ArgumentError(where, f"no column is called {name!r}", remedy=near_matches(name, list(columns)))


# what becomes of a value


def _conversion(old: ColumnType, new: ColumnType, where: str) -> Callable[[Any], Any]:
    found = _CONVERSIONS.get((old.name, new.name))
    if found is None:
        known = [b for a, b in _CONVERSIONS if a == old.name]
        raise DTypeError(where, f"a column of {old.name} does not become one of {new.name}",
                         expected=" or ".join(known), got=new.name, remedy="Add a column and fill it")  # fmt: skip
    return found


def _whole(value: float) -> int:
    if int(value) != value:
        raise ValueError
    return int(value)


def _truth(value: Any) -> bool:
    return {0: False, 1: True, "true": True, "false": False}[value]


def _float(value: str) -> float:
    found = read_real(value)
    if not math.isfinite(found) and value.strip().lower() not in ("inf", "-inf", "infinity", "-infinity"):
        raise ValueError  # NaN would become a missing value, a large number an infinity
    return found


def _day_of(value: datetime.datetime) -> datetime.date:
    if value.time() != datetime.time():
        raise ValueError
    return value.date()


_day, _stamp = datetime.date.fromisoformat, datetime.datetime.fromisoformat
_CONVERSIONS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("int", "float"): lambda v: v, ("float", "int"): _whole, ("int", "bool"): _truth, ("bool", "int"): int,
    ("bool", "float"): float, ("float", "bool"): _truth, ("int", "str"): str, ("float", "str"): repr,
    ("bool", "str"): lambda v: "true" if v else "false", ("date", "str"): lambda v: v.isoformat(),
    ("datetime", "str"): lambda v: v.isoformat(), ("str", "int"): read_whole, ("str", "float"): _float,
    ("str", "bool"): _truth,
    ("str", "date"): _day, ("str", "datetime"): _stamp, ("str", "bytes"): str.encode,
    ("bytes", "str"): bytes.decode, ("date", "datetime"): lambda v: _stamp(v.isoformat()),
    ("datetime", "date"): _day_of,
}  # fmt: skip
