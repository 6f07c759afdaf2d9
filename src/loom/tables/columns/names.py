"""Names of tables and columns: which may be given, and how they stand in SQL.

Layer: tables. Invariant: a name from outside enters a statement through ``quote`` alone, whatever is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import text

__all__ = ["ID", "TRASH", "column_name", "quote", "refuse_repeated", "refuse_twins", "table_name"]

ID = "_id"
"""The column of a row's number, which every table has first."""

TRASH = "_deleted_"
"""What a table's name follows in that of the table of its deleted rows."""

_RESERVED = "sqlite_", TRASH, "_octodb"
_MOST_CHARACTERS = 200


def quote(name: str) -> str:
    """Return a name as SQL reads it, with any character in it.

    >>> quote('say "hi"; drop')
    '"say ""hi""; drop"'
    """
    return '"' + name.replace('"', '""') + '"'


def table_name(name: Any, where: str) -> str:
    """Return the name of a table; ArgumentError for one that cannot be used."""
    found = _plain(name, f"{where}, name", "table")
    if found.lower().startswith(_RESERVED):
        raise ArgumentError(f"{where}, name", f"{found!r} is a name that the file needs itself",
                            expected=f"no {', '.join(_RESERVED)} in front", remedy="Choose another name")  # fmt: skip
    return found


def column_name(name: Any, where: str) -> str:
    """Return the name of a column; ArgumentError for one that cannot be used."""
    found = _plain(name, where, "column")
    if found.lower() in (ID, "rowid", "oid", "_rowid_"):
        raise ArgumentError(where, f"{found!r} is the number that every row has", expected="a name of your own",
                            remedy="Call the column otherwise, for example 'number'")  # fmt: skip
    return found


def _plain(name: Any, where: str, what: str) -> str:
    found = text(name, where)
    if not found.strip() or "\0" in found or "\ufeff" in found or len(found) > _MOST_CHARACTERS:
        raise ArgumentError(where, f"no {what} can be called so", expected=f"1 to {_MOST_CHARACTERS} that show",
                            got=repr(found)[:80], remedy="Choose another name")  # fmt: skip
    try:
        found.encode()
    except UnicodeEncodeError:
        raise ArgumentError(where, f"no {what} can be called so: it has half a character", got=repr(found)[:80],
                            remedy="Choose another name") from None  # fmt: skip
    return found


def refuse_repeated(names: Sequence[str], where: str) -> None:
    """ArgumentError where a name is given twice, of which a result could show but one."""
    for name in names:
        if names.count(name) > 1:
            raise ArgumentError(where, f"{name!r} is named twice", expected="different names", got=list(names),
                                remedy="Name it once")  # fmt: skip


def refuse_twins(names: Iterable[str], where: str) -> None:
    """ArgumentError where two names differ in nothing, or in capitals alone, which SQLite does not tell apart."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise ArgumentError(where, "two columns have one name (capitals do not part them)",
                                expected="different names", got=f"{seen[name.lower()]!r} and {name!r}",
                                remedy="Call one of them otherwise")  # fmt: skip
        seen[name.lower()] = name
