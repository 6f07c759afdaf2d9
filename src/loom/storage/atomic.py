"""Replaces a file as a whole: readers see the old content or the new, never a part.

Layer: storage. Invariant: the final name only ever refers to a complete file; a crash leaves at worst a
temporary file, which the next ``sweep`` of its folder removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

from loom.storage.disk import Disk

__all__ = ["replace_file", "sweep"]

_SUFFIX = ".partial"
_STALE_SECONDS = 3600
_DISK = Disk()


def replace_file(path: Path, data: bytes | memoryview, *, durable: bool = False, disk: Disk = _DISK) -> None:
    """Write ``data`` to ``path`` in one step, readable by all that the umask lets; OSError if it cannot.

    ``durable``: when this returns, the file survives a power cut.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder has this name: name a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}{_SUFFIX}")
    try:
        disk.write(temporary, data)
        if durable:
            disk.sync(temporary)
        disk.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
    if durable:
        disk.sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove temporary files that a crash left in ``folder`` an hour ago or earlier."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
