"""Levenshtein distance along diagonals: thousands of short dispatches that follow each other."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, InOut, u8, u32

LENGTH = 3000


@loom.kernel(workgroup=64)
def first(a: In[u8], b: In[u8], before: In[u32], last: In[u32], now: InOut[u32], d: u32, low: u32, n: u32):
    """Cell i of diagonal d is distance (i, d - i); diagonals are kept by i."""
    i = loom.global_id() + low
    if i <= d and i < n:
        j = d - i
        if i == 0 or j == 0:
            now[i] = d
        else:
            change = before[i - 1] + u32(a[i - 1] != b[j - 1])
            now[i] = min(change, min(last[i - 1], last[i]) + 1)


C = """
#include <stdint.h>
void run(const uint8_t *a, const uint8_t *b, uint32_t *x, uint32_t *y, uint32_t *z, int64_t n) {
  #pragma omp parallel
  {
    uint32_t *before = x, *last = y, *now = z, *t;
    for (int64_t d = 0; d < 2 * n - 1; d++) {
      int64_t low = d < n ? 0 : d - n + 1, high = d < n ? d : n - 1;
      #pragma omp for
      for (int64_t i = low; i <= high; i++) {
        int64_t j = d - i;
        if (i == 0 || j == 0)
          now[i] = d;
        else {
          uint32_t change = before[i - 1] + (a[i - 1] != b[j - 1]);
          uint32_t step = (last[i - 1] < last[i] ? last[i - 1] : last[i]) + 1;
          now[i] = change < step ? change : step;
        }
      }
      t = before; before = last; last = now; now = t;
    }
  }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    @njit(parallel=True)
    def run(a, b, x, y, z, n):
        before, last, now = x, y, z
        for d in range(2 * n - 1):
            low = max(0, d - n + 1)
            for i in prange(low, min(d, n - 1) + 1):
                j = d - i
                if i == 0 or j == 0:
                    now[i] = d
                else:
                    change = before[i - 1] + (a[i - 1] != b[j - 1])
                    now[i] = min(change, min(last[i - 1], last[i]) + 1)
            before, last, now = last, now, before

    return run


def work() -> Work:
    """Return the program."""
    made = Work("levenshtein")
    rng = np.random.default_rng(8)
    a, b = (rng.integers(0, 4, LENGTH).astype(np.uint8) for _ in range(2))
    n = LENGTH + 1
    diagonals = [[np.zeros(n, np.uint32) for _ in range(3)] for _ in range(3)]
    mine, dispatches = diagonals[0], []
    for d in range(2 * n - 1):
        low, high = max(0, d - n + 1), min(d, n - 1)
        x, y, z = (mine[(d + k) % 3] for k in range(3))
        dispatches.append((first, [a, b, x, y, z], [d, low, n], (high - low) // 64 + 1))
    at = (2 * n - 2) % 3 + 2
    for side in diagonals:
        side.append(side[at % 3])
    made.loom("first", lambda: mine[3][n - 1 :], *dispatches)
    made.kernels["first"] = [first]
    made.numba(_numba, [a, b, *diagonals[1][:3], n], diagonals[1][3][n - 1 :])
    made.c(C, [a, b, *diagonals[2][:3], n], diagonals[2][3][n - 1 :])
    return made
