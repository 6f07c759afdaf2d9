"""Memory of an emulated GPU: every byte that nobody allocated is known, and touching it is an error."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np

__all__ = ["BASE", "EmulationError", "Memory"]

Array = np.ndarray[Any, Any]
BASE = 0x7F00_0000_0000
"""Where device memory begins: no address of the host, nor near one."""
_GUARD, _MISALIGNED, _ILLEGAL = 256, 716, 700
_LEAST = 1 << 24
_DIRT = 0xA5
"""What memory holds that nobody has written."""


class EmulationError(RuntimeError):
    """What a GPU would not have done; ``code`` is CUDA's."""

    def __init__(self, text: str, code: int = _ILLEGAL) -> None:
        super().__init__(text)
        self.code = code


class Memory:
    """Allocations of bytes that mean nothing, with guards between them; addresses are used again late."""

    def __init__(self) -> None:
        self.bytes: Array = np.zeros(_LEAST, np.uint8)
        self.live: Array = np.zeros(_LEAST, np.bool_)
        self._end = _GUARD
        self._sizes: dict[int, int] = {}
        self._free: dict[int, list[int]] = {}
        self._starts: list[int] = []

    def allocate(self, size: int, *, kind: str = "device") -> int:
        """Return the address of ``size`` bytes, a multiple of 256."""
        room = -(-size // _GUARD) * _GUARD + _GUARD
        spare = self._free.get(room, [])
        if len(spare) > 8:
            at = spare.pop(0)
        else:
            at, self._end = self._end, self._end + room
            while self._end > len(self.bytes):
                self.bytes = np.concatenate([self.bytes, np.zeros_like(self.bytes)])
                self.live = np.concatenate([self.live, np.zeros_like(self.live)])
        self.live[at : at + size] = True
        self.bytes[at : at + size] = _DIRT
        self._sizes[at] = size
        bisect.insort(self._starts, at)
        return BASE + at

    def free(self, address: int) -> None:
        """Give an allocation back."""
        at = address - BASE
        if at not in self._sizes:
            raise EmulationError(f"{address:#x} was not allocated, or freed before")
        size = self._sizes.pop(at)
        del self._starts[bisect.bisect_left(self._starts, at)]
        self.live[at : at + size] = False
        self._free.setdefault(-(-size // _GUARD) * _GUARD + _GUARD, []).append(at)

    def view(self, address: int, size: int) -> Array:
        """Return bytes for the host; EmulationError outside what is allocated. Valid until the next allocation."""
        at = address - BASE
        if at < 0 or at + size > len(self.bytes) or not self.live[at : at + size].all():
            raise EmulationError(f"{size} bytes at {address:#x} are not allocated: {self.near(address)}")
        return self.bytes[at : at + size]

    def near(self, address: int) -> str:
        """Say which allocation an address is near to."""
        at = address - BASE
        place = bisect.bisect_right(self._starts, at) - 1
        if place < 0:
            return "before all memory"
        start = self._starts[place]
        return f"byte {at - start} of an allocation of {self._sizes[start]} bytes"

    def places(self, addresses: Array, nbytes: int) -> Array:
        """Return where in ``bytes`` lanes read or write ``nbytes``; EmulationError for a lane that may not."""
        at = (addresses - np.uint64(BASE)).astype(np.int64)
        inside = (at >= 0) & (at <= len(self.bytes) - nbytes)
        held = np.where(inside, at, 0)
        right = inside & self.live[held] & self.live[held + nbytes - 1]
        if not right.all():
            wrong = int(addresses[np.flatnonzero(~right)[0]])
            raise EmulationError(f"{nbytes} bytes at {wrong:#x}: {self.near(wrong)}")
        if (at % nbytes).any():
            wrong = int(addresses[np.flatnonzero(at % nbytes)[0]])
            raise EmulationError(f"{nbytes} bytes at {wrong:#x}, which is no multiple", _MISALIGNED)
        return at
