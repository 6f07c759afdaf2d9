"""Records where the smallest or largest element of rows is: tiles, then tiles of their results.

Layer: schedules. Patterns and tensors record through ``record_arg``. Invariant: of equal elements the first is found,
of NaNs the first as well, whichever kernel looks.
"""

from __future__ import annotations

from loom.core.dtype import DType, u32
from loom.kernels.fold.arg import ARG_TILE, arg_columns, arg_rows, arg_rows_again
from loom.schedules.axis import Rows
from loom.schedules.fold import SHORT_ROW
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["record_arg"]

_LANES = 64


def record_arg(
    chain: Recorder, source: StorageLike, shape: Rows, element: DType, out: StorageLike, *, largest: bool
) -> None:
    """Record the index along n of the smallest (or largest) element of each row into ``out``, u32.

    There are elements and results.
    """
    if shape.inner != 1 or (shape.outer != 1 and shape.n <= SHORT_ROW):
        short_rows = shape.inner == 1
        outer, inner = (1, shape.outer) if short_rows else (shape.outer, shape.inner)
        kernel = arg_columns(element, largest=largest, short_rows=short_rows)
        chain.dispatch(kernel, [source, out], [shape.n, inner], groups=outer * -(-inner // _LANES))
        return
    rows, count = shape.outer, -(-shape.n // ARG_TILE)
    at = out if count == 1 else chain.device.allocate(rows * count * u32.nbytes)
    chain.dispatch(arg_rows(element, largest=largest), [source, at], [shape.n, count], groups=rows * count)
    while count > 1:
        tiles = -(-count // ARG_TILE)
        target = out if tiles == 1 else chain.device.allocate(rows * tiles * u32.nbytes)
        again = arg_rows_again(element, largest=largest)
        chain.dispatch(again, [source, at, target], [shape.n, count, tiles], groups=rows * tiles)
        at, count = target, tiles
