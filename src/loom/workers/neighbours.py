"""Workers of one node that share memory: each has a room that all others read, and tells them when something is there.

Layer: workers. A worker listens under a path that those who are to meet it are told; on Linux it is a name that goes
with the process. Rooms travel as descriptors of memory that has no name: nothing is left of processes killed.
Invariant: a wait ends: when all have told, when one has left or died (its line is closed by the system), or when its
time is over.
"""

from __future__ import annotations

import mmap
import os
import select
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

__all__ = ["MEETS", "ROOM_ALIGNMENT", "LostNeighbourError", "Neighbours", "SharedRoom", "Threshold"]

MEETS = hasattr(socket, "AF_UNIX") and hasattr(socket, "send_fds")
"""Whether processes of this system can meet so."""
ROOM_ALIGNMENT = 64
"""What is taken of a room begins at a multiple of so many bytes."""
_GREETING = struct.Struct("<qq")
"""The rank of who greets, and how many bytes its room has."""
_TOLD = b"\0"
_HAS_NAMES = sys.platform == "linux"
"""Whether sockets may have names that are no files: other users see these, and may come."""
_CREDENTIALS = struct.Struct("iII")
"""Process, user and group of who is at the other end."""


class LostNeighbourError(Exception):
    """A neighbour has left, died, or is not heard in time."""


class SharedRoom:
    """Memory of this process that others may be let into; it takes up what was written to. ``bytes``: all of it."""

    def __init__(self, nbytes: int) -> None:
        self.file = -1
        self.nbytes = max(nbytes, mmap.PAGESIZE)
        self.file = _anonymous_file()
        os.ftruncate(self.file, self.nbytes)
        self.bytes = np.frombuffer(mmap.mmap(self.file, self.nbytes), np.uint8)
        self._taken = 0

    def take(self, nbytes: int) -> np.ndarray[Any, Any] | None:
        """Return the next bytes that nobody has taken, aligned; None if there is no room."""
        begin = self._taken
        if begin + nbytes > self.nbytes:
            return None
        self._taken = -(-(begin + nbytes) // ROOM_ALIGNMENT) * ROOM_ALIGNMENT
        return self.bytes[begin : begin + nbytes]

    def close(self) -> None:
        """Let nobody else in; the memory goes with the last who uses it."""
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        self.close()


def _anonymous_file() -> int:
    """Return a new file of no name: memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("loom")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Threshold:
    """Where a worker is met: a socket of a name that is no file (Linux), or in a folder that nobody else may open."""

    def __init__(self) -> None:
        self._folder = "" if _HAS_NAMES else tempfile.mkdtemp(prefix="loom-")
        self.path = f"\0loom-{os.urandom(16).hex()}" if _HAS_NAMES else os.path.join(self._folder, "s")
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.line.bind(self.path)
            self.line.listen(128)
        except OSError:
            self.close()
            raise

    def meet(self, end: float) -> socket.socket:
        """Return a line to the next process of the same user that comes, by a time of ``time.monotonic``."""
        while True:
            self.line.settimeout(max(0.01, end - time.monotonic()))
            line, _ = self.line.accept()
            if not _HAS_NAMES or _user_of(line) == os.geteuid():
                return line
            line.close()

    def close(self) -> None:
        """Be met no more."""
        self.line.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _user_of(line: socket.socket) -> int:
    """Return the number of the user who is at the other end of a line, as the system (Linux) tells it."""
    told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])


class Neighbours:
    """Workers that met: ``rank`` of this one among them, and their ``rooms`` in the order of ranks.

    ``paths``: of the thresholds of all; one that is alone has none. Each calls ``tell`` and ``hear`` the same number of
    times.
    """

    def __init__(
        self, threshold: Threshold | None, rank: int, paths: Sequence[str], room: SharedRoom, seconds: float
    ) -> None:
        self.rank, self.rooms = rank, [room.bytes] * len(paths)
        self._lines: dict[int, socket.socket] = {}
        self._heard: dict[int, int] = {}
        self._gone: set[int] = set()
        self._told = 0
        self._end = time.monotonic() + seconds
        try:
            for other in range(rank):
                line = self._lines[other] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                line.settimeout(self._left())
                line.connect(paths[other])
                if _HAS_NAMES and _user_of(line) != os.geteuid():
                    raise OSError("another user has the name of a worker that is no more")
                self._greet(line, room)
            for _ in range(rank + 1, len(paths)):
                assert threshold is not None
                line = threshold.meet(self._end)
                line.settimeout(self._left())
                self._lines[self._be_greeted(line)] = line
                self._greet(line, room)
            for other in range(rank):
                self._be_greeted(self._lines[other])
        except (OSError, struct.error, ValueError) as error:
            self.close()
            raise LostNeighbourError(f"workers of a node cannot meet ({type(error).__name__}: {error})") from error
        self._heard = dict.fromkeys(self._lines, 0)
        self._poll = select.poll()
        self._of_file = {line.fileno(): other for other, line in self._lines.items()}
        for line in self._lines.values():
            line.setblocking(False)
            self._poll.register(line, select.POLLIN)

    def _left(self) -> float:
        return max(0.01, self._end - time.monotonic())

    def _greet(self, line: socket.socket, room: SharedRoom) -> None:
        socket.send_fds(line, [_GREETING.pack(self.rank, room.nbytes)], [room.file])

    def _be_greeted(self, line: socket.socket) -> int:
        told, files, _, _ = socket.recv_fds(line, _GREETING.size, 1)
        try:
            rank, nbytes = _GREETING.unpack(told)
            self.rooms[rank] = np.frombuffer(mmap.mmap(files[0], nbytes, access=mmap.ACCESS_READ), np.uint8)
        finally:
            for file in files:
                os.close(file)
        return rank

    def tell(self) -> None:
        """Tell all others that this one has come so far; who has left is noticed by who waits for it."""
        self._told += 1
        for line in self._lines.values():
            with suppress(OSError):
                line.send(_TOLD)

    def hear(self, seconds: float) -> None:
        """Wait until all others have come as far; LostNeighbourError for one that is not heard in time, or has left."""
        end = time.monotonic() + seconds
        while behind := [other for other, heard in self._heard.items() if heard < self._told]:
            if gone := self._gone.intersection(behind):
                raise LostNeighbourError(f"neighbour {min(gone)} has left")
            left = end - time.monotonic()
            if left <= 0:
                raise LostNeighbourError(f"neighbour {behind[0]} was not heard for {seconds:.3g} seconds")
            for file, _ in self._poll.poll(left * 1e3):
                self._take(self._of_file[file])

    def _take(self, other: int) -> None:
        try:
            told = self._lines[other].recv(64)
        except BlockingIOError:
            return
        except OSError:  # it left before it read all that it was told; what it told has been heard by now
            told = b""
        self._heard[other] += len(told)
        if not told:
            self._gone.add(other)
            self._poll.unregister(self._lines[other])

    def close(self) -> None:
        """Leave; who waits for this one is told so by the system."""
        for line in self._lines.values():
            line.close()
        self._lines, self.rooms = {}, []
