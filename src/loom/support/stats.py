"""What is alive: units, bytes, runs under way, memory kept.

Layer: support. Invariant: asking changes nothing and waits for nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.runtime.chain.kept import program_cache
from loom.runtime.port.budget import LEDGER
from loom.support.parking import POOL

__all__ = ["Stats", "UnitStats", "stats"]


@dataclass(frozen=True, slots=True)
class UnitStats:
    """A unit: bytes it holds, dispatches recorded and not built, runs under way."""

    name: str
    device: str
    nbytes: int
    recorded: int
    in_flight: int
    parked: bool


@dataclass(frozen=True, slots=True)
class Stats:
    """``nbytes`` counts units, snapshots, mailboxes and what is kept for ``spawn`` (``pooled``, ``pooled_nbytes``).

    ``kept``: programs of patterns and tensors kept for the next call, ``kept_nbytes``: memory they have for themselves,
    at most 256 MiB.
    """

    units: tuple[UnitStats, ...]
    nbytes: int
    budget_nbytes: int | None
    most_units: int | None
    pooled: int
    pooled_nbytes: int
    kept: int
    kept_nbytes: int

    @property
    def in_flight(self) -> int:
        """Runs under way, of all units."""
        return sum(u.in_flight for u in self.units)

    @property
    def parked(self) -> int:
        """Units parked."""
        return sum(u.parked for u in self.units)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "in_flight": self.in_flight, "parked": self.parked}


def stats() -> Stats:
    """Return what is alive now.

    >>> import loom
    >>> with loom.boot(registers=256, name="work"):
    ...     [u.nbytes for u in loom.stats().units if u.name == "work"]
    [1024]
    """
    units = [
        UnitStats(u.name, u.device.name, u.nbytes, u.recorded, u.in_flight, u.is_parked)
        for u in LEDGER.units()
        if u.is_open
    ]
    programs = program_cache()
    return Stats(
        tuple(units), LEDGER.nbytes, LEDGER.most_nbytes, LEDGER.most_units, len(POOL), POOL.nbytes, len(programs),
        programs.nbytes,
    )  # fmt: skip
