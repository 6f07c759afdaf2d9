"""Replaces a file as a whole: readers see the old content or the new, never a part.

Layer: storage. Invariant: the final name only ever refers to a complete file; a crash leaves at worst a
temporary file, which the next ``sweep`` of its folder removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loom.storage.disk import Disk

__all__ = ["replace_file", "sweep"]

_SUFFIX = ".partial"
_STALE_SECONDS = 3600
_DISK = Disk()
_STANDARD = (Path("/dev/stdout"), Path("/dev/stderr"))  # symbolic links to what may be a file


def replace_file(
    path: Path,
    data: bytes | memoryview | Iterator[bytes | memoryview],
    *,
    durable: bool = False,
    seal: Callable[[], tuple[int, bytes]] | None = None,
    disk: Disk = _DISK,
) -> None:
    """Write ``data``, or its parts one after the other, to ``path`` in one step; OSError if it cannot.

    ``seal``: called once all parts are written; bytes that replace others, and where.

    All that the umask lets can read it. ``durable``: when this returns, the file survives a power cut. A device or a
    pipe (``/dev/stdout``) stays what it is, and gets the data.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder has this name: name a file", str(path))
    if _is_stream(path):
        parts = data if isinstance(data, Iterator) else iter((data,))
        with path.open("ab") as stream:
            stream.writelines(parts if seal is None else (_whole(parts, seal),))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}{_SUFFIX}")
    try:
        if isinstance(data, Iterator):
            disk.write_parts(temporary, data)
        else:
            disk.write(temporary, data)
        if seal is not None:
            disk.patch(temporary, *seal())
        if durable:
            disk.sync(temporary)
        disk.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
    if durable:
        disk.sync_folder(path.parent)


def _whole(parts: Iterator[bytes | memoryview], seal: Callable[[], tuple[int, bytes]]) -> bytes:
    """Return the whole of a file, of which a stream can take nothing back."""
    found = bytearray().join(parts)
    at, new = seal()
    found[at : at + len(new)] = new
    return bytes(found)


def _is_stream(path: Path) -> bool:
    """Tell whether a name is one of a device, a pipe, or of what a process has open."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) or path.is_relative_to("/dev/fd") or path.is_relative_to("/proc") \
        or path in _STANDARD  # fmt: skip


def sweep(folder: Path) -> None:
    """Remove temporary files that a crash left in ``folder`` an hour ago or earlier."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
