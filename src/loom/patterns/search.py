"""``gpu_unique`` and ``gpu_searchsorted``: questions that sorted elements answer.

Layer: patterns. Numbers are equal as numbers: -0 and +0 are one, and so are all NaNs. Invariant: nothing outside
the arrays is read, even if what should be sorted is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.given import flag
from loom.kernels.sort.keys import Order, Records
from loom.kernels.sort.search import SEARCH_LANES, measure_runs, search
from loom.patterns.arrays import Arrays, element, first
from loom.patterns.axis import require_ndim
from loom.patterns.operations import Operation
from loom.patterns.rows import row
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.sorting.select import RunSearch
from loom.schedules.sorting.sort import plan_sort
from loom.tensor import Tensor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

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
    call = Arrays("gpu_unique", on, data)
    return_inverse = flag(return_inverse, "gpu_unique, return_inverse")
    return_counts = flag(return_counts, "gpu_unique, return_counts")
    x = call.input(data)
    wanted = [True, return_inverse, return_counts]
    kinds = [(x.shape if n == 1 else (x.size,), i64 if n else x.dtype) for n in range(3) if wanted[n]]
    if x.size:
        plan = plan_sort(Records(Order(x.dtype), "index" if return_inverse else None), 1, x.size, keys_out=True,
                         caps=call.device.caps, where=call.name)  # fmt: skip
        runs = RunSearch.of(Order(x.dtype), x.size, call.device.caps)
        record = partial(_record_unique, x, plan, runs, wanted)
        places, values, *more = call.run((plan, runs, *wanted), record, [x], ((runs.tiles + 1,), u32), *kinds)
        count = element(places, runs.tiles)
        found = [values, *more]
        found = [each if wanted[1] and n == 1 else first(each, count) for n, each in enumerate(found)]
    else:
        found = [call.made(np.empty(shape, dtype.numpy), dtype) for shape, dtype in kinds]
    return call.result(found[0] if len(found) == 1 else tuple(found))


def _record_unique(
    x: Tensor, plan: Any, runs: RunSearch, wanted: Sequence[bool], chain: Chain, source: HostSlot, places: HostSlot,
    values: HostSlot, *more: HostSlot,
) -> None:  # fmt: skip
    """Record sorting, and listing the runs of equal elements: their first ones, their numbers, their lengths."""
    allocate, n = chain.device.allocate, x.size
    room, in_order, starts = [allocate(m) for m in plan.sizes], allocate(x.nbytes), allocate(n * u32.nbytes)
    at = allocate(n * u64.nbytes) if wanted[1] else None
    plan.record(chain, source, None, in_order, at, room)
    runs.record(chain, in_order, places, values, starts, None if at is None else (at, more[0]))
    if wanted[2]:
        lanes = -(-n // SEARCH_LANES)
        chain.dispatch(measure_runs(), [starts, places, more[-1]], [n, runs.tiles], groups=lanes)


def _record_search(draft: Draft, node: Node, x: Any, values: Any, out: Any) -> None:
    in_order, (side,) = node.inputs[0], node.attributes[0]
    kernel = search(Order(in_order.dtype), right=side == "right")
    draft.dispatch(kernel, [x, values, out], [in_order.size, node.size], groups=-(-node.size // SEARCH_LANES))


_SEARCH = Operation("gpu_searchsorted", _record_search)


def _searchsorted(x: Tensor, values: Tensor, side: str = "left") -> Tensor:
    where = "gpu_searchsorted"
    if not isinstance(side, str) or side not in _SIDES:
        raise ArgumentError(f"{where}, side", f"no side is called {side!r}", expected="'left' or 'right'",
                            remedy=near_matches(str(side), _SIDES))  # fmt: skip
    if x.ndim != 1 or not x.size or x.dtype != getattr(values, "dtype", None) or not values.size:
        try:
            return tensor.searchsorted(x, values, side=side)
        except DTypeError as error:
            raise DTypeError(f"{where}, values", "another dtype than sorted", expected=x.dtype, got=values.dtype,
                             remedy="Convert one") from error  # fmt: skip
        except ShapeError:
            require_ndim(x, 1, f"{where}, sorted")
            raise
    return _SEARCH([x, values], values.shape, i64, side)


@row(_searchsorted, 2)
def gpu_searchsorted(sorted: Any, values: Any, side: str = "left", *, on: str | Device | None = None) -> Any:  # noqa: A002
    """Return where each of ``values`` belongs in ``sorted``: the number of elements before it, int64.

    ``sorted`` has one dimension, any dtype, and is in the order of ``gpu_sort``; if it is not, the results are some
    numbers from 0 to its length. ``values`` has any shape, which the result takes, and the same dtype (a list is
    read as it); others are as in ``loom.tensor.searchsorted``. With ``side="left"`` equal elements come after the
    value, with ``"right"`` before it; -0 equals +0, and NaN equals NaN and is above all else, as in numpy.
    ArgumentError for another side.

    >>> gpu_searchsorted([10, 20, 20, 30], [20, 5, 35]).tolist()
    [1, 0, 4]
    """
