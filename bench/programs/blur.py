"""Gaussian blur of pixels held as short vectors, neighbours clamped at the edge."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, f32, f32x4, i32

WIDTH, HEIGHT = 960, 540
WEIGHTS = (0.0625, 0.25, 0.375, 0.25, 0.0625)


@loom.kernel(workgroup=(16, 16))
def first(image: In[f32x4], out: Out[f32x4], width: i32, height: i32):
    x = i32(loom.global_id(0))
    y = i32(loom.global_id(1))
    if x < width and y < height:
        total = f32x4(0.0, 0.0, 0.0, 0.0)
        for dy in loom.static_range(5):
            for dx in loom.static_range(5):
                px = min(max(x + dx - 2, 0), width - 1)
                py = min(max(y + dy - 2, 0), height - 1)
                total = total + image[py * width + px] * f32(WEIGHTS[dx] * WEIGHTS[dy])
        out[y * width + x] = total


@loom.kernel(workgroup=(64, 1))
def tuned(image: In[f32], out: Out[f32], width: i32, height: i32):
    """Channel by channel, the inside apart from the edge: 4 x + c counts neighbours in memory."""
    at = i32(loom.global_id(0))
    y = i32(loom.global_id(1))
    row = width * 4
    if at < row and y < height:
        total = f32(0)
        if at >= 8 and at < row - 8 and y >= 2 and y < height - 2:
            for dy in loom.static_range(5):
                for dx in loom.static_range(5):
                    total = total + image[(y + dy - 2) * row + at + (dx - 2) * 4] * f32(WEIGHTS[dx] * WEIGHTS[dy])
        else:
            x = at >> 2
            for dy in loom.static_range(5):
                for dx in loom.static_range(5):
                    px = min(max(x + dx - 2, 0), width - 1)
                    py = min(max(y + dy - 2, 0), height - 1)
                    total = total + image[py * row + px * 4 + (at & 3)] * f32(WEIGHTS[dx] * WEIGHTS[dy])
        out[y * row + at] = total


C = """
#include <stdint.h>
static const float weights[5] = {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};
static int64_t clamp(int64_t v, int64_t high) { return v < 0 ? 0 : v > high ? high : v; }
void run(const float *restrict image, float *restrict out, int64_t width, int64_t height) {
  #pragma omp parallel for
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      float total[4] = {0, 0, 0, 0};
      for (int dy = 0; dy < 5; dy++)
        for (int dx = 0; dx < 5; dx++) {
          const float *p = image + 4 * (clamp(y + dy - 2, height - 1) * width + clamp(x + dx - 2, width - 1));
          for (int c = 0; c < 4; c++) total[c] += p[c] * (weights[dx] * weights[dy]);
        }
      for (int c = 0; c < 4; c++) out[4 * (y * width + x) + c] = total[c];
    }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    weights = np.array(WEIGHTS, np.float32)

    @njit(parallel=True)
    def run(image, out, width, height):
        for y in prange(height):
            total = np.zeros(4, np.float32)
            for x in range(width):
                total[:] = 0
                for dy in range(5):
                    for dx in range(5):
                        px = min(max(x + dx - 2, 0), width - 1)
                        py = min(max(y + dy - 2, 0), height - 1)
                        for c in range(4):
                            total[c] += image[py, px, c] * (weights[dx] * weights[dy])
                for c in range(4):
                    out[y, x, c] = total[c]

    return run


def work() -> Work:
    """Return the program."""
    made = Work("blur")
    image = np.random.default_rng(10).random((HEIGHT, WIDTH, 4), np.float32)
    outs = [np.zeros_like(image) for _ in range(4)]
    pixels, out = image.reshape(-1, 4), outs[0].reshape(-1, 4)
    groups = (-(-WIDTH // 16), -(-HEIGHT // 16))
    made.loom("first", outs[0], (first, [pixels, out], [WIDTH, HEIGHT], groups))
    flat = (tuned, [image.ravel(), outs[3].ravel()], [WIDTH, HEIGHT], (WIDTH * 4 // 64, HEIGHT))
    made.loom("tuned", outs[3], flat)
    made.numba(_numba, [image, outs[1], WIDTH, HEIGHT], outs[1])
    made.c(C, [image, outs[2], WIDTH, HEIGHT], outs[2])
    return made
