"""What a workgroup finds together: sums, extrema, scans, counts, and a value for all; each called by every lane.

Layer: kernels. Shared memory and barriers, no subgroups. Floats are joined in a canonical order: a halving tree (lane l
with lane l + h, h the largest power of two below the number of lanes, then h / 2, ... 1, the lower on the left), and
Kogge and Stone's steps for scans, the earlier on the left. Lanes are numbered with dimension 0 fastest. ``again`` tells
whether the memory may still be read by a call before. Invariant: the bits depend on the values and the size of the
workgroup alone.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import i32, u32
from loom.ir.frontend.intrinsics import barrier, local_id, select, static_range
from loom.ir.frontend.lanefunctions import Room, lane_function
from loom.kernels.group.join import add, larger, smaller

__all__ = [
    "group_all", "group_any", "group_broadcast", "group_count", "group_max", "group_min", "group_scan", "group_sum",
]  # fmt: skip

_HOST = "Call loom.gpu_sum, gpu_max, gpu_scan .. for whole arrays"


def _lane(workgroup: Any) -> Any:
    """Return the lane's number in its group, dimension 0 fastest."""
    if workgroup[2] > 1:
        return local_id() + (local_id(1) + local_id(2) * workgroup[1]) * workgroup[0]
    if workgroup[1] > 1:
        return local_id() + local_id(1) * workgroup[0]
    return local_id()


def _size(workgroup: tuple[int, int, int]) -> int:
    x, y, z = workgroup
    return x * y * z


def _steps(workgroup: tuple[int, int, int]) -> int:
    """Return how often the lanes are halved."""
    return (_size(workgroup) - 1).bit_length()


def _fold_lanes(x: Any, memory: Any, again: Any, workgroup: Any, join: Any) -> Any:
    lane, size, steps = _lane(workgroup), _size(workgroup), _steps(workgroup)
    if again:
        barrier()
    memory[lane] = x
    barrier()
    for step in static_range(steps):
        half = 1 << (steps - 1 - step)
        if lane < min(half, max(size - half, 0)):
            memory[lane] = join(memory[lane], memory[lane + half])
        barrier()
    return memory[0]


def _sum(x: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    return _fold_lanes(x, memory, again, workgroup, add)


def _max(x: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    return _fold_lanes(x, memory, again, workgroup, larger)


def _min(x: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    return _fold_lanes(x, memory, again, workgroup, smaller)


def _count(condition: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    return _fold_lanes(u32(condition), memory, again, workgroup, add)


def _any(condition: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    return _fold_lanes(u32(condition), memory, again, workgroup, larger) > 0


def _all(condition: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    return _fold_lanes(u32(condition), memory, again, workgroup, smaller) > 0


def _scan(x: Any, inclusive: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    lane, size, steps = _lane(workgroup), _size(workgroup), _steps(workgroup)
    if again:
        barrier()
    memory[lane] = x
    barrier()
    for step in static_range(steps):
        row, other = (step & 1) * size, (1 - (step & 1)) * size
        if lane >= 1 << step:
            x = memory[row + lane - (1 << step)] + x
        memory[other + lane] = x
        barrier()
    if inclusive:
        return x
    row = (steps & 1) * size
    return select(lane > 0, memory[row + select(lane > 0, lane - 1, 0)], memory.dtype(0))


def _broadcast(x: Any, lane: Any, memory: Any, again: Any, workgroup: Any) -> Any:
    if again:
        barrier()
    memory[_lane(workgroup)] = x
    barrier()
    is_there = i32(lane) >= 0 and i32(lane) < _size(workgroup)
    return select(is_there, memory[select(is_there, u32(lane), u32(0))], memory.dtype(0))


@lane_function(_sum, room=Room(), host=_HOST)
def group_sum(x: Any) -> Any:
    """Return the sum of ``x`` over the lanes of the workgroup, to each of them; every lane must call it.

    Integers wrap. Floats are added in the order of the halving tree: the same bits on every device.
    """


@lane_function(_max, room=Room(), host=_HOST)
def group_max(x: Any) -> Any:
    """Return the largest ``x`` of the workgroup, to each lane; NaN wins, +0 is above -0."""


@lane_function(_min, room=Room(), host=_HOST)
def group_min(x: Any) -> Any:
    """Return the smallest ``x`` of the workgroup, to each lane; NaN wins, -0 is below +0."""


@lane_function(_scan, room=Room(2), host=_HOST)
def group_scan(x: Any, inclusive: bool = True) -> Any:
    """Return the sum of ``x`` over the lanes up to this one, or before it (``inclusive=False``), in canonical order."""


@lane_function(_count, room=Room(dtype=u32), host=_HOST)
def group_count(condition: Any) -> Any:
    """Return how many lanes of the workgroup have a condition that holds, a u32, to each lane."""


@lane_function(_any, room=Room(dtype=u32), host=_HOST)
def group_any(condition: Any) -> Any:
    """Return whether a condition holds for a lane of the workgroup, to each lane."""


@lane_function(_all, room=Room(dtype=u32), host=_HOST)
def group_all(condition: Any) -> Any:
    """Return whether a condition holds for all lanes of the workgroup, to each lane."""


@lane_function(_broadcast, room=Room(), host=_HOST)
def group_broadcast(x: Any, lane: Any) -> Any:
    """Return the ``x`` of one lane of the workgroup to each; 0 for a lane that there is not.

    ``lane`` may differ from lane to lane: each then gets what it asks for.
    """
