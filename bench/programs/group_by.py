"""Sums of groups: each row adds to the cell of its key."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, InOut, i64, u32

ROWS, KEYS = 1 << 20, 1000


@loom.kernel(workgroup=64)
def clear(sums: InOut[i64]):
    i = loom.global_id()
    if i < len(sums):
        sums[i] = 0


@loom.kernel(workgroup=64)
def first(key: In[u32], amount: In[i64], sums: InOut[i64]):
    i = loom.global_id()
    if i < len(key):
        loom.atomic_add(sums, key[i], amount[i])


@loom.kernel(workgroup=1)
def tuned(key: In[u32], amount: In[i64], sums: InOut[i64]):
    """One lane a group, its own table: plain additions."""
    own = loom.private(i64, KEYS)
    each = len(key) // loom.num_groups()
    start = loom.group_id() * each
    for i in range(start, start + each):
        own[key[i]] = own[key[i]] + amount[i]
    for k in range(u32(KEYS)):
        loom.atomic_add(sums, k, own[k])


C = """
#include <stdint.h>
#include <string.h>
void run(const uint32_t *key, const int64_t *amount, int64_t *sums, int64_t rows, int64_t keys) {
  memset(sums, 0, 8 * keys);
  #pragma omp parallel for reduction(+:sums[:keys])
  for (int64_t i = 0; i < rows; i++)
    sums[key[i]] += amount[i];
}
"""


def _numba() -> Any:
    from numba import njit, prange

    @njit(parallel=True)
    def run(key, amount, sums, parts):
        own = np.zeros((parts, sums.size), np.int64)
        each = key.size // parts
        for part in prange(parts):
            for i in range(part * each, (part + 1) * each):
                own[part, key[i]] += amount[i]
        sums[:] = own.sum(0)

    return run


def work() -> Work:
    """Return the program."""
    made = Work("group-by")
    rng = np.random.default_rng(11)
    key = rng.integers(0, KEYS, ROWS).astype(np.uint32)
    amount = rng.integers(-1000, 1000, ROWS)
    outs = [np.zeros(KEYS, np.int64) for _ in range(4)]
    empty = [(clear, [out], [], -(-KEYS // 64)) for out in outs]
    made.loom("first", outs[0], empty[0], (first, [key, amount, outs[0]], [], ROWS // 64))
    made.loom("tuned", outs[3], empty[3], (tuned, [key, amount, outs[3]], [], 16))
    made.numba(_numba, [key, amount, outs[1], 2], outs[1])
    made.c(C, [key, amount, outs[2], ROWS, KEYS], outs[2])
    return made
