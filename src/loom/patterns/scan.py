"""``gpu_scan``: running sums, products, minima and maxima.

Layer: patterns. Floats follow the canonical order of ``kernels.scan.lanes``. Invariant: result i depends on the
elements up to i, on i, and on nothing else.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import flag
from loom.patterns.axis import normal_axis
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.axis import rows_along
from loom.schedules.scan import record_scan, scanning_of
from loom.tensor import Tensor
from loom.tensor.ops.ordering import running
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["check_operation", "gpu_scan", "scan"]

_OPERATIONS = ("sum", "product", "min", "max")


def _record(draft: Draft, node: Node, data: Any, out: Any) -> None:
    axis, scanning = node.attributes[0]
    if node.size:
        record_scan(draft, data, out, rows_along(node.shape, axis, axis + 1), scanning)


_SCAN = Operation("gpu_scan", _record)


def scan(x: Tensor, op: str = "sum", *, exclusive: bool = False, axis: int | None = None) -> Tensor:
    """Return what ``gpu_scan`` is of a tensor."""
    before = flag(exclusive, "gpu_scan, exclusive")
    check_operation(op, "gpu_scan")
    if axis is None and x.ndim > 1:
        raise ArgumentError("gpu_scan, axis", "no axis to scan along", expected="an int", got=f"None, shape {x.shape}",
                            remedy="Name the axis, or flatten the array")  # fmt: skip
    at = 0 if axis is None else normal_axis(x.shape, axis, "gpu_scan")
    scanning = scanning_of(op, x.dtype, exclusive=before)
    given = x if x.ndim else reshape(x, (1,))
    if op in ("sum", "product") and not before:  # which have derivatives
        found = running(given, at, scanning, scanning.result)
    else:
        found = _SCAN([given], given.shape, scanning.result, at, scanning)
    return found if x.ndim else reshape(found, ())


@row(scan)
def gpu_scan(
    data: Any, op: str = "sum", *, exclusive: bool = False, axis: int | None = None, on: str | Device | None = None
) -> Any:
    """Return the running ``op`` ("sum", "product", "min", "max") of ``data`` along ``axis``.

    ``axis`` may be left out for data of at most one dimension. Result i is that of elements 0 to i, or with
    ``exclusive`` of those before i, the first being the identity: 0, 1, or for "min" and "max" the largest and
    smallest value of the type (of floats the infinities). Floats keep their dtype (f16 and bf16 are computed in f32,
    every result rounded once). Sums and products of integers and bools give int64, of unsigned ones uint64, wrapping;
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


def check_operation(op: Any, where: str) -> None:
    """Raise ArgumentError unless ``op`` is one of the operations."""
    if not isinstance(op, str) or op not in _OPERATIONS:
        raise ArgumentError(f"{where}, op", f"no scan is called {op!r}", remedy=near_matches(str(op), _OPERATIONS))
