"""Units set aside, and memory of released units kept for the next ones.

Layer: support. ``park`` puts a unit to sleep with all it holds, ``unpark`` wakes it. ``spawn`` boots from memory
that ``release`` or ``warm`` left, which saves the driver's allocation. Invariant: a spawned unit is zeroed and new;
whoever kept a reference to the released one gets StateErrors.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.runtime.memory.storage import Storage, clear_storage
from loom.runtime.port.budget import LEDGER
from loom.runtime.port.device import Device
from loom.runtime.port.values import as_count
from loom.runtime.registry import device as chosen_device
from loom.runtime.registry import one_device
from loom.runtime.units.unit import Unit

__all__ = ["POOL", "ReleasedMemory", "park", "release", "spawn", "unpark", "warm"]

_WORD_NBYTES = 4
Key = tuple[int, int, int]
"""Device (its id), registers, globals."""

_MOST_WARM = 16_384
"""Units that ``warm`` makes in one call."""


class ReleasedMemory:
    """Memory of released units, by device and size. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: defaultdict[Key, list[dict[str, Storage]]] = defaultdict(list)
        self._devices: dict[int, Device] = {}

    def take(self, on: Device, registers: int, globals_: int) -> dict[str, Storage] | None:
        """Return kept memory of that size, None if there is none."""
        with self._lock:
            found = self._kept.get((id(on), registers, globals_))
            return found.pop() if found else None

    def keep(self, on: Device, memory: dict[str, Storage]) -> None:
        """Keep memory for the next unit of its size."""
        registers, globals_ = (memory[name].nbytes // _WORD_NBYTES for name in ("registers", "globals"))
        with self._lock:
            self._devices[id(on)] = on  # so that its id stays its own
            self._kept[id(on), registers, globals_].append(memory)

    def clear(self) -> None:
        """Free all of it."""
        with self._lock:
            self._kept.clear()
            self._devices.clear()

    def __len__(self) -> int:
        """Return for how many units there is memory."""
        with self._lock:
            return sum(map(len, self._kept.values()))

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        with self._lock:
            return sum(s.nbytes for group in self._kept.values() for m in group for s in m.values())


POOL = ReleasedMemory()
"""The pool of this process."""
LEDGER.spare = POOL.clear


def park(unit: Unit) -> None:
    """Put a unit to sleep, after its last run: it keeps memory and recording, and takes no call until ``unpark``.

    Args:
        unit: Unit, of ``loom.boot`` or ``loom.spawn``.

    Raises:
        DTypeError: Not a unit.
        StateError: The unit is parked already, or shut down.
    """
    _require_unit(unit, "loom.park")
    with unit.turn("park"):
        unit.is_parked = True


def unpark(unit: Unit) -> Unit:
    """Wake a parked unit, as it was; return it. StateError if it is not parked.

    Args:
        unit: Unit, of ``loom.boot`` or ``loom.spawn``.

    Returns:
        The unit.

    Raises:
        DTypeError: Not a unit.
        StateError: The unit is not parked.

    >>> import loom
    >>> unit = loom.boot(registers=1)
    >>> unit.write([7], binding="registers")
    >>> loom.park(unit)
    >>> loom.unpark(unit).read().tolist()
    [7]
    """
    if not _require_unit(unit, "loom.unpark").is_parked:
        raise StateError(
            "loom.unpark", f"unit {unit.name!r} is not parked", expected="a parked unit", got=repr(unit),
            remedy="Boot or spawn one if it is shut down",
        )  # fmt: skip
    unit.is_parked = False
    return unit


def spawn(
    registers: int,
    globals: int = 0,  # noqa: A002 - a word of loom.flow
    heap: Any = None,
    bindings: Any = (),
    device: str | Device | None = None,
    name: str | None = None,
    *,
    on: str | Device | None = None,
) -> Unit:
    """Return a unit as ``loom.boot`` does, zeroed, from the memory of a released one if there is one of that size.

    Args:
        registers: Number of 32-bit words, zeroed.
        globals: Number of 32-bit words beside them.
        heap: Array that kernels only read; None: none.
        bindings: Typed buffers, as of ``loom.boot``.
        device: Device, or its name; None: the default device.
        name: Name, for errors and ``loom monitor``; None: "unit" and a number.
        on: The same as ``device``; one of the two is named.

    Raises:
        ArgumentError: A size below 0 or no whole number; an unusable binding; ``device`` and ``on`` differ.
        DTypeError: Not a device; the name is no text; a heap or a binding of no numbers.
        DeviceError: There is no such device; more units or bytes than ``max_units`` and ``vram_budget`` allow, or than
            there is room for.
    """
    home = chosen_device(one_device(device, on, "loom.spawn"))
    sizes = (
        as_count(registers, "loom.spawn", "registers", "a number of 32-bit words, at least 0"),
        as_count(globals, "loom.spawn", "globals", "a number of 32-bit words, at least 0"),
    )
    memory = POOL.take(home, *sizes)
    for storage in (memory or {}).values():
        clear_storage(storage)
    return Unit(*sizes, heap, bindings, home, name, memory)


def release(unit: Unit) -> None:
    """Shut a unit down, after its last run, and keep its registers and globals for ``spawn``.

    What it holds beside them is freed. The memory counts in the budget, and goes when the budget needs it.

    Args:
        unit: Unit, of ``loom.boot`` or ``loom.spawn``.

    Raises:
        DTypeError: Not a unit.
        StateError: The unit is parked, or shut down.
    """
    memory = _require_unit(unit, "loom.release").memory()
    on = unit.device
    unit.shutdown()
    POOL.keep(on, {name: memory[name][0] for name in ("registers", "globals")})


def warm(
    count: int,
    registers: int,
    globals: int = 0,  # noqa: A002 - a word of loom.flow
    *,
    device: str | Device | None = None,
    on: str | Device | None = None,
) -> None:
    """Keep memory ready for ``count`` units of one size, counting what is kept already.

    Args:
        count: Units of this size to have memory for, at most 16384.
        registers: Number of 32-bit words, zeroed.
        globals: Number of 32-bit words beside them.
        device: Device, or its name; None: the default device.
        on: The same as ``device``; one of the two is named.

    Raises:
        ArgumentError: A number below 0 or no whole number; too many units; ``device`` and ``on`` differ.
        DTypeError: Not a device.
        DeviceError: There is no such device; more units or bytes than ``max_units`` and ``vram_budget`` allow, or than
            there is room for.

    >>> import loom
    >>> loom.warm(2, registers=64)
    >>> unit = loom.spawn(registers=64)
    """
    wanted = as_count(count, "loom.warm", "count", "a number of units, at least 0")
    if wanted > _MOST_WARM:
        raise ArgumentError("loom.warm, count", "too many units", expected=f"at most {_MOST_WARM}", got=wanted,
                            remedy="Boot one with more registers, and let its lanes share them")  # fmt: skip
    ready: list[Unit] = []
    while len(ready) < wanted:
        ready.append(spawn(registers, globals, device=device, on=on, name=f"warm {len(ready)}"))
    for unit in ready:
        release(unit)


def _require_unit(unit: Any, where: str) -> Unit:
    if not isinstance(unit, Unit):
        raise DTypeError(
            where, "not a unit", expected="what loom.boot or loom.spawn returned", got=type(unit).__name__,
            remedy="Write unit = loom.spawn(registers)",
        )  # fmt: skip
    return unit
