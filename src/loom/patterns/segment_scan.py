"""``gpu_segment_scan``: running operations that start anew with each segment.

Layer: patterns. Invariant: a result depends on the elements of its own segment and on the positions of marks.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, u8
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import flag
from loom.core.numerics import SCAN_TILE
from loom.kernels.scan.lanes import RUNS
from loom.kernels.scan.segments import MARK_LANES, mark_segments, segment_run_totals, segment_scan_tiles
from loom.kernels.scan.segments_threads import lane_segment_run_totals, lane_segment_scan_tiles
from loom.patterns.calling.call import Call
from loom.patterns.scan import ScanTypes, check_operation, scan_types
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, Storage

__all__ = ["gpu_segment_scan"]


def gpu_segment_scan(
    data: Any, segments: Any, op: str = "sum", *, exclusive: bool = False, on: str | Device | None = None
) -> Any:
    """Return the running ``op`` ("sum", "product", "min", "max") of a vector, anew in each segment.

    ``segments`` has the length of ``data``: bools mark the first element of each segment (the first element of
    all begins one anyway); integers are numbers of segments, and a new one begins where a number differs from the
    one before it. With ``exclusive`` each segment starts from the identity. Dtypes, identities and NaN as for
    ``gpu_scan``: a NaN lasts until its segment ends.

    Order of floats: the tree of ``gpu_scan`` over pairs (mark, value) with the operator
    (f, a) . (g, b) = (f or g, b if g else a op b); the tree does not move with the segments, so that the bits of
    a segment depend on where it begins. Raises ShapeError for other shapes, DTypeError for marks that are floats,
    ArgumentError for another ``op``.

    >>> gpu_segment_scan([1, 2, 3, 4], [7, 7, 9, 9]).tolist()
    [1, 3, 3, 7]
    >>> gpu_segment_scan([1, 2, 3, 4], [True, False, True, False], exclusive=True).tolist()
    [0, 1, 0, 3]
    """
    call, exclusive = Call("gpu_segment_scan", on), flag(exclusive, "gpu_segment_scan, exclusive")
    x = call.input(data, ndim=1)
    marks = call.input(segments, "segments", ndim=1)
    check_operation(op, call.name)
    if marks.dtype.is_float and marks.size:
        raise DTypeError("gpu_segment_scan, segments", "neither marks nor numbers of segments",
                         expected="bools or integers", got=marks.dtype, remedy="Convert them")  # fmt: skip
    if marks.size != x.size:
        raise ShapeError("gpu_segment_scan, segments", "another length than data", expected=x.size, got=marks.size,
                         remedy="Give one for each element")  # fmt: skip
    types = scan_types(op, x.dtype)
    out = call.output(x.shape, types.result, like=x)
    if x.size:
        key = (call.name, op, exclusive, x.dtype, marks.dtype, x.size)
        call.run(key, lambda c: _record(c, x.size, op, exclusive, types, marks.dtype), x, marks, out)
    return call.result(out)


def _record(chain: Chain, n: int, op: str, exclusive: bool, types: ScanTypes, ids: DType) -> tuple[list[HostSlot], Any]:
    x, segments = HostSlot(n * types.element.nbytes), HostSlot(n * ids.nbytes)
    out = HostSlot(n * types.result.nbytes)
    marks: Storage = segments
    if not ids.is_bool:
        marks = chain.device.allocate(n)
        chain.dispatch(mark_segments(ids), [segments, marks], [n], groups=-(-n // MARK_LANES))
    return [x, segments, out], [marks, _record_level(chain, x, marks, out, n, op, exclusive, types)]


def _record_level(
    chain: Chain, x: Storage, marks: Storage, out: Storage, n: int, op: str, exclusive: bool, types: ScanTypes
) -> list[Any]:
    """Record totals of runs, the scan of the totals of tiles, and results; return the memory in between."""
    wide, tiles = types.accumulator, -(-n // SCAN_TILE)
    runs, total, offsets = (chain.device.allocate(k * wide.nbytes) for k in (tiles * RUNS, tiles, tiles))
    run_marks, total_marks = (chain.device.allocate(k * u8.nbytes) for k in (tiles * RUNS, tiles))
    kept: list[Any] = [runs, total, offsets, run_marks, total_marks]
    threads = chain.device.caps.threads
    kernel = (lane_segment_run_totals if threads else segment_run_totals)(op, types.element, wide)
    chain.dispatch(kernel, [x, marks, runs, run_marks, total, total_marks], [n], groups=tiles)
    if tiles > 1:
        above = ScanTypes(wide, wide, wide)
        kept += _record_level(chain, total, total_marks, offsets, tiles, op, False, above)
    make = lane_segment_scan_tiles if threads else segment_scan_tiles
    results = make(op, types.element, wide, types.result, exclusive=exclusive)
    chain.dispatch(results, [x, marks, runs, run_marks, offsets, out], [n], groups=tiles)
    return kept
