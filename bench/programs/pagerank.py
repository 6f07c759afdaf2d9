"""PageRank over the incoming edges of each node: rows of different lengths, gathers."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, f32, u32

NODES, EDGES, TURNS = 1 << 15, 1 << 18, 20


@loom.kernel(workgroup=64)
def share(rank: In[f32], degree: In[f32], out: Out[f32]):
    i = loom.global_id()
    if i < len(rank):
        out[i] = rank[i] / degree[i]


@loom.kernel(workgroup=64)
def first(start: In[u32], source: In[u32], given: In[f32], rank: Out[f32], n: u32):
    i = loom.global_id()
    if i < n:
        total = f32(0)
        for e in range(start[i], start[i + 1]):
            total += given[source[e]]
        rank[i] = 0.15 / f32(n) + 0.85 * total


C = """
#include <stdint.h>
void run(const uint32_t *start, const uint32_t *source, const float *degree, float *given, float *rank, int64_t n,
         int64_t turns) {
  #pragma omp parallel for
  for (int64_t i = 0; i < n; i++) rank[i] = 1.0f / (float)n;
  for (int64_t t = 0; t < turns; t++) {
    #pragma omp parallel for
    for (int64_t i = 0; i < n; i++) given[i] = rank[i] / degree[i];
    #pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
      float total = 0;
      for (uint32_t e = start[i]; e < start[i + 1]; e++) total += given[source[e]];
      rank[i] = 0.15f / (float)n + 0.85f * total;
    }
  }
}
"""


@loom.kernel(workgroup=64)
def begin(rank: Out[f32], n: u32):
    i = loom.global_id()
    if i < n:
        rank[i] = 1.0 / f32(n)


def _numba() -> Any:
    from numba import njit, prange

    f = np.float32

    @njit(parallel=True)
    def run(start, source, degree, given, rank, n, turns):
        for i in prange(n):
            rank[i] = f(1) / f(n)
        for _ in range(turns):
            for i in prange(n):
                given[i] = rank[i] / degree[i]
            for i in prange(n):
                total = f(0)
                for e in range(start[i], start[i + 1]):
                    total += given[source[e]]
                rank[i] = f(0.15) / f(n) + f(0.85) * total

    return run


def work() -> Work:
    """Return the program."""
    made = Work("pagerank")
    rng = np.random.default_rng(12)
    target = np.sort((rng.random(EDGES) ** 2 * NODES).astype(np.uint32))
    source = rng.integers(0, NODES, EDGES).astype(np.uint32)
    start = np.searchsorted(target, np.arange(NODES + 1)).astype(np.uint32)
    degree = np.maximum(np.bincount(source, minlength=NODES), 1).astype(np.float32)
    given = [np.zeros(NODES, np.float32) for _ in range(3)]
    ranks = [np.zeros(NODES, np.float32) for _ in range(3)]
    groups = NODES // 64
    turn = [
        (share, [ranks[0], degree, given[0]], [], groups),
        (first, [start, source, given[0], ranks[0]], [NODES], groups),
    ]
    made.loom("first", ranks[0], (begin, [ranks[0]], [NODES], groups), *turn * TURNS)
    made.kernels["first"] = [share, first]
    made.numba(_numba, [start, source, degree, given[1], ranks[1], NODES, TURNS], ranks[1])
    made.c(C, [start, source, degree, given[2], ranks[2], NODES, TURNS], ranks[2])
    return made
