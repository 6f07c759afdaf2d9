"""Operands that are views of memory, told by two tables.

Layer: schedules. Invariant: a table says where elements lie, nothing of how they are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass

__all__ = ["OperandView"]


@dataclass(frozen=True, slots=True, eq=False)
class OperandView:
    """Element (i, k) of an operand is ``buffer[places[i] + depths[k]]``: rows of the left, columns of the right one."""

    buffer: Any
    places: np.ndarray[Any, Any]
    depths: np.ndarray[Any, Any]

    @classmethod
    def of_strides(cls, buffer: Any, counts: tuple[int, int], strides: tuple[int, int], offset: int = 0) -> OperandView:
        """Return the view of elements that lie evenly along both."""
        places, depths = (np.arange(n, dtype=np.int64) * s for n, s in zip(counts, strides, strict=True))
        return cls(buffer, offset + places, depths)

    def matrix(self) -> tuple[bool, int] | None:
        """Return how a matrix at the beginning of the buffer lies: whether k are neighbours, and the other distance.

        None for what is no such matrix.
        """
        if self.places[0] or self.depths[0]:
            return None
        along, down = _step(self.depths), _step(self.places)
        if along is None or down is None:
            return None
        if along <= 1:
            return True, down or len(self.depths)
        return (False, along) if down <= 1 else None


def _step(at: np.ndarray[Any, Any]) -> int | None:
    """Return the distance of neighbours, 0 of a single one; None if they differ, or go back."""
    if len(at) == 1:
        return 0
    steps = np.diff(at)
    return int(steps[0]) if steps[0] > 0 and (steps == steps[0]).all() else None
