"""``gpu_unique`` and ``gpu_searchsorted``: questions that sorted elements answer.

Layer: patterns. Numbers are equal as numbers: -0 and +0 are one, and so are all NaNs. Invariant: nothing outside
the arrays is read, even if what should be sorted is not.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import flag
from loom.kernels.sort.keys import Order, Records
from loom.kernels.sort.search import SEARCH_LANES, measure_runs, search
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.workspace import workspace
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.sorting.select import RunSearch
from loom.schedules.sorting.sort import plan_sort

__all__ = ["gpu_searchsorted", "gpu_unique"]

_SIDES = ("left", "right")


def gpu_unique(
    data: Any, *, return_inverse: bool = False, return_counts: bool = False, on: str | Device | None = None
) -> Any:
    """Return the different elements of ``data`` (any shape and dtype), in the order of ``gpu_sort``.

    With ``return_inverse`` also, in the shape of ``data``, where each element is among them, and with
    ``return_counts`` how often each occurs (int64, in this order). Equal means the same number: of -0 and +0 the
    -0 is kept if there is one, and all NaNs are one.

    >>> gpu_unique([3, 1, 3]).tolist()
    [1, 3]
    >>> [a.tolist() for a in gpu_unique([3, 1, 3], return_inverse=True, return_counts=True)]
    [[1, 3], [1, 0, 1], [1, 2]]
    """
    call = Call("gpu_unique", on)
    return_inverse = flag(return_inverse, "gpu_unique, return_inverse")
    return_counts = flag(return_counts, "gpu_unique, return_counts")
    x = call.input(data)
    inverse = call.output(x.shape, i64) if return_inverse else None
    if x.size:
        values, lengths = _run_unique(call, x, inverse, return_counts)
    else:
        values, lengths = call.output(0, x.dtype, like=x), call.output(0, i64)
    wanted = [values, inverse, lengths if return_counts else None]
    results = [call.result(o) for o in wanted if o is not None]
    return results[0] if len(results) == 1 else tuple(results)


def gpu_searchsorted(sorted: Any, values: Any, side: str = "left", *, on: str | Device | None = None) -> Any:  # noqa: A002
    """Return where each of ``values`` belongs in ``sorted``: the number of elements before it, int64.

    ``sorted`` has one dimension, any dtype, and is in the order of ``gpu_sort``; if it is not, the results are
    some numbers from 0 to its length. ``values`` has any shape, which the result takes, and the same dtype (a
    list is read as it). With ``side="left"`` equal elements come after the value, with ``"right"`` before it;
    -0 equals +0, and NaN equals NaN and is above all else, as in numpy. ArgumentError for another side.

    >>> gpu_searchsorted([10, 20, 20, 30], [20, 5, 35]).tolist()
    [1, 0, 4]
    """
    where = "gpu_searchsorted"
    if not isinstance(side, str) or side not in _SIDES:
        raise ArgumentError(
            f"{where}, side", f"no side is called {side!r}", expected="'left' or 'right'",
            remedy=near_matches(str(side), _SIDES),
        )  # fmt: skip
    call = Call(where, on)
    x = call.input(sorted, "sorted", ndim=1)
    looked = call.input(values, "values", dtype=x.dtype)
    if looked.dtype != x.dtype:
        raise DTypeError(
            f"{where}, values", "another dtype than sorted", expected=x.dtype, got=looked.dtype, remedy="Convert one"
        )
    out = call.output(looked.shape, i64)
    if not x.size or not looked.size:
        out.write(0)
        return call.result(out)
    kernel = search(Order(x.dtype), right=side == "right")

    def record(chain: Chain, *slots: HostSlot) -> None:
        chain.dispatch(kernel, slots, [x.size, looked.size], groups=-(-looked.size // SEARCH_LANES))

    call.run((where, x.dtype, side, x.size, looked.size), record, x, looked, out)
    return call.result(out)


def _run_unique(call: Call, x: Operand, inverse: Operand | None, counted: bool) -> tuple[Operand, Operand]:
    """Sort, list the runs of equal elements, and return them and their lengths."""
    n, order, caps = x.size, Order(x.dtype), call.device.caps
    records = Records(order, None if inverse is None else "index")
    plan, runs = plan_sort(records, 1, n, keys_out=True, caps=caps, where=call.name), RunSearch.of(order, n, caps)
    tiles, nothing = runs.tiles, u64.nbytes
    positions = nothing if inverse is None else n * u64.nbytes
    lengths = n * u64.nbytes if counted else nothing
    sizes = [x.nbytes, positions, (tiles + 1) * u32.nbytes, x.nbytes, n * u32.nbytes, lengths, *plan.sizes]
    given = [x] if inverse is None else [x, inverse]

    def record(chain: Chain, *slots: HostSlot) -> None:
        operands, lent = slots[: len(given)], slots[len(given) :]
        in_order, where, places, out, starts, long, *room = lent
        numbered = None if inverse is None else (where, operands[1])
        plan.record(chain, operands[0], None, in_order, None if inverse is None else where, room)
        runs.record(chain, in_order, places, out, starts, numbered)
        if counted:
            chain.dispatch(measure_runs(), [starts, places, long], [n, tiles], groups=-(-n // SEARCH_LANES))

    with workspace(sizes, call.device) as room:
        call.run((call.name, plan, runs, counted), record, *given, *room)
        _, _, places, out, _, long, *_ = room
        count = places.seen_as(u32).item(tiles)
        values, numbers = call.output(count, x.dtype, like=x), call.output(count if counted else 0, i64)
        values.take(out)
        numbers.take(long)
    return values, numbers
