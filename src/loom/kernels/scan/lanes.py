"""Running sums, products, minima and maxima, in the canonical order.

Layer: kernels. An array of shape (outer, n, inner) is scanned along n. A tile is 4096 elements along it, 64 runs of 64:
a run is scanned one element after the other, the totals of runs by Kogge and Stone's network, the totals of tiles
by the same operator; an element's result is then tile offset + (run offset + local), earlier values on the left.
``run_totals`` leaves the scanned totals of runs, ``scan_tiles`` makes the results from them. An offset that does not
exist is the operation's neutral value, which changes no bit (of a sum -0).

``segmented`` kernels scan pairs (mark, value) in the same tree, under the operator

    (f, a) . (g, b) = (f or g, b if g else a op b)

so that what is joined across the beginning of a segment is dropped; without segments marks are None, which is known
when a kernel is translated and costs nothing. Invariant: the order depends on n alone.

Sources: Kogge and Stone, "A Parallel Algorithm for the Efficient Solution of a General Class of Recurrence Equations"
(IEEE Transactions on Computers, 1973); Blelloch, "Prefix Sums and Their Applications" (1990), section 1.5, segments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, u8, u32
from loom.core.late.dataclass import dataclass
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.base.annotations import Absent, In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, local_id, private, select, static_range
from loom.kernels.functions.exponential import exp
from loom.kernels.functions.logarithm import log1p
from loom.kernels.group.join import add, highest, items, larger, lowest, multiply, smaller

__all__ = [
    "ACROSS_LANES", "MARK_LANES", "RUNS", "SCANS", "Scan", "after_offsets", "either", "join_unless",
    "mark_segments", "read_mark", "restart_at", "run_totals", "scan_tiles", "write_mark",
]  # fmt: skip

RUNS = SCAN_TILE // SCAN_RUN
"""Runs of a tile."""

ACROSS_LANES = 64
"""Columns a workgroup takes if each lane scans a column of its own."""

MARK_LANES = 256

_TOGETHER = 8
"""Runs scanned in turn, so that additions of one need not wait for each other."""


def add_logarithms(a: Any, b: Any) -> Any:
    """Return log(e^a + e^b), computed from the larger; NaN wins, and -infinity changes no bit but that of -0."""
    high = max(a, b)
    away = -abs(a - b)
    return select((a == b) & (away != 0), high, high + log1p(exp(away)))


@dataclass(frozen=True, slots=True)
class Scan:
    """An operation: ``join`` it, ``neutral`` changes no bit, ``identity`` is what an exclusive scan starts from."""

    join: Callable[[Any, Any], Any]
    neutral: Callable[[DType], Any]
    identity: Callable[[DType], Any]


SCANS: dict[str, Scan] = {
    "sum": Scan(add, lambda t: -0.0 if t.is_float else 0, lambda _t: 0),
    "product": Scan(multiply, lambda _t: 1, lambda _t: 1),
    "min": Scan(smaller, highest, highest),
    "max": Scan(larger, lowest, lowest),
    "logaddexp": Scan(add_logarithms, lowest, lowest),
}
"""The operations by name; the last is one of floats."""


def join_unless(join: Any, a: Any, b: Any, mark: Any) -> Any:
    """Return ``a`` op ``b``, or ``b`` alone where its mark is set."""
    if mark is None:
        return join(a, b)
    return select(mark != 0, b, join(a, b))


def either(mark: Any, other: Any) -> Any:
    """Return a mark that is set where one of two is."""
    if mark is None:
        return None
    return mark | other


def after_offsets(join: Any, before: Any, shift: Any, value: Any, shift_mark: Any, mark: Any) -> Any:
    """Return tile offset . (run offset . local)."""
    return join_unless(join, before, join_unless(join, shift, value, mark), either(mark, shift_mark))


def restart_at(marks: Any, at: Any, identity: Any, value: Any) -> Any:
    """Return an exclusive scan's result for element ``at``: the identity at the beginning of a segment."""
    if marks is None:
        return value
    return select(marks[at] != 0, identity, value)


def read_mark(marks: Any, at: Any) -> Any:
    """Return a mark."""
    if marks is None:
        return None
    return marks[at]


def write_mark(marks: Any, at: Any, mark: Any) -> None:
    """Store a mark."""
    if marks is not None:
        marks[at] = mark


def _put(out: Any, marks: Any, here: Any, after: Any, identity: Any, result: Any, value: Any) -> None:
    """Store the result of the element at ``here``, or of the one ``after`` it if there is an identity to start from."""
    if identity is None:
        out[here] = result(value)
    else:
        out[after] = result(restart_at(marks, after, identity, value))


def _earlier(runs: Any, run_marks: Any, run: Any, at: Any, neutral: Any) -> tuple[Any, Any]:
    """Return the total before a run of a tile, which stands at ``at``, and its mark."""
    shift, mark = neutral, None if run_marks is None else u8(0)
    if run > 0:
        shift = runs[at]
        if run_marks is not None:
            mark = run_marks[at]
    return items(shift, mark)


def _place(group: Any, inner: Any, tiles: Any, across: Any) -> Any:
    """Return the column, the tile and the outer index of this lane."""
    if across:
        blocks = (inner + (ACROSS_LANES - 1)) // ACROSS_LANES
        rest = group // blocks
        return group % blocks * ACROSS_LANES + local_id(), rest % tiles, rest // tiles
    return u32(0), group % tiles, group // tiles


def _kogge_stone(totals: Any, seen: Any, scratch: Any, scratch_seen: Any, join: Any) -> None:
    """Scan the totals of a tile's runs, and their marks."""
    for step in static_range(RUNS.bit_length() - 1):
        for run in range(1 << step):
            scratch[run] = totals[run]
            write_mark(scratch_seen, run, read_mark(seen, run))
        for run in range(1 << step, RUNS):
            earlier = run - (1 << step)
            scratch[run] = join_unless(join, totals[earlier], totals[run], read_mark(seen, run))
            write_mark(scratch_seen, run, either(read_mark(seen, run), read_mark(seen, earlier)))
        for run in range(RUNS):
            totals[run] = scratch[run]
            write_mark(seen, run, read_mark(scratch_seen, run))


@cache
def mark_segments(element: DType) -> KernelFunction:
    """Return the kernel (ids, marks, n): 1 where an id differs from the one before it, and at the first."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def mark(ids: In[element], marks: Out[u8], n: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            marks[i] = u8(1)
            if i > 0:
                marks[i] = u8(ids[i] != ids[i - 1])

    mark.name = f"mark_segments_{element}"
    return mark


@cache
def run_totals(
    operation: str, element: DType, accumulator: DType, *, across: bool, segmented: bool = False
) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, total, total_marks, n, inner, tiles, width) of totals of runs.

    ``x`` has shape (outer, n, inner), ``runs`` (outer, tiles, width, inner): the total up to and including each
    run of a tile; ``total`` (outer, tiles, inner): that of the tile. A group does one tile of one row (``inner`` is
    1), or ``across`` of ``ACROSS_LANES`` columns. ``width`` is ``RUNS``, or less if the only tile has less. There are
    marks if ``segmented``, each beside what it marks.
    """
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))
    marked, marking = (In[u8], Out[u8]) if segmented else (Absent, Absent)

    def total_together(x: Any, marks: Any, held: Any, seen: Any, part: Any, at: Any) -> None:
        """Leave the totals of the runs of a part that begins at ``at``."""
        running = private(accumulator, _TOGETHER)
        found = private(u8, _TOGETHER) if segmented else None
        for k in static_range(_TOGETHER):
            running[k] = neutral
            write_mark(found, k, u8(0))
        for i in range(SCAN_RUN):
            for k in static_range(_TOGETHER):
                here = at + k * SCAN_RUN + i
                running[k] = join_unless(join, running[k], accumulator(x[here]), read_mark(marks, here))
                write_mark(found, k, either(read_mark(marks, here), read_mark(found, k)))
        for k in static_range(_TOGETHER):
            held[part * _TOGETHER + k] = running[k]
            write_mark(seen, part * _TOGETHER + k, read_mark(found, k))

    @kernel(workgroup=ACROSS_LANES if across else 1, trusted=True)
    def totals(
        x: In[element], marks: marked, runs: Out[accumulator], run_marks: marking,  # type: ignore[valid-type]
        total: Out[accumulator], total_marks: marking,  # type: ignore[valid-type]
        n: u32, inner: u32, tiles: u32, width: u32,
    ):  # fmt: skip
        column, tile, outer = _place(group_id(), inner, tiles, across)
        held, scratch = private(accumulator, RUNS), private(accumulator, RUNS)
        seen = private(u8, RUNS) if segmented else None
        scratch_seen = private(u8, RUNS) if segmented else None
        along = inner if across else 1
        if column < inner:
            size = min(n - tile * SCAN_TILE, SCAN_TILE)
            first = (outer * n + tile * SCAN_TILE) * along + column
            whole = 0 if across else size // (_TOGETHER * SCAN_RUN)
            for part in range(whole):
                total_together(x, marks, held, seen, part, first + part * (_TOGETHER * SCAN_RUN))
            for run in range(whole * _TOGETHER, RUNS):
                value = neutral
                any_mark = u8(0) if segmented else None
                for i in range(run * SCAN_RUN, min(size, (run + 1) * SCAN_RUN)):
                    value = join_unless(
                        join, value, accumulator(x[first + i * along]), read_mark(marks, first + i * along)
                    )
                    if segmented:
                        any_mark = any_mark | marks[first + i * along]
                held[run] = value
                write_mark(seen, run, any_mark)
            _kogge_stone(held, seen, scratch, scratch_seen, join)
            to = (outer * tiles + tile) * width * along + column
            for run in range(width):
                runs[to + run * along] = held[run]
                write_mark(run_marks, to + run * along, read_mark(seen, run))
            total[(outer * tiles + tile) * along + column] = held[RUNS - 1]
            write_mark(total_marks, (outer * tiles + tile) * along + column, read_mark(seen, RUNS - 1))

    kind = f"{'segment_' if segmented else ''}run_totals"
    totals.name = f"{kind}_{operation}_{element}_{accumulator}{'_across' if across else ''}"
    return totals


@cache
def scan_tiles(
    operation: str, element: DType, accumulator: DType, result: DType, *,
    across: bool, exclusive: bool, segmented: bool = False,
) -> KernelFunction:  # fmt: skip
    """Return the kernel (x, marks, runs, run_marks, offsets, out, n, inner, tiles, width) that makes the results.

    Shapes as for ``run_totals``; ``offsets`` is the scan of its ``total``, read if there are several tiles.
    ``exclusive`` puts each result one place later, after the identity.
    """
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = accumulator(scan.identity(accumulator))
    marked = In[u8] if segmented else Absent
    at_first = identity if exclusive else None

    def scan_together(x: Any, marks: Any, offset: Any, offset_mark: Any, out: Any, before: Any, at: Any) -> None:
        """Make the results of the runs of a part that begins at ``at``."""
        running = private(accumulator, _TOGETHER)
        seen = private(u8, _TOGETHER) if segmented else None
        for k in static_range(_TOGETHER):
            running[k] = neutral
            write_mark(seen, k, u8(0))
        for i in range(SCAN_RUN):
            for k in static_range(_TOGETHER):
                here = at + k * SCAN_RUN + i
                running[k] = join_unless(join, running[k], accumulator(x[here]), read_mark(marks, here))
                write_mark(seen, k, either(read_mark(marks, here), read_mark(seen, k)))
                found = after_offsets(
                    join, before, offset[k], running[k], read_mark(offset_mark, k), read_mark(seen, k)
                )
                _put(out, marks, here, here + 1, at_first, result, found)

    @kernel(workgroup=ACROSS_LANES if across else 1, trusted=True)
    def results(
        x: In[element], marks: marked, runs: In[accumulator], run_marks: marked,  # type: ignore[valid-type]
        offsets: In[accumulator], out: Out[result],  # type: ignore[valid-type]
        n: u32, inner: u32, tiles: u32, width: u32,
    ):  # fmt: skip
        column, tile, outer = _place(group_id(), inner, tiles, across)
        along = inner if across else 1
        if column < inner:
            begin, end = tile * SCAN_TILE, min(n - tile * SCAN_TILE, SCAN_TILE) + tile * SCAN_TILE
            first = outer * n * along + column
            before = neutral
            if tile > 0:
                before = offsets[(outer * tiles + tile - 1) * along + column]
            if exclusive and tile == 0:
                out[first] = result(identity)
            scanned = (outer * tiles + tile) * width * along + column
            safe = end - 1 if exclusive and end == n else end  # the last result has no place
            whole = 0 if across else (safe - begin) // (_TOGETHER * SCAN_RUN)
            for part in range(whole):
                offset = private(accumulator, _TOGETHER)
                offset_mark = private(u8, _TOGETHER) if segmented else None
                for k in static_range(_TOGETHER):
                    run = part * _TOGETHER + k
                    offset[k], mark = _earlier(runs, run_marks, run, scanned + run - 1, neutral)
                    write_mark(offset_mark, k, mark)
                at = first + begin + part * (_TOGETHER * SCAN_RUN)
                scan_together(x, marks, offset, offset_mark, out, before, at)
            for run in range(whole * _TOGETHER, (end - begin + (SCAN_RUN - 1)) // SCAN_RUN):
                value, any_mark = neutral, u8(0) if segmented else None
                shift, shift_mark = _earlier(runs, run_marks, run, scanned + (run - 1) * along, neutral)
                for i in range(begin + run * SCAN_RUN, min(end, begin + (run + 1) * SCAN_RUN)):
                    here = first + i * along
                    value = join_unless(join, value, accumulator(x[here]), read_mark(marks, here))
                    if segmented:
                        any_mark = any_mark | marks[here]
                    if not exclusive or i < safe:
                        found = after_offsets(join, before, shift, value, shift_mark, any_mark)
                        _put(out, marks, here, here + along, at_first, result, found)

    kind = f"{'exclusive_' if exclusive else ''}{'segment_' if segmented else ''}scan"
    results.name = f"{kind}_{operation}_{element}_{accumulator}_{result}{'_across' if across else ''}"
    return results
