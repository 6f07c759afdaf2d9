"""The steps by which files change, one method each, so that tests can stop the machine between any two.

Layer: storage. ``Disk`` is the real one; ``FaultyDisk`` fails at the n-th step and at all after it, as a process
that was killed or a disk that is full. Invariant: every change that must survive a crash goes through these steps.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from loom.core.process.critical import CRITICAL

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Disk", "FaultyDisk"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_MODE = 0o644
"""Before the umask takes its bits."""
_MANY_NBYTES = 1 << 25
"""Bytes that the medium gets while more are written."""


def _is_over(syncing: Future[None] | None) -> bool:
    with CRITICAL:
        return syncing is None or syncing.done()


class Disk:
    """The file system."""

    def write(self, path: Path, data: bytes | memoryview) -> None:
        """Write a new file."""
        with os.fdopen(os.open(path, _FLAGS, _MODE), "wb") as file:
            file.write(data)

    def write_parts(self, path: Path, parts: Iterable[bytes | memoryview]) -> None:
        """Write a new file of parts, one after the other; of a long one the medium gets parts while others come."""
        from loom.core.process.thread_pools import ThreadPool  # few processes write long files

        with os.fdopen(os.open(path, _FLAGS, _MODE), "wb", buffering=0) as file, ThreadPool(1) as beside:
            syncing: Future[None] | None = None
            waiting = 0
            for part in parts:
                self.append(file, part)
                waiting += len(part)
                if waiting >= _MANY_NBYTES and _is_over(syncing):
                    if syncing is not None:
                        syncing.result()  # an error is told once, and must not be lost
                    syncing, waiting = beside.submit(os.fsync, file.fileno()), 0
            if syncing is not None:
                syncing.result()

    def append(self, file: io.RawIOBase, part: bytes | memoryview) -> None:
        """Write the next part of a file."""
        rest = memoryview(part).cast("B")
        while rest:
            rest = rest[file.write(rest) :]

    def patch(self, path: Path, at: int, data: bytes) -> None:
        """Write over some bytes of a file."""
        with path.open("r+b", buffering=0) as file:
            file.seek(at)
            self.append(file, data)

    def fill(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Have a library write a new file."""
        fill(path)

    def sync(self, path: Path) -> None:
        """Have a file's bytes on the medium."""
        self._sync(path, getattr(os, "O_BINARY", 0) | os.O_RDWR)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name, in one step, over one that has it."""
        os.replace(source, target)

    def sync_folder(self, path: Path) -> None:
        """Have a folder's names on the medium, where the system can (POSIX)."""
        if os.name == "posix":
            self._sync(path, os.O_RDONLY)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def _sync(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FaultyDisk(Disk):
    """Fails with OSError at step ``fails_at`` (from 0) and ever after; ``torn``: half of a write then arrives."""

    def __init__(self, fails_at: int, *, torn: bool = True) -> None:
        self.fails_at = fails_at
        self.torn = torn
        self.steps = 0
        self._lock = threading.Lock()

    def _step(self, tear: Callable[[], object] = lambda: None) -> None:
        """Count a step; from the one that fails on raise OSError, and ``tear`` at that one, if writes are torn."""
        with self._lock:
            number, self.steps = self.steps, self.steps + 1
        if number == self.fails_at and self.torn:
            with contextlib.suppress(OSError):
                tear()
        if number >= self.fails_at:
            raise OSError(f"the disk failed at step {self.fails_at}")

    def write(self, path: Path, data: bytes | memoryview) -> None:
        """Write a new file, or half of it and fail."""
        self._step(lambda: super(FaultyDisk, self).write(path, bytes(data)[: len(data) // 2]))
        super().write(path, data)

    def append(self, file: io.RawIOBase, part: bytes | memoryview) -> None:
        """Write the next part of a file, or half of it and fail."""
        self._step(lambda: super(FaultyDisk, self).append(file, bytes(part)[: len(part) // 2]))
        super().append(file, part)

    def fill(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Have a library write a new file, of which half arrives, or nothing."""

        def tear() -> None:
            fill(path)
            os.truncate(path, path.stat().st_size // 2)

        self._step(tear)
        fill(path)

    def sync(self, path: Path) -> None:
        """As ``Disk``, or fail."""
        self._step()
        super().sync(path)

    def rename(self, source: Path, target: Path) -> None:
        """As ``Disk``, or fail."""
        self._step()
        super().rename(source, target)

    def sync_folder(self, path: Path) -> None:
        """As ``Disk``, or fail."""
        self._step()
        super().sync_folder(path)

    def remove(self, path: Path) -> None:
        """As ``Disk``, or fail."""
        self._step()
        super().remove(path)
