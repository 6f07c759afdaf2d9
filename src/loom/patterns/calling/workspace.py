"""Memory lent to a call while it runs: what a pattern needs besides its inputs and outputs.

Layer: patterns. A program kept for later would hold its own temporary memory as long; one that needs much
borrows it here, through ``HostSlot``s. A device with memory of its own keeps what is given back itself. Invariant: two
calls never hold the same memory.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np

from loom.core.dtype import u8
from loom.core.errors import DeviceError
from loom.core.process.forks import hold_over_forks
from loom.patterns.calling.call import Operand
from loom.patterns.calling.prepared import shares_memory
from loom.runtime.port.device import Device

__all__ = ["workspace"]

_ALIGNMENT = 64
_MOST_KEPT = 2
_LARGEST_KEPT = 256 << 20
"""A larger block goes back to the system at once: clearing new pages costs less than what is done with them."""

_free: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
_lock = hold_over_forks(threading.Lock())


@contextmanager
def workspace(sizes: Sequence[int], where: Device | None = None) -> Generator[list[Operand]]:
    """Lend memory of the given sizes in bytes, with any contents, until the ``with`` block ends.

    ``where``: the device that is to use it; None is one that uses host memory in place.
    """
    if where is not None and not shares_memory(where):
        yield [Operand.stored(where.allocate(n, zeroed=False), u8, (n,), u8.numpy) for n in sizes]
        return
    starts = np.cumsum([0, *(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)]).tolist()
    block = _take(starts[-1] + _ALIGNMENT)
    first = -block.ctypes.data % _ALIGNMENT
    try:
        yield [Operand(block[first + a : first + a + n], u8) for a, n in zip(starts, sizes, strict=False)]
    finally:
        _give_back(block)


def _take(nbytes: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    with _lock:
        for n, block in enumerate(_free):  # the smallest first
            if block.nbytes >= nbytes:
                return _free.pop(n)
    try:
        return np.empty(nbytes, np.uint8)
    except MemoryError:
        raise DeviceError(
            "workspace", "out of memory", got=f"{nbytes} bytes", remedy="Process the data in parts"
        ) from None


def _give_back(block: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    if block.nbytes > _LARGEST_KEPT:
        return
    with _lock:
        _free.append(block)
        _free.sort(key=lambda kept: kept.nbytes)
        del _free[:-_MOST_KEPT]
