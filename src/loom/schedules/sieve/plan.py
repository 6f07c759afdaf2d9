"""Chooses how primes are counted and listed.

Layer: schedules. Invariant: the primes are the same, whichever way is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loom.core.caps import Caps
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sieve.classes import Classes, segment_words
from loom.schedules.sieve.stretches import Stretches

__all__ = ["Sieve", "plan_list", "plan_sieve"]

_FEW_NUMBERS = 10_000_000
"""So many are sieved by classes on CPUs as well, since less is prepared: measured 0.14 to 1.0 of the time, of more
numbers up to 1.8."""
_NUMBERS_PER_LIST = 1 << 28
"""Numbers listed at a time by classes: their primes take at most 117 MB."""


class Sieve(Protocol):
    """A recorded search for the primes above 5 from ``lo`` up to but not including ``hi`` (at most 10^12)."""

    @property
    def lo(self) -> int:
        """The first number."""
        ...

    @property
    def hi(self) -> int:
        """The number after the last."""
        ...

    @property
    def groups(self) -> int:
        """Groups that list what is left."""
        ...

    def record_count(self, chain: Recorder, out: StorageLike) -> None:
        """Record how many there are, a u64."""
        ...

    def record_marks(self, chain: Recorder, starts: StorageLike) -> StorageLike:
        """Record which numbers they are; ``groups`` + 1 u32 tell where each group's begin in the list, and its end."""
        ...

    def record_list(self, chain: Recorder, bits: StorageLike, starts: StorageLike, out: StorageLike) -> None:
        """Record their list from the marks: u64, ascending, with numbers beside the range at both ends."""
        ...


def plan_sieve(lo: int, hi: int, caps: Caps) -> Sieve:
    """Return how the primes of a range are found on a device."""
    if caps.threads or hi - lo <= _FEW_NUMBERS:
        return Classes(lo, hi, segment_words(caps))
    return Stretches.of(lo, hi, caps)


def plan_list(lo: int, hi: int, caps: Caps) -> Sequence[Sieve]:
    """Return the same in parts, whose lists follow each other, of at most ``MOST_LISTED`` numbers."""
    whole = plan_sieve(lo, hi, caps)
    if isinstance(whole, Stretches):
        return [whole.for_list()]
    starts = range(lo, hi, _NUMBERS_PER_LIST)
    return [Classes(at, min(at + _NUMBERS_PER_LIST, hi), segment_words(caps)) for at in starts]
