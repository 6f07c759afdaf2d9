"""Ends a dispatch of which only so much is to be run.

Layer: ir. What counts is lanes and statements, never time; the groups that are run come from all over the dispatch,
since those that meet may be far apart. Invariant: the same dispatch ends at the same statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from loom.ir.interp.batch import Batch
from loom.ir.interp.masks import Mask
from loom.ir.kernel import Instr, Statement

__all__ = ["EndOfWork", "WorkLimit", "spread_out"]

_LEAST = 256
"""Lanes that a statement counts for at least: what it takes to run it for few."""
_ACCESS = 8
"""What an access to memory counts for: it is looked at, and memory is slow."""


def spread_out(count: int) -> Iterator[int]:
    """Yield the numbers below ``count``: 0, the last, one half, the quarters, and so on between these."""
    bits, seen = count.bit_length(), set[int]()
    halves = (int(f"{turn:0{bits}b}"[::-1], 2) * count >> bits for turn in range(1 << bits))
    for number in chain((0, count - 1), halves) if count else ():
        if number not in seen:
            seen.add(number)
            yield number


class EndOfWork(BaseException):
    """Ends a dispatch that has run as much as it may."""


class WorkLimit:
    """A tracer that counts statements by their lanes."""

    def __init__(self, most: int) -> None:
        self._left = most

    def before(self, batch: Batch, statement: Statement, mask: Mask) -> None:
        """Count; EndOfWork where nothing is left."""
        del batch
        is_access = isinstance(statement, Instr) and statement.memory is not None
        self._left -= max(mask.count, _LEAST) * (_ACCESS if is_access else 1)
        if self._left < 0:
            raise EndOfWork
