"""The file of rows: safetensors, ``path.<tag>.vectors``: panels as they lie on the device, facts of rows, checksums.

Layer: formats. Files of version 1 hold rows one after the other. Invariant: what is read is what was written, or a
FileError.
"""

from __future__ import annotations

import os
import threading
import weakref
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from loom.core.arrays import Array
from loom.core.process.thread_pools import ThreadPool
from loom.formats.safetensors import encode_header
from loom.formats.vectors.manifest import broken
from loom.kernels.vectors.packed import panel_shape, rows_of_panels
from loom.storage.disk import Disk

__all__ = ["FrozenRows", "VectorFile", "write_rows"]

_KINDS = {"f32": "F32", "f16": "F16", "i8": "U8"}
_TYPES = {"f32": "<f4", "f16": "<f2", "i8": "|i1"}
_FACTS = ("squares", "weights", "scales")
_ALIGNMENT = 64
_BLOCK_NBYTES = 1 << 22
"""About as many bytes of panels have one checksum, and are read and written at once."""
_FACTS_BLOCK_NBYTES = 1 << 18


class FrozenRows(Protocol):
    """The rows of a store as they were at one moment."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest tells: dims, metric, dtype, capacity, rows; ``panel``, rows of a panel."""
        ...

    def panels(self, step: int) -> Iterator[Array]:
        """Give the bytes of all panels, at most ``step`` at a time, rows that are none being 0."""
        ...

    def row_facts(self) -> tuple[Array, Array, Array]:
        """Return squares, weights and scales of the rows of all panels, f32."""
        ...


def _panel_nbytes(facts: dict[str, Any]) -> int:
    kind = np.dtype(_TYPES[facts["dtype"]])
    return int(np.prod(panel_shape(facts["dims"], facts["panel"], kind))) * kind.itemsize


# writing


def write_rows(disk: Disk, path: Path, store: FrozenRows) -> dict[str, Any]:
    """Write the file of rows; return what the manifest tells of it."""
    facts = store.facts
    panel_nbytes = _panel_nbytes(facts)
    step = max(1, _BLOCK_NBYTES // panel_nbytes)
    panels = -(-facts["rows"] // facts["panel"])
    head = _head(facts, panels)
    sums: tuple[list[int], list[int]] = [], []
    block, nbytes = step * panel_nbytes, panels * panel_nbytes

    def parts() -> Generator[memoryview, None, None]:
        yield memoryview(head)
        yield from _checksum_blocks(store.panels(step), block, sums[0])
        yield from _checksum_blocks((np.ascontiguousarray(each, "<f4") for each in store.row_facts()),
                                    _FACTS_BLOCK_NBYTES, sums[1])  # fmt: skip

    with ThreadPool(1, "loom flush") as ahead:
        disk.write_parts(path, _ahead(ahead, parts()))
    disk.sync(path)
    size, begin = path.stat().st_size, len(head)
    return {
        "file": path.name, "nbytes": size, "begin": begin, "head": zlib.crc32(head),
        "panels": {"begin": begin, "nbytes": nbytes, "block": block, "crc32": sums[0]},
        "facts": {"begin": begin + nbytes, "nbytes": size - begin - nbytes, "block": _FACTS_BLOCK_NBYTES,
                  "crc32": sums[1]},
    }  # fmt: skip


def _head(facts: dict[str, Any], panels: int) -> bytes:
    """Return the length of the header, and the header: JSON, padded."""
    kind, width = np.dtype(_TYPES[facts["dtype"]]), facts["panel"]
    end = panels * _panel_nbytes(facts)
    header: dict[str, Any] = {
        "__metadata__": {"format": "loom vectors", **{n: str(facts[n]) for n in ("metric", "dims", "rows", "dtype")}},
        "vectors": {"dtype": _KINDS[facts["dtype"]], "shape": [panels, *panel_shape(facts["dims"], width, kind)],
                    "data_offsets": [0, end]},
    }  # fmt: skip
    for name in _FACTS:
        header[name] = {"dtype": "F32", "shape": [panels * width], "data_offsets": [end, end + 4 * panels * width]}
        end += 4 * panels * width
    return encode_header(header, _ALIGNMENT, (", ", ": "))


def _bytes(array: Array) -> memoryview:
    """Return the bytes of a contiguous array, shared."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _checksum_blocks(parts: Iterable[Array], block: int, sums: list[int]) -> Generator[memoryview, None, None]:
    """Give parts as bytes, and take the checksum of each block."""
    total, room = 0, block
    for part in map(_bytes, parts):
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


def _ahead(pool: ThreadPool, parts: Generator[memoryview, None, None]) -> Iterator[memoryview]:
    """Give parts, each made while the one before is written."""
    coming = pool.submit(next, parts, None)
    while (part := coming.result()) is not None:
        coming = pool.submit(next, parts, None)
        yield part


# reading


class _Region:
    """A part of a file, in blocks that have a checksum each."""

    def __init__(self, file: VectorFile, told: dict[str, Any], what: str) -> None:
        self._file, self._what = file, what
        self._begin, self.nbytes, self.block, self._sums = (told[n] for n in ("begin", "nbytes", "block", "crc32"))

    def fill(self, number: int, room: memoryview) -> None:
        """Read a block into ``room``, which has its size."""
        self._file.fill(self._begin + number * self.block, room)
        if zlib.crc32(room) != self._sums[number]:
            raise self._file.broken(f"block {number} of the {self._what} is not what was written")

    def read(self, offset: int, nbytes: int) -> Array:
        """Return some bytes; whole blocks are read and checked."""
        if not 0 <= offset <= offset + nbytes <= self.nbytes:
            raise self._file.broken("the file of vectors is shorter than its rows")
        low, high = offset // self.block, -(-(offset + nbytes) // self.block)
        begin = low * self.block
        room = np.empty(max(0, min(high * self.block, self.nbytes) - begin), np.uint8)
        view = _bytes(room)
        for number in range(low, high):
            at = number * self.block - begin
            self.fill(number, view[at : at + self.block])
        return room[offset - begin : offset - begin + nbytes]


class VectorFile:
    """The rows of a store that is written. Its file stays open, so that they can be read whatever becomes of the name.

    FileError if a block is not what was written.
    """

    def __init__(self, manifest: Path, facts: dict[str, Any], path: Path) -> None:
        self.facts = facts
        self._manifest = manifest
        self._lock = threading.Lock()
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._kind = np.dtype(_TYPES[facts["dtype"]])
        self._row_nbytes = facts["dims"] * self._kind.itemsize
        told = facts["vectors"]
        self.width: int | None = None
        """Rows of a panel; None for rows one after the other, of version 1."""
        if facts["version"] == 1:
            self._panels = self._facts = _Region(self, {**told, "begin": 0}, "file of vectors")
            self._first = 8 + int.from_bytes(self._panels.read(0, 8).tobytes(), "little")
            self.step = max(1, _BLOCK_NBYTES * 4 // self._row_nbytes)
        else:
            self.width = facts["panel"]
            self._panel_nbytes = _panel_nbytes(facts)
            head = memoryview(bytearray(told["begin"]))
            self.fill(0, head)
            if zlib.crc32(head) != told["head"]:
                raise self.broken("the head of the file of vectors is not what was written")
            self._panels = _Region(self, told["panels"], "panels")
            self._facts = _Region(self, told["facts"], "facts of rows")
            self.step = self._panels.block // self._panel_nbytes * self.width
        """Rows that are best read at once, from a multiple of it on: those of a block."""

    def rows(self, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        dims, width = self.facts["dims"], self.width
        if width is None:
            found = self._panels.read(self._first + first * self._row_nbytes, count * self._row_nbytes)
            return found.view(self._kind).reshape(count, dims)
        low = first // width
        found = rows_of_panels(self.panels(low, -(-(first + count) // width) - low), dims, width, self._kind)
        return found[first - low * width : first - low * width + count]

    def panels(self, first: int, count: int) -> Array:
        """Return the bytes of panels."""
        return self._panels.read(first * self._panel_nbytes, count * self._panel_nbytes)

    def fill_panels(self, first: int, room: Array) -> None:
        """Read panels, from the first of a block on to the end of one, into bytes."""
        self._panels.fill(first * self._panel_nbytes // self._panels.block, _bytes(room))

    def fact(self, name: str, first: int, count: int) -> Array | None:
        """Return squares, weights or scales of rows, f32; None if the file does not have them."""
        if self.width is not None:
            nbytes = self._facts.nbytes // len(_FACTS)
            return self._facts.read(_FACTS.index(name) * nbytes + first * 4, count * 4).view("<f4")
        if name != "scales" or self.facts["dtype"] != "i8":
            return None
        return self._facts.read(self._first + self.facts["rows"] * self._row_nbytes + first * 4, count * 4).view("<f4")

    def fill(self, offset: int, room: memoryview) -> None:
        """Read bytes of the file into all of ``room``; many threads may."""
        got = 0
        while got < len(room):
            more = self._some(offset + got, room[got:])
            if not more:
                raise self.broken("the file of vectors is cut off")
            got += more

    def _some(self, offset: int, room: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [room], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(room) or 0

    def broken(self, why: str) -> Exception:
        """Return the error of a file that is not what was written."""
        return broken(self._manifest, why)
