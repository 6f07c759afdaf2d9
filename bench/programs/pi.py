"""Monte-Carlo pi: each lane draws its own numbers and counts; one atomic at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import InOut, f32, u32

LANES, DRAWS = 1 << 14, 1000


@loom.kernel(workgroup=1)
def clear(count: InOut[u32]):
    count[0] = 0


@loom.kernel(workgroup=64)
def first(count: InOut[u32], draws: u32):
    state = loom.global_id() * 747796405 + 2891336453
    inside = u32(0)
    for _ in range(draws):
        state = state ^ (state << 13)
        state = state ^ (state >> 17)
        state = state ^ (state << 5)
        x = f32(state >> 8) / 16777216.0
        state = state ^ (state << 13)
        state = state ^ (state >> 17)
        state = state ^ (state << 5)
        y = f32(state >> 8) / 16777216.0
        if x * x + y * y < 1.0:
            inside += 1
    loom.atomic_add(count, 0, inside)


C = """
#include <stdint.h>
void run(uint32_t *count, int64_t lanes, int64_t draws) {
  uint32_t total = 0;
  #pragma omp parallel for reduction(+:total)
  for (int64_t i = 0; i < lanes; i++) {
    uint32_t s = (uint32_t)i * 747796405u + 2891336453u;
    for (int64_t k = 0; k < draws; k++) {
      s ^= s << 13; s ^= s >> 17; s ^= s << 5;
      float x = (float)(s >> 8) / 16777216.0f;
      s ^= s << 13; s ^= s >> 17; s ^= s << 5;
      float y = (float)(s >> 8) / 16777216.0f;
      if (x * x + y * y < 1.0f) total++;
    }
  }
  *count = total;
}
"""


def _numba() -> Any:
    from numba import njit, prange

    f, u = np.float32, np.uint32

    @njit(parallel=True)
    def run(count, lanes, draws):
        total = 0
        for i in prange(lanes):
            s = u(u(i) * u(747796405) + u(2891336453))
            for _ in range(draws):
                s = u(s ^ u(s << u(13)))
                s = u(s ^ u(s >> u(17)))
                s = u(s ^ u(s << u(5)))
                x = f(u(s >> u(8))) / f(16777216)
                s = u(s ^ u(s << u(13)))
                s = u(s ^ u(s >> u(17)))
                s = u(s ^ u(s << u(5)))
                y = f(u(s >> u(8))) / f(16777216)
                if x * x + y * y < f(1):
                    total += 1
        count[0] = total

    return run


def work() -> Work:
    """Return the program."""
    made = Work("pi")
    outs = [np.zeros(1, np.uint32) for _ in range(3)]
    made.loom("first", outs[0], (clear, [outs[0]], [], 1), (first, [outs[0]], [DRAWS], LANES // 64))
    made.numba(_numba, [outs[1], LANES, DRAWS], outs[1])
    made.c(C, [outs[2], LANES, DRAWS], outs[2])
    return made
