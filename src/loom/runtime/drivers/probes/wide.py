"""Probes of products of 64 rows, and of words fetched for them; for devices that claim units for both.

Layer: runtime. They are apart from the others, as their groups need more shared memory than most devices have.
Invariant: as of ``probes``: the bits expected are numpy's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from loom.core.dtype import i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    fetch,
    fetched,
    group_id,
    local_id,
    private,
    release,
    shared,
    static_range,
    wide_product,
)  # fmt: skip
from loom.ir.passes.wide import WIDE_LANES, WIDE_ROWS, WIDE_WORDS
from loom.runtime.drivers.probes import samples
from loom.runtime.drivers.probes.probe import Array, Probe, on_host

__all__ = ["WIDE", "WIDE_PROBES"]

WIDE = "products of 64 rows of bytes"
_DOWN, _TICKETS, _BLOCKS = 3, 3, 7
"""Times 128 lanes; tickets in shared memory at a time; tickets of a group."""
_LANES, _ROWS = _DOWN * WIDE_LANES, _DOWN * WIDE_ROWS


def _wide(columns: int) -> KernelFunction:
    """Each group adds up products of rows and columns that it fetches, and tells the last of them too."""
    rows, words = _ROWS * WIDE_WORDS, (_ROWS + columns) * WIDE_WORDS

    def bring(tile: Any, ticket: Any, at: Any, x: Any, first: Any) -> None:
        fetch(ticket, tile, at, x, first, rows, _TICKETS, 2)
        fetch(ticket, tile, at + rows, x, first + rows, words - rows, _TICKETS, 2)

    @kernel(workgroup=_LANES, trusted=True)
    def probe(x: In[i32], sums: In[i32], out: Out[i32]):
        lane, first = local_id(), group_id() * (_BLOCKS * words)
        tile, found, last = shared(i32, _TICKETS * words), private(i32, columns // 2), private(i32, columns // 2)
        own = (group_id() * _LANES + lane) * (columns // 2)
        for n in static_range(columns // 2):
            found[n] = sums[own + n]
        for n in static_range(_TICKETS - 1):
            bring(tile, u32(n), u32(n * words), x, first + n * words)
        for ticket in range(u32(_BLOCKS)):
            at = ticket % _TICKETS * words
            fetched(ticket, _TICKETS, 2)
            own_rows = at + lane // WIDE_LANES * (WIDE_ROWS * WIDE_WORDS)
            wide_product(found, tile, own_rows, at + rows, columns, True)
            wide_product(last, tile, own_rows, at + rows, columns, False)
            following = ticket + (_TICKETS - 1)
            if following < _BLOCKS:
                bring(tile, following, following % _TICKETS * words, x, first + following * words)
            release(ticket, _TICKETS, 2)
        for n in static_range(columns // 2):
            out[own + n] = found[n] ^ (last[n] << 7)

    return probe


def _inputs(columns: int) -> tuple[Array, Array]:
    return samples.wide_rows(_BLOCKS, _ROWS + columns, _ROWS * columns)


def _wide_on_host(columns: int, x: Array, sums: Array) -> Array:
    """Return the products as ``wide_product`` gives them to lanes, wrapped."""
    laid = x.view(np.int8).reshape(2, _BLOCKS, -1, 8, 8, 16)  # group, ticket, eight rows, 16 k, row, byte
    rows = laid.transpose(0, 1, 2, 4, 3, 5).reshape(2, _BLOCKS, -1, 128).astype(np.int64)
    products = rows[:, :, :_ROWS] @ rows[:, :, _ROWS:].transpose(0, 1, 3, 2)
    last, total = products[:, -1], products.sum(1)

    def by_lane(product: Array) -> Array:
        """Return elements by lane: 4 j + 2 lower + right of one is 8 lower rows below, 8 j + right columns right."""
        parts = product.reshape(2, _ROWS // 16, 2, 8, columns // 8, 4, 2)
        return parts.transpose(0, 1, 3, 5, 4, 2, 6).reshape(-1)

    def wrap(product: Any) -> Array:
        return (product & 0xFFFF_FFFF).astype(np.uint32).view(np.int32)

    return wrap(sums.astype(np.int64) + by_lane(total)) ^ wrap(by_lane(last) << 7)


WIDE_PROBES: tuple[Probe, ...] = tuple(
    Probe(WIDE, partial(_wide, columns), partial(_inputs, columns), on_host(partial(_wide_on_host, columns)), 2)
    for columns in (64, 128)
)
