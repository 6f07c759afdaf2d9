"""The seal of a file: a digest of all its bytes, in a table of its own, by which bytes that changed in place are told.

Layer: tables. A file is sealed when the last who wrote it closes it: then it is one file, in rollback mode, and whoever
writes it again, Loom or another tool, moves the change counter of its header. Invariant: a seal is of the state of the
file whose counter it names; of any other state it says nothing, so that a crash or another tool raises no alarm.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loom.core.late.dataclass import dataclass
from loom.tables.files.faults import damage

__all__ = ["MOST_NBYTES", "Soundness", "compare", "has_seal", "write_seal"]

MOST_NBYTES = 256 << 20
"""Files up to this size are sealed: all of it is read for that."""

_TABLE = "_octodb_seal"
_MADE = (
    f"CREATE TABLE {_TABLE} (_id INTEGER PRIMARY KEY, seal BLOB NOT NULL)",
    # a schema that is damaged so that the table is not found is refused for an index on nothing
    f"CREATE INDEX _octodb_sealed ON {_TABLE} (_id)",
)
_COUNTERS = slice(24, 28), slice(92, 96)
"""Where the header has the change counter, and that of when its version was written: every SQLite writes both."""
_COOKIE, _VERSION = slice(40, 44), slice(96, 100)
"""Where it has the number of the schema's version, and that of SQLite's."""
_STATE_NBYTES, _SEAL_NBYTES = 8, 48
_REMEDY = f"Restore it from a copy; sqlite3's DROP TABLE {_TABLE} keeps it as it is"
_WRITTEN = "it was written since: closing it after a write seals it"


@dataclass(frozen=True, slots=True)
class Soundness:
    """What ``check`` says of a file that is not damaged: ``is_sealed``, whether its bytes are those of its seal.

    ``reason`` says in words why they could not be compared; it is empty where they were.
    """

    is_sealed: bool
    reason: str = ""


def has_seal(connection: sqlite3.Connection) -> bool:
    """Tell whether a file was sealed at any time."""
    try:
        return connection.execute(f"SELECT count(*) FROM {_TABLE}").fetchone() is not None
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return False
        raise


def compare(connection: sqlite3.Connection, path: Path | None, where: str) -> Soundness:
    """Compare a file with its seal; FileError if a byte is another than when it was sealed."""
    if path is None:
        return Soundness(False, "a database in memory has no seal")
    outside = not connection.in_transaction
    connection.execute("PRAGMA shrink_memory")  # read the file, not what was read of it
    if outside:
        connection.execute("BEGIN")  # one state of the seal and of what it is of
    try:
        return _compare(connection, path, where)
    finally:
        if outside:
            connection.execute("COMMIT")


def _compare(connection: sqlite3.Connection, path: Path, where: str) -> Soundness:
    if not has_seal(connection):
        return Soundness(False, f"it never was: files up to {MOST_NBYTES >> 20} MiB are when they are closed")
    seal = _seal_of(connection)
    if seal is None or seal[_STATE_NBYTES : 2 * _STATE_NBYTES] != _inverse(seal[:_STATE_NBYTES]):
        raise damage(where, path, "its seal is no seal", _REMEDY)
    if not hasattr(connection, "serialize"):
        return Soundness(False, "this Python cannot compare: 3.11 and newer can")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return Soundness(False, _WRITTEN)
    image = connection.serialize()
    counters, state = [image[each] for each in _COUNTERS], _state_of(image)
    if counters[0] == counters[1] and (state[:4] != seal[:4] or _bits_apart(state[4:], seal[4:_STATE_NBYTES]) > 1):
        return Soundness(False, _WRITTEN)
    at = _place_of(connection, image, seal)
    if counters[0] != counters[1] or at < 0 or seal != _seal_for(image, at, image[:100]):
        raise damage(where, path, "its bytes are not those that were sealed", _REMEDY)
    if path.stat().st_size != len(image):
        raise damage(where, path, "it has another size than when it was sealed", _REMEDY)
    return Soundness(True)


def _seal_of(connection: sqlite3.Connection) -> bytes | None:
    rows = connection.execute(f"SELECT seal FROM {_TABLE} WHERE _id = 1").fetchall()
    seal = rows[0][0] if len(rows) == 1 else None
    return seal if isinstance(seal, bytes) and len(seal) == _SEAL_NBYTES else None


def _state_of(image: bytes) -> bytes:
    """Return what names the state of a file: its change counter and the number of its schema's version."""
    return image[_COUNTERS[0]] + image[_COOKIE]


def _inverse(data: bytes) -> bytes:
    return bytes(byte ^ 255 for byte in data)


def _bits_apart(one: bytes, two: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, two, strict=True))


def _place_of(connection: sqlite3.Connection, image: bytes, seal: bytes) -> int:
    """Return where in a file its seal stands, in the one page of its table; -1 if it is not there."""
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (_TABLE,)).fetchone()
    return -1 if root is None else image.find(seal, (root[0] - 1) * size, root[0] * size)


def _seal_for(image: bytes, at: int, header: bytes) -> bytes:
    """Return the seal, to stand at a place, of a file with this header: the digest is of all bytes but the seal's."""
    view, state = memoryview(image), _state_of(header)
    digest = hashlib.sha256(header)
    digest.update(view[len(header) : at])
    digest.update(view[at + _SEAL_NBYTES :])
    return state + _inverse(state) + digest.digest()


def write_seal(connection: sqlite3.Connection) -> bool:
    """Seal the file of a connection that is alone; False where it cannot be: others have it open, or it is too large.

    A crash at any moment leaves the seal of a state that is no more, which ``compare`` knows by the counter.
    """
    if not hasattr(connection, "serialize") or connection.in_transaction:
        return False
    (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    if pages * size > MOST_NBYTES:
        return False
    try:
        if not has_seal(connection):
            _transact(connection, _make)
        elif _seal_of(connection) is None:
            _transact(connection, _renew)
        if connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0] != "delete":
            return False
        return _transact(connection, _seal)
    except (sqlite3.Error, MemoryError):
        return False


def _transact(connection: sqlite3.Connection, step: Callable[[sqlite3.Connection], bool]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = step(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return done


def _make(connection: sqlite3.Connection) -> bool:
    for statement in _MADE:
        connection.execute(statement)
    return _renew(connection)


def _renew(connection: sqlite3.Connection) -> bool:
    """Put a seal of no state in place of what is there."""
    seal = bytes(_STATE_NBYTES) + b"\xff" * _STATE_NBYTES + os.urandom(_SEAL_NBYTES - 2 * _STATE_NBYTES)
    connection.execute(f"INSERT OR REPLACE INTO {_TABLE} VALUES (1, ?)", (seal,))
    return True


def _seal(connection: sqlite3.Connection) -> bool:
    """Write the seal of the state that this transaction ends in: it changes the seal, and in the header two numbers.

    The number of the schema's version becomes one that no copy by another tool has, which counts on from it or from
    its own, nor is one bit from: the change counters of copies are small, and may be any.
    """
    image, seal = connection.serialize(), _seal_of(connection)
    at = -1 if seal is None else _place_of(connection, image, seal)
    if at < 0:
        return False
    cookie = (random.SystemRandom().randrange(1 << 14) | 3 << 13) << 16 | 0xFFFF
    counter = (int.from_bytes(image[_COUNTERS[0]], "big") + 1 & 0xFFFF_FFFF).to_bytes(4, "big")
    header = bytearray(image[:100])
    for place, value in (
        (_COUNTERS[0], counter),
        (_COUNTERS[1], counter),
        (_COOKIE, cookie.to_bytes(4, "big")),
        (_VERSION, _sqlite_version().to_bytes(4, "big")),
    ):
        header[place] = value
    with connection.blobopen(_TABLE, "seal", 1) as blob:  # in place: UPDATE may move it
        blob.write(_seal_for(image, at, bytes(header)))
    connection.execute(f"PRAGMA schema_version={cookie}")
    return True


def _sqlite_version() -> int:
    """Return SQLite's version as the headers of files have it."""
    major, minor, patch = sqlite3.sqlite_version_info
    return major * 1_000_000 + minor * 1_000 + patch
