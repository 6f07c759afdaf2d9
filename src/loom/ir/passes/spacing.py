"""Numbers of groups for which lanes of different groups are at other elements.

Layer: ir. ``laneorder`` finds where the lanes of a kernel are; a dispatch asks with its groups. Invariant: what is said
to be apart is, also where indexes come around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["WORD", "Apart", "Spacing"]

WORD = 1 << 32
"""Indexes are told apart in their lowest 32 bits."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """Where lanes are: along each dimension ``sizes`` places of a group, ``steps`` elements from a place to the next.

    None where only one group gets there; beside that lanes are at most ``spread`` elements from each other.
    """

    steps: tuple[int | None, ...]
    sizes: tuple[int, ...]
    spread: int

    def holds(self, groups: Sequence[int]) -> bool:
        """Tell whether different places are different elements, for numbers of groups along each dimension."""
        reach = self.spread
        counts = [n * size for n, size in zip(groups, self.sizes, strict=True)]
        known = [(abs(step), n) for step, n in zip(self.steps, counts, strict=True) if step is not None]
        for step, count in sorted(known):
            if count > 1 and step <= reach:
                return False
            reach += step * max(count - 1, 0)
        return reach < WORD


@dataclass(frozen=True, slots=True)
class Apart:
    """Groups are at other elements of ``memory`` if one of ``ways`` to place them says so; else ``what`` is wrong."""

    memory: str
    ways: tuple[Spacing, ...]
    what: str
    remedy: str

    def holds(self, groups: Sequence[int]) -> bool:
        """Tell whether no two lanes of different groups meet, for numbers of groups along each dimension."""
        return any(way.holds(groups) for way in self.ways)
