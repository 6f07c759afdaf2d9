"""Connections to one SQLite database: one for each thread that reads or writes a file, one for memory.

Layer: tables. A file is in WAL mode with synchronous FULL from the first write on: what a transaction wrote is on the
medium when the call returns, and readers do not wait for it; who closes it last seals it (``seal``). Invariant: every
change is one transaction, all of it or nothing; one inside ``transaction`` is undone alone where it fails.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loom.core.errors import FileError, StateError
from loom.tables.files.faults import translate_errors
from loom.tables.files.seal import compare, has_seal, write_seal
from loom.tables.files.sqlite_files import connection_to, enter_log, identity, prepare, reach_of

__all__ = ["Connections"]

_OLDEST = (3, 35, 0)


class _OfThread:
    """A connection of one thread, closed when the thread ends; ``depth`` counts transactions inside each other.

    ``identity`` is that of the file that was opened: a file in its place is another. ``is_logged``: whether it writes
    by the log, from its first write on.
    """

    def __init__(self, connection: sqlite3.Connection, identity: tuple[int, ...] | None) -> None:
        self.connection, self.identity = connection, identity
        self.process = os.getpid()
        self.depth = 0
        self.is_logged = False

    def close(self) -> None:
        """Close it; a child of fork must not touch its parent's."""
        if self.process == os.getpid():
            with suppress(sqlite3.Error):
                self.connection.close()

    def __del__(self) -> None:
        self.close()


class Connections:
    """The connections of a database; ``path`` is None for one in memory.

    ``read_only``: nothing is written to the file; ``verify``: FileError unless its seal is of its bytes.
    """

    def __init__(
        self, path: Path | None, timeout: float, where: str, *, read_only: bool = False, verify: bool = False
    ) -> None:
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
        self._wrote = False
        with translate_errors(where, path):
            self._reach = reach_of(path, read_only, verify, where)
            held = self._of_thread(where)
            try:
                held.is_logged = self._wrote = prepare(held.connection, path, timeout, self._reach, verify, where)
            except BaseException:
                self.close()
                raise
        _OPEN.add(self)

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return self._is_open

    @property
    def is_read_only(self) -> bool:
        """Whether it was opened to be read alone."""
        return self._reach != "mode=rwc"

    @property
    def is_idle(self) -> bool:
        """Whether no thread has a transaction under way."""
        return not any(each.depth for each in list(self._all))

    def close(self) -> None:
        """Seal what was written and close all connections, those of other threads as well; again does nothing."""
        with self._lock:
            self._is_open = False
            held, self._memory = self._memory, None
            ours = [each for each in list(self._all) if each.process == os.getpid()]
            last = ours[0] if ours and self.path is not None and self.is_idle else None
            for each in ours:
                if each is not last:
                    each.close()
            if last is not None:
                self._seal(last)
                last.close()
            del held

    def _seal(self, last: _OfThread) -> None:
        """Seal the file if it was written, here or by who left its log open, and nobody else has it open."""
        with suppress(sqlite3.Error):
            connection = last.connection
            connection.execute("PRAGMA busy_timeout=0")
            if not self._wrote and not self.is_read_only:
                self._wrote = _mode_of(connection) == "wal" and has_seal(connection)
            if self._wrote and last.identity == identity(self.path, self._reach):
                write_seal(connection)

    def __del__(self) -> None:
        with suppress(Exception):  # what failed to open, or at the interpreter's end
            self.close()

    def _of_thread(self, where: str) -> _OfThread:
        if not self._is_open:
            raise StateError(where, "the database is closed", remedy="Open it again")
        held: _OfThread | None = self._memory if self.path is None else getattr(self._local, "held", None)
        if held is not None and held.process == os.getpid():
            if held.identity != (found := identity(self.path, self._reach)):
                raise self._is_another(found is not None, where)
            return held
        if held is not None and self.path is None:
            raise StateError(where, "a database in memory belongs to the process that made it",
                             remedy="Use a file, or make it in this process")  # fmt: skip
        before = identity(self.path, self._reach)
        connection = connection_to(self.path, self._timeout, self._reach)
        made = _OfThread(connection, before or identity(self.path, self._reach))
        with self._lock:
            self._all.add(made)
        if self.path is None:
            self._memory = made
        else:
            self._local.held = made
        return made

    def _is_another(self, is_there: bool, where: str) -> FileError:
        fate = "removed" if not is_there else "replaced or written" if self.is_read_only else "replaced"
        said = f"{self.path} was {fate} since it was opened"
        return FileError(where, said, remedy="Nothing was changed: open it again")

    @contextmanager
    def reading(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection to read by; what goes wrong inside is told as errors of the house."""
        with self._turn(), translate_errors(where, self.path):
            yield self._of_thread(where).connection

    @contextmanager
    def writing(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection to write by, within a transaction: kept as a whole, or undone where an error comes."""
        with self._turn(), translate_errors(where, self.path):
            held = self._of_thread(where)
            if held.depth:
                yield from _savepoint(held)
            else:
                self._begin_log(held, where)
                yield from _transaction(held)

    def _begin_log(self, held: _OfThread, where: str) -> None:
        """Have a connection write by the log from here on; FileError for bytes that changed since they were sealed.

        While it is open nobody seals the file, so that once is enough.
        """
        if self.path is None or held.is_logged:
            return
        if self.is_read_only:
            raise self._only_reads(where)
        if not self._wrote and _mode_of(held.connection) != "wal":
            compare(held.connection, self.path, where)
        enter_log(held.connection, self._timeout)
        held.is_logged = self._wrote = True

    def _only_reads(self, where: str) -> StateError:
        said, remedy = f"{self.path} was opened read_only", "Open it without read_only, or save a copy and write that"
        return StateError(where, said, expected="a call that reads", got="one that writes", remedy=remedy)

    @contextmanager
    def importing(self, where: str) -> Generator[sqlite3.Connection, None, None]:
        """As ``writing``; where the file is new, its pages are written once instead of by way of the log.

        A rollback journal holds what pages held before, which of a new file is next to nothing: no less safe.
        """
        with self._turn(), translate_errors(where, self.path):
            held = self._of_thread(where)
            if not held.depth:
                self._begin_log(held, where)
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
    def stating(self, where: str, writes: bool) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection for a statement that is a transaction of its own, unless one is under way."""
        with self._turn(), translate_errors(where, self.path):
            held = self._of_thread(where)
            if writes and not held.depth:
                self._begin_log(held, where)
            try:
                yield held.connection
            except sqlite3.OperationalError as error:
                if self.is_read_only and "readonly" in str(error):
                    raise self._only_reads(where) from None
                raise

    @contextmanager
    def alone(self, where: str, *, writes: bool = False) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection outside of any transaction, to write by as well if asked; StateError within one."""
        with self._turn(), translate_errors(where, self.path):
            held = self._of_thread(where)
            if held.depth:
                raise StateError(where, "a transaction is under way", remedy="Call it after the transaction")
            if writes:
                self._begin_log(held, where)
            yield held.connection

    @contextmanager
    def _turn(self) -> Generator[None, None, None]:
        """Threads of a database in memory, which share one connection, take turns."""
        if self.path is not None:
            yield
            return
        with self._lock:
            yield


def _savepoint(held: _OfThread) -> Iterator[sqlite3.Connection]:
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


def _transaction(held: _OfThread) -> Iterator[sqlite3.Connection]:
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
    sql = "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE '\\_octodb%' ESCAPE '\\'"
    return connection.execute(sql).fetchone() == (0,)


def _mode_of(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _set_mode(connection: sqlite3.Connection, mode: str) -> bool:
    """Change how a file is written; False if others have it open, and nothing is changed."""
    try:
        return connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0].upper() == mode
    except sqlite3.OperationalError:
        return False


# the end of the process

_OPEN: weakref.WeakSet[Connections] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close, and seal, what nobody closed and no thread is still writing."""
    for each in list(_OPEN):
        if each.is_idle:
            with suppress(Exception):
                each.close()
