"""How an array is seen along an axis: rows of n elements.

Layer: schedules. Invariant: ``outer * n * inner`` is the number of elements, in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from loom.core.late.dataclass import dataclass

__all__ = ["Rows", "rows_along"]


@dataclass(frozen=True, slots=True)
class Rows:
    """An array as (outer, n, inner), row-major, n being the axis: there are ``outer * inner`` rows of n elements."""

    outer: int
    n: int
    inner: int = 1

    @property
    def results(self) -> int:
        """Number of rows along the axis."""
        return self.outer * self.inner

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.outer * self.n * self.inner


def rows_along(shape: Sequence[int], first: int, last: int) -> Rows:
    """Return the rows of an array along the axes from ``first`` up to but not including ``last``, seen as one."""
    return Rows(math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:]))
