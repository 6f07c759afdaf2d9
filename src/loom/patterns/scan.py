"""``gpu_scan``: running sums, products, minima and maxima.

Layer: patterns. Floats follow the canonical order of ``kernels.scan.lanes``. Invariant: result i depends on the
elements up to i, on i, and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError, near_matches
from loom.core.given import flag
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.kernels.scan.columns import BESIDE, lane_run_totals_across, lane_scan_across
from loom.kernels.scan.lanes import ACROSS_LANES, RUNS, SCANS, run_totals, scan_tiles
from loom.kernels.scan.threads import lane_run_totals, lane_scan_tiles, quad_run_totals, quad_scan_tiles
from loom.kernels.types import read_type, wide_type
from loom.patterns.axis import rows_of
from loom.patterns.calling.call import Call
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, Storage
from loom.schedules.axis import Rows

__all__ = ["gpu_scan", "record_scan", "scan_types"]


def gpu_scan(
    data: Any, op: str = "sum", *, exclusive: bool = False, axis: int | None = None, on: str | Device | None = None
) -> Any:
    """Return the running ``op`` ("sum", "product", "min", "max") of ``data`` along ``axis``.

    ``axis`` may be left out for data of at most one dimension. Result i is that of elements 0 to i, or with
    ``exclusive`` of those before i, the first being the identity: 0, 1, or for "min" and "max" the largest and
    smallest value of the type (of floats the infinities). Floats keep their dtype (f16 and bf16 are computed in f32,
    every result rounded once). Sums and products of integers give int64, of unsigned ones and bools uint64, wrapping;
    minima and maxima keep the dtype. From a NaN on all results are NaN; -0 is below +0. No elements give none.
    Raises DTypeError for anything but numbers, ArgumentError for another ``op`` or axis.

    Order of floats: a tile is 4096 elements, 64 runs of 64; a run is scanned in order, totals of runs by Kogge and
    Stone's six steps, totals of tiles the same way; a result is tile offset + (run offset + local), the earlier value
    on the left, and an offset that does not exist is not added.

    >>> gpu_scan([1, 2, 3, 4]).tolist()
    [1, 3, 6, 10]
    >>> gpu_scan([3.0, 1.0, 2.0], "min", exclusive=True).tolist()
    [inf, 3.0, 1.0]
    """
    call, exclusive = Call("gpu_scan", on), flag(exclusive, "gpu_scan, exclusive")
    x = call.input(data)
    check_operation(op, call.name)
    if axis is None and len(x.shape) > 1:
        raise ArgumentError(
            "gpu_scan, axis", "no axis to scan along", expected="an int", got=f"None, shape {x.shape}",
            remedy="Name the axis, or flatten the array",
        )  # fmt: skip
    shape = rows_of(x.shape, axis, call.name)
    types = scan_types(op, x.dtype)
    out = call.output(x.shape, types.result, like=x)
    if x.size:
        key = (call.name, op, exclusive, x.dtype, shape)
        call.run(key, lambda c: _record(c, shape, op, exclusive, types), x, out)
    return call.result(out)


def check_operation(op: Any, where: str) -> None:
    """Raise ArgumentError unless ``op`` is one of the operations."""
    if not isinstance(op, str) or op not in SCANS:
        raise ArgumentError(f"{where}, op", f"no scan is called {op!r}", remedy=near_matches(str(op), list(SCANS)))


@dataclass(frozen=True, slots=True)
class ScanTypes:
    """Types of elements, accumulators and results, as a kernel sees them."""

    element: DType
    accumulator: DType
    result: DType


def scan_types(op: str, dtype: DType) -> ScanTypes:
    """Return the types of a scan of ``dtype``."""
    element = read_type(dtype)
    if op in ("min", "max"):
        return ScanTypes(element, f32 if dtype.storage_only else element, dtype)
    return ScanTypes(element, *wide_type(dtype))


def _record(chain: Chain, shape: Rows, op: str, exclusive: bool, types: ScanTypes) -> tuple[list[HostSlot], Any]:
    x, out = HostSlot(shape.size * types.element.nbytes), HostSlot(shape.size * types.result.nbytes)
    return [x, out], record_scan(chain, x, out, shape, op, exclusive, types)


def record_scan(
    chain: Chain, x: Storage, out: Storage, shape: Rows, op: str, exclusive: bool, types: ScanTypes
) -> list[Any]:
    """Record totals of runs, the scan of the totals of tiles, and results; return the memory in between."""
    wide = types.accumulator
    tiles = -(-shape.n // SCAN_TILE)
    width = min(-(-shape.n // SCAN_RUN), RUNS)
    rows = shape.results * tiles
    runs, total, offsets = (chain.device.allocate(count * wide.nbytes) for count in (rows * width, rows, rows))
    kept: list[Any] = [runs, total, offsets]
    passes = _Passes(chain, shape, op, types, tiles, width)
    if width > 1:
        passes.totals([x, runs, total])
    if tiles > 1:
        above = Rows(shape.outer, tiles, shape.inner)
        kept += record_scan(chain, total, offsets, above, op, False, ScanTypes(wide, wide, wide))
    passes.results([x, runs, offsets, out], exclusive)
    return kept


@dataclass(frozen=True, slots=True)
class _Passes:
    """The two passes over the elements, by the kernels that suit the device."""

    chain: Chain
    shape: Rows
    op: str
    types: ScanTypes
    tiles: int
    width: int

    @property
    def whole(self) -> int:
        """How many of the first tiles are whole, of 32-bit numbers, and begin at a multiple of 4."""
        shape, types = self.shape, self.types
        if types.element.bits != 32 or types.accumulator != types.element or types.result != types.element:
            return 0
        if shape.n % SCAN_TILE == 0:
            return shape.outer * self.tiles
        return shape.n // SCAN_TILE if shape.outer == 1 else 0

    def totals(self, buffers: list[Storage]) -> None:
        """Record the totals of runs; ``buffers`` as for ``run_totals``."""
        kinds = self.op, self.types.element, self.types.accumulator
        across = self.shape.inner > 1
        if not self.chain.device.caps.threads:
            self._record_tiles(run_totals(*kinds, across=across), buffers, ACROSS_LANES)
        elif across:
            self._record_tiles(lane_run_totals_across(*kinds), buffers, BESIDE)
        else:
            whole = self.whole
            if whole:
                self.chain.dispatch(quad_run_totals(*kinds[:2]), buffers, [], groups=whole)
            self._record_rest(lane_run_totals(*kinds), buffers, whole)

    def results(self, buffers: list[Storage], exclusive: bool) -> None:
        """Record the results; ``buffers`` as for ``scan_tiles``."""
        kinds = self.op, self.types.element, self.types.accumulator, self.types.result
        across = self.shape.inner > 1
        if not self.chain.device.caps.threads:
            self._record_tiles(scan_tiles(*kinds, across=across, exclusive=exclusive), buffers, ACROSS_LANES)
        elif across:
            self._record_tiles(lane_scan_across(*kinds, exclusive=exclusive), buffers, BESIDE)
        else:
            whole = 0 if exclusive else self.whole
            if whole:
                self.chain.dispatch(quad_scan_tiles(*kinds[:2]), buffers, [self.tiles], groups=whole)
            self._record_rest(lane_scan_tiles(*kinds, exclusive=exclusive), buffers, whole)

    def _record_tiles(self, kernel: Any, buffers: list[Storage], beside: int) -> None:
        """Record a kernel of which a group does a tile of one row, or of ``beside`` columns."""
        shape = self.shape
        groups = shape.outer * self.tiles * (-(-shape.inner // beside) if shape.inner > 1 else 1)
        self.chain.dispatch(kernel, buffers, [shape.n, shape.inner, self.tiles, self.width], groups=groups)

    def _record_rest(self, kernel: Any, buffers: list[Storage], skip: int) -> None:
        """Record the tiles from number ``skip`` on, if there are any."""
        groups = self.shape.outer * self.tiles - skip
        if groups:
            self.chain.dispatch(kernel, buffers, [self.shape.n, self.tiles, self.width, skip], groups=groups)
