"""A bit for each element of a tile in shared memory, and how many bits lie before an element.

Layer: kernels. Functions of kernels, translated in place, for workgroups of ``MARK_LANES`` lanes that take a tile of
``MARK_TILE`` elements, neighbours by neighbouring lanes. Bits are set by integer atomics, whose order does not
matter. Invariant: what is told of a tile depends on its elements alone.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import u32
from loom.ir.frontend.intrinsics import atomic_or, barrier, local_id, popcount
from loom.kernels.group.join import share_total, sum_lanes

__all__ = [
    "MARK_LANES",
    "MARK_ROUNDS",
    "MARK_TILE",
    "MARK_WORDS",
    "clear_marks",
    "count_before",
    "count_marks",
    "is_marked",
    "mark",
    "scan_stretch",
]  # fmt: skip

MARK_LANES = 256
MARK_ROUNDS = 16
"""Elements of a lane."""
MARK_TILE = MARK_LANES * MARK_ROUNDS
MARK_WORDS = MARK_TILE // 32
"""Words of the bits of a tile; one for each lane at most."""


def clear_marks(marks: Any) -> None:
    """Clear all bits; a barrier follows."""
    if local_id() < MARK_WORDS:
        marks[local_id()] = 0
    barrier()


def mark(marks: Any, p: Any) -> None:
    """Set the bit of element ``p`` of the tile."""
    atomic_or(marks, p >> 5, u32(1) << (p & 31))


def count_marks(marks: Any, before: Any, sums: Any) -> None:
    """Set ``before`` to the bits before each word, once all are set; barriers before and after."""
    barrier()
    value = u32(0)
    if local_id() < MARK_WORDS:
        value = u32(popcount(marks[local_id()]))
    upto = sum_lanes(MARK_LANES, sums, value)
    if local_id() < MARK_WORDS:
        before[local_id()] = upto - value
    barrier()


def is_marked(marks: Any, p: Any) -> Any:
    """True if the bit of element ``p`` is set."""
    return (marks[p >> 5] >> (p & 31)) & 1 != 0


def count_before(marks: Any, before: Any, p: Any) -> Any:
    """Return how many bits are set before that of element ``p``."""
    return before[p >> 5] + u32(popcount(marks[p >> 5] & ((u32(1) << (p & 31)) - 1)))


def scan_stretch(counts: Any, first: Any, stride: Any, size: Any, start: Any, sums: Any) -> Any:
    """Turn ``size`` counts, ``stride`` apart, into the sums of those before each, from ``start`` on; return the end.

    All lanes of the group call it.
    """
    lane = local_id()
    so_far = u32(start)
    for chunk in range(0, size, MARK_LANES):
        at = first + (chunk + lane) * stride
        value = u32(0)
        if chunk + lane < size:
            value = counts[at]
        upto = sum_lanes(MARK_LANES, sums, value)
        if chunk + lane < size:
            counts[at] = so_far + upto - value
        so_far += share_total(MARK_LANES, sums, upto)
    return so_far
