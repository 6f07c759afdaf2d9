"""Keys put in order: what grouping and joining start from.

Layer: patterns. Invariant: keys are equal as numbers are, -0 being +0, and all NaNs are one key, the last.
"""

from __future__ import annotations

from typing import Any

from loom.core.dataclass import dataclass
from loom.core.dtype import DType, lookup, u32
from loom.kernels.fold.groups import close_runs, merge_keys, split_keys
from loom.kernels.sort.keys import Order, Records
from loom.patterns.calling.call import Call, Operand
from loom.patterns.sort import run_sort
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.schedules.sorting.select import RunSearch

__all__ = ["Runs", "comparable", "find_runs", "plain_keys", "put_in_order"]

_LANES = 64


def comparable(call: Call, keys: Operand) -> Operand:
    """Return keys that are equal exactly if their bits are, in the same order: floats become unsigned integers."""
    if not keys.dtype.is_float or not keys.size:
        return keys
    order = Order(keys.dtype)
    return _convert(call, "merge", merge_keys(order), keys, order.bits)


def plain_keys(call: Call, keys: Operand, like: Operand) -> Operand:
    """Return ``comparable`` keys as what they were made of, in the dtype of ``like``."""
    if not like.dtype.is_float:
        return keys.seen_as(like.dtype, like.kind)
    if not keys.size:
        return call.output(0, like.dtype, like=like)
    found = _convert(call, "split", split_keys(Order(like.dtype)), keys, like.dtype)
    return found.seen_as(like.dtype, like.kind)


def _convert(call: Call, step: str, kernel: Any, keys: Operand, dtype: DType) -> Operand:
    out = call.output(keys.shape, dtype)

    def record(chain: Chain, *slots: HostSlot) -> None:
        chain.dispatch(kernel, slots, [keys.size], groups=-(-keys.size // _LANES))

    call.run((call.name, step, kernel.name, keys.size), record, keys, out)
    return out


def put_in_order(call: Call, keys: Operand, values: Operand | None) -> tuple[Operand, Operand | None]:
    """Return ``comparable`` keys in order and the values (None: none) moved along, those of equal keys in theirs."""
    in_order = call.output(keys.shape, keys.dtype, like=keys)
    moved = None if values is None else call.output(values.shape, values.dtype, like=values)
    records = Records(Order(keys.dtype), None if values is None else lookup(f"u{values.dtype.bits}"))
    run_sort(call, records, keys, 1, values=values, keys=in_order, payloads=moved)
    return in_order, moved


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches of equal keys: their ``count`` keys, and where each starts, with one place more for the end."""

    count: int
    keys: Operand
    starts: Operand


def find_runs(call: Call, in_order: Operand) -> Runs:
    """Return the runs of keys that are in order, of which there is at least one."""
    n = in_order.size
    runs = RunSearch.of(Order(in_order.dtype), n, call.device.caps)
    out = call.output(n, in_order.dtype, like=in_order)
    starts, places = call.output(n + 1, u32), call.output(runs.tiles + 1, u32)

    def record(chain: Chain, x: HostSlot, keys: HostSlot, begins: HostSlot, counts: HostSlot) -> None:
        runs.record(chain, x, counts, keys, begins)
        chain.dispatch(close_runs(), [begins, counts], [n, runs.tiles])

    call.run((call.name, "runs", runs), record, in_order, out, starts, places)
    count = places.item(runs.tiles)
    return Runs(count, _first(call, out, count), _first(call, starts, count + 1))


def _first(call: Call, x: Operand, size: int) -> Operand:
    """Return a copy of the first elements, so that the rest takes no memory."""
    found = call.output(size, x.dtype, like=x)
    found.take(x)
    return found
