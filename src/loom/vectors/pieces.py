"""What is captured at once: rows in memory, and the pieces of them that go into segments.

Layer: vectors. Invariant: a segment stays on the device while a piece of it is under way.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.runtime.memory.storage import Storage
from loom.vectors.segments import RowSegment

__all__ = ["GivenRows", "Piece", "neighbours"]


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Vectors to be captured: ``count`` rows of f32 in memory, from element ``begin`` on."""

    memory: Array | Storage
    count: int
    begin: int = 0


class Piece:
    """Rows of one capture in one segment, which stays on the device until they are kept."""

    def __init__(self, segment: RowSegment, first: int, count: int) -> None:
        self.segment, self.first, self.count = segment, first, count
        segment.pins += 1


def neighbours(chosen: Sequence[int]) -> list[tuple[int, int]]:
    """Return neighbouring numbers as (first, how many)."""
    runs: list[tuple[int, int]] = []
    for n in chosen:
        if runs and sum(runs[-1]) == n:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((n, 1))
    return runs
