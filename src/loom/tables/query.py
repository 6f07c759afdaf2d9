"""Rows that are asked for: which, in which order, how many; and what is read of them.

Layer: tables. A query is a value: each verb returns another. It reads when it is iterated, counted or taken elsewhere,
and then what the table holds at that moment. Invariant: the order of rows is total: what ``order_by`` leaves open, the
rows' numbers decide.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from loom.core.errors import ArgumentError, StateError
from loom.core.given import flag, one_of, text
from loom.core.numbers import whole
from loom.core.tracebacks import brief_class
from loom.patterns.data.group import Groups
from loom.runtime.port.device import Device
from loom.tables.arrow.writing import Arrow
from loom.tables.columns.conditions import LEFT_OUT, condition
from loom.tables.columns.names import ID, quote, refuse_repeated
from loom.tables.columns.rows import Row, rows_of
from loom.tables.columns.schema import columns_now
from loom.tables.columns.types import ColumnType, as_python
from loom.tables.device.columns import DeviceColumns, move_columns, operation
from loom.tables.exchange.arrays import array_of
from loom.tables.exchange.csv_files import write_csv
from loom.tables.files.connections import Connections
from loom.tables.sources import Source, Term, join

__all__ = ["Query", "Reads"]

_MOST_ROWS = (1 << 63) - 1
"""What SQLite counts to."""

_MOST_IN_A_ROW = 64
"""Conditions that stand side by side."""


@brief_class
class Reads(ABC):
    """What a table and a query have in common: everything that reads."""

    @abstractmethod
    def _as_query(self) -> Query:
        """Return what is read, as a query."""

    # which rows

    def where(self, column: str, op: str, value: Any = LEFT_OUT) -> Query:
        """Return the rows of these that fulfil a condition.

        A missing value fulfils "is-null", ``== None``, "in" of several that None is among, and "not-in" of none at all.

        Args:
            column: Name of the column.
            op: "==", "!=", ">", "<", ">=", "<=", "contains" (of texts and bytes, capitals told apart), "in" and
                "not-in" (several values), "between" (two ends, both within), "is-null", "not-null".
            value: Value, or values, that it is compared with; left out for "is-null" and "not-null".

        Raises:
            ArgumentError: There is no such column or operator; a value is needed, or has no effect.
            DTypeError: A column of this type is not compared with the value; the name is no text.
            StateError: The rows were cut off by ``limit``.

        >>> from loom.tables import Database
        >>> people = Database().table("people", name=str, age=int)
        >>> people.insert_many([{"name": "Ada", "age": 36}, {"name": "Bob", "age": 25}])
        [1, 2]
        >>> [row["name"] for row in people.where("age", ">", 30)]
        ['Ada']
        """
        query = self._as_query()
        term = query.source.term(column, "tables.where, column")
        sql, values = condition(term.sql, term.type, op, value, "tables.where")
        return query.narrow(sql, values)

    def select(self, /, *columns: str, **conditions: Any) -> Query:
        """Return the rows that fulfil all of several conditions, with some of their columns, else all.

        A condition is ``column=value`` for equality, or ``column=(op, value)`` as ``where`` takes them.

        Args:
            *columns: Names of columns; none: all.
            **conditions: Value, or (op, value) as ``where`` takes them, by column.

        Raises:
            ArgumentError: There is no such column or operator, or one is named twice; a condition that is none.
            DTypeError: A column of this type is not compared with the value; a name is no text.
            StateError: The rows were cut off by ``limit``.

        >>> from loom.tables import Database
        >>> people = Database().table("people", name=str, age=int)
        >>> _ = people.insert_many([{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}])
        >>> people.select("name", age=(">", 40), name=("contains", "A")).rows()
        [{'name': 'Alan'}]
        """
        query: Query = self._as_query()
        for name, asked in conditions.items():
            pair = cast("tuple[Any, ...]", asked if isinstance(asked, tuple) else ("==", asked))
            if len(pair) not in (1, 2):
                raise ArgumentError("tables.select", f"no condition on {name!r}", expected="(op, value)",
                                    got=repr(pair)[:80], remedy='Write ("between", (1, 10))')  # fmt: skip
            query = query.where(name, *pair)
        for name in columns:
            query.source.term(name, "tables.select, columns")
        refuse_repeated(columns, "tables.select, columns")
        return replace(query, chosen=tuple(columns)) if columns else query

    def order_by(self, *columns: str, descending: bool = False) -> Query:
        """Return the rows in the order of columns, the first of them first.

        Missing values come first (last if descending); rows equal in all of them are in the order of their numbers.

        Args:
            *columns: Names; "-name" for descending.
            descending: Whether all of it is turned round.

        Raises:
            ArgumentError: No columns; there is no such column; ``descending`` is no truth.
            DTypeError: A name is no text.
            StateError: The rows were cut off by ``limit``.
        """
        query, turned = self._as_query(), flag(descending, "tables.order_by, descending")
        if not columns:
            raise ArgumentError("tables.order_by", "no columns", expected="names", remedy='Write order_by("age")')
        order: list[str] = []
        for name in columns:
            down = isinstance(name, str) and name.startswith("-") and name not in query.source.columns
            term = query.source.term(name[1:] if down else name, "tables.order_by, columns")
            order.append(f"{term.sql} {'DESC' if down != turned else 'ASC'}")
        query.refuse_cut("tables.order_by")
        return replace(query, order=tuple(order))

    def limit(self, count: int, offset: int = 0) -> Query:
        """Return the first rows, after some that are left out.

        Args:
            count: Most rows.
            offset: Rows that are left out.

        Raises:
            ArgumentError: Not a whole number, at least 0.
        """
        query = self._as_query()
        first = min(whole(offset, "tables.limit, offset", least=0), _MOST_ROWS)
        most = min(whole(count, "tables.limit, count", least=0), _MOST_ROWS)
        if query.is_cut:
            first, most = query.offset + first, max(0, min(most, (query.most or 0) - first))
        return replace(query, most=most, offset=min(first, _MOST_ROWS))

    def join(self, other: Reads, on: Any, how: str = "inner") -> Query:
        """Return these rows beside those of another table or query where columns are equal.

        A column of theirs whose name we have is called table_column. Rows are in the order of ours, then theirs.

        Args:
            other: Table or query of the same database.
            on: Column of both, (ours, theirs), or a list of such; ``_id`` is a row's number.
            how: "inner", or "left", which keeps our rows that meet none, with missing values.

        Raises:
            ArgumentError: Not a table or a query, or of another database; there is no such column or way; columns of
                different types.
            DTypeError: A name is no text.
            StateError: The rows were cut off by ``limit``, or columns were chosen before.
        """
        query = self._as_query()
        if not isinstance(other, Reads):
            raise ArgumentError("tables.join, other", "not a table or a query", got=repr(other)[:80],
                                remedy='Pass db.table("name")')  # fmt: skip
        aside = other._as_query()
        if aside.connections is not query.connections:
            raise ArgumentError("tables.join, other", "it is of another database", expected="tables of one file",
                                got=aside.source.name, remedy="Copy it: db.load(path, name)")  # fmt: skip
        way = one_of(how, "tables.join, how", ("inner", "left"))
        query.refuse_cut("tables.join")
        if query.chosen is not None:
            raise StateError("tables.join", "columns were chosen before", remedy="Write join first, then select")
        return replace(query, source=join(query.source, aside.as_source(), on, way, "tables.join, on"))

    # what is read

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows())

    def rows(self) -> list[Row]:
        """Return the rows: dictionaries by column, each with its number as ``id``."""
        query = self._as_query()
        columns = query.columns
        found = query.fetch([query.source.number, *(t.sql for t in columns.values())], "tables.rows")
        return rows_of(found, {name: term.type for name, term in columns.items()}, query.origin)

    def first(self) -> Row | None:
        """Return the first row; None if there is none."""
        found = self.limit(1).rows()
        return found[0] if found else None

    def ids(self) -> list[int]:
        """Return the numbers of the rows."""
        query = self._as_query()
        return [number for (number,) in query.fetch([query.source.number], "tables.ids")]

    def count(self) -> int:
        """Return how many rows there are."""
        query = self._as_query()
        sql, values = query.statement(["1"])
        with query.reading("tables.count") as connection:
            (found,) = connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchone()
        return int(found)

    def distinct(self, column: str) -> list[Any]:
        """Return the different values of a column, ascending; a missing one first.

        Args:
            column: Name of the column.

        Raises:
            ArgumentError: There is no such column.
            DTypeError: The name is no text.

        >>> from loom.tables import Database
        >>> t = Database().table("t", city=str)
        >>> _ = t.insert_many([{"city": "Rome"}, {"city": "Oslo"}, {"city": "Rome"}])
        >>> t.distinct("city")
        ['Oslo', 'Rome']
        """
        query = self._as_query()
        term = query.source.term(column, "tables.distinct, column")
        sql, values = query.statement([f"{term.sql} AS v"])
        with query.reading("tables.distinct") as connection:
            found = connection.execute(f"SELECT DISTINCT v FROM ({sql}) ORDER BY v", values).fetchall()
        return [as_python(v, term.type) for (v,) in found]

    def aggregate(self, column: str, op: str) -> Any:
        """Return a number of a column's values; missing ones are left out.

        Sums of whole numbers are exact, and so are their means, rounded once. Floats are added in Loom's canonical
        order, so that the bits are those of the same column on any device. No values give 0 as sum and count, else
        None.

        Args:
            column: Name of the column.
            op: "sum", "mean" ("avg"), "min", "max" or "count".

        Raises:
            ArgumentError: There is no such column or operation.
            DTypeError: A column of this type has no such number; the name is no text.

        >>> from loom.tables import Database
        >>> t = Database().table("t", x=int)
        >>> _ = t.insert_many([(1,), (2,), (None,)])
        >>> t.aggregate("x", "avg")
        1.5
        """
        query = self._as_query()
        term = query.source.term(column, "tables.aggregate, column")
        found = operation(op, term.type, "tables.aggregate")
        if found in ("min", "max", "count") and term.type.name != "float":
            sql, values = query.statement([f"{term.sql} AS v"])
            with query.reading("tables.aggregate") as connection:
                (value,) = connection.execute(f"SELECT {found}(v) FROM ({sql})", values).fetchone()
            return as_python(value, term.type) if found != "count" else int(value)
        return _columns(query, [column], "cpu", "tables.aggregate").aggregate(column, found)

    def group_by(self, key: str, column: str | None = None, op: str = "count") -> Groups:
        """Return a number of a column for each different value of another, ascending.

        Rows without a key are left out, as are missing values; a key all of whose values are missing has 0 as sum and
        count, else a missing value, as ``to_numpy`` gives them. Sums as ``aggregate`` makes them; whole ones that int64
        lacks are Python's ints.

        Args:
            key: Name of the column whose values make groups.
            column: Name of the column; None: only of "count".
            op: "sum", "mean" ("avg"), "min", "max" or "count".

        Returns:
            Groups: ``keys`` and ``values``, arrays.

        Raises:
            ArgumentError: There is no such column or operation; a column is needed.
            DTypeError: A column of this type has no such number; a name is no text.

        >>> from loom.tables import Database
        >>> t = Database().table("t", city=str, age=int)
        >>> _ = t.insert_many([("Oslo", 25), ("Rome", 36), ("Oslo", 61)])
        >>> keys, means = t.group_by("city", "age", "mean")
        >>> keys.tolist(), means.tolist()
        (['Oslo', 'Rome'], [43.0, 36.0])
        """
        by, of = text(key, "tables.group_by, key"), None if column is None else text(column, "tables.group_by, column")
        named = [by] if of is None or of == by else [by, of]
        return _columns(self._as_query(), named, "cpu", "tables.group_by").group_by(key, column, op)

    # elsewhere

    def to_device(self, *columns: str, on: str | Device | None = None) -> DeviceColumns:
        """Return columns on a device, as they are now.

        Args:
            *columns: Names of columns; none: all of numbers, bools, texts and dates.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: There is no such column, or one is named twice.
            DTypeError: Not a device; a name is no text.
            DeviceError: There is no such device.
        """
        query = self._as_query()
        named = [n for n, t in query.columns.items() if t.type.name != "bytes"] if not columns else list(columns)
        return _columns(query, named, on, "tables.to_device")

    def to_numpy(self, *columns: str, missing: Any = None) -> Any:
        """Return the array of a column, or of several (all if none is named) a dictionary of arrays.

        int64, float64, bool, str, datetime64. Whole numbers with missing ones among them are float64.

        Args:
            *columns: Names of columns; none: all.
            missing: Value that stands for a missing one; None: NaN or NaT, among bools and texts None (then the array
                is one of objects).

        Raises:
            ArgumentError: There is no such column, or one is named twice.
            DTypeError: ``missing`` does not fit a column; float64 lacks a whole number of a column with missing ones; a
                name is no text.
        """
        where = "tables.to_numpy"
        found, _ = _values(self._as_query(), columns, where)
        made = {n: array_of(values, kind, f"{where}, column {n!r}", missing) for n, (kind, values) in found.items()}
        return made[columns[0]] if len(columns) == 1 else made

    def to_arrow(self, *columns: str) -> Arrow:
        """Return columns as an Arrow stream: pandas, polars, duckdb and pyarrow take it.

        Args:
            *columns: Names of columns; none: all.

        Raises:
            ArgumentError: There is no such column, or one is named twice.
            DTypeError: A name is no text.
        """
        found, ids = _values(self._as_query(), columns, "tables.to_arrow")
        return Arrow(found, len(ids))

    def export_csv(
        self, target: str | os.PathLike[str], *columns: str, separator: str = ",", header: bool = True,
        encoding: str | None = None,
    ) -> int:  # fmt: skip
        """Write columns to a CSV file (RFC 4180), in one step.

        Floats are written so that they are read back as they were; a missing value is an empty cell, as an empty text
        is; bools are true and false, bytes hexadecimal, dates as in ISO 8601.

        Args:
            target: File, in place of one there.
            *columns: Names of columns; none: all.
            separator: Character between cells.
            header: Whether the first line names the columns.
            encoding: Name of the encoding; None: UTF-8.

        Returns:
            Number of rows.

        Raises:
            ArgumentError: There is no such column, or one is named twice; an encoding or a separator that is unusable;
                ``header`` is no truth.
            DTypeError: Not a path; a name is no text.
            FileError: The file cannot be written.
        """
        where = "tables.export_csv"
        found, ids = _values(self._as_query(), columns, where)
        write_csv(target, found, len(ids), separator, header, encoding, where)
        return len(ids)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def _values(
    query: Query, columns: Sequence[str], where: str
) -> tuple[dict[str, tuple[ColumnType, Any]], Sequence[int]]:
    """Return columns, their types and values, and the numbers of the rows."""
    refuse_repeated(columns, f"{where}, columns")
    named = list(columns) or list(query.columns)
    terms = {name: query.source.term(name, f"{where}, columns") for name in named}
    rows = query.fetch([query.source.number, *(t.sql for t in terms.values())], where)
    ids, *values = zip(*rows, strict=True) if rows else [()] * (1 + len(terms))
    return {n: (t.type, v) for (n, t), v in zip(terms.items(), values, strict=True)}, ids


def _conjunction(conditions: Sequence[str]) -> str:
    """Return conditions joined by AND, as a tree that is as flat as it can be: SQLite bounds its depth."""
    if len(conditions) < _MOST_IN_A_ROW:
        return " AND ".join(conditions)
    half = len(conditions) // 2
    return f"({_conjunction(conditions[:half])}) AND ({_conjunction(conditions[half:])})"


def _columns(query: Query, columns: Sequence[str], on: str | Device | None, where: str) -> DeviceColumns:
    return move_columns(*_values(query, columns, where), on)


@brief_class
@dataclass(frozen=True)
class Query(Reads):
    """Rows that are asked for; ``where`` and its kin of a table return one, and each of its own another."""

    connections: Connections
    source: Source
    conditions: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    order: tuple[str, ...] = ()
    chosen: tuple[str, ...] | None = None
    most: int | None = None
    offset: int = 0

    def _as_query(self) -> Query:
        return self

    def __repr__(self) -> str:
        return f"<loom.tables query of {self.source.name!r}: {', '.join(self.columns)}>"

    @property
    def origin(self) -> tuple[Any, str]:
        """Which table the numbers of the rows are of: its database, and its name."""
        return self.connections.mark, self.source.name

    @property
    def is_cut(self) -> bool:
        """Whether ``limit`` was asked for."""
        return self.most is not None

    @property
    def columns(self) -> Mapping[str, Term]:
        """What is read, by name."""
        if self.chosen is None:
            return self.source.columns
        return {name: self.source.term(name, "tables.select, columns") for name in self.chosen}

    def narrow(self, sql: str, values: list[Any]) -> Query:
        """Return this with one condition more."""
        self.refuse_cut("tables.where")
        return replace(self, conditions=(*self.conditions, sql), values=(*self.values, *values))

    def refuse_cut(self, where: str) -> None:
        """StateError if rows were cut off by ``limit``: what came after would choose among those left."""
        if self.most is not None:
            raise StateError(where, "the rows were cut off by limit", remedy="Write limit last")

    def statement(self, terms: list[str]) -> tuple[str, list[Any]]:
        """Return the SELECT of terms of SQL, and what it binds."""
        where = f" WHERE {_conjunction(self.conditions)}" if self.conditions else ""
        order = ", ".join((*self.order, *self.source.order))
        cut = "" if self.most is None else f" LIMIT {self.most} OFFSET {self.offset}"
        sql = f"SELECT {', '.join(terms)} FROM {self.source.sql}{where} ORDER BY {order}{cut}"
        return sql, [*self.source.params, *self.values]

    def fetch(self, terms: list[str], where: str) -> list[tuple[Any, ...]]:
        """Return the values of terms of SQL, row by row."""
        sql, values = self.statement(terms)
        with self.reading(where) as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def reading(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection to read by; StateError where a table has other columns than when it was asked.

        Args:
            where: Name of the call, for the error.

        Returns:
            Context manager of the connection.

        Raises:
            StateError: The columns of a table were altered since the query was made.
        """
        with self.connections.reading(where) as connection:
            for name, columns in self.source.seen:
                if list(columns_now(connection, name, self.connections.known, where).items()) != list(columns.items()):
                    raise StateError(where, f"the columns of {name!r} were altered since the query was made",
                                     remedy="Make the query again")  # fmt: skip
            yield connection

    def as_source(self) -> Source:
        """Return this as what another is joined with: its table, or the rows it reads."""
        if not self.conditions and self.chosen is None and not self.is_cut and self.source.is_table:
            return self.source
        named = [f"{self.source.number} AS {quote(ID)}"]
        named += [f"{term.sql} AS {quote(name)}" for name, term in self.columns.items()]
        sql, values = self.statement(named)
        name, order = self.source.name, self.source.order
        return Source(name, f"({sql})", self.columns, order, False, tuple(values), self.source.seen)
