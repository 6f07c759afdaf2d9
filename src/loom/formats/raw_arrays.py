"""Arrays in files: numbers one after the other, little-endian, with nothing around them; and numpy's archives, .npz.

Layer: formats. Invariant: what is read is whole, or a FileError says what there is.
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType
from loom.core.errors import FileError
from loom.core.late.dataclass import dataclass
from loom.storage.atomic import replace_file

__all__ = ["RawArray", "npz_bytes", "open_array", "read_npz", "write_array"]


@dataclass(frozen=True, slots=True)
class RawArray:
    """``count`` numbers of ``dtype`` in a file, from its number ``first`` on.

    ``identity``: what tells the file that was counted from one that took its place; None where any will do.
    """

    path: Path
    dtype: DType
    first: int
    count: int
    where: str
    identity: tuple[int, int] | None = None

    def read(self) -> Array:
        """Return the numbers; FileError if there are fewer by now, or another file is there."""
        found = np.empty(self.count, self._kind)
        room, got = found.view(np.uint8).data, 0
        try:
            with self.path.open("rb", buffering=0) as file:
                same = self.identity in (None, _identity(os.fstat(file.fileno())))
                file.seek(self.first * self.dtype.nbytes)
                while same and got < len(room) and (more := file.readinto(room[got:])):
                    got += more
        except OSError as error:
            raise unreadable(self.path, error, self.where) from error
        if not same:
            raise FileError(
                self.where,
                f"{str(self.path)!r} was replaced while it was read",
                expected="the file that was there at the call",
                got="another",
                remedy="Read it anew, and write to another name meanwhile",
            )
        if got < len(room):
            raise FileError(
                self.where,
                f"{str(self.path)!r} was cut off while it was read",
                expected=f"{self.count} numbers from {self.first} on",
                got=got // self.dtype.nbytes,
                remedy="Read it when it is whole",
            )
        return found if sys.byteorder == "little" else found.astype(self.dtype.numpy)

    def parts(self, count: int) -> Iterator[RawArray]:
        """Give the same, so many numbers at a time."""
        for first in range(self.first, self.first + self.count, count):
            some = min(count, self.first + self.count - first)
            yield RawArray(self.path, self.dtype, first, some, self.where, self.identity)

    @property
    def _kind(self) -> np.dtype[np.generic]:
        return self.dtype.numpy.newbyteorder("<")


def open_array(path: Path, dtype: DType, first: int, count: int | None, where: str) -> RawArray:
    """Return ``count`` numbers of a file (None: all from ``first`` on), not read yet; FileError if it has fewer."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        raise unreadable(path, error, where) from error
    there, rest = divmod(status.st_size, dtype.nbytes)
    if count is None and rest:
        raise FileError(
            where,
            f"{str(path)!r} holds no whole numbers of {dtype}",
            expected=f"a multiple of {dtype.nbytes} bytes",
            got=f"{status.st_size} bytes",
            remedy="Name the dtype it was written as, or how many to read",
        )
    wanted = max(0, there - first) if count is None else count
    if first + wanted > there:
        raise FileError(
            where,
            f"{str(path)!r} is shorter",
            expected=f"{wanted} numbers from {first} on",
            got=f"{there} in all",
            remedy="Check offset and count",
        )
    return RawArray(path, dtype, first, wanted, where, _identity(status) if count is None else None)


def write_array(path: Path, data: Array, where: str) -> int:
    """Write numbers to a file in place of one that is there, all or nothing; return how many."""
    flat = np.ascontiguousarray(data, data.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    try:
        replace_file(path, flat.data, durable=True)
    except (OSError, ValueError) as error:
        raise FileError(where, f"cannot write to {str(path)!r} ({error})", remedy="Name another place") from error
    return data.size


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def unreadable(path: Path, error: Exception, where: str) -> FileError:
    """Return the error of a file that cannot be read."""
    return FileError(
        where,
        f"{str(path)!r} cannot be read ({error})",
        expected="a file of numbers",
        remedy="Name a file that is there",
    )


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return an archive of arrays by name."""
    memory = io.BytesIO()
    np.savez(memory, allow_pickle=False, **dict(arrays))  # pyright: ignore[reportArgumentType] - names are not that
    return memory.getvalue()


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an archive; OSError if it cannot be read, ValueError if it is none, or has objects."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not an archive of arrays")
            file.seek(0)
            with np.load(file, allow_pickle=False) as found:
                return dict(found)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(str(error)) from None
