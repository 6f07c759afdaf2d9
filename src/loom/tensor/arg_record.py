"""Records the index of the largest or smallest element of rows: tiles, then tiles of their results.

Layer: tensor. Invariant: of equal elements the first is found, of NaNs the first as well, whichever kernel looks.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, u32
from loom.kernels.arg_reduce import ARG_TILE, arg_columns, arg_rows, arg_rows_again
from loom.kernels.fold_record import SHORT_ROW, Rows
from loom.tensor.draft import Draft

__all__ = ["record_arg"]

_ARG_LANES = 64


def record_arg(draft: Draft, source: Any, shape: Rows, element: DType, largest: bool, out: Any) -> None:
    """Record the index along n of the largest (or smallest) element of each row into ``out``, u32."""
    if shape.inner != 1 or (shape.outer != 1 and shape.n <= SHORT_ROW):
        short_rows = shape.inner == 1
        outer, inner = (1, shape.outer) if short_rows else (shape.outer, shape.inner)
        kernel = arg_columns(element, largest=largest, short_rows=short_rows)
        draft.dispatch(kernel, [source, out], [shape.n, inner], outer * -(-inner // _ARG_LANES))
        return
    rows, count = shape.outer, -(-shape.n // ARG_TILE)
    at = out if count == 1 else draft.device.allocate(rows * count * u32.nbytes)
    draft.dispatch(arg_rows(element, largest=largest), [source, at], [shape.n, count], rows * count)
    while count > 1:
        tiles = -(-count // ARG_TILE)
        target = out if tiles == 1 else draft.device.allocate(rows * tiles * u32.nbytes)
        again = arg_rows_again(element, largest=largest)
        draft.dispatch(again, [source, at, target], [shape.n, count, tiles], rows * tiles)
        at, count = target, tiles
