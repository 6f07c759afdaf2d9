"""Copies of units' memory on their devices, in a line that can be walked back and forth.

Layer: support. The line is what every editor has: taking a snapshot after an undo drops those that were undone. When
the budget is full the oldest go. Invariant: a snapshot is of one moment for all its units, and restoring it gives
every bit back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.core.errors import ArgumentError, DeviceError, StateError, near_matches
from loom.core.late.dataclass import dataclass
from loom.runtime.memory.storage import Storage, copy_storage
from loom.runtime.port.budget import LEDGER
from loom.runtime.units.unit import Unit, turns

__all__ = ["Snapshots", "changing_memory", "require_name"]


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    name: str
    copies: tuple[tuple[Unit, dict[str, Storage]], ...]
    nbytes: int


def changing_memory(unit: Unit) -> dict[str, tuple[Storage, Any]]:
    """Return the memory that kernels may change: all bindings but the heap."""
    return {name: found for name, found in unit.memory().items() if name != "heap"}


def require_name(name: Any, where: str) -> str:
    """Return a name; ArgumentError for anything but a text that is not empty."""
    if not isinstance(name, str) or not name:
        raise ArgumentError(where, "not a name", expected="a str", got=repr(name), remedy="Name it")
    return name


class Snapshots:
    """The line of snapshots; its methods are called by one thread, the I/O thread."""

    def __init__(self, most_nbytes: int) -> None:
        self.most_nbytes = most_nbytes
        self._line: list[_Snapshot] = []
        self._at = -1

    @property
    def names(self) -> list[str]:
        """The names kept, oldest first."""
        return [s.name for s in list(self._line)]

    @property
    def nbytes(self) -> int:
        """Bytes they take."""
        return sum(s.nbytes for s in list(self._line))

    def take(self, name: str, units: Mapping[str, Unit]) -> None:
        """Copy the units' memory to the end of the line; DeviceError if that alone is over the budget."""
        sources = [(unit, changing_memory(unit)) for unit in units.values()]
        nbytes = sum(storage.nbytes for _, memory in sources for storage, _ in memory.values())
        if nbytes > self.most_nbytes:
            raise DeviceError(
                f"support.snapshot {name!r}", "larger than all snapshots may be",
                expected=f"at most {self.most_nbytes} bytes", got=nbytes,
                remedy="Raise snapshot_nbytes, or name fewer units",
            )  # fmt: skip
        self._make_room(name, nbytes)
        copies: list[tuple[Unit, dict[str, Storage]]] = []
        with turns(units.values(), "snapshot"):
            for unit, memory in sources:
                kept: dict[str, Storage] = {}
                for binding, (storage, _) in memory.items():
                    kept[binding] = LEDGER.allocate(unit.device, storage.nbytes, f"support.snapshot {name!r}")
                    copy_storage(storage, 0, kept[binding], 0, storage.nbytes)
                copies.append((unit, kept))
        self._line.append(_Snapshot(name, tuple(copies), nbytes))
        self._at = len(self._line) - 1

    def _make_room(self, name: str, nbytes: int) -> None:
        """Drop what was undone, what had the name, and the oldest while there is no room."""
        self._line = [s for s in self._line[: self._at + 1] if s.name != name]
        while self.nbytes + nbytes > self.most_nbytes:
            self._line.pop(0)
        self._at = len(self._line) - 1

    def restore(self, name: str) -> None:
        """Give the units back the memory they had; ArgumentError for a name that is not kept."""
        names = self.names
        if name not in names:
            raise ArgumentError(
                "support.restore", f"no snapshot is called {name!r}",
                remedy=near_matches(name, names) if names else "Take one first: support.snapshot(name)",
            )  # fmt: skip
        self._go(names.index(name))

    def step(self, by: int, verb: str) -> str:
        """Go ``by`` along the line and restore what is there; return its name. StateError at its end."""
        if not 0 <= self._at + by < len(self._line):
            raise StateError(
                f"support.{verb}", f"nothing to {verb}",
                expected="a snapshot before" if by < 0 else "one that was undone",
                got=f"{self._at + 1} of {len(self._line)}",
                remedy="Take snapshots with support.snapshot(name)",
            )  # fmt: skip
        self._go(self._at + by)
        return self._line[self._at].name

    def _go(self, place: int) -> None:
        copies = self._line[place].copies
        targets = [changing_memory(unit) for unit, _ in copies]
        with turns([unit for unit, _ in copies], "restore"):
            for (_, kept), memory in zip(copies, targets, strict=True):
                for binding, saved in kept.items():
                    copy_storage(saved, 0, memory[binding][0], 0, saved.nbytes)
        self._at = place

    def clear(self) -> None:
        """Drop all."""
        self._line, self._at = [], -1
