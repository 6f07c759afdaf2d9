"""What the walker's records say of dispatches: where buffers are, how work is shared, where batches begin.

Layer: runtime. Invariant: what is shared, and how finely, changes speed alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.runtime.plans.dispatch import Dispatch
from loom.targets.llvm.machine.layout import BARRIER_BEFORE, BINDING, GRAIN_SHIFT, INDIRECT, SMALL, UNKNOWN

__all__ = ["bindings_of", "grain_of", "set_batches"]

_SMALL_OPERATIONS = 20_000
"""Fewer operations than this (some microseconds) are not worth sharing between threads."""
_MOST_GROUPS_IN_BATCH = 0xFFFF_FFFF
_FLAG_BITS = (1 << GRAIN_SHIFT) - 1


def bindings_of(dispatch: Dispatch) -> np.ndarray[Any, Any]:
    """Return where a dispatch's buffers are, as the walker reads it: at least one row."""
    bindings = np.zeros(max(1, len(dispatch.bindings)), BINDING)
    for row, binding in zip(bindings, dispatch.bindings, strict=False):
        row["address"] = binding.storage.extent()[0]
        row["elements"] = binding.elements
    return bindings


def grain_of(operations: float | None) -> int:
    """Return the flags that tell how finely to share a dispatch; groups of unknown work each go to any thread."""
    return 0 if operations is None else int(_SMALL_OPERATIONS / operations).bit_length() << GRAIN_SHIFT


def set_batches(records: np.ndarray[Any, Any], work: np.ndarray[Any, Any]) -> None:
    """Tell each record where its groups start within its batch, cutting batches that grow too long.

    A batch's length must be known, so nothing joins an indirect dispatch. The first record speaks for its
    batch: its grain is the finest in it, and its flags tell whether all of it is little ``work``, which is operations
    of each record, infinite where unknown.
    """
    if not len(records):
        return
    flags, totals = records["flags"], records["total"]
    flags[1:] |= np.where(flags[:-1] & INDIRECT, BARRIER_BEFORE, 0).astype(np.uint32)
    begins = (flags & (BARRIER_BEFORE | INDIRECT)) != 0
    begins[0] = True
    ends = np.cumsum(totals)
    before = ends - totals
    starts = before - np.maximum.accumulate(np.where(begins, before, 0))
    if (starts + totals > _MOST_GROUPS_IN_BATCH).any():
        flags |= BARRIER_BEFORE
        begins[:] = True
        starts = np.zeros_like(starts)
    records["start"] = starts
    firsts = np.flatnonzero(begins)
    finest = np.minimum.reduceat(flags >> GRAIN_SHIFT, firsts)
    whole = np.add.reduceat(work, firsts)
    size = np.where(whole < _SMALL_OPERATIONS, SMALL, np.where(np.isinf(whole), UNKNOWN, 0)).astype(np.uint32)
    size[(flags[firsts] & INDIRECT) != 0] = 0  # the next run may be of any number of groups
    flags[firsts] = (flags[firsts] & _FLAG_BITS) | (finest << GRAIN_SHIFT) | size
