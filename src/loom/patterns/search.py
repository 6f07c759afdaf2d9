"""``gpu_unique`` and ``gpu_searchsorted``: questions that sorted elements answer.

Layer: patterns. Numbers are equal as numbers: -0 and +0 are one, and so are all NaNs. Invariant: nothing outside
the arrays is read, even if what should be sorted is not.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.given import flag
from loom.kernels.move.compact import clear_words
from loom.kernels.sort.keys import Order, Records
from loom.kernels.sort.search import SEARCH_LANES, measure_runs
from loom.patterns.array_calls import element, first
from loom.patterns.operand_kinds import require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import answer, row
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
    wanted = [flag(return_inverse, "gpu_unique, return_inverse"), flag(return_counts, "gpu_unique, return_counts")]
    options = {"numbered": wanted[0], "counted": wanted[1], "on": on}
    places, values, *more = answer("gpu_unique", _unique, [data], options)
    count = element(places, places.size - 1)
    lengths = [first(more[-1], count)] if wanted[1] else []
    found = [first(values, count), *more[: wanted[0]], *lengths]
    return found[0] if len(found) == 1 else tuple(found)


def _record_unique(draft: Draft, node: Node, x: Any, places: Any, values: Any, *more: Any) -> None:
    """Record sorting, and listing the runs of equal elements: their first ones, their numbers, their lengths."""
    (numbered, counted), source = node.attributes[0], node.inputs[0]
    n, order, caps, allocate = source.size, Order(source.dtype), draft.device.caps, draft.device.allocate
    runs = RunSearch.of(order, n, caps)
    if not n:
        draft.dispatch(clear_words(), [places], [1])
        return
    plan = plan_sort(Records(order, "index" if numbered else None), 1, n, keys_out=True, caps=caps, where="gpu_unique")
    room, in_order, starts = [allocate(m) for m in plan.sizes], allocate(source.nbytes), allocate(n * u32.nbytes)
    at = allocate(n * u64.nbytes) if numbered else None
    plan.record(draft, x, None, in_order, at, room)
    runs.record(draft, in_order, places, values, starts, None if at is None else (at, more[0]))
    if counted:
        lanes = -(-n // SEARCH_LANES)
        draft.dispatch(measure_runs(), [starts, places, more[-1]], [n, runs.tiles], groups=lanes)


_UNIQUE = Operation("gpu_unique", _record_unique)


def _unique(x: Tensor, *, numbered: bool, counted: bool) -> tuple[Tensor, ...]:
    """Return at last in the first how many different elements there are, and as many places for each as elements."""
    tiles = RunSearch.of(Order(x.dtype), x.size, x.home.caps).tiles
    kinds = [((tiles + 1,), u32), ((x.size,), x.dtype), *[(x.shape, i64)] * numbered, *[((x.size,), i64)] * counted]
    return tuple(_UNIQUE.several([x], kinds, numbered, counted))


def _search(x: Tensor, values: Tensor, side: str = "left") -> Tensor:
    where = "gpu_searchsorted"
    if not isinstance(side, str) or side not in _SIDES:
        raise ArgumentError(f"{where}, side", f"no side is called {side!r}", expected="'left' or 'right'",
                            remedy=near_matches(str(side), _SIDES))  # fmt: skip
    try:
        return tensor.searchsorted(x, values, side=side)
    except DTypeError as error:
        if not isinstance(values, Tensor):
            raise
        raise DTypeError(f"{where}, values", "another dtype than sorted", expected=x.dtype, got=values.dtype,
                         remedy="Convert one") from error  # fmt: skip
    except ShapeError:
        require_ndim(x, 1, f"{where}, sorted")
        raise


@row(_search, 2)
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
