"""The scan of whole tiles of a row that reads every element once: groups wait for what earlier ones tell.

Layer: kernels. A group draws a ticket, the number of its tile; so whatever it waits for is told by a group that began
before, and the first of those that run waits for nobody. The order is that of ``kernels.scan.lanes``: before tile t is
the result of the scan of the totals of tiles at t - 1, which is offset + (run offset + local) over 64 runs of 64 tiles
in its turn. So what is told is never a sum of neighbours, but what that order has: the total of a tile, of a run of 64
tiles (by the tile behind it), of 64 runs (likewise), each with a mark in one word of 64 bits that is written in one
step. Invariant: the bits are those of ``kernels.scan.lanes``, whichever groups were quick.

Source: tickets and what is told ahead are those of D. Merrill and M. Garland, "Single-pass parallel prefix scan with
decoupled look-back" (2016); their order is not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import atomic_add, barrier, bitcast, local_id, shared, static_range
from loom.kernels.group.join import items, scan_lanes
from loom.kernels.scan.lanes import RUNS, SCANS
from loom.kernels.scan.threads import QUAD_ROW, QUAD_TILE, QUADS, STEPS, stage_tile

__all__ = ["MOST_TILES", "scan_once", "status_words"]

_ABOVE = RUNS * RUNS
"""Tiles of which a total is told as one."""
MOST_TILES = _ABOVE * RUNS
"""Tiles of a row whose totals of 64 runs are a single run."""
_TOLD = 1 << 32
"""The mark of a word that holds a value."""


def status_words(tiles: int) -> int:
    """Return how many u64 the groups of a row tell each other, the ticket being the first."""
    return 1 + tiles + tiles // RUNS + tiles // _ABOVE


@cache
def scan_once(operation: str, element: DType) -> KernelFunction:
    """Return the kernel (x, told, offsets, out, tiles) that scans whole tiles of a row of 32-bit elements.

    ``told`` has ``status_words`` zeros. A group more than tiles leaves the last result in ``offsets``,
    at ``tiles - 1``.
    """
    join, neutral = SCANS[operation].join, element(SCANS[operation].neutral(element))
    quad: Any = element.vector(4)

    @kernel(workgroup=RUNS, trusted=True, order="free")
    def scan(x: In[quad], told: InOut[u64], offsets: Out[element], out: Out[quad], tiles: u32):  # type: ignore[valid-type]
        """Order: the ticket only tells which group takes which tile, and what a tile gives depends on its elements and
        on what earlier tiles tell. A word is told by one lane, once, from 0; whoever asks waits until it is, and finds
        nothing else. So all that is read and written is the same whoever comes first.
        """
        lane = local_id()
        row, column = lane // QUADS, lane % QUADS
        drawn = shared(u32, 1)
        staged, held = shared(quad, RUNS * QUAD_ROW), shared(element, 2 * RUNS)
        near, runs, above = shared(element, RUNS), shared(element, 2 * RUNS), shared(element, RUNS)
        if lane == 0:
            drawn[0] = u32(atomic_add(told, 0, u64(1)))
        barrier()
        number = drawn[0]
        first = min(number, tiles - 1) * QUAD_TILE + row * QUADS + column
        stage_tile(x, staged, first, row * QUAD_ROW + column)
        barrier()
        value = scan_lanes(held, lane, scan_fours(quad, staged, lane * QUAD_ROW, neutral, join), join, STEPS)
        if lane == RUNS - 1 and number < tiles:
            tell(told, 1 + number, value)
        before = result_before(told, number, tiles, items(near, runs, above), element, join, neutral)
        if number == tiles:
            if lane == 0:
                offsets[tiles - 1] = before
            return
        for turn in static_range(QUADS):
            run = turn * (RUNS // QUADS) + row
            start = neutral
            if run > 0:
                start = held[run - 1]
            four = staged[run * QUAD_ROW + column]
            low = join(before, join(start, four.x)), join(before, join(start, four.y))
            high = join(before, join(start, four.z)), join(before, join(start, four.w))
            out[first + turn * (QUAD_TILE // QUADS)] = quad(*low, *high)

    scan.name = f"scan_once_{operation}_{element}"
    return scan


# what the kernel is made of


def scan_fours(quad: Any, staged: Any, at: Any, value: Any, join: Any) -> Any:
    """Scan the run at ``at`` where it lies, from ``value`` on; return its total."""
    for k in static_range(QUADS):
        four = staged[at + k]
        a = join(value, four.x)
        b = join(a, four.y)
        c = join(b, four.z)
        value = join(c, four.w)
        staged[at + k] = quad(a, b, c, value)
    return value


def result_before(told: Any, number: Any, tiles: Any, held: Any, element: Any, join: Any, neutral: Any) -> Any:
    """Return the scan's result before tile ``number``, and tell the totals of runs of tiles that end there.

    ``held``: shared arrays for totals of tiles, of runs (twice), of 64 runs. There are barriers inside.
    """
    near, runs, above = held
    lane = local_id()
    tile = max(number, 1) - 1
    place, run, high = tile % RUNS, tile // RUNS % RUNS, tile // _ABOVE
    near_at, run_at, above_at = 1 + tile - place, 1 + tiles + tile // RUNS, 1 + tiles + tiles // RUNS
    is_near = lane <= place and number > 0
    near_word = look(told, near_at + lane, is_near)
    run_word, above_word = look(told, run_at - run + lane, lane < run), look(told, above_at + lane, lane < high)
    near[lane] = heard(element, told, near_at + lane, is_near, near_word, neutral)
    barrier()
    local, before, shift = neutral, neutral, neutral
    for k in static_range(RUNS):
        local = join(local, near[k])
    if lane == RUNS - 1 and place == RUNS - 1:
        tell(told, run_at, local)  # before any other run is waited for, or each run would wait for the one before
    total = heard(element, told, run_at - run + lane, lane < run, run_word, neutral)
    if lane == run:
        total = local
    total = scan_lanes(runs, lane, total, join, STEPS)
    if lane == RUNS - 1 and place == RUNS - 1 and run == RUNS - 1:
        tell(told, above_at + high, total)
    above[lane] = heard(element, told, above_at + lane, lane < high, above_word, neutral)
    barrier()
    for k in range(high):
        before = join(before, above[k])
    if run > 0:
        shift = runs[run - 1]
    return join(before, join(shift, local))


def tell(told: Any, at: Any, value: Any) -> None:
    """Tell a value; nobody has written the word."""
    atomic_add(told, at, u64(bitcast(u32, value)) + _TOLD)


def look(told: Any, at: Any, wanted: Any) -> Any:
    """Return what a word holds now, 0 unless it is told and wanted."""
    word = u64(0)
    if wanted:
        word = atomic_add(told, at, u64(0))
    return word


def heard(element: Any, told: Any, at: Any, wanted: Any, word: Any, otherwise: Any) -> Any:
    """Return the value of a word that was ``word`` at a first look, once it is told, or what it is ``otherwise``."""
    value = otherwise
    if wanted:
        while word == 0:
            word = atomic_add(told, at, u64(0))
        value = bitcast(element, u32(word))
    return value
