"""Replaces a file as a whole: readers see the old content or the new, never a part.

Layer: storage. Invariant: the final name only ever refers to a complete file; a crash leaves at worst a
temporary file, which the next ``sweep`` of its folder removes.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

__all__ = ["replace_file", "sweep"]

_SUFFIX = ".partial"
_STALE_SECONDS = 3600
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_MODE = 0o644
"""Before the umask takes its bits."""


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step, readable by all that the umask lets; OSError if it cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}{_SUFFIX}")
    descriptor = os.open(temporary, _FLAGS, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sweep(folder: Path) -> None:
    """Remove temporary files that a crash left in ``folder`` an hour ago or earlier."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
