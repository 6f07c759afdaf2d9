"""``gpu_scan``: running sums, products, minima and maxima.

Layer: patterns. Floats follow the canonical order of ``kernels.scan.lanes``. Invariant: result i depends on the
elements up to i, on i, and on nothing else.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import flag
from loom.patterns.axis import rows_of
from loom.patterns.calling.call import Call
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.scan import record_scan, scanning_of

__all__ = ["check_operation", "gpu_scan"]

_OPERATIONS = ("sum", "product", "min", "max")


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
    call, exclusive = Call("gpu_scan", on), flag(exclusive, "gpu_scan, exclusive")
    x = call.input(data)
    check_operation(op, call.name)
    if axis is None and len(x.shape) > 1:
        raise ArgumentError(
            "gpu_scan, axis", "no axis to scan along", expected="an int", got=f"None, shape {x.shape}",
            remedy="Name the axis, or flatten the array",
        )  # fmt: skip
    shape = rows_of(x.shape, axis, call.name)
    scanning = scanning_of(op, x.dtype, exclusive=exclusive)
    out = call.output(x.shape, scanning.result, like=x)
    if x.size:
        key = (call.name, op, exclusive, x.dtype, shape)

        def record(chain: Chain, data: HostSlot, out: HostSlot) -> None:
            record_scan(chain, data, out, shape, scanning)

        call.run(key, record, x, out)
    return call.result(out)


def check_operation(op: Any, where: str) -> None:
    """Raise ArgumentError unless ``op`` is one of the operations."""
    if not isinstance(op, str) or op not in _OPERATIONS:
        raise ArgumentError(f"{where}, op", f"no scan is called {op!r}", remedy=near_matches(str(op), _OPERATIONS))
