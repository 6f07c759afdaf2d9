"""Connections to one SQLite database: one for each thread that reads or writes a file, one for memory.

Layer: tables. A file is in WAL mode with synchronous FULL: what a transaction wrote is on the medium when the call
returns, and readers never wait for writers. Invariant: every change is one transaction, all of it or nothing; one
inside ``transaction`` is undone alone where it fails.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError, FileError, StateError
from loom.tables.faults import told

__all__ = ["APPLICATION_ID", "FORMAT", "Connections", "look_through"]

APPLICATION_ID = 0x4C4F4442
"""``LODB`` in the file's header: what ``file`` and SQLite's application_id show."""

FORMAT = 1
"""The file's version, in its user_version."""

_CACHE_KIB = 16 << 10
_OLDEST = (3, 35, 0)
_LEAST_NBYTES = 512
"""SQLite's smallest page."""

_MOST_NBYTES_LOOKED_AT = 32 << 20
"""Files up to this size are looked through when they are opened."""


class _OfThread:
    """A connection of one thread, closed when the thread ends; ``depth`` counts transactions inside each other.

    ``inode`` is that of the file that was opened: a file in its place is another.
    """

    def __init__(self, connection: sqlite3.Connection, inode: tuple[int, int] | None) -> None:
        self.connection, self.inode = connection, inode
        self.process = os.getpid()
        self.depth = 0

    def close(self) -> None:
        """Close it; a child of fork must not touch its parent's."""
        if self.process == os.getpid():
            with suppress(sqlite3.Error):
                self.connection.close()

    def __del__(self) -> None:
        self.close()


class Connections:
    """The connections of a database; ``path`` is None for one in memory."""

    def __init__(self, path: Path | None, timeout: float, where: str) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StateError(where, "SQLite is too old", expected=".".join(map(str, _OLDEST)),
                             got=sqlite3.sqlite_version, remedy="Use a Python with a newer one")  # fmt: skip
        self.path = path
        self.mark: Any = object() if path is None else os.path.realpath(path)
        """What tells this database from others: rows of one are no rows of another."""
        self.known: dict[str, Any] = {}
        """What was read of tables' columns; see ``schema.columns_now``."""
        self._timeout = timeout
        self._local = threading.local()
        self._lock = threading.RLock()
        self._memory: _OfThread | None = None
        self._is_open = True
        self._all: weakref.WeakSet[_OfThread] = weakref.WeakSet()
        with told(where, path):
            _refuse_other(path, where)
            held = self._held(where)
            try:
                _prepare(held.connection, path, where)
            except BaseException:
                self.close()
                raise

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return self._is_open

    def close(self) -> None:
        """Close all connections, those of other threads as well; a second time does nothing."""
        with self._lock:
            self._is_open = False
            held, self._memory = self._memory, None
            for each in list(self._all):
                each.close()
            del held

    def _held(self, where: str) -> _OfThread:
        if not self._is_open:
            raise StateError(where, "the database is closed", remedy="Open it again")
        held: _OfThread | None = self._memory if self.path is None else getattr(self._local, "held", None)
        if held is not None and held.process == os.getpid():
            if held.inode != (found := _inode(self.path)):
                raise FileError(where, f"{self.path} was {'replaced' if found else 'removed'} since it was opened",
                                remedy="Nothing was changed: open it again")  # fmt: skip
            return held
        if held is not None and self.path is None:
            raise StateError(where, "a database in memory belongs to the process that made it",
                             remedy="Use a file, or make it in this process")  # fmt: skip
        made = _OfThread(_connect(self.path, self._timeout), _inode(self.path))
        with self._lock:
            self._all.add(made)
        if self.path is None:
            self._memory = made
        else:
            self._local.held = made
        return made

    @contextmanager
    def reading(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection to read by; what goes wrong inside is told as errors of the house."""
        with self._turn(), told(where, self.path):
            yield self._held(where).connection

    @contextmanager
    def writing(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection to write by, within a transaction: kept as a whole, or undone where an error comes."""
        with self._turn(), told(where, self.path):
            held = self._held(where)
            if held.depth:
                yield from _saved(held)
            else:
                yield from _transacted(held)

    @contextmanager
    def importing(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """As ``writing``; where the file is new, its pages are written once instead of by way of the log.

        A rollback journal holds what pages held before, which of a new file is next to nothing: no less safe.
        """
        with self._turn(), told(where, self.path):
            held = self._held(where)
            swift = (
                self.path is not None
                and not held.depth
                and _has_no_table(held.connection)
                and _set_mode(held.connection, "DELETE")
            )
            try:
                with self.writing(where) as connection:
                    yield connection
            finally:
                if swift:
                    _set_mode(held.connection, "WAL")

    @contextmanager
    def alone(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection outside of any transaction; StateError within one."""
        with self._turn(), told(where, self.path):
            held = self._held(where)
            if held.depth:
                raise StateError(where, "a transaction is under way", remedy="Call it after the transaction")
            yield held.connection

    @contextmanager
    def _turn(self) -> Generator[None, None, None]:
        """Threads of a database in memory, which share one connection, take turns."""
        if self.path is not None:
            yield
            return
        with self._lock:
            yield


def _saved(held: _OfThread) -> Iterator[sqlite3.Connection]:
    connection, name = held.connection, f"loom_{held.depth}"
    connection.execute(f"SAVEPOINT {name}")
    held.depth += 1
    try:
        yield connection
        connection.execute(f"RELEASE {name}")
    except BaseException:
        if connection.in_transaction:  # a full disk may have undone all of it
            connection.execute(f"ROLLBACK TO {name}")
            connection.execute(f"RELEASE {name}")
        raise
    finally:
        held.depth -= 1


def _transacted(held: _OfThread) -> Iterator[sqlite3.Connection]:
    connection = held.connection
    connection.execute("BEGIN IMMEDIATE")
    held.depth = 1
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise
    finally:
        held.depth = 0


def _has_no_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def _set_mode(connection: sqlite3.Connection, mode: str) -> bool:
    """Change how a file is written; False if others have it open, and nothing is changed."""
    try:
        return connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0].upper() == mode
    except sqlite3.OperationalError:
        return False


# opening


def _inode(path: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from any other, whatever its name; None for none."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path | None, timeout: float) -> sqlite3.Connection:
    name = ":memory:" if path is None else os.fspath(path)
    options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "timeout": timeout}
    connection = sqlite3.connect(name, **options)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return connection


def _refuse_other(path: Path | None, where: str) -> None:
    """FileError for a file too short to be a database, which SQLite would take for an empty one and write over."""
    if path is not None and path.is_file() and 0 < path.stat().st_size < _LEAST_NBYTES:
        raise FileError(where, f"{path} is damaged (file is not a database)", expected="a sound .odb file",
                        got=f"{path.stat().st_size} bytes", remedy="Name another file, or remove it")  # fmt: skip


def _prepare(connection: sqlite3.Connection, path: Path | None, where: str) -> None:
    """Mark a new database as Loom's; look at one that is there."""
    connection.execute("BEGIN")  # all three of one state, while another process may be marking the file
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        connection.execute("COMMIT")
    if found == 0 and version == 0 and tables == 0:
        _mark(connection, path)
    elif found != APPLICATION_ID:
        raise ArgumentError(where, f"{path} is a SQLite database that Loom did not make",
                            expected="an .odb file", got=f"application_id {found:#x}",
                            remedy="Name a new file, then copy what you need by sql('attach ...')")  # fmt: skip
    elif version > FORMAT or version < 1:
        raise FileError(where, f"{path} is of a newer version of Loom", expected=f"version {FORMAT}", got=version,
                        remedy="Update Loom")  # fmt: skip
    else:
        look_through(connection, path, where, _MOST_NBYTES_LOOKED_AT)


def _mark(connection: sqlite3.Connection, path: Path | None) -> None:
    if path is not None:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")  # of two processes that find it new, one marks it first: with the same marks
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("COMMIT")


def look_through(connection: sqlite3.Connection, path: Path | None, where: str, most_nbytes: int | None = None) -> None:
    """FileError if a file, of ``most_nbytes`` at most, is not sound."""
    (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    if most_nbytes is not None and pages * size > most_nbytes:
        return
    (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise FileError(where, f"{path} is damaged ({said})", expected="a sound .odb file", got="another",
                        remedy="Restore it from a copy; sqlite3's .recover reads what is left")  # fmt: skip
