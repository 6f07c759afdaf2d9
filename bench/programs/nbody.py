"""n-body: every lane reads every body, positions and masses as short vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, f32, f32x4, u32

BODIES = 4096
SOFTENING = 0.01


@loom.kernel(workgroup=64)
def first(bodies: In[f32x4], out: Out[f32x4], n: u32):
    i = loom.global_id()
    if i < n:
        me = bodies[i]
        ax = f32(0)
        ay = f32(0)
        az = f32(0)
        for j in range(n):
            other = bodies[j]
            dx = other.x - me.x
            dy = other.y - me.y
            dz = other.z - me.z
            r2 = dx * dx + dy * dy + dz * dz + SOFTENING
            inverse = 1.0 / loom.sqrt(r2)
            s = other.w * (inverse * inverse * inverse)
            ax += dx * s
            ay += dy * s
            az += dz * s
        out[i] = f32x4(ax, ay, az, 0.0)


@loom.kernel(workgroup=64)
def tuned(x: In[f32], y: In[f32], z: In[f32], m: In[f32], out: Out[f32], n: u32):
    i = loom.global_id()
    if i < n:
        mx = x[i]
        my = y[i]
        mz = z[i]
        ax = f32(0)
        ay = f32(0)
        az = f32(0)
        for j in range(n):
            dx = x[j] - mx
            dy = y[j] - my
            dz = z[j] - mz
            r2 = dx * dx + dy * dy + dz * dz + SOFTENING
            inverse = 1.0 / loom.sqrt(r2)
            s = m[j] * (inverse * inverse * inverse)
            ax += dx * s
            ay += dy * s
            az += dz * s
        out[i] = ax
        out[n + i] = ay
        out[2 * n + i] = az


C = """
#include <stdint.h>
#include <math.h>
void run(const float *b, float *out, int64_t n) {
  #pragma omp parallel for
  for (int64_t i = 0; i < n; i++) {
    float ax = 0, ay = 0, az = 0;
    for (int64_t j = 0; j < n; j++) {
      float dx = b[4 * j] - b[4 * i], dy = b[4 * j + 1] - b[4 * i + 1], dz = b[4 * j + 2] - b[4 * i + 2];
      float r2 = dx * dx + dy * dy + dz * dz + 0.01f, inverse = 1.0f / sqrtf(r2);
      float s = b[4 * j + 3] * (inverse * inverse * inverse);
      ax += dx * s;
      ay += dy * s;
      az += dz * s;
    }
    out[4 * i] = ax; out[4 * i + 1] = ay; out[4 * i + 2] = az; out[4 * i + 3] = 0;
  }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    f = np.float32

    @njit(parallel=True)
    def run(b, out, n):
        for i in prange(n):
            ax = f(0)
            ay = f(0)
            az = f(0)
            for j in range(n):
                dx = b[j, 0] - b[i, 0]
                dy = b[j, 1] - b[i, 1]
                dz = b[j, 2] - b[i, 2]
                r2 = dx * dx + dy * dy + dz * dz + f(0.01)
                inverse = f(1) / np.sqrt(r2)
                s = b[j, 3] * (inverse * inverse * inverse)
                ax += dx * s
                ay += dy * s
                az += dz * s
            out[i, 0] = ax
            out[i, 1] = ay
            out[i, 2] = az
            out[i, 3] = 0

    return run


def work() -> Work:
    """Return the program."""
    made = Work("n-body")
    bodies = np.random.default_rng(2).random((BODIES, 4), np.float32)
    outs = [np.zeros((BODIES, 4), np.float32) for _ in range(3)]
    columns = [np.ascontiguousarray(bodies[:, c]) for c in range(4)]
    apart = np.zeros(4 * BODIES, np.float32)
    made.loom("first", outs[0], (first, [bodies, outs[0]], [BODIES], BODIES // 64))
    made.loom("tuned", lambda: apart.reshape(4, -1).T, (tuned, [*columns, apart], [BODIES], BODIES // 64))
    made.numba(_numba, [bodies, outs[1], BODIES], outs[1])
    made.c(C, [bodies, outs[2], BODIES], outs[2])
    return made
