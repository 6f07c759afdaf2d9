"""Handlers of loads, stores, atomics and barriers.

Layer: ir. Invariant: only active lanes change memory, and whatever one statement does to one element it
does in ascending lane order.

``atomic_compare_exchange`` takes index, expected value, new value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from loom.ir import evaluate as ev
from loom.ir.interp.batch import Batch, Handler
from loom.ir.interp.cells import Cells
from loom.ir.interp.masks import Array, Mask
from loom.ir.kernel import Instr, Space
from loom.ir.ops import Effect
from loom.ir.passes.tiles import TILE_LANES, TILE_ROWS
from loom.ir.passes.wide import WIDE_LANES, WIDE_WORDS

__all__ = ["MEMORY"]


def _cells(batch: Batch, instr: Instr, mask: Mask) -> tuple[Cells, Array]:
    """Return the memory and index of an access, after the checks."""
    assert instr.memory is not None
    cells, index = batch.cells[instr.memory], batch.values[instr.args[0]]
    if batch.dispatch.watch is not None:
        batch.dispatch.watch.access(batch, instr, cells, index, mask)
    return cells, index


def _load(batch: Batch, instr: Instr, mask: Mask) -> None:
    cells, index = _cells(batch, instr, mask)
    batch.values[instr] = cells.read(index)


def _store(batch: Batch, instr: Instr, mask: Mask) -> None:
    cells, index = _cells(batch, instr, mask)
    cells.write(index, batch.values[instr.args[1]], mask)


def _tile_product(batch: Batch, instr: Instr, mask: Mask) -> None:
    """The plain triple loop: each lane's rows and columns, and their words."""
    assert instr.memory is not None
    cells, (words, pitch) = batch.cells[instr.memory], instr.attr
    a_at, b_at, sums = (batch.spread(batch.values[a]) for a in instr.args)
    lane, found = batch.local_id(0) % np.uint32(TILE_LANES), sums.copy()
    for r in range(2):
        for c in range(2):
            row, column = lane // np.uint32(4) + np.uint32(TILE_ROWS * r), lane % np.uint32(4) * np.uint32(2)
            column = column + np.uint32(c)
            for word in range(words):
                places = [at + line * np.uint32(pitch) + np.uint32(word) for at, line in ((a_at, row), (b_at, column))]
                if batch.dispatch.watch is not None:
                    for place in places:
                        batch.dispatch.watch.access(batch, instr, cells, place, mask)
                x, y = (cells.read(place) for place in places)
                found[:, 2 * r + c] = ev.dot4_i8(x, y, found[:, 2 * r + c])
    batch.values[instr] = found


def _cells_of(batch: Batch, name: str) -> Cells:
    return next(c for m, c in batch.cells.items() if m.space is Space.SHARED and m.name == name)


def _wide_product(batch: Batch, instr: Instr, mask: Mask) -> None:
    """The plain triple loop: each lane's rows and columns, and their words."""
    assert instr.memory is not None
    name, columns, keeps = instr.attr
    tile, sums = _cells_of(batch, name), batch.cells[instr.memory]
    a_at, b_at = (batch.spread(batch.values[a]) for a in instr.args)
    lane = batch.local_id(0) % np.uint32(WIDE_LANES)
    top, left = lane // np.uint32(32) * np.uint32(16) + lane % np.uint32(32) // np.uint32(4), lane % np.uint32(4)
    for n in range(columns // 2):
        row = top + np.uint32(8 * (n // 2 % 2))
        column = left * np.uint32(2) + np.uint32(n // 4 * 8 + n % 2)
        at, found = np.full(1, n, np.uint32), np.zeros(batch.lanes, np.int32)
        if batch.dispatch.watch is not None:
            for effect in (Effect.READ, Effect.WRITE) if keeps else (Effect.WRITE,):
                batch.dispatch.watch.access(batch, instr, sums, at, mask, effect)
        if keeps:
            found = batch.spread(sums.read(np.broadcast_to(at, (batch.lanes,))))
        for word in range(WIDE_WORDS):
            within = np.uint32(word // 4 * 32 + word % 4)
            places = [
                first + line // np.uint32(8) * np.uint32(256) + line % np.uint32(8) * np.uint32(4) + within
                for first, line in ((a_at, row), (b_at, column))
            ]
            if batch.dispatch.watch is not None:
                for place in places:
                    batch.dispatch.watch.access(batch, instr, tile, place, mask, Effect.READ)
            found = ev.dot4_i8(tile.read(places[0]), tile.read(places[1]), found)
        sums.write(at, found, mask)


def _fetch(batch: Batch, instr: Instr, mask: Mask) -> None:
    """A plain copy, each lane the words that are its turn."""
    assert instr.memory is not None
    name, words, _, _ = instr.attr
    target, source = _cells_of(batch, name), batch.cells[instr.memory]
    _, at, first = (batch.spread(batch.values[a]) for a in instr.args)
    lane, lanes = batch.local_id(0), batch.dispatch.kernel.lanes
    for turn in range(-(-words // lanes)):
        word = lane + np.uint32(turn * lanes)
        here = Mask(mask.active & (word < words))
        if batch.dispatch.watch is not None:
            batch.dispatch.watch.access(batch, instr, source, first + word, here, Effect.READ)
            batch.dispatch.watch.access(batch, instr, target, at + word, here, Effect.WRITE)
        target.write(at + word, source.read(first + word), here)


def _barrier(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    if batch.dispatch.watch is not None:  # in lockstep, every lane is here already
        batch.dispatch.watch.barrier(batch, mask)


def _near_barrier(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    if batch.dispatch.watch is not None:
        batch.dispatch.watch.near_barrier(mask)


def _exchange(old: Array, new: Array) -> Array:  # noqa: ARG001
    return new


def _compare_exchange(old: Array, expected: Array, new: Array) -> Array:
    return np.where(old == expected, new, old)


_COMBINE: dict[str, Callable[..., Array]] = {
    "atomic_add": ev.add,
    "atomic_and": ev.and_,
    "atomic_or": ev.or_,
    "atomic_xor": ev.xor,
    "atomic_min": ev.minimum,
    "atomic_max": ev.maximum,
    "atomic_exchange": _exchange,
    "atomic_compare_exchange": _compare_exchange,
}

_UNREAD: dict[str, np.ufunc] = {
    "atomic_add": np.add,
    "atomic_and": np.bitwise_and,
    "atomic_or": np.bitwise_or,
    "atomic_xor": np.bitwise_xor,
    "atomic_min": np.minimum,
    "atomic_max": np.maximum,
}
"""For atomics whose old value nothing reads: the final value is the same in any order."""


def _atomic(batch: Batch, instr: Instr, mask: Mask) -> None:
    cells, index = _cells(batch, instr, mask)
    lanes, address = cells.targets(index, mask)
    operands = [batch.spread(batch.values[a])[lanes] for a in instr.args[1:]]
    name = instr.op.name
    if instr not in batch.dispatch.used and name in _UNREAD:
        _UNREAD[name].at(cells.data, address, operands[0])
        return
    old = np.zeros(batch.lanes, cells.data.dtype)
    old[lanes] = _in_lane_order(cells.data, address, _COMBINE[name], operands)
    batch.values[instr] = old


def _in_lane_order(data: Array, address: Array, combine: Callable[..., Array], operands: list[Array]) -> Array:
    """Combine lane after lane at each address; return what each lane found there."""
    found = np.empty(address.shape, data.dtype)
    for turn in _turns(address):
        at = address[turn]
        found[turn] = data[at]
        data[at] = combine(found[turn], *(o[turn] for o in operands))
    return found


def _turns(address: Array) -> Iterator[Array | slice]:
    """Split lanes into turns: the n-th turn holds the n-th lane of every address."""
    if not address.size:
        return
    by_address = np.argsort(address, kind="stable")
    ordered = address[by_address]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    if first.all():
        yield slice(None)
        return
    starts = np.flatnonzero(first)
    runs = np.diff(np.append(starts, address.size))
    rank = np.arange(address.size) - np.repeat(starts, runs)
    by_rank = by_address[np.argsort(rank, kind="stable")]
    yield from np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])


MEMORY: dict[str, Handler] = {
    "load": _load,
    "store": _store,
    "barrier": _barrier,
    "near_barrier": _near_barrier,
    "tile_product": _tile_product,
    "wide_product": _wide_product,
    "fetch": _fetch,
    "fetched": _barrier,
    "release": _barrier,
    **dict.fromkeys(_COMBINE, _atomic),
}
"""A handler for each operation on memory."""
