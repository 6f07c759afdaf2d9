"""Transpose through tiles of shared memory, as every GPU course shows it."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, f32, u32

ROWS, COLUMNS = 2000, 1504
TILE = 16


@loom.kernel(workgroup=(16, 16))
def first(x: In[f32], y: Out[f32], rows: u32, columns: u32):
    tile = loom.shared(f32, 16 * 17)
    i = loom.local_id(0)
    j = loom.local_id(1)
    column = loom.group_id(0) * 16 + i
    row = loom.group_id(1) * 16 + j
    if row < rows and column < columns:
        tile[j * 17 + i] = x[row * columns + column]
    loom.barrier()
    column = loom.group_id(1) * 16 + i
    row = loom.group_id(0) * 16 + j
    if row < columns and column < rows:
        y[row * rows + column] = tile[i * 17 + j]


C = """
#include <stdint.h>
void run(const float *restrict x, float *restrict y, int64_t rows, int64_t columns) {
  #pragma omp parallel for
  for (int64_t r0 = 0; r0 < rows; r0 += 16)
    for (int64_t c0 = 0; c0 < columns; c0 += 16)
      for (int64_t r = r0; r < (r0 + 16 < rows ? r0 + 16 : rows); r++)
        for (int64_t c = c0; c < (c0 + 16 < columns ? c0 + 16 : columns); c++)
          y[c * rows + r] = x[r * columns + c];
}
"""


def _numba() -> Any:
    from numba import njit, prange

    @njit(parallel=True)
    def run(x, y, rows, columns):
        for tile in prange((rows + 15) // 16):
            r0 = tile * 16
            for c0 in range(0, columns, 16):
                for r in range(r0, min(r0 + 16, rows)):
                    for c in range(c0, min(c0 + 16, columns)):
                        y[c * rows + r] = x[r * columns + c]

    return run


def work() -> Work:
    """Return the program."""
    made = Work("transpose")
    x = np.random.default_rng(5).random(ROWS * COLUMNS, np.float32)
    outs = [np.zeros_like(x) for _ in range(3)]
    made.loom("first", outs[0], (first, [x, outs[0]], [ROWS, COLUMNS], (COLUMNS // TILE, ROWS // TILE)))
    made.numba(_numba, [x, outs[1], ROWS, COLUMNS], outs[1])
    made.c(C, [x, outs[2], ROWS, COLUMNS], outs[2])
    return made
