"""Moves the records of tiles to the runs of their digits, or to their buckets: one kernel, whose ends differ by pass.

Layer: kernels. A tile is first sorted near the lane (``scratch``), then moved run by run, so that memory is written in
long stretches. ``kernels.sort.radix`` has the passes, ``kernels.sort.buckets`` the buckets. Invariant: records of equal
digits keep their order.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from loom.core.dtype import u8, u32, u64
from loom.ir.frontend.base.annotations import Absent, In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, num_groups, private
from loom.kernels.group.join import items
from loom.kernels.sort.buckets import bucket_of
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Records
from loom.kernels.sort.radix import half_of, moves
from loom.kernels.sort.tiles import STAGE, copy_runs, digit_of, finish, settle, settle_input, start_runs

__all__ = ["Pass", "scatter_tiles"]

Pass = Literal["first", "middle", "last", "only", "to_buckets"]


@cache
def scatter_tiles(records: Records, at: Pass, *, keys_out: bool = False) -> KernelFunction:
    """Return the kernel of a pass; group g does tiles g, g + groups, ... and has room for one in ``scratch``.

    "first" (x, values, offsets, scratch, out, n, base, tile, tiles) makes records of ``x[base : base + n]`` and of
    ``values`` or the elements' positions, and moves them by their lowest digit to ``out``; "to_buckets" (x, values,
    table, offsets, bounds, scratch, out, ..) by their bucket. "last" (source, offsets, scratch, keys, payloads, ..)
    moves records by their highest digit and writes keys (as elements, if ``keys_out``) and payloads from position
    ``base`` on; "only" (x, values, offsets, scratch, keys, payloads, ..) is first and last at once, for keys of one
    digit. "middle" (both, offsets, state, scratch, n, tile, tiles, number) moves records by digit ``number`` from one
    half of ``both`` to the other, unless the digit is the same in all keys.
    """
    bits, word = records.order.bits, records.word
    is_input, is_output = at in ("first", "only", "to_buckets"), at in ("last", "only")
    elements, given = (In[bits], In[records.payload_input or u8]) if is_input else (Absent, Absent)
    sorted_keys, carried = (Out[bits], Out[records.payload_output]) if is_output else (Absent, Absent)
    prefixes, least = (In[u8], In[bits]) if at == "to_buckets" else (Absent, Absent)
    halves, varying, digit = (InOut[word], In[bits], u32) if at == "middle" else (Absent, Absent, Absent)
    origin, read = Absent if at == "middle" else u64, In[word] if at == "last" else Absent
    written = Out[word] if at in ("first", "to_buckets") else Absent

    @kernel(workgroup=1, trusted=True)
    def scatter(
        x: elements, values: given, source: read, both: halves, table: prefixes, offsets: In[u32],  # type: ignore[valid-type]
        bounds: least, state: varying, scratch: InOut[word], out: written, keys: sorted_keys,  # type: ignore[valid-type]
        payloads: carried, n: u64, base: origin, tile: u64, tiles: u32, number: digit,  # type: ignore[valid-type]
    ):  # fmt: skip
        if state is None or moves(records, state, number):
            ends = private(u32, DIGITS)
            stage = private(word, STAGE * records.words)
            half = 0 if state is None else u64(half_of(records, state, number))
            room = u64(group_id()) * tile
            for t in range(group_id(), tiles, num_groups()):
                if x is None:
                    place = u32(records.passes - 1) if both is None else number
                    settle_tile(records, source if both is None else both, u64(0) if both is None else half * n,
                                offsets, ends, stage, scratch, room, n, tile, t, place)  # fmt: skip
                else:
                    settle_input(records, x, values, offsets, ends, stage, scratch, room, n, base, tile, t,
                                 digit_of if table is None else bucket_of,
                                 u32(records.key_shift) if table is None else items(table, bounds))  # fmt: skip
                if keys is not None:
                    finish_runs(records, keys_out, offsets, ends, scratch, room, keys, payloads, base, t)
                elif both is not None:
                    copy_runs(records, offsets, ends, scratch, room, both, (1 - half) * n, t)
                else:
                    copy_runs(records, offsets, ends, scratch, room, out, u64(0), t)

    scatter.name = f"sort_{at}_{records.name}{'_payload' if is_output and not keys_out else ''}"
    return scatter


# what the kernel is made of


def settle_tile(
    records: Any, source: Any, half: Any, offsets: Any, ends: Any, stage: Any, scratch: Any, room: Any, n: Any,
    tile: Any, t: Any, number: Any,
) -> None:  # fmt: skip
    """Sort tile ``t`` of the records by digit ``number`` into ``scratch[room:]``."""
    start_runs(offsets, ends, t)
    first = u64(t) * tile
    last = min(first + tile, n)
    for block in range(first, last, STAGE):
        size = min(last - block, u64(STAGE))
        for i in range(size * records.words):
            stage[i] = source[(half + block) * records.words + i]
        settle(records, stage, ends, scratch, room, size, digit_of, records.key_shift + DIGIT_BITS * number)


def finish_runs(
    records: Any, keys_out: Any, offsets: Any, ends: Any, scratch: Any, room: Any, keys: Any, payloads: Any,
    base: Any, t: Any,
) -> None:  # fmt: skip
    """Write the elements and payloads of each digit's run of tile ``t`` to their places."""
    begin = u32(0)
    for d in range(DIGITS):
        end = ends[d]
        to = base + u64(offsets[t * DIGITS + d])
        finish(records, keys_out, scratch, room + u64(begin), keys, payloads, to, u64(end - begin))
        begin = end
