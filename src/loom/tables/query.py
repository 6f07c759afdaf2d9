"""Rows that are asked for: which, in which order, how many; and what is read of them.

Layer: tables. A query is a value: each verb returns another. It reads when it is iterated, counted or taken elsewhere,
and then what the table holds at that moment. Invariant: the order of rows is total: what ``order_by`` leaves open, the
rows' numbers decide.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from loom.core.errors import ArgumentError, StateError
from loom.core.given import flag, one_of
from loom.core.numbers import whole
from loom.tables.conditions import condition
from loom.tables.connections import Connections
from loom.tables.names import ID, quoted
from loom.tables.rows import Row, rows_of, shown
from loom.tables.sources import Source, Term, joined

__all__ = ["Query", "Reads"]


class Reads(ABC):
    """What a table and a query have in common: everything that reads."""

    @abstractmethod
    def _asked(self) -> Query:
        """Return what is read, as a query."""

    # which rows

    def where(self, column: str, op: str, value: Any = None) -> Query:
        """Return the rows of these that fulfil a condition.

        ``op``: "==", "!=", ">", "<", ">=", "<=", "contains" (of texts and bytes, capitals told apart), "in" and
        "not-in" (several values), "between" (two ends, both within), "is-null", "not-null". A missing value fulfils
        "is-null" and ``== None`` alone. ArgumentError for a column there is not, DTypeError for a value that a column
        of this type is not compared with.

        >>> from loom.tables import Database
        >>> people = Database().table("people", name=str, age=int)
        >>> people.insert_many([{"name": "Ada", "age": 36}, {"name": "Bob", "age": 25}])
        [1, 2]
        >>> [row["name"] for row in people.where("age", ">", 30)]
        ['Ada']
        """
        query = self._asked()
        term = query.source.term(column, "tables.where, column")
        sql, values = condition(term.sql, term.type, op, value, "tables.where")
        return query.narrowed(sql, values)

    def select(self, /, *columns: str, **conditions: Any) -> Query:
        """Return the rows that fulfil all of several conditions, with some of their columns, else all.

        A condition is ``column=value`` for equality, or ``column=(op, value)`` as ``where`` takes them.

        >>> from loom.tables import Database
        >>> people = Database().table("people", name=str, age=int)
        >>> _ = people.insert_many([{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}])
        >>> people.select("name", age=(">", 40), name=("contains", "A")).rows()
        [{'name': 'Alan'}]
        """
        query: Query = self._asked()
        for name, asked in conditions.items():
            op, value = (asked[0], (asked[1:] or (None,))[0]) if isinstance(asked, tuple) and asked else ("==", asked)
            query = query.where(name, op, value)
        for name in columns:
            query.source.term(name, "tables.select, columns")
        return replace(query, chosen=tuple(columns)) if columns else query

    def order_by(self, *columns: str, descending: bool = False) -> Query:
        """Return the rows in the order of columns, the first of them first; "-name" for descending.

        ``descending`` turns all of it round. Missing values come first (last if descending); rows equal in all of them
        are in the order of their numbers.
        """
        query, turned = self._asked(), flag(descending, "tables.order_by, descending")
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
        """Return the first ``count`` rows, after ``offset`` that are left out."""
        query = self._asked()
        first = whole(offset, "tables.limit, offset", least=0)
        most = whole(count, "tables.limit, count", least=0)
        if query.is_cut:
            first, most = query.offset + first, max(0, min(most, (query.most or 0) - first))
        return replace(query, most=most, offset=first)

    def join(self, other: Reads, on: Any, how: str = "inner") -> Query:
        """Return these rows beside those of another table or query where columns are equal.

        ``on``: a column of both, (ours, theirs), or a list of such; ``_id`` is a row's number. ``how``: "inner", or
        "left", which keeps our rows that meet none, with missing values. A column of theirs whose name we have is
        called table_column. Rows are in the order of ours, then theirs.
        """
        query = self._asked()
        if not isinstance(other, Reads):
            raise ArgumentError("tables.join, other", "not a table or a query", got=repr(other)[:80],
                                remedy='Pass db.table("name")')  # fmt: skip
        aside = other._asked()
        if aside.connections is not query.connections:
            raise ArgumentError("tables.join, other", "it is of another database", expected="tables of one file",
                                got=aside.source.name, remedy="Copy it: db.load(path, name)")  # fmt: skip
        way = one_of(how, "tables.join, how", ("inner", "left"))
        query.refuse_cut("tables.join")
        if query.chosen is not None:
            raise StateError("tables.join", "columns were chosen before", remedy="Write join first, then select")
        return replace(query, source=joined(query.source, aside.as_source(), on, way, "tables.join, on"))

    # what is read

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows())

    def rows(self) -> list[Row]:
        """Return the rows: dictionaries by column, each with its number as ``id``."""
        query = self._asked()
        columns = query.columns
        found = query.fetch([query.source.number, *(t.sql for t in columns.values())], "tables.rows")
        return rows_of(found, {name: term.type for name, term in columns.items()})

    def first(self) -> Row | None:
        """Return the first row; None if there is none."""
        found = self.limit(1).rows()
        return found[0] if found else None

    def ids(self) -> list[int]:
        """Return the numbers of the rows."""
        query = self._asked()
        return [number for (number,) in query.fetch([query.source.number], "tables.ids")]

    def count(self) -> int:
        """Return how many rows there are."""
        query = self._asked()
        sql, values = query.statement(["1"])
        with query.connections.reading("tables.count") as connection:
            (found,) = connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchone()
        return int(found)

    def distinct(self, column: str) -> list[Any]:
        """Return the different values of a column, ascending; a missing one first.

        >>> from loom.tables import Database
        >>> t = Database().table("t", city=str)
        >>> _ = t.insert_many([{"city": "Rome"}, {"city": "Oslo"}, {"city": "Rome"}])
        >>> t.distinct("city")
        ['Oslo', 'Rome']
        """
        query = self._asked()
        term = query.source.term(column, "tables.distinct, column")
        sql, values = query.statement([f"{term.sql} AS v"])
        with query.connections.reading("tables.distinct") as connection:
            found = connection.execute(f"SELECT DISTINCT v FROM ({sql}) ORDER BY v", values).fetchall()
        return [shown(v, term.type.show) for (v,) in found]


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

    def _asked(self) -> Query:
        return self

    def __repr__(self) -> str:
        return f"<loom.tables query of {self.source.name!r}: {', '.join(self.columns)}>"

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

    def narrowed(self, sql: str, values: list[Any]) -> Query:
        """Return this with one condition more."""
        self.refuse_cut("tables.where")
        return replace(self, conditions=(*self.conditions, sql), values=(*self.values, *values))

    def refuse_cut(self, where: str) -> None:
        """StateError if rows were cut off by ``limit``: what came after would choose among those left."""
        if self.most is not None:
            raise StateError(where, "the rows were cut off by limit", remedy="Write limit last")

    def statement(self, terms: list[str]) -> tuple[str, list[Any]]:
        """Return the SELECT of terms of SQL, and what it binds."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        order = ", ".join((*self.order, *self.source.order))
        cut = "" if self.most is None else f" LIMIT {self.most} OFFSET {self.offset}"
        sql = f"SELECT {', '.join(terms)} FROM {self.source.sql}{where} ORDER BY {order}{cut}"
        return sql, [*self.source.params, *self.values]

    def fetch(self, terms: list[str], where: str) -> list[tuple[Any, ...]]:
        """Return the values of terms of SQL, row by row."""
        sql, values = self.statement(terms)
        with self.connections.reading(where) as connection:
            return connection.execute(sql, values).fetchall()

    def as_source(self) -> Source:
        """Return this as what another is joined with: its table, or the rows it reads."""
        if not self.conditions and self.chosen is None and not self.is_cut and self.source.is_table:
            return self.source
        named = [f"{self.source.number} AS {quoted(ID)}"]
        named += [f"{term.sql} AS {quoted(name)}" for name, term in self.columns.items()]
        sql, values = self.statement(named)
        return Source(self.source.name, f"({sql})", self.columns, self.source.order, False, tuple(values))
