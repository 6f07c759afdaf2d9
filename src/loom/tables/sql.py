"""Statements of SQL that a caller writes, and what they return.

Layer: tables. Invariant: a statement is one transaction, or part of the one under way; it neither begins nor ends one.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.core.given import is_array, is_list, is_mapping, is_scalar, text
from loom.core.tracebacks import brief_class
from loom.tables.arrow.writing import Arrow
from loom.tables.columns.types import COLUMN_TYPES, ColumnType, is_missing
from loom.tables.exchange.arrays import array_of
from loom.tables.files.connections import Connections
from loom.tables.guards import only_reads, refuse_settings, refuse_unused, same_tables, verb_of

__all__ = ["SqlResult", "run_sql"]


@brief_class
class SqlResult:
    """The rows that a statement gave: ``columns``, ``tuples()``, ``rows()``; ``changed``: how many it wrote."""

    def __init__(self, columns: Sequence[str], values: list[tuple[Any, ...]], changed: int) -> None:
        self.columns = list(columns)
        self.changed = changed
        self._values = values

    def __repr__(self) -> str:
        return f"<loom.tables result of {len(self)} rows: {', '.join(self.columns)}>"

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows())

    def tuples(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples."""
        return list(self._values)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries; ArgumentError where two columns have one name."""
        self._refuse_twins()
        return [dict(zip(self.columns, row, strict=True)) for row in self._values]

    def to_numpy(self) -> dict[str, Any]:
        """Return the columns as arrays by name, as a table's ``to_numpy`` makes them."""
        return {n: array_of(v, kind, f"tables.sql, column {n!r}") for n, (kind, v) in self._columns_by_type().items()}

    def to_arrow(self) -> Arrow:
        """Return the columns as an Arrow stream, as a table's ``to_arrow`` does."""
        return Arrow(self._columns_by_type(), len(self))

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _refuse_twins(self) -> None:
        if len(set(self.columns)) != len(self.columns):
            raise ArgumentError("tables.sql", "two columns have one name", expected="different names",
                                got=self.columns, remedy="Write AS, or take tuples()")  # fmt: skip

    def _columns_by_type(self) -> dict[str, tuple[ColumnType, Sequence[Any]]]:
        self._refuse_twins()
        columns = list(zip(*self._values, strict=True)) if self._values else [()] * len(self.columns)
        return {name: _type_column(name, values) for name, values in zip(self.columns, columns, strict=True)}


def _type_column(name: str, values: Sequence[Any]) -> tuple[ColumnType, Sequence[Any]]:
    """Return the type of what a statement computed, which SQLite does not declare."""
    found = {type(v).__name__ for v in values if v is not None} or {"float"}
    if found == {"int", "float"}:
        return COLUMN_TYPES["float"], COLUMN_TYPES["float"].bound(values, f"tables.sql, column {name!r}")
    if len(found) > 1:
        raise DTypeError(f"tables.sql, column {name!r}", "values of several types", expected="one type",
                         got=", ".join(sorted(found)), remedy="Write CAST(... AS TEXT)")  # fmt: skip
    return COLUMN_TYPES[found.pop()], values


def run_sql(connections: Connections, statement: Any, params: Any) -> SqlResult:
    """Run a statement; see ``Database.sql``."""
    where = "tables.sql"
    asked, bound = text(statement, f"{where}, statement"), _bound(params, f"{where}, params")
    refuse_unused(asked, bound, f"{where}, params")
    verb = verb_of(asked)
    if verb == "pragma":
        refuse_settings(asked, where)
    if verb in ("alter", "drop"):
        with connections.writing(where) as connection, same_tables(connection, where):
            return _run(connection, asked, bound)
    # a WITH may write or not: where nothing may, SQLite says so
    writes = not only_reads(asked) and not (verb == "with" and connections.is_read_only)
    with connections.stating(where, writes) as connection:
        return _run(connection, asked, bound)


def _run(connection: sqlite3.Connection, asked: str, bound: Any) -> SqlResult:
    before = connection.in_transaction
    cursor = connection.execute(asked, bound)
    try:
        values = cursor.fetchall()
        columns = [column[0] for column in cursor.description or ()]
    finally:
        cursor.close()
        _refuse_transactions(connection, before)
    return SqlResult(columns, values, max(0, cursor.rowcount))


def _refuse_transactions(connection: sqlite3.Connection, before: bool) -> None:
    if connection.in_transaction != before:
        if not before:
            connection.execute("ROLLBACK")
        raise StateError("tables.sql", "a statement began or ended a transaction",
                         remedy="Write: with db.transaction()")  # fmt: skip


def _bound(params: Any, where: str) -> Any:
    if is_mapping(params):
        return {name: _value(value, where) for name, value in params.items()}
    if is_list(params) or is_array(params):
        return [_value(value, where) for value in params]
    raise ArgumentError(where, "not values to bind", expected="a list, or a dictionary for :name",
                        got=repr(params)[:80], remedy="Write [value]")  # fmt: skip


def _value(value: Any, where: str) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, np.datetime64):
        is_day = np.datetime_data(cast("Any", value))[0] == "D"
        return COLUMN_TYPES["date" if is_day else "datetime"].one(value, where)
    found: Any = value.item() if is_scalar(value) else value
    if isinstance(found, datetime.datetime):
        return COLUMN_TYPES["datetime"].one(found, where)
    if isinstance(found, datetime.date):
        return COLUMN_TYPES["date"].one(found, where)
    if isinstance(found, (bytearray, memoryview)):
        return bytes(cast("Any", found))
    if found is None or isinstance(found, (bool, int, float, str, bytes)):
        return found
    raise DTypeError(where, "a value cannot be bound", expected="None, a number, text, bytes, date or datetime",
                     got=type(value).__name__, remedy="Convert it first")  # fmt: skip
