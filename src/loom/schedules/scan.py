"""Records a scan: totals of runs, the scan of the totals of tiles, then the results.

Layer: schedules. Of segments, given by marks, it is the scan of pairs (mark, value). Invariant: shapes and ``Caps``
choose the kernels, and all give the bits of ``kernels.scan.lanes``.
"""

from __future__ import annotations

from loom.core.dtype import DType, u8, u64
from loom.core.late.dataclass import dataclass
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.group.clear import CLEAR_LANES, clear_words
from loom.kernels.scan.columns import BESIDE, lane_run_totals_across, lane_scan_across
from loom.kernels.scan.lanes import ACROSS_LANES, MARK_LANES, RUNS, mark_segments, run_totals, scan_tiles
from loom.kernels.scan.onepass import MOST_TILES, scan_once, status_words
from loom.kernels.scan.threads import lane_run_totals, lane_scan_tiles, quad_run_totals, quad_scan_tiles
from loom.kernels.types import compute_type, read_type, wide_type
from loom.schedules.axis import Rows
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["Scanning", "record_marks", "record_scan", "scanning_of"]


@dataclass(frozen=True, slots=True)
class Scanning:
    """A scan of ``SCANS`` by name, and the types of elements, accumulators and results."""

    name: str
    element: DType
    accumulator: DType
    result: DType
    exclusive: bool = False

    def of_totals(self) -> Scanning:
        """Return the scan of the totals of tiles."""
        wide = self.accumulator
        return Scanning(self.name, wide, wide, wide)


def scanning_of(op: str, dtype: DType, *, exclusive: bool = False) -> Scanning:
    """Return a scan of ``dtype``: sums and products of integers have 64 bits, extremes keep the type."""
    element = read_type(dtype)
    if op in ("min", "max"):
        return Scanning(op, element, compute_type(element), dtype, exclusive)
    return Scanning(op, element, *wide_type(dtype), exclusive)


def record_scan(
    chain: Recorder,
    x: StorageLike,
    out: StorageLike,
    shape: Rows,
    scanning: Scanning,
    marks: StorageLike | None = None,
    *,
    threads: bool | None = None,
    once: bool | None = None,
) -> None:
    """Record the scan of ``x`` along the axis into ``out``.

    There are elements. ``marks`` (u8, beside the elements of a single row) begin segments. ``threads`` tells whether
    lanes share the runs of a tile: by default where they are threads of hardware, as elsewhere that takes 1.3 to 12
    times as long for every shape. ``once`` tells whether whole tiles of 32-bit numbers are read once, by groups that
    wait for each other: by default where groups may.
    """
    caps = chain.device.caps
    wait = caps.waits if once is None else once
    scan = _Scan(chain, shape, scanning, caps.threads if threads is None else threads, wait)
    scan.record(x, marks, out)


def record_marks(chain: Recorder, ids: StorageLike, element: DType, n: int) -> StorageLike:
    """Record where numbers of segments differ from the one before; return the marks."""
    marks = chain.device.allocate(n)
    chain.dispatch(mark_segments(element), [ids, marks], [n], groups=-(-n // MARK_LANES))
    return marks


@dataclass(frozen=True, slots=True)
class _Scan:
    chain: Recorder
    shape: Rows
    scanning: Scanning
    threads: bool
    once: bool = False

    @property
    def tiles(self) -> int:
        """Tiles of a row."""
        return -(-self.shape.n // SCAN_TILE)

    @property
    def width(self) -> int:
        """Runs of a tile."""
        return min(-(-self.shape.n // SCAN_RUN), RUNS)

    def record(self, x: StorageLike, marks: StorageLike | None, out: StorageLike) -> None:
        """Record the passes over elements, and between them the scan of the totals of tiles."""
        wide, rows = self.scanning.accumulator, self.shape.results * self.tiles
        totals: list[StorageLike] = []
        for count in (rows * self.width, rows):  # of runs, of tiles
            totals.append(self.chain.device.allocate(count * wide.nbytes))
            if marks is not None:
                totals.append(self.chain.device.allocate(count * u8.nbytes))
        given = [x] if marks is None else [x, marks]
        runs, total = totals[: len(given)], totals[len(given) :]
        offsets = self.chain.device.allocate(rows * wide.nbytes)
        once = self.tiles_once(marked=marks is not None)
        if once:
            self.record_once(x, [*runs, *total], offsets, out, once)
            return
        if self.width > 1:
            self.record_totals([*given, *totals], marked=marks is not None)
        if self.tiles > 1:
            above = Rows(self.shape.outer, self.tiles, self.shape.inner)
            later = self.scanning.of_totals()
            record_scan(self.chain, total[0], offsets, above, later, *total[1:], threads=self.threads)
        self.record_results([*given, *runs, offsets, out], marked=marks is not None)

    def whole(self, *, marked: bool) -> int:
        """Return how many of the first tiles are whole, of 32-bit numbers, and begin at a multiple of 4."""
        shape, types = self.shape, self.scanning
        if marked or types.element.bits != 32 or not types.element == types.accumulator == types.result:
            return 0
        if shape.n % SCAN_TILE == 0:
            return shape.outer * self.tiles
        return shape.n // SCAN_TILE if shape.outer == 1 else 0

    def tiles_once(self, *, marked: bool) -> int:
        """Return how many tiles are read once, 0 if that does not pay or cannot be."""
        can = self.once and self.shape.outer == 1 and self.shape.inner == 1 and not self.scanning.exclusive
        whole = self.whole(marked=marked) if can else 0
        return whole if 1 < whole <= MOST_TILES else 0

    def record_once(
        self, x: StorageLike, totals: list[StorageLike], offsets: StorageLike, out: StorageLike, whole: int
    ) -> None:
        """Record the pass over whole tiles, and what is left of the row."""
        kinds = self.scanning.name, self.scanning.element
        words = status_words(whole)
        told = self.chain.device.allocate(words * u64.nbytes, zeroed=False)
        self.chain.dispatch(clear_words(u64), [told], [words], groups=-(-words // CLEAR_LANES))
        groups = self.tiles  # one more than whole tiles where some elements are left
        self.chain.dispatch(scan_once(*kinds), [x, told, offsets, out], [whole], groups=groups)
        if groups > whole:
            types = *kinds, self.scanning.accumulator
            self.record_rest(lane_run_totals(*types), [x, *totals], whole)
            rest = lane_scan_tiles(*types, self.scanning.result, exclusive=False)
            self.record_rest(rest, [x, totals[0], offsets, out], whole)

    def record_totals(self, buffers: list[StorageLike], *, marked: bool) -> None:
        """Record the totals of runs; ``buffers`` as for ``run_totals``."""
        kinds = self.scanning.name, self.scanning.element, self.scanning.accumulator
        across = self.shape.inner > 1
        if not self.threads:
            self.record_tiles(run_totals(*kinds, across=across, segmented=marked), buffers, ACROSS_LANES)
        elif across:
            self.record_tiles(lane_run_totals_across(*kinds), buffers, BESIDE)
        else:
            whole = self.whole(marked=marked)
            if whole:
                self.chain.dispatch(quad_run_totals(*kinds[:2]), buffers, [], groups=whole)
            self.record_rest(lane_run_totals(*kinds, segmented=marked), buffers, whole)

    def record_results(self, buffers: list[StorageLike], *, marked: bool) -> None:
        """Record the results; ``buffers`` as for ``scan_tiles``."""
        kinds = self.scanning.name, self.scanning.element, self.scanning.accumulator, self.scanning.result
        across, exclusive = self.shape.inner > 1, self.scanning.exclusive
        if not self.threads:
            kernel = scan_tiles(*kinds, across=across, exclusive=exclusive, segmented=marked)
            self.record_tiles(kernel, buffers, ACROSS_LANES)
        elif across:
            self.record_tiles(lane_scan_across(*kinds, exclusive=exclusive), buffers, BESIDE)
        else:
            whole = 0 if exclusive else self.whole(marked=marked)
            if whole:
                self.chain.dispatch(quad_scan_tiles(*kinds[:2]), buffers, [self.tiles], groups=whole)
            self.record_rest(lane_scan_tiles(*kinds, exclusive=exclusive, segmented=marked), buffers, whole)

    def record_tiles(self, kernel: KernelFunction, buffers: list[StorageLike], beside: int) -> None:
        """Record a kernel of which a group does a tile of one row, or of ``beside`` columns."""
        shape = self.shape
        groups = shape.outer * self.tiles * (-(-shape.inner // beside) if shape.inner > 1 else 1)
        self.chain.dispatch(kernel, buffers, [shape.n, shape.inner, self.tiles, self.width], groups=groups)

    def record_rest(self, kernel: KernelFunction, buffers: list[StorageLike], skip: int) -> None:
        """Record the tiles from number ``skip`` on, if there are any."""
        groups = self.shape.outer * self.tiles - skip
        if groups:
            self.chain.dispatch(kernel, buffers, [self.shape.n, self.tiles, self.width, skip], groups=groups)
