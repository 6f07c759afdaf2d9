"""Five-point stencil: one step of diffusion, the edge kept."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, f32, u32

WIDTH, HEIGHT = 2048, 1024


@loom.kernel(workgroup=(16, 16))
def first(old: In[f32], new: Out[f32], width: u32, height: u32):
    x = loom.global_id(0)
    y = loom.global_id(1)
    if x < width and y < height:
        i = y * width + x
        if x > 0 and x < width - 1 and y > 0 and y < height - 1:
            around = old[i - 1] + old[i + 1] + old[i - width] + old[i + width]
            new[i] = old[i] + 0.1 * (around - 4.0 * old[i])
        else:
            new[i] = old[i]


C = """
#include <stdint.h>
void run(const float *restrict a, float *restrict b, int64_t w, int64_t h) {
  #pragma omp parallel for
  for (int64_t y = 0; y < h; y++)
    for (int64_t x = 0; x < w; x++) {
      int64_t i = y * w + x;
      if (x > 0 && x < w - 1 && y > 0 && y < h - 1) {
        float around = a[i - 1] + a[i + 1] + a[i - w] + a[i + w];
        b[i] = a[i] + 0.1f * (around - 4.0f * a[i]);
      } else
        b[i] = a[i];
    }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    f = np.float32

    @njit(parallel=True)
    def run(a, b, w, h):
        for y in prange(h):
            for x in range(w):
                i = y * w + x
                if x > 0 and x < w - 1 and y > 0 and y < h - 1:
                    around = a[i - 1] + a[i + 1] + a[i - w] + a[i + w]
                    b[i] = a[i] + f(0.1) * (around - f(4) * a[i])
                else:
                    b[i] = a[i]

    return run


def work() -> Work:
    """Return the program."""
    made = Work("stencil")
    old = np.random.default_rng(3).random(WIDTH * HEIGHT, np.float32)
    outs = [np.zeros_like(old) for _ in range(3)]
    made.loom("first", outs[0], (first, [old, outs[0]], [WIDTH, HEIGHT], (WIDTH // 16, HEIGHT // 16)))
    made.numba(_numba, [old, outs[1], WIDTH, HEIGHT], outs[1])
    made.c(C, [old, outs[2], WIDTH, HEIGHT], outs[2])
    return made
