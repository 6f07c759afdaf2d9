"""What rows are read from: a table, its deleted rows, or a join, as the FROM of a statement.

Layer: tables. Invariant: every column stands qualified in SQL, so that a name which is not there is an error and never
a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import is_list, text
from loom.core.late.dataclass import dataclass
from loom.tables.columns.names import ID, quote
from loom.tables.columns.schema import trash_of
from loom.tables.columns.types import COLUMN_TYPES, ColumnType

__all__ = ["Source", "Term", "join", "of_deleted", "of_table"]


@dataclass(frozen=True, slots=True)
class Term:
    """A column where it is read: its SQL, and its type."""

    sql: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from.

    ``name`` of the (left) table, ``sql`` after FROM, ``columns`` by name as results show them, ``order``: what gives
    rows one order; ``is_table``: whether rows can be changed; ``params``: what ``sql`` binds; ``seen``: the
    columns that the tables had which it reads.
    """

    name: str
    sql: str
    columns: Mapping[str, Term]
    order: tuple[str, ...]
    is_table: bool = True
    params: tuple[Any, ...] = ()
    seen: tuple[tuple[str, Mapping[str, ColumnType]], ...] = ()

    @property
    def number(self) -> str:
        """The SQL of a row's number."""
        return self.order[0]

    def term(self, name: Any, where: str) -> Term:
        """Return a column by its name, or a row's number by ``_id``; ArgumentError where there is none."""
        asked = text(name, where)
        if asked == ID:
            return Term(self.number, COLUMN_TYPES["int"])
        if asked not in self.columns:
            raise ArgumentError(where, f"no column is called {asked!r}",
                                remedy=near_matches(asked, list(self.columns)))  # fmt: skip
        return self.columns[asked]


def of_table(name: str, columns: Mapping[str, ColumnType]) -> Source:
    """Return the rows of a table."""
    return _of(name, quote(name), columns, is_table=True)


def of_deleted(name: str, columns: Mapping[str, ColumnType]) -> Source:
    """Return the deleted rows of a table."""
    return _of(name, quote(trash_of(name)), columns, is_table=False)


def _of(name: str, table: str, columns: Mapping[str, ColumnType], *, is_table: bool) -> Source:
    terms = {column: Term(f"{table}.{quote(column)}", kind) for column, kind in columns.items()}
    return Source(name, table, terms, (f"{table}.{quote(ID)}",), is_table, seen=((name, columns),))


def join(left: Source, right: Source, on: Any, how: str, where: str) -> Source:
    """Return rows of two sources side by side where columns agree; "left" keeps rows that meet none."""
    given: list[Any] = cast("list[Any]", on) if isinstance(on, list) else [on]
    if not given:
        raise ArgumentError(where, "nothing to join on", expected="a column, or (left, right)", remedy="Name one")
    alias = quote(f"join {len(left.order)}")
    there = {name: Term(f"{alias}.{quote(name)}", term.type) for name, term in right.columns.items()}
    aside = Source(right.name, alias, there, (f"{alias}.{quote(ID)}",))
    condition = " AND ".join(f"{a} = {b}" for a, b in (_pair(each, left, aside, where) for each in given))
    columns = dict(left.columns)
    for name, term in there.items():
        if name in given:
            continue
        shown = name if name not in columns else f"{right.name}_{name}"
        if shown in columns:
            raise ArgumentError(where, f"two columns would be called {shown!r}", remedy="Rename one of them first")
        columns[shown] = term
    sql = f"{left.sql} {'LEFT JOIN' if how == 'left' else 'JOIN'} {right.sql} AS {alias} ON {condition}"
    params, seen = (*left.params, *right.params), (*left.seen, *right.seen)
    return Source(left.name, sql, columns, (*left.order, *aside.order), False, params, seen)


def _pair(on: Any, left: Source, right: Source, where: str) -> tuple[str, str]:
    if is_list(on) and len(on) == 2:
        ours, theirs = on
    else:
        ours = theirs = text(on, where)
    a, b = left.term(ours, where), right.term(theirs, where)
    numbers = ("int", "float", "bool")
    if a.type != b.type and not (a.type.name in numbers and b.type.name in numbers):
        raise ArgumentError(where, "the columns are of two types", expected=f"{ours!r} of {a.type.name}",
                            got=f"{theirs!r} of {b.type.name}", remedy="Change the type of one")  # fmt: skip
    return a.sql, b.sql
