"""Rows written: inserted, changed, deleted so that they can be brought back.

Layer: tables. A deleted row moves to a table of its own, so no read has to leave it out. Invariant: each call is one
transaction; what it was given is looked at before anything is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

from loom.core.errors import ArgumentError, DTypeError, IndexOutside, near_matches
from loom.core.given import is_array, is_list, is_mapping
from loom.core.numbers import whole
from loom.tables.arrow.reading import columns_of_stream
from loom.tables.columns.names import ID, quote
from loom.tables.columns.rows import Row
from loom.tables.columns.schema import trash_of
from loom.tables.columns.types import ColumnType

__all__ = [
    "bound_columns",
    "change",
    "columns_from",
    "flatten",
    "insert",
    "insert_flat",
    "move",
    "numbers_of",
    "require_origin",
    "rows_together",
    "skip_checks",
]

_VALUES_A_STATEMENT = 256
"""Several rows go into the table with one statement: half the time of one each."""


def columns_from(rows: Any, columns: Mapping[str, ColumnType], where: str) -> dict[str, Sequence[Any]]:
    """Return what a caller gives as rows (dictionaries, or sequences in the order of the columns) by column.

    A mapping of columns is taken too, and what gives an Arrow stream. What no row names is missing. ArgumentError names
    the row that is not usable.
    """
    if hasattr(rows, "__arrow_c_stream__") and not isinstance(rows, type):
        rows = columns_of_stream(rows, where)
    if is_mapping(rows):
        return _by_column(rows, columns, where)
    try:
        given: Any = list(cast("Iterable[Any]", rows))
    except TypeError:
        given = None
    if given is None or isinstance(rows, (str, bytes)):
        raise DTypeError(where, "not rows", expected="dictionaries or tuples, or columns by name", got=repr(rows)[:80],
                         remedy='Write [{"name": "Ada"}]')  # fmt: skip
    if not given:
        return {}
    kinds = set(map(type, given))
    if kinds == {dict} or all(is_mapping(row) for row in given):
        return _of_mappings(given, columns, where)
    if not kinds <= {tuple, list} or set(map(len, given)) != {len(columns)}:
        _require_rows(given, columns, where)
    return {name: [row[k] for row in given] for k, name in enumerate(columns)}


def _require_rows(given: Sequence[Any], columns: Mapping[str, ColumnType], where: str) -> None:
    for number, row in enumerate(given):
        if not is_list(row) or len(row) != len(columns):
            raise ArgumentError(where, f"row {number} is not usable",
                                expected=f"a dictionary, or {len(columns)} values", got=repr(row)[:80],
                                remedy=f"Give {', '.join(columns)}")  # fmt: skip


def _by_column(given: Mapping[Any, Any], columns: Mapping[str, ColumnType], where: str) -> dict[str, Sequence[Any]]:
    _refuse_unknown(given, columns, where)
    found = {name: _as_sequence(values, f"{where}, column {name!r}") for name, values in given.items()}
    sizes = {len(values) for values in found.values()}
    if len(sizes) > 1:
        raise ArgumentError(where, "the columns differ in length", expected="one length",
                            got={name: len(values) for name, values in found.items()}, remedy="Match them")  # fmt: skip
    return found


def _as_sequence(values: Any, where: str) -> Sequence[Any]:
    if is_array(values) and values.dtype.kind == "M" and values.ndim == 1:
        return list(values)  # numpy's moments: tolist() makes ints of nanoseconds
    for method in ("to_pylist", "tolist", "to_list"):
        if callable(getattr(values, method, None)):
            values = getattr(values, method)()
            break
    if not is_list(values):
        raise DTypeError(where, "not a column", expected="a list or an array of one dimension", got=repr(values)[:80],
                         remedy="Pass a list of values")  # fmt: skip
    return values


def _of_mappings(rows: Sequence[Mapping[Any, Any]], columns: Mapping[str, ColumnType], where: str) -> dict[str, Any]:
    first = rows[0].keys()
    if all(row.keys() == first for row in rows):
        names = list(first)
    else:
        names = [name for name in columns if any(name in row for row in rows)]
        for row in rows:
            _refuse_unknown(row, columns, where)
    _refuse_unknown(names, columns, where)
    names = names or list(columns)[:1]  # rows of missing values are rows
    return {name: [row.get(name) for row in rows] for name in names}


def _refuse_unknown(names: Iterable[Any], columns: Mapping[str, ColumnType], where: str) -> None:
    for name in names:
        if name not in columns:
            remedy = near_matches(str(name), list(columns))
            if str(name).startswith("__index_level_"):
                remedy = "It is pandas' index: reset_index(drop=True)"
            raise ArgumentError(where, f"no column is called {name!r}", remedy=remedy)


def bound_columns(
    given: Mapping[str, Sequence[Any]], columns: Mapping[str, ColumnType], where: str
) -> dict[str, Sequence[Any]]:
    """Return columns as they are bound; DTypeError names the column and the row that does not fit."""
    return {name: columns[name].bound(values, f"{where}, column {name!r}") for name, values in given.items()}


def insert(connection: sqlite3.Connection, table: str, bound: Mapping[str, Sequence[Any]], count: int) -> range:
    """Insert ``count`` rows and return their numbers; types were looked at."""
    if not count:
        return range(0)
    names, into = list(bound), quote(table)
    if not names:
        connection.executemany(f"INSERT INTO {into} DEFAULT VALUES", [()] * count)
    else:
        _insert_rows(connection, into, names, list(bound.values()), count)
    (last,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    return range(last - count + 1, last + 1)


def _insert_rows(
    connection: sqlite3.Connection, into: str, names: list[str], values: list[Sequence[Any]], count: int
) -> None:
    together = rows_together(len(names), count)
    batches, rest = flatten(values, count, together)
    with skip_checks(connection):
        insert_flat(connection, into, names, together, batches, rest)


def rows_together(width: int, count: int) -> int:
    """Return how many rows of ``count`` go into a table by one statement."""
    return min(count, max(1, _VALUES_A_STATEMENT // width))


def flatten(values: Sequence[Sequence[Any]], count: int, together: int) -> tuple[Iterable[list[Any]], list[Any]]:
    """Return columns as what statements of ``together`` rows bind, and the values of the rows left over."""
    width = len(values)
    flat: list[Any] = [None] * (width * count)
    for k, column in enumerate(values):
        flat[k::width] = column
    step, end = width * together, width * (count // together * together)
    return (flat[i : i + step] for i in range(0, end, step)), flat[end:]


@contextmanager
def skip_checks(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """Leave out SQLite's checks of types: those values were looked at."""
    connection.execute("PRAGMA ignore_check_constraints=ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA ignore_check_constraints=OFF")


def insert_flat(
    connection: sqlite3.Connection, into: str, names: Sequence[str], together: int, batches: Iterable[list[Any]],
    rest: list[Any],
) -> None:  # fmt: skip
    """Insert what ``flatten`` made; ``into`` is a quoted name."""
    one = f"({', '.join('?' * len(names))})"
    head = f"INSERT INTO {into} ({', '.join(map(quote, names))}) VALUES "
    connection.executemany(head + ", ".join([one] * together), batches)
    if rest:
        connection.execute(head + ", ".join([one] * (len(rest) // len(names))), rest)


def numbers_of(rows: Any, origin: tuple[Any, str], where: str) -> list[int]:
    """Return the numbers, each once, of a row or several: rows that were read of a table, or their numbers.

    ArgumentError for rows of another table (``origin`` tells which), whose numbers mean other rows.
    """
    if is_mapping(rows) and not isinstance(rows, Row):
        raise DTypeError(where, "not a row that was read", expected="a row, or its number", got=repr(rows)[:80],
                         remedy="Pass the number that insert returned")  # fmt: skip
    several: list[Any] = [rows]
    if not isinstance(rows, (Row, str, bytes)) and getattr(rows, "shape", None) != ():
        with suppress(TypeError):
            several = list(cast("Iterable[Any]", rows))
    return list(dict.fromkeys(_number_of(row, origin, where) for row in several))


def _number_of(row: Any, origin: tuple[Any, str], where: str) -> int:
    if isinstance(row, Row):
        require_origin(row.origin or origin, origin, where)
        return row.id
    number = whole(row, where, remedy="Pass a row, or its number")
    if not -(1 << 63) <= number < 1 << 63:
        raise _nowhere(origin[1], number, where)
    return number


def require_origin(found: tuple[Any, str], wanted: tuple[Any, str], where: str) -> None:
    """ArgumentError for rows of another table."""
    if found != wanted:
        other = "another table" if found[0] == wanted[0] else "another database"
        raise ArgumentError(where, f"a row of {other}", expected=f"rows of {wanted[1]!r}", got=f"one of {found[1]!r}",
                            remedy="Pass their numbers, if they are the same")  # fmt: skip


def _nowhere(table: str, number: int, where: str) -> IndexOutside:
    return IndexOutside(where, f"{table!r} has no row {number}", remedy="Look at ids()")


def change(
    connection: sqlite3.Connection, table: str, numbers: Sequence[int], values: Mapping[str, Any], where: str
) -> int:
    """Set columns of rows by their numbers; IndexOutside, and nothing is changed, where one is not there."""
    names = list(values)
    settings = ", ".join(f"{quote(name)} = ?" for name in names)
    sql = f"UPDATE {quote(table)} SET {settings} WHERE {quote(ID)} = ?"
    bound = [values[name] for name in names]
    for number in numbers:
        if connection.execute(sql, [*bound, number]).rowcount != 1:
            raise _no_row(connection, table, number, where)
    return len(numbers)


def move(connection: sqlite3.Connection, table: str, numbers: Sequence[int], columns: Iterable[str], where: str, *,
         back: bool = False) -> int:  # fmt: skip
    """Move rows to the deleted ones, or back; IndexOutside, and nothing is moved, where one is not there."""
    source, target = (trash_of(table), table) if back else (table, trash_of(table))
    names = ", ".join(map(quote, (ID, *columns)))
    copied = f"INSERT INTO {quote(target)} ({names}) SELECT {names} FROM {quote(source)} WHERE {quote(ID)} = ?"
    for number in numbers:
        if connection.execute(copied, (number,)).rowcount != 1:
            raise _no_row(connection, table, number, where, deleted=back)
        connection.execute(f"DELETE FROM {quote(source)} WHERE {quote(ID)} = ?", (number,))
    return len(numbers)


def _no_row(
    connection: sqlite3.Connection, table: str, number: int, where: str, *, deleted: bool = False
) -> IndexOutside:
    other = table if deleted else trash_of(table)
    there = connection.execute(f"SELECT 1 FROM {quote(other)} WHERE {quote(ID)} = ?", (number,)).fetchone()
    if there:
        said = f"row {number} is not deleted" if deleted else f"row {number} is deleted"
        return IndexOutside(where, said, remedy="Nothing was changed" if deleted else "undelete it first")
    return _nowhere(table, number, where)
