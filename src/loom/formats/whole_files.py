"""Bytes of files, looked at where they lie.

Layer: formats. Invariant: mapping a file reads none of it; what is no plain file (a folder, a pipe, a device) is
refused before it can keep anybody waiting.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from loom.core.errors import FileError

__all__ = ["file_bytes", "map_file"]

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def file_bytes(path: Path, where: str) -> bytes:
    """Return a copy of what a file holds; FileError if it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, where) from None


def map_file(path: Path, where: str) -> memoryview:
    """Return a file's bytes, read when they are looked at; FileError if it cannot be read or is no plain file.

    Who shortens a file that others have mapped takes the memory from under them: replace files, as ``loom`` does.
    """
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise FileError(where, "not a plain file", expected="a file of weights", got=str(path)[:200],
                                remedy="Check the path")  # fmt: skip
            if not facts.st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
    except FileError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        raise _unreadable(path, error, where) from None


def _unreadable(path: Path, error: Exception, where: str) -> FileError:
    why = getattr(error, "strerror", None) or str(error)  # ValueError: a name that no file can have
    return FileError(where, f"the file cannot be read ({why})", expected="a file", got=str(path)[:200],
                     remedy="Check the path")  # fmt: skip
