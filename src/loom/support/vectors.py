"""Stores of vectors as files: written whole or not at all, read back bit for bit.

Layer: support. A store at ``path`` is three files: ``path.ldb``, the manifest, JSON that names the other two and their
checksums; ``path.<tag>.vectors``, safetensors; and ``path.<tag>.meta``, SQLite. Every flush writes new data files under
a tag of its own, has them on the medium, and only then puts its manifest in the place of the one before. Invariant: the
manifest only ever names whole files; a crash at any step leaves the old store or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import FileError
from loom.storage.atomic import replace_file
from loom.storage.disk import Disk

__all__ = ["VERSION", "Flushable", "Frozen", "VectorFile", "open_vectors", "write_vectors"]

VERSION = 1
_FLUSH, _RESTORE = "vectors.flush", "vectors.restore"
_BLOCK_NBYTES = 1 << 20
"""Bytes of the vectors' file that have one checksum."""
_STALE_SECONDS = 3600
_KINDS = {"f32": "F32", "f16": "F16", "i8": "I8"}
_TYPES = {"f32": "<f4", "f16": "<f2", "i8": "|i1"}
_ALIGNMENT = 64


class Frozen(Protocol):
    """A store as it was at one moment; nothing of it changes any more."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest tells: dims, metric, dtype, capacity, rows."""
        ...

    @property
    def scales(self) -> Array | None:
        """What the integers of rows are multiplied by, f32, where rows are kept as integers."""
        ...

    def rows(self) -> Iterator[Array]:
        """Give all rows as they are kept, some at a time, in order."""
        ...

    def told(self) -> Iterator[tuple[int, str | int, str | None]]:
        """Give number, id and JSON of what is told of each row that is alive."""
        ...

    def placing(self, path: str) -> contextlib.AbstractContextManager[bool]:
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


# writing


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a store at ``path`` lies; the suffix may be given or left out."""
    return path if path.suffix == ".ldb" else path.with_name(f"{path.name}.ldb")


def write_vectors(path: Path, store: Frozen, disk: Disk | None = None) -> None:
    """Keep a store at ``path`` in place of one that is there; FileError, and that stays, if it cannot be written."""
    disk = disk or Disk()
    manifest = manifest_path(path)
    tag = os.urandom(8).hex()
    vectors, meta = (manifest.with_name(f"{manifest.stem}.{tag}.{kind}") for kind in ("vectors", "meta"))
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        before = _named(manifest)
        with ThreadPoolExecutor(1, "loom flush") as beside:
            telling = beside.submit(_write_meta, disk, meta, store)
            try:
                sums = _write_rows(disk, vectors, store)
            finally:
                told = telling.result()
        disk.sync_folder(manifest.parent)
        facts = {
            "format": "loom vectors", "version": VERSION, **store.facts,
            "vectors": {"file": vectors.name, "nbytes": vectors.stat().st_size, "block": _BLOCK_NBYTES, "crc32": sums},
            "meta": {"file": meta.name, "nbytes": meta.stat().st_size, "crc32": told},
        }  # fmt: skip
        kept = VectorFile(manifest, facts, vectors)  # before others can replace and remove it
        with store.placing(os.path.realpath(manifest)) as is_latest:
            if is_latest:
                replace_file(manifest, _signed(facts), durable=True, disk=disk)
    except OSError as error:
        _forget(manifest, (vectors, meta), disk)
        if isinstance(error, FileError):  # rows that had left the device cannot be read back
            raise
        raise FileError(
            _FLUSH, f"cannot write to {str(path)!r} ({error})",
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
            if file.name not in _named(manifest):
                disk.remove(file)


def _signed(facts: dict[str, Any]) -> bytes:
    """Return a manifest with the checksum of all else in it."""
    text = json.dumps(facts, indent=1)
    return json.dumps({**facts, "sha256": hashlib.sha256(text.encode()).hexdigest()}, indent=1).encode()


def _write_rows(disk: Disk, path: Path, store: Frozen) -> list[int]:
    """Write the file of vectors; return the checksum of each block."""
    sums: list[int] = []
    with ThreadPoolExecutor(1, "loom flush") as ahead:
        disk.write_parts(path, _ahead(ahead, _summed(_parts(store), sums)))
    disk.sync(path)
    return sums


def _parts(store: Frozen) -> Iterator[memoryview]:
    facts, scales = store.facts, store.scales
    rows, dims, kind = facts["rows"], facts["dims"], facts["dtype"]
    nbytes = rows * dims * np.dtype(_TYPES[kind]).itemsize
    header: dict[str, Any] = {
        "__metadata__": {"format": "loom vectors", "metric": facts["metric"]},
        "vectors": {"dtype": _KINDS[kind], "shape": [rows, dims], "data_offsets": [0, nbytes]},
    }
    if scales is not None:
        header["scales"] = {"dtype": "F32", "shape": [rows], "data_offsets": [nbytes, nbytes + scales.nbytes]}
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for part in store.rows():
        yield _bytes(np.ascontiguousarray(part, _TYPES[kind]))
    if scales is not None:
        yield _bytes(np.ascontiguousarray(scales, "<f4"))


def _bytes(array: Array) -> memoryview:
    """Return the bytes of a contiguous array, shared."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _summed(parts: Iterator[memoryview], sums: list[int]) -> Generator[memoryview, None, None]:
    """Give parts, and take the checksum of each block of bytes."""
    total, room = 0, _BLOCK_NBYTES
    for part in parts:
        at = 0
        while at < len(part):
            piece = part[at : at + room]
            total, room, at = zlib.crc32(piece, total), room - len(piece), at + len(piece)
            if not room:
                sums.append(total)
                total, room = 0, _BLOCK_NBYTES
        yield part
    if room < _BLOCK_NBYTES:
        sums.append(total)


def _ahead(pool: ThreadPoolExecutor, parts: Generator[memoryview, None, None]) -> Iterator[memoryview]:
    """Give parts, each made while the one before is written."""
    coming = pool.submit(next, parts, None)
    while (part := coming.result()) is not None:
        coming = pool.submit(next, parts, None)
        yield part


def _write_meta(disk: Disk, path: Path, store: Frozen) -> int:
    """Write what is told of rows; return the checksum of the file."""

    def fill(to: Path) -> None:
        with contextlib.closing(sqlite3.connect(to, isolation_level=None)) as base:
            base.execute("pragma journal_mode = off")  # a file that nobody names yet
            base.execute("pragma synchronous = off")
            base.execute(f"pragma user_version = {VERSION}")
            base.execute("create table vectors (row integer primary key, id not null, meta text)")
            base.execute("begin")
            base.executemany("insert into vectors values (?, ?, ?)", store.told())
            base.execute("commit")

    try:
        disk.fill(path, fill)
    except sqlite3.Error as error:  # a full disk, told in its own words
        raise OSError(str(error)) from error
    disk.sync(path)
    return _crc32(path)


def _crc32(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while part := file.read(_BLOCK_NBYTES):
            total = zlib.crc32(part, total)
    return total


def _named(manifest: Path) -> set[str]:
    """Return the data files that a manifest names; none if there is no sound one."""
    try:
        facts = json.loads(manifest.read_bytes())
        return {facts["vectors"]["file"], facts["meta"]["file"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _clean(manifest: Path, before: set[str], now: set[str], disk: Disk) -> None:
    """Remove data files of the manifest before, and those that a crash left an hour ago; what stays does no harm."""
    ours = re.compile(re.escape(manifest.stem) + r"\.[0-9a-f]{16}\.(vectors|meta)(-journal)?")
    with contextlib.suppress(OSError):
        for path in sorted(manifest.parent.iterdir()):
            if ours.fullmatch(path.name) and path.name not in now:
                is_stale = time.time() - path.stat().st_mtime > _STALE_SECONDS
                if (path.name in before or is_stale) and path.name not in _named(manifest):
                    disk.remove(path)


# reading


class VectorFile:
    """The rows of a store that is written. Its file stays open, so that they can be read whatever becomes of the name.

    FileError if a block is not what was written.
    """

    def __init__(self, manifest: Path, facts: dict[str, Any], path: Path) -> None:
        self.facts = facts
        self._manifest = manifest
        self._lock = threading.Lock()
        told = facts["vectors"]
        self._nbytes, self._block, self._sums = told["nbytes"], told["block"], told["crc32"]
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._kind = np.dtype(_TYPES[facts["dtype"]])
        self._row_nbytes = facts["dims"] * self._kind.itemsize
        self._begin = 8 + int.from_bytes(self.read(0, 8).tobytes(), "little")

    def rows(self, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        found = self.read(self._begin + first * self._row_nbytes, count * self._row_nbytes)
        return found.view(self._kind).reshape(count, self.facts["dims"])

    def scales(self, first: int, count: int) -> Array | None:
        """Return what the integers of rows are multiplied by; None where rows are no integers."""
        if self.facts["dtype"] != "i8":
            return None
        return self.read(self._begin + self.facts["rows"] * self._row_nbytes + first * 4, count * 4).view("<f4")

    def read(self, offset: int, nbytes: int) -> Array:
        """Return bytes of the file, those of whole blocks being checked."""
        if not 0 <= offset <= offset + nbytes <= self._nbytes:
            raise _broken(self._manifest, "the file of vectors is shorter than its rows")
        low = offset // self._block
        begin = low * self._block
        end = min(-(-(offset + nbytes) // self._block) * self._block, self._nbytes)
        room = np.empty(end - begin, np.uint8)
        with self._lock:
            self._file.seek(begin)
            got, view = 0, _bytes(room)
            while got < len(room):
                more = self._file.readinto(view[got:])
                if not more:
                    raise _broken(self._manifest, "the file of vectors is cut off")
                got += more
        for number, at in enumerate(range(0, len(room), self._block), low):
            if zlib.crc32(view[at : at + self._block]) != self._sums[number]:
                raise _broken(self._manifest, f"block {number} of the file of vectors is not what was written")
        return room[offset - begin : offset - begin + nbytes]


def open_vectors(path: Path) -> tuple[VectorFile, list[tuple[int, str | int, str | None]]]:
    """Return the rows of the store at ``path``, and number, id and JSON of each that is alive.

    FileError if there is none, if a file is missing, cut off or changed, or of a newer version.
    """
    manifest = manifest_path(path)
    for turn in range(_TURNS):
        facts = _read_manifest(manifest)
        try:
            file, told = _opened(manifest, facts)
        except FileNotFoundError as error:  # another flush may have put its own in place in the meantime
            if turn == _TURNS - 1 or _read_manifest(manifest) == facts:
                raise _broken(manifest, f"{Path(error.filename).name} is missing") from None
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError) as error:
            if isinstance(error, FileError):
                raise
            raise _broken(manifest, str(error)) from None
        else:
            return file, told
    raise AssertionError("a turn returns or raises")


_TURNS = 8


def _opened(manifest: Path, facts: dict[str, Any]) -> tuple[VectorFile, list[tuple[int, str | int, str | None]]]:
    vectors, meta = (manifest.with_name(_file_name(facts[kind]["file"])) for kind in ("vectors", "meta"))
    if vectors.stat().st_size != facts["vectors"]["nbytes"]:
        raise _broken(manifest, "the file of vectors has another size")
    if meta.stat().st_size != facts["meta"]["nbytes"] or _crc32(meta) != facts["meta"]["crc32"]:
        raise _broken(manifest, "the file of ids is not what was written")
    with contextlib.closing(sqlite3.connect(f"{meta.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
        told = base.execute("select row, id, meta from vectors order by row").fetchall()
    return VectorFile(manifest, facts, vectors), told


def _file_name(name: Any) -> str:
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a data file")
    return name


def _read_manifest(manifest: Path) -> dict[str, Any]:
    try:
        facts = json.loads(manifest.read_bytes())
    except FileNotFoundError:
        raise FileError(_RESTORE, f"there is no store at {str(manifest)!r}", expected="what flush wrote",
                        remedy="Name the path that was flushed to") from None  # fmt: skip
    except (OSError, ValueError) as error:
        raise _broken(manifest, f"the manifest cannot be read ({error})") from None
    if not isinstance(facts, dict):
        raise _broken(manifest, "it is no manifest")
    found = cast("dict[str, Any]", facts)
    if found.get("format") != "loom vectors" or not isinstance(found.get("version"), int):
        raise _broken(manifest, "it is no manifest of vectors")
    if found["version"] > VERSION:
        raise FileError(_RESTORE, f"{str(manifest)!r} is of a newer version", expected=f"at most {VERSION}",
                        got=found["version"], remedy="Read it with a newer Loom")  # fmt: skip
    signature = found.pop("sha256", None)
    if signature != hashlib.sha256(json.dumps(found, indent=1).encode()).hexdigest():
        raise _broken(manifest, "the manifest is not what was written")
    return found


def _broken(manifest: Path, why: str) -> FileError:
    return FileError(_RESTORE, f"no sound store at {str(manifest)!r} ({why})", remedy="Restore another one")
