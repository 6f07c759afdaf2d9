"""How much memory and how many units there may be, and how much is taken.

Layer: runtime. Units, snapshots and mailboxes take their memory here. Invariant: a limit is an error before the
driver is asked; what is counted is given back when the last reference to the memory goes.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.errors import ArgumentError, DeviceError
from loom.core.process.forks import hold_over_forks
from loom.runtime.memory.storage import Storage

if TYPE_CHECKING:
    from loom.runtime.port.device import Device

__all__ = ["LEDGER", "Ledger", "max_units", "vram_budget"]


class Ledger:
    """What is taken, against what may be. ``spare`` frees memory kept for reuse, when there is need of it."""

    def __init__(self) -> None:
        self.nbytes = 0
        self.most_nbytes: int | None = None
        self.most_units: int | None = None
        self.spare: Callable[[], None] = lambda: None
        self._lock = hold_over_forks(threading.RLock())
        self._units: weakref.WeakSet[Any] = weakref.WeakSet()

    def allocate(self, device: Device, nbytes: int, where: str) -> Storage:
        """Return zeroed memory of a device, counted while it lives; DeviceError over the budget."""
        self._take(nbytes, where)
        try:
            storage = device.allocate(nbytes)
        except BaseException:
            self._give(nbytes)
            raise
        weakref.finalize(storage, self._give, nbytes).atexit = False
        return storage

    def _take(self, nbytes: int, where: str) -> None:
        if self._is_over(nbytes):
            self.spare()
        with self._lock:
            if self._is_over(nbytes):
                raise DeviceError(
                    where, "over the memory budget", expected=f"at most {self.most_nbytes} bytes in all",
                    got=f"{self.nbytes} held and {nbytes} more",
                    remedy="Shut units down, or raise the limit with loom.vram_budget",
                )  # fmt: skip
            self.nbytes += nbytes

    def _is_over(self, nbytes: int) -> bool:
        return self.most_nbytes is not None and self.nbytes + nbytes > self.most_nbytes

    def _give(self, nbytes: int) -> None:
        with self._lock:
            self.nbytes -= nbytes

    # units

    def admit(self, unit: Any) -> None:
        """Count a unit; DeviceError beyond the limit."""
        with self._lock:
            if self.most_units is not None and len(self._units) >= self.most_units:
                raise DeviceError(
                    f"boot of {unit.name!r}", "too many units", expected=f"at most {self.most_units} at once",
                    got=len(self._units) + 1, remedy="Shut units down, or raise the limit with loom.max_units",
                )  # fmt: skip
            self._units.add(unit)

    def dismiss(self, unit: Any) -> None:
        """Count a unit no longer."""
        with self._lock:
            self._units.discard(unit)

    def units(self) -> list[Any]:
        """Return the units alive, by name."""
        with self._lock:
            return sorted(self._units, key=lambda u: u.name)


LEDGER = Ledger()
"""The books of this process."""


def vram_budget(nbytes: int | None) -> None:
    """Set the most bytes that units, snapshots and mailboxes may hold together; None: no limit but the device's.

    Memory of released units counts, and is freed when it stands in the way. A limit below what is held now takes
    nothing away.

    Args:
        nbytes: Most bytes; None: no limit but the device's.

    Raises:
        ArgumentError: Not a number of bytes, at least 0.

    >>> import loom
    >>> loom.vram_budget(1 << 30)
    >>> loom.vram_budget(None)
    """
    LEDGER.most_nbytes = _limit(nbytes, "loom.vram_budget", "bytes")


def max_units(n: int | None) -> None:
    """Set the most units that may be alive at once; None: any number. Booting one more is a DeviceError.

    Args:
        n: Most units; None: any number.

    Raises:
        ArgumentError: Not a number of units, at least 0.

    >>> import loom
    >>> loom.max_units(64)
    >>> loom.max_units(None)
    """
    LEDGER.most_units = _limit(n, "loom.max_units", "units")


def _limit(value: int | None, where: str, of: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ArgumentError(
            where, "unusable limit", expected=f"a number of {of}, at least 0, or None", got=repr(value),
            remedy="Pass an int",
        )  # fmt: skip
    return int(value)
