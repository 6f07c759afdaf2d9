"""``gpu_sort``, ``gpu_argsort``, ``gpu_sort_pairs``: stable, in a total order.

Layer: patterns. Floats are ordered -inf < ... < -0 < +0 < ... < inf < NaN: every NaN is last, equal to any other,
and comes out canonical. Descending is the reverse order, so NaN is first, +0 before -0; equal elements keep their
order either way. Invariant: the result does not depend on the device, its threads or its schedule.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.dtype import i64, lookup
from loom.core.errors import ShapeError
from loom.core.given import flag
from loom.kernels.sort.keys import Order, Records
from loom.patterns.axis import normal_axis
from loom.patterns.operand_kinds import require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.sorting.sort import plan_sort
from loom.tensor import Tensor
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["gpu_argsort", "gpu_sort", "gpu_sort_pairs", "sort_pairs"]


def _sort(x: Tensor, *, descending: bool = False, axis: int | None = -1) -> Tensor:
    return tensor.sort(*_rows(x, axis), descending=descending)


def _argsort(x: Tensor, *, descending: bool = False, axis: int | None = -1) -> Tensor:
    return tensor.argsort(*_rows(x, axis), descending=descending)


def _rows(x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    return (reshape(x, (x.size,)), -1) if axis is None else (x, normal_axis(x.shape, axis, "gpu_sort"))


def _record_pairs(draft: Draft, node: Node, *buffers: Any) -> None:
    (records,), n = node.attributes[0], node.size
    if n:
        keys, *values, in_order, moved = buffers
        plan = plan_sort(records, 1, n, keys_out=True, caps=draft.device.caps, where="gpu_sort_pairs")
        room = [draft.device.allocate(nbytes) for nbytes in plan.sizes]
        plan.record(draft, keys, values[0] if values else None, in_order, moved, room)


_PAIRS = Operation("gpu_sort_pairs", _record_pairs)


def sort_pairs(keys: Tensor, values: Tensor | None, *, descending: bool = False) -> list[Tensor]:
    """Return keys of one dimension in order, and values (None: positions, i64) moved along with them."""
    moved = lookup(f"u{values.dtype.bits}") if values is not None else "index"
    beside = (keys.shape, i64 if values is None else values.dtype)
    operands = [keys] if values is None else [keys, values]
    return _PAIRS.several(operands, [(keys.shape, keys.dtype), beside], Records(Order(keys.dtype, descending), moved))


def _sort_pairs(keys: Tensor, values: Tensor, *, descending: bool = False) -> tuple[Tensor, ...]:
    require_ndim(keys, 1, "gpu_sort_pairs, keys")
    require_ndim(values, 1, "gpu_sort_pairs, values")
    if keys.size != values.size:
        raise ShapeError("gpu_sort_pairs, values", "not one for each key", expected=keys.size, got=values.size,
                         remedy="Match the lengths")  # fmt: skip
    return tuple(sort_pairs(keys, values, descending=flag(descending, "gpu_sort_pairs, descending")))


@row(_sort)
def gpu_sort(data: Any, *, descending: bool = False, axis: int | None = -1, on: str | Device | None = None) -> Any:
    """Return the elements of ``data`` in order, along an axis (``axis=None``: of all of it, in one row).

    Any dtype; the result keeps it. Floats: -inf < ... < -0 < +0 < ... < inf < NaN; descending is the reverse, NaN
    first. No elements and one element are returned as they are. IndexOutside for an axis there is not.

    >>> gpu_sort([3.0, -1.0, 2.0]).tolist()
    [-1.0, 2.0, 3.0]
    >>> gpu_sort([[2, 1], [3, 4]], descending=True).tolist()
    [[2, 1], [4, 3]]
    """


@row(_argsort)
def gpu_argsort(data: Any, *, descending: bool = False, axis: int | None = -1, on: str | Device | None = None) -> Any:
    """Return the positions (int64) that put ``data`` in the order of ``gpu_sort``; equal elements keep theirs.

    Along an axis, or with ``axis=None`` positions in ``data`` as one row. Any dtype.

    >>> gpu_argsort([30, 10, 20, 10]).tolist()
    [1, 3, 2, 0]
    """


@row(_sort_pairs, 2, apart=(1,))
def gpu_sort_pairs(keys: Any, values: Any, *, descending: bool = False, on: str | Device | None = None) -> Any:
    """Return ``keys`` in order, and ``values`` moved along with them; those of equal keys keep their order.

    Both have one dimension and the same length, each any dtype, which it keeps. ShapeError otherwise.

    >>> keys, values = gpu_sort_pairs([2, 1, 2], [0.5, 1.5, 2.5])
    >>> keys.tolist(), values.tolist()
    ([1, 2, 2], [1.5, 0.5, 2.5])
    """
