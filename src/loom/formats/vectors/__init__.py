"""Stores of vectors in files: written whole or not at all, read back bit for bit.

Layer: formats. A store at ``path`` is three files: ``path.ldb``, the manifest, JSON that names the other two and their
checksums; ``path.<tag>.vectors``, safetensors; and ``path.<tag>.meta``, SQLite. Every flush writes new data files under
a tag of its own, has them on the medium, and only then puts its manifest in the place of the one before. Invariant: the
manifest only ever names whole files; a crash at any step leaves the old store or the new one; a flush takes the place
of a store that it comes from, and of no other (``flush_turns``).
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from loom.core.errors import FileError
from loom.core.process.thread_pools import ThreadPool
from loom.formats.vectors.flush_turns import FLUSH, FlushPlace, next_generation, turn_at
from loom.formats.vectors.manifest import (
    VERSION,
    broken,
    digest_of,
    files_of,
    manifest_path,
    read_manifest,
    sibling,
    sign,
)
from loom.formats.vectors.rows import FrozenRows, VectorFile, write_rows
from loom.formats.vectors.told import FrozenFacts, ToldRows, read_told, write_told
from loom.storage.atomic import replace_file
from loom.storage.disk import Disk

__all__ = ["VERSION", "Flushable", "Frozen", "ToldRows", "VectorFile", "open_vectors", "write_vectors"]

_STALE_SECONDS = 3600
_TURNS = 8


class Frozen(FrozenRows, FrozenFacts, Protocol):
    """A store as it was at one moment; nothing of it changes any more."""

    def placing(self, path: str, /) -> contextlib.AbstractContextManager[FlushPlace]:
        """Give the place ``path`` as the store knows it, while nobody else puts this store there."""
        ...

    def note_flushed(self, kept: VectorFile) -> None:
        """Take note that it is written."""
        ...


class Flushable(Protocol):
    """What can be frozen: a store of vectors."""

    def freeze(self) -> Frozen:
        """Return the store as it is now."""
        ...


def write_vectors(path: Path, store: Frozen, disk: Disk | None = None, *, replace: bool = False) -> None:
    """Keep a store at ``path``, in place of the one it comes from, or, to ``replace``, of any that is there.

    StateError if another one is there, or is being written; FileError if it cannot be written. Both leave what is
    there as it is.
    """
    disk = disk or Disk()
    manifest = manifest_path(path)
    tag = os.urandom(8).hex()
    vectors, meta = (manifest.with_name(f"{manifest.stem}.{tag}.{kind}") for kind in ("vectors", "meta"))
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        with store.placing(os.path.realpath(manifest)) as place, turn_at(manifest, place.lock) as is_alone:
            if not place.is_latest:
                return
            generation = next_generation(manifest, place, replace=replace)
            before = files_of(manifest)
            _clean(manifest, before, disk, is_alone=is_alone)
            facts = {
                "format": "loom vectors",
                "version": VERSION,
                "generation": generation,
                **store.facts,
                **_write_data(store, vectors, meta, disk),
            }
            kept = VectorFile(manifest, facts, vectors)  # before others can replace and remove it
            place.attempt(digest := digest_of(facts))
            replace_file(manifest, sign(facts), durable=True, disk=disk)
            place.put(generation, digest)
            _clean(manifest, before, disk, is_alone=is_alone)
    except OSError as error:
        _forget(manifest, (vectors, meta), disk)
        if isinstance(error, FileError):  # rows that had left the device cannot be read back
            raise
        raise FileError(
            FLUSH, f"cannot write to {str(path)!r} ({error})",
            remedy="Make room, or name another place; the store before is still there",
        ) from error  # fmt: skip
    except BaseException:
        _forget(manifest, (vectors, meta), disk)
        raise
    store.note_flushed(kept)


def _write_data(store: Frozen, vectors: Path, meta: Path, disk: Disk) -> dict[str, object]:
    """Have the data files on the medium; return what the manifest tells of them."""
    with ThreadPool(1, "loom flush") as beside:
        telling = beside.submit(write_told, disk, meta, store)
        try:
            laid = write_rows(disk, vectors, store)
        finally:
            told = telling.result()
    disk.sync_folder(vectors.parent)
    return {"vectors": laid, "meta": told}


def _forget(manifest: Path, files: Iterable[Path], disk: Disk) -> None:
    """Remove data files that no manifest names."""
    for file in files:
        with contextlib.suppress(OSError):
            if file.name not in files_of(manifest):
                disk.remove(file)


def _clean(manifest: Path, before: set[str], disk: Disk, *, is_alone: bool) -> None:
    """Remove what the manifest does not name: files of flushes before it, and of those that were killed.

    Where others may be writing theirs, only those of the manifest before and what is an hour old. What cannot be
    removed does no harm.
    """
    ours = re.compile(
        re.escape(manifest.stem)
        + r"\.[0-9a-f]{16}\.(vectors|meta)(-journal)?|"
        + re.escape(manifest.name)
        + r"\.[0-9a-f]{16}\.partial"
    )
    with contextlib.suppress(OSError):
        now = files_of(manifest)
        for path in sorted(manifest.parent.iterdir()):
            if ours.fullmatch(path.name) and path.name not in now:
                is_stale = time.time() - path.stat().st_mtime > _STALE_SECONDS
                if is_alone or is_stale or path.name in before:
                    disk.remove(path)


def open_vectors(path: Path) -> tuple[VectorFile, ToldRows]:
    """Return the rows of the store at ``path``, their ids and what they are told.

    FileError if there is none, if a file is missing, cut off or changed, or of a newer version.
    """
    manifest = manifest_path(path)
    for turn in range(_TURNS):
        facts = read_manifest(manifest)
        try:
            return _open(manifest, facts)
        except FileNotFoundError as error:  # another flush may have put its own in place in the meantime
            if turn == _TURNS - 1 or read_manifest(manifest) == facts:
                raise broken(manifest, f"{Path(error.filename).name} is missing") from None
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, FileError):
                raise
            raise broken(manifest, str(error)) from None
    raise AssertionError("a turn returns or raises")


def _open(manifest: Path, facts: dict[str, Any]) -> tuple[VectorFile, ToldRows]:
    vectors, meta = (sibling(manifest, facts[kind]["file"]) for kind in ("vectors", "meta"))
    if vectors.stat().st_size != facts["vectors"]["nbytes"]:
        raise broken(manifest, "the file of vectors has another size")
    told = read_told(manifest, facts, meta)
    return VectorFile(manifest, facts, vectors), told
