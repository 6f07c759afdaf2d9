"""Stores of vectors in files: written whole or not at all, read back bit for bit.

Layer: support. A store at ``path`` is three files: ``path.ldb``, the manifest, JSON that names the other two and their
checksums; ``path.<tag>.vectors``, safetensors; and ``path.<tag>.meta``, SQLite. Every flush writes new data files under
a tag of its own, has them on the medium, and only then puts its manifest in the place of the one before. Invariant: the
manifest only ever names whole files; a crash at any step leaves the old store or the new one.
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
from loom.storage.atomic import replace_file, turn_in
from loom.storage.disk import Disk
from loom.support.vectors.manifest import VERSION, broken, manifest_path, named_files, read_manifest, sibling, signed
from loom.support.vectors.rows import FrozenRows, VectorFile, write_rows
from loom.support.vectors.told import FrozenFacts, ToldRows, read_told, write_told

__all__ = ["VERSION", "Flushable", "Frozen", "ToldRows", "VectorFile", "open_vectors", "write_vectors"]

_STALE_SECONDS = 3600
_TURNS = 8


class Frozen(FrozenRows, FrozenFacts, Protocol):
    """A store as it was at one moment; nothing of it changes any more."""

    def placing(self, path: str, /) -> contextlib.AbstractContextManager[bool]:
        """Tell, while nobody else puts this store at ``path``, whether there is none of a later moment."""
        ...

    def flushed(self, kept: VectorFile) -> None:
        """Take note that it is written."""
        ...


class Flushable(Protocol):
    """What can be frozen: a store of vectors."""

    def freeze(self) -> Frozen:
        """Return the store as it is now."""
        ...


def write_vectors(path: Path, store: Frozen, disk: Disk | None = None) -> None:
    """Keep a store at ``path`` in place of one that is there; FileError, and that stays, if it cannot be written."""
    disk = disk or Disk()
    manifest = manifest_path(path)
    tag = os.urandom(8).hex()
    vectors, meta = (manifest.with_name(f"{manifest.stem}.{tag}.{kind}") for kind in ("vectors", "meta"))
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPool(1, "loom flush") as beside:
            telling = beside.submit(write_told, disk, meta, store)
            try:
                laid = write_rows(disk, vectors, store)
            finally:
                told = telling.result()
        disk.sync_folder(manifest.parent)
        facts = {"format": "loom vectors", "version": VERSION, **store.facts, "vectors": laid, "meta": told}
        kept = VectorFile(manifest, facts, vectors)  # before others can replace and remove it
        with store.placing(os.path.realpath(manifest)) as is_latest, turn_in(manifest.parent):
            before = named_files(manifest)  # now: others may have flushed meanwhile
            if is_latest:
                replace_file(manifest, signed(facts), durable=True, disk=disk)
    except OSError as error:
        _forget(manifest, (vectors, meta), disk)
        if isinstance(error, FileError):  # rows that had left the device cannot be read back
            raise
        raise FileError(
            "vectors.flush", f"cannot write to {str(path)!r} ({error})",
            remedy="Make room, or name another place; the store before is still there",
        ) from error  # fmt: skip
    except BaseException:
        _forget(manifest, (vectors, meta), disk)
        raise
    store.flushed(kept)
    if is_latest:
        _clean(manifest, before, {vectors.name, meta.name}, disk)
    else:
        _forget(manifest, (vectors, meta), disk)


def _forget(manifest: Path, files: Iterable[Path], disk: Disk) -> None:
    """Remove data files that no manifest names."""
    for file in files:
        with contextlib.suppress(OSError):
            if file.name not in named_files(manifest):
                disk.remove(file)


def _clean(manifest: Path, before: set[str], now: set[str], disk: Disk) -> None:
    """Remove data files of the manifest before, and those that a crash left an hour ago; what stays does no harm."""
    ours = re.compile(re.escape(manifest.stem) + r"\.[0-9a-f]{16}\.(vectors|meta)(-journal)?")
    with contextlib.suppress(OSError):
        for path in sorted(manifest.parent.iterdir()):
            if ours.fullmatch(path.name) and path.name not in now:
                is_stale = time.time() - path.stat().st_mtime > _STALE_SECONDS
                if (path.name in before or is_stale) and path.name not in named_files(manifest):
                    disk.remove(path)


def open_vectors(path: Path) -> tuple[VectorFile, ToldRows]:
    """Return the rows of the store at ``path``, their ids and what they are told.

    FileError if there is none, if a file is missing, cut off or changed, or of a newer version.
    """
    manifest = manifest_path(path)
    for turn in range(_TURNS):
        facts = read_manifest(manifest)
        try:
            return _opened(manifest, facts)
        except FileNotFoundError as error:  # another flush may have put its own in place in the meantime
            if turn == _TURNS - 1 or read_manifest(manifest) == facts:
                raise broken(manifest, f"{Path(error.filename).name} is missing") from None
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, FileError):
                raise
            raise broken(manifest, str(error)) from None
    raise AssertionError("a turn returns or raises")


def _opened(manifest: Path, facts: dict[str, Any]) -> tuple[VectorFile, ToldRows]:
    vectors, meta = (sibling(manifest, facts[kind]["file"]) for kind in ("vectors", "meta"))
    if vectors.stat().st_size != facts["vectors"]["nbytes"]:
        raise broken(manifest, "the file of vectors has another size")
    told = read_told(manifest, facts, meta)
    return VectorFile(manifest, facts, vectors), told
