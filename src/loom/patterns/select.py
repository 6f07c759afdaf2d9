"""``gpu_topk`` and ``gpu_partition``: what can be told of an order without sorting all of it.

Layer: patterns. Both find the element of one rank by its digits (``schedules.sorting.select``). The order is that of
``gpu_sort``. Invariant: among equal elements the earlier one comes first.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag
from loom.kernels.sort.keys import Order, Records
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.workspace import workspace
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.sorting.select import Selection
from loom.schedules.sorting.sort import plan_sort

__all__ = ["gpu_partition", "gpu_topk"]


def gpu_topk(data: Any, k: int, *, largest: bool = True, on: str | Device | None = None) -> tuple[Any, Any]:
    """Return the ``k`` largest (or smallest) elements of ``data``, best first, and their positions (int64).

    ``data`` has one dimension, any dtype. Of equal elements the one with the lowest position comes first. NaN is
    above all other floats, as in ``gpu_max``. ArgumentError unless 0 <= k <= number of elements.

    >>> values, positions = gpu_topk([5, 1, 9, 9], 3)
    >>> values.tolist(), positions.tolist()
    ([9, 9, 5], [2, 3, 0])
    """
    call = Call("gpu_topk", on)
    x = call.input(data, ndim=1)
    k = _whole(k, "gpu_topk", 0, x.size)
    out, positions = call.output(k, x.dtype, like=x), call.output(k, i64)
    if k:
        _run_topk(call, Order(x.dtype, flag(largest, "gpu_topk, largest")), x, k, out, positions)
    return call.result(out), call.result(positions)


def gpu_partition(data: Any, k: int, *, on: str | Device | None = None) -> Any:
    """Return ``data`` in three parts around v, the element that a sort would put at position ``k``.

    First come all elements below v, then those equal to v, then those above, each part in its original order;
    so position k holds v, nothing before it is greater and nothing after it is less, as in ``numpy.partition``,
    which leaves the rest open. ``data`` has one dimension, any dtype; a negative k counts from the end.
    ArgumentError if there is no position k.

    >>> gpu_partition([5, 3, 4, 1, 3], 2).tolist()
    [1, 3, 3, 5, 4]
    """
    call = Call("gpu_partition", on)
    x = call.input(data, ndim=1)
    rank = _whole(k, "gpu_partition", -x.size, x.size - 1) % max(1, x.size)
    out = call.output(x.shape, x.dtype, like=x)
    found, search = _start(rank), Selection.of(Order(x.dtype), x.size, call.device.caps)
    call.run(("gpu_partition", search), search.record_parts, x, found, out)
    return call.result(out)


def _run_topk(call: Call, order: Order, x: Operand, k: int, out: Operand, positions: Operand) -> None:
    """Pick the first k, unsorted, then sort them."""
    caps = call.device.caps
    found, search = _start(k - 1), Selection.of(order, x.size, caps)
    plan = plan_sort(Records(order, "position"), 1, k, keys_out=True, caps=caps, where=call.name)
    sizes = [k * x.dtype.nbytes, k * u32.nbytes, *plan.sizes]

    def record(chain: Chain, *slots: HostSlot) -> None:
        source, target, order_out, state, picked, places, *lent = slots
        search.record_lowest(chain, source, state, k, picked, places)
        plan.record(chain, picked, places, target, order_out, lent)

    with workspace(sizes, call.device) as room:
        call.run((call.name, plan, search), record, x, out, positions, found, *room)


def _start(rank: int) -> Operand:
    """Return what a search starts from: no digits found, and the rank looked for."""
    return Operand(np.array([0, rank], np.uint64), u64)


def _whole(value: Any, where: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise DTypeError(f"{where}, k", "not a whole number", expected="an int", got=repr(value), remedy="Pass an int")
    found = int(cast("int", value))
    if not least <= found <= most:
        raise ArgumentError(
            f"{where}, k", "out of range", expected=f"{least} to {most}" if least <= most else "at least 1 element",
            got=found if least <= most else 0, remedy="Compare it with the number of elements",
        )  # fmt: skip
    return found
