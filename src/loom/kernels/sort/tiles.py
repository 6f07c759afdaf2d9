"""What sort kernels do with a tile: count digits, make records, move them run by run, write them out.

Layer: kernels. Functions of kernels, translated in place; ``records`` is what is moved, ``stage`` memory of the lane
that records are read ahead into. Invariant: records of equal digits keep their order.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import u32, u64
from loom.ir.frontend.intrinsics import group_id
from loom.kernels.sort.keys import DIGITS

__all__ = [
    "STAGE", "clear", "copy_runs", "digit_of", "finish", "settle", "settle_input", "stage_input", "start_runs", "tally",
    "write_counts",
]  # fmt: skip

STAGE = 1024
"""Records read ahead in one go: long enough for wide reads, short enough for the first-level cache."""


def clear(table: Any) -> None:
    """Zero the counters of both tables: neighbours count in different ones, so that equal digits wait less."""
    for d in range(2 * DIGITS):
        table[d] = 0


def tally(table: Any, place: Any) -> None:
    """Count one more."""
    table[place] = table[place] + 1


def write_counts(table: Any, counts: Any) -> None:
    """Write this group's row of counts."""
    for d in range(DIGITS):
        counts[group_id() * DIGITS + d] = table[d] + table[DIGITS + d]


def start_runs(offsets: Any, ends: Any, t: Any) -> None:
    """Set where each digit's run starts in the sorted tile; ``settle`` moves these on to where they end."""
    at = u32(0)
    for d in range(DIGITS):
        ends[d] = at
        at += offsets[(t + 1) * DIGITS + d] - offsets[t * DIGITS + d]


def stage_input(records: Any, x: Any, values: Any, stage: Any, base: Any, block: Any, size: Any) -> None:
    """Make records of ``size`` elements from position ``block`` on."""
    for i in range(size):
        key = records.order.encode(x[base + block + i])
        payload = u64(0)
        if records.payload_input is not None:
            payload = u64(values[base + block + i])
        elif records.payload == "index":
            payload = block + i
        stage[i * records.words] = records.first_word(key, payload)
        if records.words == 2:
            stage[i * 2 + 1] = payload


def settle_input(
    records: Any, x: Any, values: Any, offsets: Any, ends: Any, stage: Any, scratch: Any, room: Any, n: Any,
    base: Any, tile: Any, t: Any, run_of: Any, by: Any,
) -> None:  # fmt: skip
    """Make records of tile ``t`` of the input, sorted by their runs (see ``settle``), in ``scratch[room:]``."""
    start_runs(offsets, ends, t)
    first = u64(t) * tile
    last = min(first + tile, n)
    for block in range(first, last, STAGE):
        size = min(last - block, u64(STAGE))
        stage_input(records, x, values, stage, base, block, size)
        settle(records, stage, ends, scratch, room, size, run_of, by)


def settle(records: Any, stage: Any, ends: Any, scratch: Any, room: Any, size: Any, run_of: Any, by: Any) -> None:
    """Move staged records to their runs in ``scratch[room:]``, in order: ``run_of(records, word, by)`` tells which."""
    for i in range(size):
        word = stage[i * records.words]
        run = run_of(records, word, by)
        at = ends[run]
        ends[run] = at + 1
        scratch[(room + u64(at)) * records.words] = word
        if records.words == 2:
            scratch[(room + u64(at)) * 2 + 1] = stage[i * 2 + 1]


def digit_of(records: Any, word: Any, shift: Any) -> Any:
    """Return the digit of a record at ``shift``."""
    return records.digit(word, shift)


def copy_runs(records: Any, offsets: Any, ends: Any, scratch: Any, room: Any, out: Any, half: Any, t: Any) -> None:
    """Copy each digit's run of tile ``t`` to its place in ``out[half:]``."""
    begin = u32(0)
    for d in range(DIGITS):
        end = ends[d]
        to = (half + u64(offsets[t * DIGITS + d])) * records.words
        run = (room + u64(begin)) * records.words
        for i in range(u64(end - begin) * records.words):
            out[to + i] = scratch[run + i]
        begin = end


def finish(records: Any, keys_out: Any, source: Any, first: Any, keys: Any, payloads: Any, to: Any, size: Any) -> None:
    """Write elements and payloads of ``size`` records from ``first`` on to position ``to`` on."""
    for i in range(size):
        word = source[(first + i) * records.words]
        if keys_out:
            keys[to + i] = records.order.decode(records.key(word))
        if records.words == 2:
            payloads[to + i] = records.payload_output(source[(first + i) * 2 + 1])
        elif records.payload is not None:
            payloads[to + i] = records.payload_output(u32(word))
