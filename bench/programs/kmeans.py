"""k-means: nearest centre of each point, then the sums of every cluster, as integers of 2^-16."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, InOut, Out, f32, i64, u32

POINTS, CENTRES = 1 << 19, 16
SCALE = 65536.0


@loom.kernel(workgroup=64)
def clear(sums: InOut[i64]):
    sums[loom.global_id()] = 0


@loom.kernel(workgroup=256)
def first(px: In[f32], py: In[f32], cx: In[f32], cy: In[f32], label: Out[u32], sums: InOut[i64], k: u32):
    totals = loom.shared(i64, 48)
    i = loom.global_id()
    lane = loom.local_id()
    if i < len(px):
        best = u32(0)
        nearest = f32(1e30)
        for c in range(k):
            dx = px[i] - cx[c]
            dy = py[i] - cy[c]
            d = dx * dx + dy * dy
            if d < nearest:
                nearest = d
                best = c
        label[i] = best
        loom.atomic_add(totals, best * 3, i64(px[i] * SCALE))
        loom.atomic_add(totals, best * 3 + 1, i64(py[i] * SCALE))
        loom.atomic_add(totals, best * 3 + 2, i64(1))
    loom.barrier()
    if lane < 48:
        loom.atomic_add(sums, lane, totals[lane])


@loom.kernel(workgroup=64)
def nearest(px: In[f32], py: In[f32], cx: In[f32], cy: In[f32], label: Out[u32], k: u32):
    i = loom.global_id()
    if i < len(px):
        x = px[i]
        y = py[i]
        best = u32(0)
        least = f32(1e30)
        for c in range(k):
            dx = x - cx[c]
            dy = y - cy[c]
            d = dx * dx + dy * dy
            best = loom.select(d < least, c, best)
            least = loom.select(d < least, d, least)
        label[i] = best


@loom.kernel(workgroup=1)
def gathered(px: In[f32], py: In[f32], label: In[u32], sums: InOut[i64]):
    """One lane a group, its own table: plain additions."""
    totals = loom.private(i64, 48)
    each = len(px) // loom.num_groups()
    start = loom.group_id() * each
    for i in range(start, start + each):
        at = label[i] * 3
        totals[at] = totals[at] + i64(px[i] * SCALE)
        totals[at + 1] = totals[at + 1] + i64(py[i] * SCALE)
        totals[at + 2] = totals[at + 2] + 1
    for c in range(u32(48)):
        loom.atomic_add(sums, c, totals[c])


C = """
#include <stdint.h>
#include <string.h>
void run(const float *px, const float *py, const float *cx, const float *cy, uint32_t *label, int64_t *sums,
         int64_t n, int64_t k) {
  memset(sums, 0, 8 * 64);
  #pragma omp parallel for reduction(+:sums[:48])
  for (int64_t i = 0; i < n; i++) {
    uint32_t best = 0;
    float nearest = 1e30f;
    for (int64_t c = 0; c < k; c++) {
      float dx = px[i] - cx[c], dy = py[i] - cy[c], d = dx * dx + dy * dy;
      if (d < nearest) {
        nearest = d;
        best = c;
      }
    }
    label[i] = best;
    sums[best * 3] += (int64_t)(px[i] * 65536.0f);
    sums[best * 3 + 1] += (int64_t)(py[i] * 65536.0f);
    sums[best * 3 + 2] += 1;
  }
}
"""


def _numba() -> Any:
    from numba import njit, prange

    f = np.float32

    @njit(parallel=True)
    def run(px, py, cx, cy, label, sums, parts):
        totals = np.zeros((parts, 48), np.int64)
        each = px.size // parts
        for part in prange(parts):
            for i in range(part * each, (part + 1) * each):
                best = 0
                nearest = f(1e30)
                for c in range(cx.size):
                    dx = px[i] - cx[c]
                    dy = py[i] - cy[c]
                    d = dx * dx + dy * dy
                    if d < nearest:
                        nearest = d
                        best = c
                label[i] = best
                totals[part, best * 3] += np.int64(px[i] * f(65536))
                totals[part, best * 3 + 1] += np.int64(py[i] * f(65536))
                totals[part, best * 3 + 2] += 1
        sums[:48] = totals.sum(0)

    return run


def work() -> Work:
    """Return the program."""
    made = Work("k-means")
    rng = np.random.default_rng(6)
    points = [rng.normal(size=POINTS).astype(np.float32) for _ in range(2)]
    centres = [rng.normal(size=CENTRES).astype(np.float32) for _ in range(2)]
    labels = [np.zeros(POINTS, np.uint32) for _ in range(4)]
    sums = [np.zeros(64, np.int64) for _ in range(4)]
    groups = POINTS // 256
    made.loom(
        "first", sums[0], (clear, [sums[0]], [], 1),
        (first, [*points, *centres, labels[0], sums[0]], [CENTRES], groups),
    )  # fmt: skip
    made.loom(
        "tuned", sums[3], (clear, [sums[3]], [], 1),
        (nearest, [*points, *centres, labels[3]], [CENTRES], POINTS // 64),
        (gathered, [*points, labels[3], sums[3]], [], 64),
    )  # fmt: skip
    made.numba(_numba, [*points, *centres, labels[1], sums[1], 2], sums[1])
    made.c(C, [*points, *centres, labels[2], sums[2], POINTS, CENTRES], sums[2])
    return made
