"""Which statements of SQL a caller may run: what would take from a file what keeps it sound is refused.

Layer: tables. Invariant: no statement changes how a file is written, what its header says, or a table of Loom's without
that of its deleted rows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.tables.columns.schema import columns_of, names_of_tables

__all__ = ["only_reads", "refuse_settings", "refuse_unused", "same_tables", "verb_of"]

_SPACE = re.compile(r"([\s;]+|--[^\n]*(\n|$)|/\*.*?(\*/|$))+", re.DOTALL)
_PRAGMA = re.compile(r"pragma\s+(?:[\w\"\[\]`']+\s*\.\s*)?[\"\[`']?(\w+)[\"\]`']?\s*([=(])?", re.IGNORECASE)
_SETTLED = ("application_id", "ignore_check_constraints", "journal_mode", "locking_mode", "query_only",
            "schema_version", "synchronous", "user_version", "writable_schema")  # fmt: skip
"""Pragmas that are read, and not set: what is durable, checked and told by them is Loom's."""

_READING = "select", "values", "explain", "pragma", "attach", "detach"


def verb_of(statement: str) -> str:
    """Return the first word of a statement, after spaces and comments."""
    found = re.match(r"[a-z]*", _SPACE.sub(" ", statement, count=1).lstrip().lower())
    return found.group() if found else ""


def only_reads(statement: str) -> bool:
    """Tell whether a statement is of a kind that writes nothing to the file."""
    return verb_of(statement) in _READING


def refuse_settings(statement: str, where: str) -> None:
    """ArgumentError for a PRAGMA that sets how a file is written, what is checked, or what is in its header."""
    found = _PRAGMA.match(_SPACE.sub(" ", statement).strip())
    if found and found.group(2) and found.group(1).lower() in _SETTLED:
        raise ArgumentError(where, f"the pragma {found.group(1)!r} sets how the file is kept, which is settled",
                            expected="one that is read", got=statement.strip()[:80],
                            remedy="Leave it out: what a call wrote is durable when it returns")  # fmt: skip


@contextmanager
def same_tables(connection: sqlite3.Connection, where: str) -> Generator[None, None, None]:
    """ArgumentError, and nothing is changed, where a statement altered a table of Loom's behind its back."""
    before = _tables_of(connection, where)
    yield
    if _tables_of(connection, where) != before:
        raise ArgumentError(where, "a statement altered a table, but not that of its deleted rows",
                            expected="a table that Loom did not make", got="ALTER or DROP",
                            remedy="Use add_column, rename_column, drop_column, change_type, or db.drop")  # fmt: skip


def _tables_of(connection: sqlite3.Connection, where: str) -> dict[str, Any]:
    names = names_of_tables(connection)
    return {name: columns_of(connection, name, where)[1] for name in names}


def refuse_unused(statement: str, bound: Any, where: str) -> None:
    """ArgumentError for a named value that no mark of the statement takes, which SQLite leaves aside."""
    named = [str(name) for name in bound] if is_mapping(bound) else []
    unused = [name for name in named if not re.search(rf"[:@$]{re.escape(name)}\b", statement)]
    if unused:
        raise ArgumentError(where, f"no mark takes {unused[0]!r}", expected=f":{unused[0]} in the statement",
                            got=statement.strip()[:80], remedy="Leave it out, or name it there")  # fmt: skip
