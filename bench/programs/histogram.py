"""Histogram of bytes: counts of a group in shared memory, then added to everybody's."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, InOut, u8, u32

SIZE = 1 << 23
GROUPS = 64


@loom.kernel(workgroup=256)
def clear(bins: InOut[u32]):
    bins[loom.global_id()] = 0


@loom.kernel(workgroup=256)
def first(data: In[u8], bins: InOut[u32]):
    counts = loom.shared(u32, 256)
    i = loom.global_id()
    while i < len(data):
        loom.atomic_add(counts, u32(data[i]), u32(1))
        i += loom.num_groups() * 256
    loom.barrier()
    lane = loom.local_id()
    loom.atomic_add(bins, lane, counts[lane])


@loom.kernel(workgroup=1)
def tuned(data: In[u8], bins: InOut[u32]):
    """One lane a group, four tables: neighbours that are alike do not wait for each other."""
    counts = loom.private(u32, 1024)
    each = len(data) // loom.num_groups()
    start = loom.group_id() * each
    for i in range(start, start + each, 4):
        for k in loom.static_range(4):
            at = u32(data[i + k]) * 4 + k
            counts[at] = counts[at] + 1
    for b in range(u32(256)):
        loom.atomic_add(bins, b, counts[b * 4] + counts[b * 4 + 1] + counts[b * 4 + 2] + counts[b * 4 + 3])


C = """
#include <stdint.h>
#include <string.h>
void run(const uint8_t *data, uint32_t *bins, int64_t n) {
  memset(bins, 0, 1024);
  #pragma omp parallel for reduction(+:bins[:256])
  for (int64_t i = 0; i < n; i++)
    bins[data[i]]++;
}
"""


def _numba() -> Any:
    from numba import njit, prange

    @njit(parallel=True)
    def run(data, bins, parts):
        counts = np.zeros((parts, 256), np.uint32)
        each = data.size // parts
        for part in prange(parts):
            for i in range(part * each, (part + 1) * each):
                counts[part, data[i]] += 1
        bins[:] = counts.sum(0)

    return run


def work() -> Work:
    """Return the program."""
    made = Work("histogram")
    data = np.minimum(np.random.default_rng(4).normal(120, 30, SIZE).clip(0), 255).astype(np.uint8)
    outs = [np.zeros(256, np.uint32) for _ in range(4)]
    made.loom("first", outs[0], (clear, [outs[0]], [], 1), (first, [data, outs[0]], [], GROUPS))
    made.loom("tuned", outs[3], (clear, [outs[3]], [], 1), (tuned, [data, outs[3]], [], GROUPS))
    made.numba(_numba, [data, outs[1], 2], outs[1])
    made.c(C, [data, outs[2], SIZE], outs[2])
    return made
