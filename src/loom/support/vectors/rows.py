"""The file of rows: safetensors, ``path.<tag>.vectors``, with a checksum for each block of whole rows.

Layer: support. Files of version 1 have blocks of 1 MiB from their first byte on. Invariant: what is read is what was
written, or a FileError.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from loom.core.arrays import Array
from loom.storage.disk import Disk
from loom.support.vectors.manifest import broken

__all__ = ["FrozenRows", "VectorFile", "write_rows"]

_KINDS = {"f32": "F32", "f16": "F16", "i8": "I8"}
_TYPES = {"f32": "<f4", "f16": "<f2", "i8": "|i1"}
_ALIGNMENT = 64
_BLOCK_NBYTES = 1 << 22
"""About as many bytes have one checksum, and are read and written at once."""
_BLOCK_ROWS = 256
"""A block has a multiple of so many rows, so that no two blocks share a panel of any device."""


class FrozenRows(Protocol):
    """The rows of a store as they were at one moment."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest tells: dims, metric, dtype, capacity, rows."""
        ...

    @property
    def scales(self) -> Array | None:
        """What the integers of rows are multiplied by, f32, where rows are kept as integers."""
        ...

    def rows(self, step: int) -> Iterator[Array]:
        """Give all rows as they are kept, at most ``step`` at a time, in order."""
        ...


# writing


def write_rows(disk: Disk, path: Path, store: FrozenRows) -> dict[str, Any]:
    """Write the file of rows; return what the manifest tells of it."""
    facts, scales = store.facts, store.scales
    row_nbytes = facts["dims"] * np.dtype(_TYPES[facts["dtype"]]).itemsize
    step = max(1, _BLOCK_NBYTES // (row_nbytes * _BLOCK_ROWS)) * _BLOCK_ROWS
    head, sums = _head(facts, scales, row_nbytes), list[int]()

    def parts() -> Generator[memoryview, None, None]:
        yield memoryview(head)
        yield from _summed(_elements(store, scales, step), step * row_nbytes, sums)

    with ThreadPoolExecutor(1, "loom flush") as ahead:
        disk.write_parts(path, _ahead(ahead, parts()))
    disk.sync(path)
    return {
        "file": path.name, "nbytes": path.stat().st_size, "begin": len(head), "head": zlib.crc32(head),
        "block": step * row_nbytes, "crc32": sums,
    }  # fmt: skip


def _head(facts: dict[str, Any], scales: Array | None, row_nbytes: int) -> bytes:
    """Return the length of the header, and the header: JSON, padded."""
    rows, nbytes = facts["rows"], facts["rows"] * row_nbytes
    header: dict[str, Any] = {
        "__metadata__": {"format": "loom vectors", "metric": facts["metric"]},
        "vectors": {"dtype": _KINDS[facts["dtype"]], "shape": [rows, facts["dims"]], "data_offsets": [0, nbytes]},
    }
    if scales is not None:
        header["scales"] = {"dtype": "F32", "shape": [rows], "data_offsets": [nbytes, nbytes + scales.nbytes]}
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _elements(store: FrozenRows, scales: Array | None, step: int) -> Iterator[memoryview]:
    for part in store.rows(step):
        yield _bytes(np.ascontiguousarray(part, _TYPES[store.facts["dtype"]]))
    if scales is not None:
        yield _bytes(np.ascontiguousarray(scales, "<f4"))


def _bytes(array: Array) -> memoryview:
    """Return the bytes of a contiguous array, shared."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _summed(parts: Iterator[memoryview], block: int, sums: list[int]) -> Generator[memoryview, None, None]:
    """Give parts, and take the checksum of each block of bytes."""
    total, room = 0, block
    for part in parts:
        at = 0
        while at < len(part):
            piece = part[at : at + room]
            total, room, at = zlib.crc32(piece, total), room - len(piece), at + len(piece)
            if not room:
                sums.append(total)
                total, room = 0, block
        yield part
    if room < block:
        sums.append(total)


def _ahead(pool: ThreadPoolExecutor, parts: Generator[memoryview, None, None]) -> Iterator[memoryview]:
    """Give parts, each made while the one before is written."""
    coming = pool.submit(next, parts, None)
    while (part := coming.result()) is not None:
        coming = pool.submit(next, parts, None)
        yield part


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
        self._first_block = 0
        """Where blocks begin."""
        if facts["version"] == 1:
            self._begin = 8 + int.from_bytes(self.read(0, 8).tobytes(), "little")
        else:
            self._first_block = self._begin = told["begin"]
            head = np.empty(self._begin, np.uint8)
            self._fill(0, _bytes(head))
            if zlib.crc32(_bytes(head)) != told["head"]:
                raise self._broken("the head of the file of vectors is not what was written")

    @property
    def step(self) -> int:
        """Rows that are best read at once: those of a block."""
        return max(_BLOCK_ROWS, self._block // self._row_nbytes)

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
        """Return bytes of the file from where blocks begin on, those of whole blocks being checked."""
        start = self._first_block
        if not start <= offset <= offset + nbytes <= self._nbytes:
            raise self._broken("the file of vectors is shorter than its rows")
        low = (offset - start) // self._block
        begin = start + low * self._block
        end = min(start - (start - offset - nbytes) // self._block * self._block, self._nbytes)
        room = np.empty(end - begin, np.uint8)
        view = _bytes(room)
        self._fill(begin, view)
        for number, at in enumerate(range(0, len(room), self._block), low):
            if zlib.crc32(view[at : at + self._block]) != self._sums[number]:
                raise self._broken(f"block {number} of the file of vectors is not what was written")
        return room[offset - begin : offset - begin + nbytes]

    def _fill(self, offset: int, room: memoryview) -> None:
        """Read bytes of the file into all of ``room``; many threads may."""
        got = 0
        while got < len(room):
            more = self._some(offset + got, room[got:])
            if not more:
                raise self._broken("the file of vectors is cut off")
            got += more

    def _some(self, offset: int, room: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [room], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(room) or 0

    def _broken(self, why: str) -> Exception:
        return broken(self._manifest, why)
