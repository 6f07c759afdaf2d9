"""The first few of each row in an order: a group keeps the best so far in a heap, the worst of them on top.

Layer: kernels. Most elements are only compared with the worst that is kept. Of equal elements the earlier one is
better. Invariant: the positions are the first ``k`` of a stable sort of the row.

Source: J. W. J. Williams, "Algorithm 232: Heapsort" (1964).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import i64, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, private
from loom.kernels.sort.keys import Order

__all__ = ["MOST_KEPT", "first_of_rows"]

MOST_KEPT = 256
"""Elements of a row that are kept at most."""


@cache
def first_of_rows(order: Order, room: int) -> KernelFunction:
    """Return the kernel (x, out, n, k): positions of the first ``k`` (at most ``room`` and n) of row g, in order."""

    @kernel(workgroup=1, trusted=True)
    def first(x: In[order.bits], out: Out[i64], n: u64, k: u32) -> None:
        keys, places = private(order.bits, room), private(u32, room)
        base = u64(group_id()) * n
        for i in range(k):  # put below what is better
            key, at = order.encode(x[base + u64(i)]), i
            while at > 0 and keys[(at - 1) // 2] <= key:  # of equal ones the later is worse
                keys[at], places[at] = keys[(at - 1) // 2], places[(at - 1) // 2]
                at = (at - 1) // 2
            keys[at], places[at] = key, i
        worst = keys[0]
        for j in range(u64(k), n):
            key = order.encode(x[base + j])
            if key < worst:
                sink(keys, places, key, u32(j), k)
                worst = keys[0]
        for done in range(k):  # the worst that is left goes to the end
            left = k - 1 - done
            last_key, last_place = keys[left], places[left]
            out[u64(group_id()) * u64(k) + u64(left)] = i64(places[0])
            sink(keys, places, last_key, last_place, left)

    first.name = f"first_of_rows_{order.name}_{room}"
    return first


def sink(keys: Any, places: Any, key: Any, place: Any, size: Any) -> None:
    """Put an element in place of the top of a heap of ``size``, below all that are worse."""
    at, child = u32(0), u32(1)
    while child < size:
        if child + 1 < size and (
            keys[child + 1] > keys[child] or (keys[child + 1] == keys[child] and places[child + 1] > places[child])
        ):
            child += 1
        if keys[child] > key or (keys[child] == key and places[child] > place):
            keys[at], places[at] = keys[child], places[child]
            at = child
            child = 2 * at + 1
        else:
            child = size
    keys[at], places[at] = key, place
