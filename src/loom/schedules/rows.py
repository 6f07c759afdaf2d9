"""Which folds of rows run in one kernel with what is made of the rows, and how that kernel is cut.

Layer: schedules. Where lanes are threads and rows are many, 64 lanes take a row. Invariant: shapes and ``Caps`` choose,
and every choice gives the same bits.
"""

from __future__ import annotations

import math
from functools import lru_cache

from loom.core.caps import Caps
from loom.core.dtype import f32, f64
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.verified import VerifiedKernel
from loom.kernels.maps.nest import JOINS, LoopNest, RowCut
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding
from loom.schedules.maps import THREADS, Strided, lanes_of, numberless

__all__ = ["plan_rows", "takes_rows"]

_ROWS = 4
"""Rows of a group, where that divides them."""
_HELD = 8
"""Elements of a lane that are kept in registers."""
_TOGETHER = 4
"""Of longer rows so many are read before the first of them is used: memory is waited for once."""
_LEAST_ROWS = 4
"""Rows for each multiprocessor from which a group has enough beside it to hide its waiting."""


def takes_rows(caps: Caps, shape: Rows, folding: Folding) -> bool:
    """Tell whether a fold may run in one kernel with what makes its elements, and with what is made of it."""
    is_plain = folding.element == folding.accumulator == folding.result and folding.element in (f32, f64)
    is_cut = shape.inner == 1 and REDUCE_LANES <= shape.n <= REDUCE_TILE and shape.n % REDUCE_LANES == 0
    is_many = lanes_of(caps) == THREADS and shape.outer >= _LEAST_ROWS * caps.workers
    return is_plain and is_cut and is_many and folding.name in JOINS


def plan_rows(nest: LoopNest, caps: Caps) -> Strided:
    """Return what does a nest with folds of its last axis."""
    rows, turns = math.prod(nest.shape[:-1]), nest.shape[-1] // REDUCE_LANES
    nest, numbers = numberless(nest)
    together = 1 if caps.short else math.gcd(turns, _TOGETHER)
    cut = RowCut(math.gcd(rows, _ROWS), together, turns <= (1 if caps.short else _HELD))
    return Strided(_kernel(nest, cut), (rows, *(n.value for n in numbers)), (rows // cut.rows, 1), numbers)


@lru_cache(maxsize=1024)
def _kernel(nest: LoopNest, cut: RowCut) -> VerifiedKernel:
    from loom.kernels.maps.rows import write_rows  # which translates

    return write_rows(nest, cut)
