"""Game of Life on a torus: neighbours by a conditional, or by a remainder."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, u32

WIDTH, HEIGHT = 2048, 1024


@loom.kernel(workgroup=(16, 16))
def first(old: In[u32], new: Out[u32], w: u32, h: u32):
    x = loom.global_id(0)
    y = loom.global_id(1)
    if x < w and y < h:
        left = x - 1 if x > 0 else w - 1
        right = x + 1 if x < w - 1 else u32(0)
        up = y - 1 if y > 0 else h - 1
        down = y + 1 if y < h - 1 else u32(0)
        n = old[up * w + left] + old[up * w + x] + old[up * w + right]
        n += old[y * w + left] + old[y * w + right]
        n += old[down * w + left] + old[down * w + x] + old[down * w + right]
        alive = old[y * w + x]
        new[y * w + x] = u32(n == 3 or (n == 2 and alive == 1))


@loom.kernel(workgroup=(16, 16))
def remainder(old: In[u32], new: Out[u32], w: u32, h: u32):
    x = loom.global_id(0)
    y = loom.global_id(1)
    if x < w and y < h:
        n = u32(0)
        for dy in loom.static_range(3):
            for dx in loom.static_range(3):
                if dx != 1 or dy != 1:
                    n += old[(y + h + dy - 1) % h * w + (x + w + dx - 1) % w]
        alive = old[y * w + x]
        new[y * w + x] = u32(n == 3 or (n == 2 and alive == 1))


@loom.kernel(workgroup=(16, 16))
def tuned(old: In[u32], new: Out[u32], w: u32, h: u32):
    x = loom.global_id(0)
    y = loom.global_id(1)
    if x < w and y < h:
        i = y * w + x
        n = u32(0)
        if x > 0 and x < w - 1 and y > 0 and y < h - 1:
            n = old[i - w - 1] + old[i - w] + old[i - w + 1] + old[i - 1]
            n += old[i + 1] + old[i + w - 1] + old[i + w] + old[i + w + 1]
        else:
            left = x - 1 if x > 0 else w - 1
            right = x + 1 if x < w - 1 else u32(0)
            up = y - 1 if y > 0 else h - 1
            down = y + 1 if y < h - 1 else u32(0)
            n = old[up * w + left] + old[up * w + x] + old[up * w + right]
            n += old[y * w + left] + old[y * w + right]
            n += old[down * w + left] + old[down * w + x] + old[down * w + right]
        alive = old[i]
        new[i] = u32(n == 3 or (n == 2 and alive == 1))


C = """
#include <stdint.h>
void run(const uint32_t *restrict a, uint32_t *restrict b, int64_t w, int64_t h) {
  #pragma omp parallel for
  for (int64_t y = 0; y < h; y++)
    for (int64_t x = 0; x < w; x++) {
      int64_t l = x > 0 ? x - 1 : w - 1, r = x < w - 1 ? x + 1 : 0;
      int64_t u = (y > 0 ? y - 1 : h - 1) * w, d = (y < h - 1 ? y + 1 : 0) * w, m = y * w;
      uint32_t n = a[u + l] + a[u + x] + a[u + r] + a[m + l] + a[m + r] + a[d + l] + a[d + x] + a[d + r];
      b[m + x] = n == 3 || (n == 2 && a[m + x] == 1);
    }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    @njit(parallel=True)
    def run(a, b, w, h):
        for y in prange(h):
            for x in range(w):
                left = x - 1 if x > 0 else w - 1
                right = x + 1 if x < w - 1 else 0
                u = (y - 1 if y > 0 else h - 1) * w
                d = (y + 1 if y < h - 1 else 0) * w
                m = y * w
                n = a[u + left] + a[u + x] + a[u + right] + a[m + left] + a[m + right]
                n += a[d + left] + a[d + x] + a[d + right]
                b[m + x] = n == 3 or (n == 2 and a[m + x] == 1)

    return run


def work() -> Work:
    """Return the program."""
    made = Work("life")
    old = np.random.default_rng(7).integers(0, 2, WIDTH * HEIGHT).astype(np.uint32)
    outs = [np.zeros_like(old) for _ in range(5)]
    groups = (WIDTH // 16, HEIGHT // 16)
    made.loom("first", outs[0], (first, [old, outs[0]], [WIDTH, HEIGHT], groups))
    made.loom("first %", outs[4], (remainder, [old, outs[4]], [WIDTH, HEIGHT], groups))
    made.loom("tuned", outs[3], (tuned, [old, outs[3]], [WIDTH, HEIGHT], groups))
    made.numba(_numba, [old, outs[1], WIDTH, HEIGHT], outs[1])
    made.c(C, [old, outs[2], WIDTH, HEIGHT], outs[2])
    return made
