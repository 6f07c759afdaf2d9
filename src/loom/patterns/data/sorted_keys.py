"""Keys put in order: what grouping and joining start from.

Layer: patterns. Invariant: keys are equal as numbers are, -0 being +0, and all NaNs are one key, the last.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, u32
from loom.core.late.dataclass import dataclass
from loom.kernels.fold.groups import close_runs, merge_keys, split_keys
from loom.kernels.sort.keys import Order
from loom.patterns.array_calls import Arrays, element, first
from loom.patterns.own_operations import Operation
from loom.patterns.sort import sort_pairs
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.schedules.sorting.select import RunSearch
from loom.tensor import Tensor
from loom.tensor.ops.ordering import sort_last
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import KNOWN, Node, note_origins
from loom.tensor.run.eager import evaluate

__all__ = ["Runs", "comparable", "find_runs", "plain_keys", "put_in_order"]

_LANES = 64


def _record(draft: Draft, node: Node, keys: Any, out: Any) -> None:
    (kernel,) = node.attributes[0]
    if node.size:
        draft.dispatch(kernel, [keys, out], [node.size], groups=-(-node.size // _LANES))


_CONVERT = Operation("keys", _record)


def comparable(keys: Tensor) -> Tensor:
    """Return keys that are equal exactly if their bits are, in the same order: floats become unsigned integers."""
    if not keys.dtype.is_float:
        return keys
    order = Order(keys.dtype)
    return _CONVERT([keys], keys.shape, order.bits, merge_keys(order))


def plain_keys(keys: Tensor, dtype: DType) -> Tensor:
    """Return ``comparable`` keys as what they were made of."""
    return _CONVERT([keys], keys.shape, dtype, split_keys(Order(dtype))) if dtype.is_float else keys


def put_in_order(keys: Tensor, values: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return ``comparable`` keys in order and the values (None: none) moved along, those of equal keys in theirs."""
    if values is None:
        return sort_last(keys, descending=False), None
    found = sort_pairs(keys, values)
    evaluate(found)
    in_order, moved = (Tensor(KNOWN, (), x.shape, x.dtype, data=x.data, device=x.device) for x in found)
    for x in (in_order, moved):  # without their record, which would keep the keys as they were
        note_origins(x, [keys, values])
    return in_order, moved


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches of equal keys: their ``count`` keys, and where each starts, with one place more for the end."""

    count: int
    keys: Tensor
    starts: Tensor


def find_runs(call: Arrays, in_order: Tensor) -> Runs:
    """Return the runs of keys that are in order, of which there is at least one."""
    n = in_order.size
    runs = RunSearch.of(Order(in_order.dtype), n, call.device.caps)

    def record(chain: Chain, x: HostSlot, keys: HostSlot, begins: HostSlot, counts: HostSlot) -> None:
        runs.record(chain, x, counts, keys, begins)
        chain.dispatch(close_runs(), [begins, counts], [n, runs.tiles])

    kinds = ((n,), in_order.dtype), ((n + 1,), u32), ((runs.tiles + 1,), u32)
    keys, starts, places = call.run(("runs", runs), record, [in_order], *kinds)
    count = element(places, runs.tiles)
    return Runs(count, first(keys, count), first(starts, count + 1))
