"""The memory layout between compiled kernels and whoever calls them, on every CPU target.

Layer: targets. All fields are little-endian and 64 bits wide unless noted, so that 32-bit targets share
the layout. A kernel is ``void entry(Record *record, Log *log, i64 first_group, i64 end_group)``.
Invariant: the generated walker (``runtime``) and generated kernels read these constants only.

    Record (64 bytes)            Binding (16 bytes)
      0  kernel entry              0  address
      8  address of Bindings       8  elements
     16  address of parameters
     24  address of an Indirect, or 0
     32  groups x, y, z (u32 each)
     44  flags (u32)
     48  total groups
     56  dispatch number (u32)
     60  first group within its batch (u32)

An Indirect (24 bytes) holds the address of three u32 counts in memory and, as u32 each, the largest ones
allowed. Parameters take one 8-byte slot each, the value in its low bytes. The log is that of ``targets.base``.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "BARRIER_BEFORE",
    "BINDING",
    "GRAIN_SHIFT",
    "INDIRECT",
    "INDIRECT_COUNTS",
    "RECORD",
    "SMALL",
    "UNKNOWN",
    "WAITS",
]

RECORD = np.dtype(
    [
        ("kernel", "<u8"),
        ("bindings", "<u8"),
        ("params", "<u8"),
        ("indirect", "<u8"),
        ("groups", "<u4", (3,)),
        ("flags", "<u4"),
        ("total", "<u8"),
        ("number", "<u4"),
        ("start", "<u4"),
    ]
)
BINDING = np.dtype([("address", "<u8"), ("elements", "<u8")])
INDIRECT_COUNTS = np.dtype([("address", "<u8"), ("largest", "<u4", (3,)), ("unused", "<u4")])

BARRIER_BEFORE = 1
"""Flag: everything recorded before must have finished."""

INDIRECT = 2
"""Flag: the group counts are read from memory when the dispatch starts."""

SMALL = 4
"""Flag of what begins a batch: so little work that one thread should do it."""

WAITS = 8
"""Flag: left out, with all that follows, after a fault of one before."""

UNKNOWN = 16
"""Flag of what begins a batch: how much work it is nobody knows, so the walker times it, and notes in flag 32 that it
was little."""

GRAIN_SHIFT = 8
"""From this bit up, flags hold the base-2 logarithm of the fewest groups worth handing to a thread."""
