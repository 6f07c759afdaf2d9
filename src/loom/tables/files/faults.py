"""What SQLite says goes wrong, as errors of the house.

Layer: tables. Invariant: no exception of ``sqlite3`` leaves ``loom.tables``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from loom.core.errors import ArgumentError, DTypeError, FileError, LoomError, LoomTimeout, StateError

__all__ = ["damage", "house_error", "translate_errors"]

_BUSY = "database is locked", "database table is locked", "database schema is locked"
_DAMAGED = "malformed", "not a database", "disk image", "decode to utf-8", "unsupported file format", "corrupt"
_RECOVERY = "Restore it from a copy; sqlite3's .recover reads what is left"
_BOUND = re.compile(r"error in (view|trigger|index) (.+?)(?: after .*)?: ")


@contextmanager
def translate_errors(where: str, path: Path | None = None) -> Generator[None, None, None]:
    """Turn what SQLite raises inside into an error of the house; ``path`` is the file, None for memory."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError, OSError) as error:
        if isinstance(error, LoomError):
            raise
        raise house_error(where, error, path) from None


def house_error(where: str, error: Exception, path: Path | None) -> LoomError:
    """Return the error of the house for one of SQLite's."""
    said = " ".join(str(error).split()) or type(error).__name__
    low, place = said.lower(), "memory" if path is None else str(path)
    if isinstance(error, UnicodeEncodeError):
        return ArgumentError(where, "a text has half a character (a lone surrogate)", got=repr(error.object)[:80],
                             remedy="Mend the text: it cannot be written as UTF-8")  # fmt: skip
    if isinstance(error, UnicodeDecodeError):  # a text that SQLite tells of what it cannot read
        return damage(where, place, "what it says of itself is not UTF-8")
    if isinstance(error, OverflowError):
        return ArgumentError(where, "a number is outside what a column holds", expected="64 bits, with a sign",
                             got=said, remedy="Use a column of floats or texts")  # fmt: skip
    if isinstance(error, OSError):
        return FileError(where, f"{place}: {error.strerror or said}", remedy="Check the path and its rights")
    if any(word in low for word in _BUSY):
        return LoomTimeout(where, f"{place} is being written by another process or thread",
                           remedy="Nothing was changed: try again, or open it with a longer timeout=")  # fmt: skip
    if any(word in low for word in _DAMAGED):
        return damage(where, place, said)
    if "already exists" in low or "there is already" in low:
        remedy = "Nothing was changed: choose another; what Loom did not make is read by sql()"
        return ArgumentError(where, f"the name is taken ({said})", expected="a name of its own", remedy=remedy)
    return _of_state(where, error, said, low, place)


def damage(where: str, place: object, said: str, remedy: str = _RECOVERY) -> FileError:
    """Return the error of a file that is damaged."""
    return FileError(where, f"{place} is damaged ({said})", expected="a sound .odb file", got="another", remedy=remedy)


def _of_state(where: str, error: Exception, said: str, low: str, place: str) -> LoomError:
    if "is full" in low:
        return FileError(where, f"there is no room for {place} (disk full)",
                         remedy="Nothing was changed: make room and try again")  # fmt: skip
    if "disk i/o error" in low or "unable to open" in low:
        remedy = "Nothing was changed: check the path, its rights (read_only=True asks for fewer) and the room there is"
        return FileError(where, f"{place} cannot be read or written ({said})", remedy=remedy)
    if "readonly" in low:
        remedy = "Check its rights: to read it, read_only=True is enough"
        return FileError(where, f"{place} cannot be written ({said})", remedy=remedy)
    if "closed database" in low:
        return StateError(where, "the database is closed", remedy="Open it again")
    if isinstance(error, sqlite3.IntegrityError):
        return ArgumentError(where, f"the values do not fit the table ({said})",
                             remedy="Nothing was changed: correct them")  # fmt: skip
    if isinstance(error, sqlite3.InterfaceError) or ("type" in low and "not supported" in low):
        return DTypeError(where, f"a value cannot be bound ({said})", expected="None, int, float, str or bytes",
                          got="another type", remedy="Convert it first")  # fmt: skip
    if "too big" in low:
        return ArgumentError(
            where,
            "a value is larger than what a cell holds",
            expected="at most 1,000,000,000 bytes",
            got=said,
            remedy="Keep it in a file, and its name in the table",
        )
    if found := _BOUND.match(said):
        kind, name = found.groups()
        return ArgumentError(
            where,
            f"the {kind} {name!r} needs what would change ({said})",
            remedy=f"Nothing was changed: drop it by sql('DROP {kind.upper()} ...'), then make it again",
        )
    remedy = "Correct the statement" if where.startswith("tables.sql") else "Nothing was changed: ask for less at once"
    return ArgumentError(where, f"SQLite refused it: {said}", remedy=remedy)
