"""``gpu_sort``, ``gpu_argsort``, ``gpu_sort_pairs``: stable, in a total order.

Layer: patterns. Floats are ordered -inf < ... < -0 < +0 < ... < inf < NaN: every NaN is last, equal to any other,
and comes out canonical. Descending is the reverse order, so NaN is first, +0 before -0; equal elements keep their
order either way. Invariant: the result does not depend on the device, its threads or its schedule.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import i64, lookup
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag
from loom.kernels.sort.keys import Order, Records
from loom.patterns.axis import normal_axis
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.fallback import falls_back
from loom.patterns.calling.workspace import workspace
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.sorting.sort import plan_sort

__all__ = ["gpu_argsort", "gpu_sort", "gpu_sort_pairs", "run_sort"]


@falls_back("sort", where="gpu_sort")
def gpu_sort(data: Any, *, descending: bool = False, axis: int | None = -1, on: str | Device | None = None) -> Any:
    """Return the elements of ``data`` in order, along an axis (``axis=None``: of all of it, in one row).

    Any dtype; the result keeps it. Floats: -inf < ... < -0 < +0 < ... < inf < NaN; descending is the reverse, NaN
    first. No elements and one element are returned as they are. IndexOutside for an axis there is not.

    >>> gpu_sort([3.0, -1.0, 2.0]).tolist()
    [-1.0, 2.0, 3.0]
    >>> gpu_sort([[2, 1], [3, 4]], descending=True).tolist()
    [[2, 1], [4, 3]]
    """
    call = Call("gpu_sort", on)
    x, rows = _rows(call, call.input(data), axis)
    out = call.output(x.shape, x.dtype, like=x)
    run_sort(call, Records(Order(x.dtype, flag(descending, f"{call.name}, descending"))), x, rows, keys=out)
    return call.result(out)


@falls_back("argsort", where="gpu_argsort")
def gpu_argsort(data: Any, *, descending: bool = False, axis: int | None = -1, on: str | Device | None = None) -> Any:
    """Return the positions (int64) that put ``data`` in the order of ``gpu_sort``; equal elements keep theirs.

    Along an axis, or with ``axis=None`` positions in ``data`` as one row. Any dtype.

    >>> gpu_argsort([30, 10, 20, 10]).tolist()
    [1, 3, 2, 0]
    """
    call = Call("gpu_argsort", on)
    x, rows = _rows(call, call.input(data), axis)
    out = call.output(x.shape, i64)
    order = Order(x.dtype, flag(descending, f"{call.name}, descending"))
    run_sort(call, Records(order, "index"), x, rows, payloads=out)
    return call.result(out)


def gpu_sort_pairs(
    keys: Any, values: Any, *, descending: bool = False, on: str | Device | None = None
) -> tuple[Any, Any]:
    """Return ``keys`` in order, and ``values`` moved along with them; those of equal keys keep their order.

    Both have one dimension and the same length, each any dtype, which it keeps. ShapeError otherwise.

    >>> keys, values = gpu_sort_pairs([2, 1, 2], [0.5, 1.5, 2.5])
    >>> keys.tolist(), values.tolist()
    ([1, 2, 2], [1.5, 0.5, 2.5])
    """
    call = Call("gpu_sort_pairs", on)
    x = call.input(keys, "keys", ndim=1)
    moved = call.input(values, "values", ndim=1)
    if x.size != moved.size:
        raise ShapeError(
            "gpu_sort_pairs, values", "not one for each key", expected=x.size, got=moved.size,
            remedy="Match the lengths",
        )  # fmt: skip
    out, beside = call.output(x.shape, x.dtype, like=x), call.output(x.shape, moved.dtype, like=moved)
    records = Records(Order(x.dtype, flag(descending, f"{call.name}, descending")), lookup(f"u{moved.dtype.bits}"))
    run_sort(call, records, x, 1, values=moved, keys=out, payloads=beside)
    return call.result(out), call.result(beside)


def _rows(call: Call, x: Operand, axis: int | None) -> tuple[Operand, int]:
    """Return the input in the shape of the result, and how many rows are sorted."""
    if axis is None:
        return x.reshape(x.size), 1
    at = normal_axis(x.shape, axis, call.name)
    if at != len(x.shape) - 1:
        raise ArgumentError(
            f"{call.name}, axis", "only the last axis is sorted along", expected=f"-1, {len(x.shape) - 1} or None",
            got=axis, remedy="Transpose data first",
        )  # fmt: skip
    return x, x.size // max(1, x.shape[-1])


def run_sort(
    call: Call, records: Records, x: Operand, rows: int, *, values: Operand | None = None,
    keys: Operand | None = None, payloads: Operand | None = None,
) -> None:  # fmt: skip
    """Sort each of ``rows`` rows of ``x`` into ``keys`` and ``payloads``, of which at least one is wanted."""
    if not x.size:
        return
    n = x.size // rows
    plan = plan_sort(records, rows, n, keys_out=keys is not None, caps=call.device.caps, where=call.name)
    given = [o for o in (x, values, keys, payloads) if o is not None]

    def record(chain: Chain, source: HostSlot, *slots: HostSlot) -> None:
        left = iter(slots)
        moved, in_order, beside = (None if o is None else next(left) for o in (values, keys, payloads))
        plan.record(chain, source, moved, in_order, beside, [*left])

    with workspace(plan.sizes, call.device) as room:
        call.run((call.name, plan), record, *given, *room)
