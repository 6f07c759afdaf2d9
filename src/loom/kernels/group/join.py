"""How partial results are joined: the operators of folds and scans, the halving tree and the scan of lanes.

Layer: kernels. Invariant: the tree is part of every canonical sum: lane l with lane l + 32, then 16, 8, 4, 2, 1, the
lower lane on the left; so is the scan over 64 lanes of every canonical scan: Kogge and Stone's steps, the earlier lane
on the left.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import DType
from loom.core.numerics import REDUCE_LANES
from loom.ir.frontend.intrinsics import barrier, local_id, select, static_range

__all__ = [
    "HALVES", "add", "highest", "items", "join_lanes", "larger", "lowest", "multiply", "scan_lanes", "share_total",
    "smaller", "sum_lanes",
]  # fmt: skip

_WIDTH = 4
"""Values a lane adds up in a step of ``sum_lanes``."""
HALVES = tuple(REDUCE_LANES >> k for k in range(1, REDUCE_LANES.bit_length()))
"""Distances of the lanes joined at each step of the tree."""


def add(a: Any, b: Any) -> Any:
    """Return ``a + b``."""
    return a + b


def multiply(a: Any, b: Any) -> Any:
    """Return ``a * b``."""
    return a * b


def smaller(a: Any, b: Any) -> Any:
    """Return the smaller; NaN wins, -0 is below +0."""
    return min(a, b)


def larger(a: Any, b: Any) -> Any:
    """Return the larger; NaN wins, +0 is above -0."""
    return max(a, b)


def lowest(dtype: DType) -> Any:
    """Return the number that ``larger`` changes nothing with."""
    return -math.inf if dtype.is_float else dtype.minimum


def highest(dtype: DType) -> Any:
    """Return the number that ``smaller`` changes nothing with."""
    return math.inf if dtype.is_float else dtype.maximum


def join_lanes(lanes: Any, lane: Any, value: Any, join: Any) -> None:
    """Leave in ``lanes[0]`` (shared, one element per lane) what the halving tree makes of every lane's ``value``."""
    lanes[lane] = value
    barrier()
    for half in static_range(len(HALVES)):
        if lane < HALVES[half]:
            lanes[lane] = join(lanes[lane], lanes[lane + HALVES[half]])
        barrier()


def scan_lanes(held: Any, lane: Any, value: Any, join: Any, steps: Any) -> Any:
    """Return the scan of every lane's ``value`` over 2^``steps`` lanes.

    ``held`` is shared and has two places for each; afterwards the first half holds the results, for all to read.
    """
    held[((steps & 1) << steps) + lane] = value
    barrier()
    for step in static_range(steps):
        if lane >= 1 << step:
            value = join(held[(((steps - step) & 1) << steps) + lane - (1 << step)], value)
        held[(((steps - step - 1) & 1) << steps) + lane] = value
        barrier()
    return value


def sum_lanes(lanes: Any, sums: Any, value: Any) -> Any:
    """Return the sum of the lanes' integers up to and including this lane's; ``sums`` is shared, two places a lane.

    Integers may be added in any order: half the barriers of ``scan_lanes``. ``share_total`` may follow.
    """
    lane = local_id()
    for k in static_range(sum_steps(lanes)):
        row, reach = (k % 2) * lanes, _WIDTH**k
        sums[row + lane] = value
        barrier()
        for j in static_range(1, min(_WIDTH, -(-lanes // reach))):
            value += select(lane >= j * reach, sums[row + ((lane - j * reach) & (lanes - 1))], sums.dtype(0))
    return value


def share_total(lanes: Any, sums: Any, upto: Any) -> Any:
    """Return the sum of all lanes to each, from what ``sum_lanes`` returned; ``sums`` may be used again."""
    place = (sum_steps(lanes) % 2) * lanes  # which nobody reads any more
    if local_id() == lanes - 1:
        sums[place] = upto
    barrier()
    total = sums[place]
    barrier()
    return total


def sum_steps(lanes: Any) -> Any:
    """Return the steps of ``sum_lanes``."""
    return ((lanes - 1).bit_length() + 1) // 2


def items(*values: Any) -> tuple[Any, ...]:
    """Return the arguments as a tuple: the way to build one in a kernel."""
    return values
