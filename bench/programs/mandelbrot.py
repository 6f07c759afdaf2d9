"""Mandelbrot: lanes leave a loop at different turns."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import Out, f32, u32

WIDTH, HEIGHT, TURNS = 1024, 768, 200


@loom.kernel(workgroup=(16, 16))
def first(out: Out[u32], width: u32, height: u32, turns: u32):
    px = loom.global_id(0)
    py = loom.global_id(1)
    if px < width and py < height:
        cx = f32(px) / f32(width) * 3.0 - 2.0
        cy = f32(py) / f32(height) * 2.0 - 1.0
        x = f32(0)
        y = f32(0)
        n = u32(0)
        while n < turns and x * x + y * y < 4.0:
            t = x * x - y * y + cx
            y = 2.0 * x * y + cy
            x = t
            n += 1
        out[py * width + px] = n


C = """
#include <stdint.h>
void run(uint32_t *out, int64_t width, int64_t height, int64_t turns) {
  #pragma omp parallel for schedule(dynamic, 8)
  for (int64_t py = 0; py < height; py++)
    for (int64_t px = 0; px < width; px++) {
      float cx = (float)px / (float)width * 3.0f - 2.0f, cy = (float)py / (float)height * 2.0f - 1.0f, x = 0, y = 0;
      uint32_t n = 0;
      while (n < turns && x * x + y * y < 4.0f) {
        float t = x * x - y * y + cx;
        y = 2.0f * x * y + cy;
        x = t;
        n++;
      }
      out[py * width + px] = n;
    }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    f = np.float32

    @njit(parallel=True)
    def run(out, width, height, turns):
        for py in prange(height):
            for px in range(width):
                cx = f(px) / f(width) * f(3) - f(2)
                cy = f(py) / f(height) * f(2) - f(1)
                x = f(0)
                y = f(0)
                n = 0
                while n < turns and x * x + y * y < f(4):
                    t = x * x - y * y + cx
                    y = f(2) * x * y + cy
                    x = t
                    n += 1
                out[py * width + px] = n

    return run


def work() -> Work:
    """Return the program."""
    made = Work("mandelbrot")
    size = (WIDTH, HEIGHT, TURNS)
    outs = [np.zeros(WIDTH * HEIGHT, np.uint32) for _ in range(3)]
    made.loom("first", outs[0], (first, [outs[0]], size, (WIDTH // 16, HEIGHT // 16)))
    made.numba(_numba, [outs[1], *size], outs[1])
    made.c(C, [outs[2], *size], outs[2])
    return made
