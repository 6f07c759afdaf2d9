"""Tables as they stand in the file: their columns and types, made, read and changed.

Layer: tables. A table has a row's number first (``_id``, never given twice), then its columns; a second table of the
same columns keeps its deleted rows. Invariant: what is read is what the file says now, whoever changed it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.tables.columns.names import ID, TRASH, column_name, quote, refuse_twins
from loom.tables.columns.types import ColumnType, read_type, type_of_declaration

__all__ = [
    "DECLARED",
    "NUMBER",
    "add_table",
    "columns_now",
    "columns_of",
    "definition",
    "drop_table",
    "has_declared",
    "names_of_tables",
    "read_columns",
    "trash_of",
]

_MOST_COLUMNS = 1999
"""SQLite has 2,000, of which the rows' number is one."""

NUMBER = f"{quote(ID)} INTEGER PRIMARY KEY"
"""How a table declares its rows' numbers."""

DECLARED = "_octodb_declared"
"""A table of names of columns in order, as JSON, for tables that are to have columns which no value gave a type yet."""


def trash_of(name: str) -> str:
    """Return the name of the table of a table's deleted rows."""
    return f"{TRASH}{name}"


def definition(column: str, kind: ColumnType) -> str:
    """Return a column as CREATE TABLE and ALTER TABLE take it."""
    name = quote(column)
    return f"{name} {kind.declared} CHECK ({kind.check(name)})"


def read_columns(given: Mapping[str, Any], where: str) -> dict[str, ColumnType]:
    """Return columns that a caller names with their types."""
    if not given:
        raise ArgumentError(where, "a table without columns", expected="a type for each, as name=str",
                            remedy="Name one at least")  # fmt: skip
    if len(given) > _MOST_COLUMNS:
        raise ArgumentError(where, "too many columns", expected=f"at most {_MOST_COLUMNS}", got=len(given),
                            remedy="Keep them in rows: a name, a value")  # fmt: skip
    found = {column_name(n, where): read_type(t, f"{where}, column {n!r}") for n, t in given.items()}
    refuse_twins(found, where)
    return found


def names_of_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that have a place for deleted rows, in the order of their names."""
    found = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    known = {name.lower() for name in found}
    return sorted(name for name in found if not name.startswith(TRASH) and trash_of(name).lower() in known)


def columns_of(connection: sqlite3.Connection, name: str, where: str) -> tuple[str, dict[str, ColumnType]]:
    """Return a table's name as the file writes it, and its columns; ArgumentError where there is none."""
    same = [each for each in names_of_tables(connection) if each.lower() == name.lower()]
    if not same:
        known = names_of_tables(connection)
        remedy = near_matches(name, known) if known else "Make one: db.table(name, column=type)"
        raise ArgumentError(where, f"no table is called {name!r}", remedy=remedy)
    rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (same[0],)).fetchall()
    return same[0], {column: type_of_declaration(declared, where) for column, declared in rows if column != ID}


def columns_now(
    connection: sqlite3.Connection, name: str, known: dict[str, tuple[int, dict[str, ColumnType]]], where: str
) -> dict[str, ColumnType]:
    """Return a table's columns as the file has them now; ``known``: what was read before, by the file's version."""
    if connection.in_transaction:  # which may undo what is read here
        return columns_of(connection, name, where)[1]
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    seen, types = known.get(name, (-1, {}))
    if version != seen:
        types = columns_of(connection, name, where)[1]
        known[name] = version, types
    return types


def add_table(connection: sqlite3.Connection, name: str, columns: Mapping[str, ColumnType]) -> None:
    """Make a table and that of its deleted rows."""
    defined = ", ".join(definition(column, kind) for column, kind in columns.items())
    connection.execute(f"CREATE TABLE {quote(name)} ({NUMBER} AUTOINCREMENT, {defined})")
    connection.execute(f"CREATE TABLE {quote(trash_of(name))} ({NUMBER}, {defined})")


def drop_table(connection: sqlite3.Connection, name: str) -> None:
    """Take a table away, with its deleted rows."""
    connection.execute(f"DROP TABLE {quote(name)}")
    connection.execute(f"DROP TABLE {quote(trash_of(name))}")
    if has_declared(connection):
        connection.execute(f"DELETE FROM {DECLARED} WHERE name = ?", (name,))


def has_declared(connection: sqlite3.Connection) -> bool:
    """Tell whether there is a table of declared columns."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (DECLARED,)).fetchone() is not None
