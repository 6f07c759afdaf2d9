"""``gpu_topk`` and ``gpu_partition``: what can be told of an order without sorting all of it.

Layer: patterns. Both find the element of one rank by its digits (``schedules.sorting.select``). The order is that of
``gpu_sort``. Invariant: among equal elements the earlier one comes first.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from loom import tensor
from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag
from loom.kernels.sort.keys import Order, Records
from loom.patterns.operand_kinds import require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import store
from loom.schedules.sorting.select import Selection
from loom.schedules.sorting.sort import plan_sort
from loom.tensor import Tensor
from loom.tensor.ops.joining import copy_into
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node
from loom.tensor.record.layout import row_major

__all__ = ["gpu_partition", "gpu_topk"]

_FEW = 64
"""So many are found in one reading, where lanes are no threads."""


def _record_topk(draft: Draft, node: Node, x: Any, out: Any, positions: Any) -> None:
    (order,), n, k = node.attributes[0], node.inputs[0].size, node.size
    caps = draft.device.caps
    plan = plan_sort(Records(order, "position"), 1, k, keys_out=True, caps=caps, where="gpu_topk")
    picked, places, *room = [
        draft.device.allocate(m) for m in (k * node.inputs[0].dtype.nbytes, k * u32.nbytes, *plan.sizes)
    ]
    Selection.of(order, n, caps).record_lowest(draft, x, _start(draft, k - 1), k, picked, places)
    plan.record(draft, picked, places, out, positions, room)


def _record_partition(draft: Draft, node: Node, x: Any, out: Any) -> None:
    (rank,) = node.attributes[0]
    Selection.of(Order(node.dtype), node.size, draft.device.caps).record_parts(draft, x, _start(draft, rank), out)


def _start(draft: Draft, rank: int) -> Any:
    """Return what a search starts from: no digits found, and the rank looked for."""
    found = draft.device.allocate(2 * u64.nbytes)
    begin: Any = store(draft, np.array([0, rank], np.uint64))  # type: ignore[arg-type]
    copy_into(draft, BufferView(begin, row_major((2,))), found, (2,), (0,), (1,), u64)
    return found


_TOPK, _PARTITION = Operation("gpu_topk", _record_topk), Operation("gpu_partition", _record_partition)


def _topk(x: Tensor, k: int, *, largest: bool = True) -> tuple[Tensor, ...]:
    if x.ndim != 1:
        return tensor.topk(x, k, largest=largest)
    k = _whole(k, "gpu_topk", 0, x.size)
    if not k or (k <= _FEW and lanes_of(x.home.caps) != THREADS):
        return tensor.topk(x, k, largest=largest)
    order = Order(x.dtype, flag(largest, "gpu_topk, largest"))
    return tuple(_TOPK.several([x], [((k,), x.dtype), ((k,), i64)], order))


def _partition(x: Tensor, k: int) -> Tensor:
    require_ndim(x, 1, "gpu_partition")
    rank = _whole(k, "gpu_partition", -x.size, x.size - 1) % x.size
    return _PARTITION([x], x.shape, x.dtype, rank)


@row(_topk)
def gpu_topk(data: Any, k: int, *, largest: bool = True, on: str | Device | None = None) -> Any:
    """Return the ``k`` largest (or smallest) elements of ``data``, best first, and their positions (int64).

    ``data`` has any dtype; of more than one dimension each row along the last axis is taken by itself. Of equal
    elements the one with the lowest position comes first. NaN is above all other floats, as in ``gpu_max``.
    ArgumentError unless 0 <= k <= number of elements.

    >>> values, positions = gpu_topk([5, 1, 9, 9], 3)
    >>> values.tolist(), positions.tolist()
    ([9, 9, 5], [2, 3, 0])
    """


@row(_partition)
def gpu_partition(data: Any, k: int, *, on: str | Device | None = None) -> Any:
    """Return ``data`` in three parts around v, the element that a sort would put at position ``k``.

    First come all elements below v, then those equal to v, then those above, each part in its original order;
    so position k holds v, nothing before it is greater and nothing after it is less, as in ``numpy.partition``,
    which leaves the rest open. ``data`` has one dimension, any dtype; a negative k counts from the end.
    ArgumentError if there is no position k.

    >>> gpu_partition([5, 3, 4, 1, 3], 2).tolist()
    [1, 3, 3, 5, 4]
    """


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
