"""Copies: tables of one database to a file of their own, and from a file into a database.

Layer: tables. Invariant: the file that is named holds the old content or all of the new.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from loom.core.errors import ArgumentError, FileError
from loom.storage.disk import Disk
from loom.tables.columns.names import ID, quote
from loom.tables.columns.schema import DECLARED, add_table, columns_of, has_declared, names_of_tables, trash_of
from loom.tables.exchange.belongings import copy_belongings, refuse_strangers
from loom.tables.files.connections import Connections
from loom.tables.files.seal import compare, write_seal
from loom.tables.files.sqlite_files import APPLICATION_ID, FORMAT

__all__ = ["copy_table", "load_tables", "save_tables"]

_BESIDE = "-wal", "-shm", "-journal"
"""What SQLite writes beside a file."""


def save_tables(connections: Connections, path: Path, names: Sequence[str], where: str) -> None:
    """Write tables, all if none is named, with their deleted rows, to a file, in place of the tables it has."""
    if path.is_dir():
        raise FileError(where, f"{path} is a folder", expected="a file", got="a folder", remedy="Name a file")
    if connections.path is not None and path.exists() and path.samefile(connections.path):
        raise ArgumentError(where, f"{path} is the database itself", expected="another file",
                            remedy="It is saved already: every call is")  # fmt: skip
    with connections.alone(where) as source:
        compare(source, connections.path, where)
        chosen = [columns_of(source, name, where)[0] for name in names]
        if path.exists():
            _replace(source, path, chosen, where)
        else:
            _write_new(source, path, chosen, where)


def _write_new(source: sqlite3.Connection, path: Path, names: Sequence[str], where: str) -> None:
    disk, partial = Disk(), path.with_name(f"{path.name}.{os.urandom(8).hex()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(partial, isolation_level=None)) as target:
            _fill(source, target, names, where)
            target.execute("PRAGMA journal_mode=DELETE")  # so that the file is all there is
            write_seal(target)
        disk.sync(partial)
        _remove(disk, path, _BESIDE)  # a log that a file of this name left would be read as this one's
        disk.rename(partial, path)
        disk.sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            _remove(disk, partial, ("", *_BESIDE))
        raise


def _remove(disk: Disk, path: Path, suffixes: Sequence[str]) -> None:
    for suffix in suffixes:
        with suppress(FileNotFoundError):
            disk.remove(Path(f"{path}{suffix}"))


def _replace(source: sqlite3.Connection, path: Path, names: Sequence[str], where: str) -> None:
    """Write over a file that is there by a transaction of its own, which readers and a crash see as a whole."""
    other = Connections(path, 5.0, where)  # refuses what is no file of Loom's
    try:
        with other.alone(where, writes=True) as target:
            _fill(source, target, names, where)
    finally:
        other.close()


def _fill(source: sqlite3.Connection, target: sqlite3.Connection, names: Sequence[str], where: str) -> None:
    if not names:
        source.backup(target)
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.execute(f"PRAGMA application_id={APPLICATION_ID}")
        made.execute(f"PRAGMA user_version={FORMAT}")
        source.execute("BEGIN")  # one state of all of them
        try:
            for name in names:
                copy_table(source, made, name, where)
            copy_belongings(source, made, names, where)
        finally:
            source.execute("ROLLBACK")
        made.backup(target)


def load_tables(connections: Connections, path: Path, names: Sequence[str], where: str) -> list[str]:
    """Copy tables of a file, all if none is named, into a database that has none of these names."""
    if not path.is_file():
        raise FileError(where, f"there is no file {path}", remedy="Check the path")
    other = Connections(path, 5.0, where, read_only=True)
    try:
        with other.alone(where) as source, connections.writing(where) as target:
            compare(source, path, where)
            found = [columns_of(source, name, where)[0] for name in names] or names_of_tables(source)
            there = {name.lower() for name in names_of_tables(target)}
            for name in found:
                if name.lower() in there:
                    raise ArgumentError(where, f"there is a table {name!r} already", expected="a name of its own",
                                        got=name, remedy="Drop it, or load into another database")  # fmt: skip
            if not names:
                refuse_strangers(source, found, where)
            for name in found:
                copy_table(source, target, name, where)
            copy_belongings(source, target, found, where, every=not names)
            return found
    finally:
        other.close()


def copy_table(source: sqlite3.Connection, target: sqlite3.Connection, name: str, where: str) -> None:
    """Make a table of one connection in another: its columns, its rows, its deleted rows, and which numbers it gave."""
    _, columns = columns_of(source, name, where)
    add_table(target, name, columns)
    for table in (name, trash_of(name)):
        listed = ", ".join(map(quote, (ID, *columns)))
        marks = ", ".join("?" * (1 + len(columns)))
        rows = source.execute(f"SELECT {listed} FROM {quote(table)}")
        target.executemany(f"INSERT INTO {quote(table)} ({listed}) VALUES ({marks})", rows)
    given = source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
    if given is not None:
        target.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, given[0]))
    if has_declared(source):
        declared = source.execute(f"SELECT sql FROM sqlite_master WHERE name = '{DECLARED}'").fetchone()[0]
        if not has_declared(target):
            target.execute(declared)
        rows = source.execute(f"SELECT name, columns FROM {DECLARED} WHERE name = ?", (name,))
        target.executemany(f"INSERT OR REPLACE INTO {DECLARED} VALUES (?, ?)", rows)
