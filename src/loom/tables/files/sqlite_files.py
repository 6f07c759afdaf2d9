"""Files opened: what SQLite connects to, whether it is Loom's, and sound.

Layer: tables. Invariant: a file that was opened is Loom's and of this version; one of up to 32 MiB was looked through.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError, FileError
from loom.tables.files.faults import damage
from loom.tables.files.seal import Soundness, compare

__all__ = [
    "APPLICATION_ID",
    "FORMAT",
    "Reach",
    "connection_to",
    "enter_log",
    "identity",
    "look_through",
    "prepare",
    "reach_of",
]

APPLICATION_ID = 0x4C4F4442
"""``LODB`` in the file's header: what ``file`` and SQLite's application_id show."""

FORMAT = 1
"""The file's version, in its user_version."""

_CACHE_KIB = 16 << 10
_LEAST_NBYTES = 512
"""SQLite's smallest page."""

_MOST_NBYTES_LOOKED_AT = 32 << 20
"""Files up to this size are looked through when they are opened."""

Reach = str
"""How a file is opened, as SQLite's URIs say it: "mode=rwc", "mode=ro", or "mode=ro&immutable=1", without any lock."""

_FROZEN = "mode=ro&immutable=1"


def reach_of(path: Path | None, read_only: bool, verify: bool, where: str) -> Reach:
    """Return how to open a file; FileError where it cannot be read without writing."""
    if (read_only or verify) and path is None:
        raise ArgumentError(
            f"{where}, {'read_only' if read_only else 'verify'}",
            "a database in memory has nothing to read",
            expected="a file",
            got="no path",
            remedy="Name a file, or leave it out",
        )
    if (read_only or verify) and path is not None and not path.is_file():
        raise FileError(where, f"there is no file {path}", remedy="Check the path: only who writes makes one")
    if path is not None and path.is_file() and 0 < path.stat().st_size < _LEAST_NBYTES:
        raise damage(where, path, "file is not a database", "Name another file, or remove it")
    if path is None or not read_only:
        return "mode=rwc"
    try:
        with closing(connection_to(path, 0.0, "mode=ro")) as trial:
            trial.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if not any(word in str(error) for word in ("unable to open", "readonly", "disk I/O")):
            return "mode=ro"  # what is wrong is told by who opens it
        with path.open("rb"):  # rights
            pass
        _refuse_log(path, where)
        return _FROZEN
    return "mode=ro"


def _refuse_log(path: Path, where: str) -> None:
    """FileError where changes stand beside a file, in a log that is read by taking it in."""
    for suffix in ("-wal", "-journal"):
        log = Path(f"{path}{suffix}")
        if log.exists() and log.stat().st_size:
            raise FileError(
                where,
                f"{path} was not closed: {log.name} has changes, which are read by writing",
                expected="a file that was closed",
                got=f"{log.stat().st_size} bytes beside it",
                remedy="Open it once without read_only, or copy both into a folder of yours and open that",
            )


def connection_to(path: Path | None, timeout: float, reach: Reach) -> sqlite3.Connection:
    """Return a connection to a file, or to memory."""
    name = ":memory:" if path is None else f"{path.as_uri()}?{reach}"
    options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "timeout": timeout}
    connection = sqlite3.connect(name, uri=path is not None, **options)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return connection


def enter_log(connection: sqlite3.Connection, seconds: float) -> None:
    """Have a file written by a log, if it is not; wait as long for others, which SQLite itself does not here."""
    end, pause = time.monotonic() + seconds, 0.001
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        else:
            return


def identity(path: Path | None, reach: Reach) -> tuple[int, ...] | None:
    """Return what tells a file from any other, whatever its name; None for none.

    Of one that is read without locks its size and time as well: it must not change meanwhile.
    """
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    file = found.st_dev, found.st_ino
    return (*file, found.st_size, found.st_mtime_ns) if reach == _FROZEN else file


def prepare(
    connection: sqlite3.Connection, path: Path | None, timeout: float, reach: Reach, verify: bool, where: str
) -> bool:
    """Mark a new database as Loom's, and return whether it was new; look at one that is there."""
    connection.execute("BEGIN")  # all three of one state, while another process may be marking the file
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        connection.execute("COMMIT")
    if found == 0 and version == 0 and tables == 0 and reach == "mode=rwc" and not verify:
        _mark(connection, path, timeout)
        return True
    if found != APPLICATION_ID:
        raise ArgumentError(
            where,
            f"{path} is a SQLite database that Loom did not make",
            expected="an .odb file",
            got=f"application_id {found:#x}",
            remedy="Name a new file, then copy what you need by sql('attach ...')",
        )
    if version > FORMAT or version < 1:
        raise FileError(
            where,
            f"{path} is of a newer version of Loom",
            expected=f"version {FORMAT}",
            got=version,
            remedy="Update Loom",
        )
    is_small = _nbytes(connection) <= _MOST_NBYTES_LOOKED_AT
    if verify or is_small:
        soundness = _look_and_compare(connection, path, where) if is_small else compare(connection, path, where)
        if verify and not soundness.is_sealed:
            raise FileError(
                f"{where}, verify",
                f"{path} has no seal of its present state ({soundness.reason})",
                remedy="Open it without verify, look at what it holds, write and close it",
            )
    return False


def _mark(connection: sqlite3.Connection, path: Path | None, timeout: float) -> None:
    if path is not None:
        enter_log(connection, timeout)
    connection.execute("BEGIN IMMEDIATE")  # of two processes that find it new, one marks it first: with the same marks
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("COMMIT")


def _nbytes(connection: sqlite3.Connection) -> int:
    (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    return int(pages * size)


def _look_and_compare(connection: sqlite3.Connection, path: Path | None, where: str) -> Soundness:
    """FileError if a file is not sound, or its bytes are not those sealed; what is wrong with its pages is told first.

    Whether each index has each row is most of the work where there are indexes, and was looked at before the file was
    sealed: bytes that are those of the seal need it no more.
    """
    try:
        soundness = compare(connection, path, where)
    except (FileError, sqlite3.DatabaseError):
        look_through(connection, path, where)
        raise
    look_through(connection, path, where, with_indexes=not soundness.is_sealed)
    return soundness


def look_through(connection: sqlite3.Connection, path: Path | None, where: str, *, with_indexes: bool = True) -> None:
    """FileError if a file is not sound; ``with_indexes``: or if an index lacks a row, or has one too many."""
    (said,) = connection.execute(f"PRAGMA {'integrity' if with_indexes else 'quick'}_check(1)").fetchone()
    if said != "ok":
        raise damage(where, path, said)
