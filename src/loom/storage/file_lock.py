"""A lock that one process has at a time, by a file beside what it guards.

Layer: storage. Whoever holds it may do so for long; threads of one process wait for each other as processes do. The
file tells who has it, and goes when it is let go of. Invariant: the system takes the lock from a process that ends,
however it ends, so that a file that was left behind holds nobody up; a child of fork does not have its parent's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from pathlib import Path

__all__ = ["FileLock"]

_PAUSE_SECONDS = 0.005
_MODE = 0o644
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_AT = 1 << 20
"""The byte that is locked, where others can still read what the file tells."""
_MOST_TOLD = 64

_guard = threading.Lock()
_held: set[str] = set()
"""Those that this process has: the system lets a process have its own locks as often as it asks."""


def _forget_parent() -> None:
    global _guard  # noqa: PLW0603 - another thread of the parent may have had it
    _guard = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


class FileLock:
    """See the module. ``is_real``: whether the system keeps others out; not every file system has locks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_real = True
        self._key = os.path.realpath(path)
        self._process = 0
        self._descriptor: int | None = None

    @property
    def is_mine(self) -> bool:
        """Whether this process has it by this object."""
        return self._descriptor is not None and self._process == os.getpid()

    def acquire(self, seconds: float) -> bool:
        """Have the lock; False if another has it for so many seconds. OSError if there can be no such file."""
        end = time.monotonic() + seconds
        while not self._try():
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE_SECONDS)
        return True

    def holder(self) -> str:
        """Return who has it, as far as that is known."""
        try:
            told = self.path.read_bytes()[:_MOST_TOLD].decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            told = ""
        return f"process {told}" if told.isdecimal() else "another process"

    def release(self) -> None:
        """Let go of it; a second time does nothing."""
        with _guard:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                return
            if self._process == os.getpid():
                _held.discard(self._key)
                with contextlib.suppress(OSError):
                    os.unlink(self.path)  # those that wait for this file see that it is gone, and make another
            os.close(descriptor)

    def _try(self) -> bool:
        with _guard:
            if self._key in _held:
                return False
            descriptor = os.open(self.path, _FLAGS, _MODE)
            try:
                if not (self._lock(descriptor) and self._is_there(descriptor)):
                    os.close(descriptor)
                    return False
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor, self._process = descriptor, os.getpid()
            _held.add(self._key)
            return True

    def _lock(self, descriptor: int) -> bool:
        try:
            if sys.platform == "win32":
                import msvcrt

                os.lseek(descriptor, _AT, os.SEEK_SET)
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                os.lseek(descriptor, 0, os.SEEK_SET)
            else:
                import fcntl

                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _AT)
        except ImportError:
            self.is_real = False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                return False
            self.is_real = False
        return True

    def _is_there(self, descriptor: int) -> bool:
        """Tell whether the file that is locked is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False
