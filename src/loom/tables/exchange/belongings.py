"""What a copy of tables takes along: their indexes, triggers and views, which SQL made.

Layer: tables. Invariant: what belongs to a table that is copied is copied, or the copy is refused and names it: no
constraint is lost in silence.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from loom.core.errors import ArgumentError
from loom.tables.columns.names import quote
from loom.tables.columns.schema import trash_of

__all__ = ["copy_belongings", "refuse_strangers"]


class _SchemaEntry(NamedTuple):
    """Something that SQL made: an index, a trigger or a view (``type``) on ``table``, by the statement ``sql``."""

    type: str
    name: str
    table: str
    sql: str


def _read_objects(connection: sqlite3.Connection) -> list[_SchemaEntry]:
    found = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' AND tbl_name NOT LIKE '\\_octodb%' ESCAPE '\\' ORDER BY rowid"
    )
    return [_SchemaEntry(*row) for row in found]


def refuse_strangers(source: sqlite3.Connection, names: Sequence[str], where: str) -> None:
    """ArgumentError where a file has a table that Loom did not make, which a copy of all would leave out."""
    ours = _names_of(names)
    for each in _read_objects(source):
        if each.type == "table" and each.name.lower() not in ours:
            raise ArgumentError(
                where,
                f"the table {each.name!r} is not of Loom",
                expected="tables that Loom made",
                got=each.sql[:80],
                remedy="Name the tables to take: load(path, 'name')",
            )


def copy_belongings(
    source: sqlite3.Connection, target: sqlite3.Connection, names: Sequence[str], where: str, *, every: bool = False
) -> None:
    """Make the indexes, triggers and views of tables that were copied; ``every``: all views there are.

    ArgumentError for one that reads or writes a table that was not copied, or whose name is taken.
    """
    ours, objects = _names_of(names), _read_objects(source)
    views = {each.name.lower(): each for each in objects if each.type == "view"}
    taken = {name for name, view in views.items() if every or _reads(source, view) & ours}
    there = {each.name.lower() for each in _read_objects(target)}
    for each in objects:
        mine = each.name.lower() in taken if each.type == "view" else each.table.lower() in ours | taken
        if each.type == "table" or not mine:
            continue
        outside = sorted(_needs_of(source, each) - ours - {*views})
        if outside:
            raise ArgumentError(
                where,
                f"the {each.type} {each.name!r} needs the table {outside[0]!r}, which is not copied",
                expected="all tables that it names",
                got=each.sql[:80],
                remedy=f"Name that table too, or drop the {each.type}",
            )
        if each.name.lower() in there:
            raise ArgumentError(
                where,
                f"the name of the {each.type} {each.name!r} is taken",
                expected="a name of its own",
                got=each.sql[:80],
                remedy=f"Drop one of them by sql('DROP {each.type.upper()} ...')",
            )
        target.execute(each.sql)


def _names_of(names: Sequence[str]) -> set[str]:
    return {each.lower() for name in names for each in (name, trash_of(name))}


def _needs_of(source: sqlite3.Connection, each: _SchemaEntry) -> set[str]:
    """Return the tables that a view reads, or that a trigger reads and writes."""
    if each.type == "view":
        return _reads(source, each)
    if each.type == "index":
        return {each.table.lower()}
    columns = [name for (name,) in source.execute("SELECT name FROM pragma_table_info(?)", (each.table,))]
    into, settings = quote(each.table), ", ".join(f"{quote(name)} = NULL" for name in columns)
    statements = f"INSERT INTO {into} DEFAULT VALUES", f"UPDATE {into} SET {settings}", f"DELETE FROM {into}"
    return {table for statement in statements for table in _needs(source, statement, each.name)}


def _reads(source: sqlite3.Connection, view: _SchemaEntry) -> set[str]:
    return _needs(source, f"SELECT * FROM {quote(view.name)}", None)


def _needs(source: sqlite3.Connection, statement: str, by: str | None) -> set[str]:
    """Return the tables that a statement, or a trigger that it fires, would read or write, by asking SQLite's plan.

    What it would not let a statement do, as to write to a view, fires no trigger.
    """
    found: set[str] = set()

    def note(action: int, first: str | None, _second: str | None, _database: str | None, inner: str | None) -> int:
        if first and action in _ACTIONS and (by is None or inner == by):
            found.add(first.lower())
        return sqlite3.SQLITE_OK

    source.set_authorizer(note)
    try:
        source.execute(f"EXPLAIN {statement}").fetchall()
    except sqlite3.Error as error:
        if "no such table" in str(error):  # it is of what is no more
            found.add(str(error).rpartition(": ")[2].removeprefix("main.").lower())
    finally:
        source.set_authorizer(_allow)
    return found


def _allow(*_: object) -> int:
    return sqlite3.SQLITE_OK


_ACTIONS = sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE
