"""What a kernel factory may know of the device its kernels will run on.

Layer: core. Invariant: capabilities choose a schedule (how work is cut up), never a meaning (bits).
"""

from __future__ import annotations

from loom.core.late.dataclass import dataclass

__all__ = ["Caps"]


@dataclass(frozen=True, slots=True)
class Caps:
    """What a kernel may know of the device it will run on, to choose a schedule (never a meaning).

    ``simd_lanes``: 32-bit lanes executed as one; ``shared_nbytes``: shared memory of a workgroup;
    ``max_workgroup_lanes``; ``unified_memory``: host and device see the same memory; ``workers``:
    workgroups executed at once (of a GPU its multiprocessors); ``cache_nbytes``: fast memory private to a worker;
    ``threads``: each lane is a thread of hardware (a GPU), so that a lane alone is slow, many hide each other's
    waiting, and lanes side by side should touch memory side by side; ``buffer_nbytes``: the largest buffer, if not all
    of memory; ``short``: code is to be short, as its compiler takes long; ``dots``: the operation on packed bytes that
    is one instruction (``dot4_i8``, else ``dot4_u8i8``), none: ""; ``fused``: a multiply-add of
    f32 is one instruction; ``tiles``: products of tiles of bytes (``tile_product``) have a unit of their own;
    ``wide_nbytes``: shared memory for products of 64 rows (``wide_product``) that have one, none: 0; ``waits``: a
    group that has begun goes on whatever others do, so that one may wait for what an earlier one tells by atomics.
    """

    simd_lanes: int
    shared_nbytes: int
    max_workgroup_lanes: int
    unified_memory: bool
    workers: int
    cache_nbytes: int
    threads: bool = False
    buffer_nbytes: int | None = None
    short: bool = False
    dots: str = ""
    fused: bool = False
    tiles: bool = False
    wide_nbytes: int = 0
    waits: bool = False
