"""Records systems and QR factors of small matrices, a lane each.

Layer: schedules. Invariant: the bits are those of ``schedules.linalg.elimination``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType
from loom.kernels.linalg.small import SMALL, SMALL_LANES, reflect_small, solve_small
from loom.schedules.linalg.spectral import side_by_side
from loom.schedules.recorder import Recorder

__all__ = ["is_small", "record_small_factors", "record_small_solution"]


def is_small(*sizes: int) -> bool:
    """Tell whether a lane takes a matrix of these sizes."""
    return max(sizes) <= SMALL


def record_small_solution(
    chain: Recorder, a: Any, b: Any, out: Any, element: DType, batch: int, n: int, m: int
) -> None:
    """Record the solutions of n by n systems of m columns: for each n m elements, then 0 or the column that failed."""
    x, y, found = (chain.device.allocate(batch * size * element.nbytes) for size in (n * n, n * m, n * m + 1))
    side_by_side(chain, element, a, x, batch, n * n)
    side_by_side(chain, element, b, y, batch, n * m)
    chain.dispatch(solve_small(element), [x, y, found], [n, m, batch], groups=-(-batch // SMALL_LANES))
    side_by_side(chain, element, found, out, n * m + 1, batch)


def record_small_factors(
    chain: Recorder, source: Any, out: Any, element: DType, batch: int, m: int, n: int, columns: int
) -> None:
    """Record the QR factors of m by n matrices: for each m ``columns`` elements of Q, then ``columns`` n of R."""
    total = m * columns + columns * n
    sizes = m * n, min(m, n), m * columns, total
    x, factors, q, found = (chain.device.allocate(batch * size * element.nbytes) for size in sizes)
    side_by_side(chain, element, source, x, batch, m * n)
    params = [m, n, columns, batch]
    chain.dispatch(reflect_small(element), [x, factors, q, found], params, groups=-(-batch // SMALL_LANES))
    side_by_side(chain, element, found, out, total, batch)
