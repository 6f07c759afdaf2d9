"""The file of ids and of what is told: SQLite, ``path.<tag>.meta``, whose lists of many rows are read when asked for.

Layer: formats. A row of ``lists`` has the ids of ``STEP`` vectors, a JSON array with null for those that are gone, and
what they are told, a JSON array or NULL for nothing at all; the view ``vectors`` has a row for each vector that is
alive. Files of version 1 have a table in its place. Invariant: lists are as they were written, or a FileError.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from loom.core.late.dataclass import dataclass
from loom.formats.vectors.manifest import VERSION, broken
from loom.storage.disk import Disk

__all__ = ["FrozenFacts", "ToldRows", "read_told", "write_told"]

STEP = 1024
"""Rows of a list."""
_READ_NBYTES = 1 << 20
_TABLES = (
    "create table lists (first integer primary key, ids text not null, gone integer not null, metas text)",
    "create view vectors as select l.first + i.key as row, i.value as id,"
    " json_extract(l.metas, '$[' || i.key || ']') as meta from lists l, json_each(l.ids) i where i.type <> 'null'",
)


class FrozenFacts(Protocol):
    """The ids of a store, and what is told, as they were at one moment."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest tells: ``rows``, how many there are."""
        ...

    def ids_and_metas(self, first: int, count: int) -> tuple[Sequence[Any], Sequence[Any] | None]:
        """Return the ids of rows, None for those that are gone, and what they are told; None for nothing at all."""
        ...


@dataclass(frozen=True, slots=True)
class ToldRows:
    """Ids and what is told, by ``step`` rows: lists, or texts that ``read`` makes lists of; and rows that are gone."""

    manifest: Path
    rows: int
    step: int
    ids: Sequence[Any]
    metas: Sequence[Any]
    gone: Sequence[int]

    def read(self, number: int, text: str | list[Any] | None) -> list[Any]:
        """Return list ``number`` of a text; of None what is told of rows that are told nothing."""
        size = min(self.step, self.rows - number * self.step)
        if text is None:
            return [None] * size
        try:
            found: Any = json.loads(text) if isinstance(text, str) else text
        except ValueError:
            found = None
        if not isinstance(found, list) or len(cast("list[Any]", found)) != size:
            raise broken(self.manifest, f"list {number} of the file of ids is none")
        return cast("list[Any]", found)


# writing


def write_told(disk: Disk, path: Path, store: FrozenFacts) -> dict[str, Any]:
    """Write the file of ids and of what is told; return what the manifest tells of it."""

    def fill(to: Path) -> None:
        with contextlib.closing(sqlite3.connect(to, isolation_level=None)) as base:
            base.execute("pragma journal_mode = off")  # a file that nobody names yet
            base.execute("pragma synchronous = off")
            base.execute(f"pragma user_version = {VERSION}")
            for table in _TABLES:
                base.execute(table)
            base.execute("begin")
            base.executemany("insert into lists values (?, ?, ?, ?)", _lists(store))
            base.execute("commit")

    try:
        disk.fill(path, fill)
    except sqlite3.Error as error:  # a full disk, told in its own words
        raise OSError(str(error)) from error
    disk.sync(path)
    return {"file": path.name, "nbytes": path.stat().st_size, "step": STEP, "crc32": _crc32(path)}


def _lists(store: FrozenFacts) -> Iterator[tuple[int, str, int, str | None]]:
    text_of = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
    rows: int = store.facts["rows"]
    for first in range(0, rows, STEP):
        ids, metas = store.ids_and_metas(first, min(STEP, rows - first))
        yield first, text_of(ids), ids.count(None), None if metas is None else text_of(metas)


def _crc32(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while part := file.read(_READ_NBYTES):
            total = zlib.crc32(part, total)
    return total


# reading


def read_told(manifest: Path, facts: dict[str, Any], path: Path) -> ToldRows:
    """Return the ids and what is told of the store of a manifest; FileError if the file is not what was written."""
    told = facts["meta"]
    if path.stat().st_size != told["nbytes"] or _crc32(path) != told["crc32"]:
        raise broken(manifest, "the file of ids is not what was written")
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
        return (_read_table if facts["version"] == 1 else _read_lists)(manifest, facts, base)


def _read_lists(manifest: Path, facts: dict[str, Any], base: sqlite3.Connection) -> ToldRows:
    rows, step = facts["rows"], facts["meta"]["step"]
    found = base.execute("select ids, metas, first, gone from lists order by first").fetchall()
    if [each[2] for each in found] != list(range(0, rows, step)):
        raise broken(manifest, "the file of ids has other rows")
    told = ToldRows(manifest, rows, step, [each[0] for each in found], [each[1] for each in found], gone := [])
    for number, (ids, _, first, count) in enumerate(found):
        if count:
            gone += [first + n for n, name in enumerate(told.read(number, ids)) if name is None]
    return told


def _read_table(manifest: Path, facts: dict[str, Any], base: sqlite3.Connection) -> ToldRows:
    """Read a file of version 1: a row for each vector that is alive."""
    rows = facts["rows"]
    ids, metas = [None] * rows, [None] * rows
    for row, name, meta in base.execute("select row, id, meta from vectors"):
        ids[row], metas[row] = name, None if meta is None else json.loads(meta)
    of_ids, of_metas = ([each[first : first + STEP] for first in range(0, rows, STEP)] for each in (ids, metas))
    return ToldRows(manifest, rows, STEP, of_ids, of_metas, [row for row, name in enumerate(ids) if name is None])
