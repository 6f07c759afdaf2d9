"""What a workgroup of many lanes does with a tile in shared memory: ranks records by four bits, and moves them.

Layer: kernels. Functions of kernels, translated in place. A lane holds ``items`` words of the tile, those from
``items * lane`` on. It counts its digits in one 64-bit number, four bits each, which also tells a word's place among
the lane's equals; the counts of all lanes, two of 16 bits to a cell, are scanned digit by digit. Words and counts take
turns in ``room``, so that more groups fit a multiprocessor. Invariant: words of equal digits keep their order, and no
result depends on the order in which lanes run.

Source: N. Satish, M. Harris and M. Garland, "Designing efficient sorting algorithms for manycore GPUs" (2009), with
the packed counters of D. Merrill and A. Grimshaw, "High performance and scalable radix sorting" (2011).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, u32, u64
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.intrinsics import barrier, local_id, private, select, static_range
from loom.kernels.group.join import sum_lanes

__all__ = ["MOST_ITEMS", "STEP_BITS", "SortTile", "digit_at", "exchange", "get", "put", "rank", "swap", "take"]

STEP_BITS = 4
"""Bits ranked by at a time."""
MOST_ITEMS = 15
"""Words of a lane: a counter of four bits can tell no more."""

_CELLS = 8
"""Cells of a lane, of two counters each."""


@dataclass(frozen=True, slots=True)
class SortTile:
    """How many ``lanes`` hold how many ``items`` each, which are ``word``s (u32 or u64); items are odd.

    An odd distance between lanes spreads what they read over all banks of shared memory.
    """

    lanes: int
    items: int
    word: DType

    @property
    def size(self) -> int:
        """Words of a tile."""
        return self.lanes * self.items

    @property
    def room(self) -> int:
        """32-bit cells it needs: for all words, or for the counters, one cell left free after a lane's eight.

        A 64-bit word takes two, ``size`` apart.
        """
        return max(self.size * self.word.nbytes // u32.nbytes, (_CELLS + 1) * self.lanes + 1)

    @property
    def name(self) -> str:
        """A short name for kernels with this tile."""
        return f"{self.lanes}x{self.items}"


def put(tile: Any, room: Any, p: Any, word: Any) -> None:
    """Store word ``p`` of the tile."""
    room[p] = u32(word)
    if tile.word.bits == u64.bits:
        room[p + tile.size] = u32(word >> 32)


def get(tile: Any, room: Any, p: Any) -> Any:
    """Return word ``p`` of the tile."""
    if tile.word.bits == u64.bits:
        return u64(room[p + tile.size]) << 32 | u64(room[p])
    return room[p]


def digit_at(tile: Any, room: Any, p: Any, shift: Any, mask: Any) -> Any:
    """Return the bits of ``mask`` of word ``p`` from bit ``shift`` on, which are within 32 of its bits."""
    if tile.word.bits == u64.bits:
        return (room[p + (shift >> 5) * tile.size] >> (shift & 31)) & mask
    return (room[p] >> shift) & mask


def rank(tile: Any, held: Any, ranks: Any, cells: Any, sums: Any, shift: Any) -> None:
    """Set ``ranks`` to the places of the words held, in the stable order of their four bits at ``shift``.

    ``cells`` is the room of the tile, whose words are lost; there are barriers before and after.
    """
    lane, lanes = local_id(), tile.lanes
    tally = u64(0)
    for i in static_range(tile.items):
        at = u64(four_bits(tile, held[i], shift) * STEP_BITS)
        ranks[i] = u32(tally >> at) & 15
        tally += u64(1) << at
    barrier()
    low, high = u32(tally), u32(tally >> 32)
    for c in static_range(_CELLS):
        cells[cell_of(lanes, u32(c))] = (low >> (4 * c) & 15) | (high >> (4 * c) & 15) << 16
    barrier()
    before = private(u32, _CELLS)
    total = u32(0)
    for c in static_range(_CELLS):
        before[c] = total
        total += cells[(_CELLS + 1) * lane + c]
    upto = sum_lanes(lanes, sums, total)
    for c in static_range(_CELLS):
        cells[(_CELLS + 1) * lane + c] = before[c] + (upto - total)
    if lane == lanes - 1:
        cells[(_CELLS + 1) * lanes] = upto & 0xFFFF
    barrier()
    lower = cells[(_CELLS + 1) * lanes]
    for i in static_range(tile.items):
        digit = four_bits(tile, held[i], shift)
        pair = cells[cell_of(lanes, digit & 7)]
        ranks[i] = ranks[i] + select(digit >= _CELLS, (pair >> 16) + lower, pair & 0xFFFF)
    barrier()


def four_bits(tile: Any, word: Any, shift: Any) -> Any:
    """Return the digit of a step."""
    return u32(word >> tile.word(shift)) & 15


def cell_of(lanes: Any, c: Any) -> Any:
    """Return where cell ``c`` of this lane is.

    Cells are scanned in the order of ``c * lanes + lane``, eight by a lane; a place is left free after each eight, so
    that lanes do not meet in one bank.
    """
    return c * (lanes + lanes // _CELLS) + (local_id() + (local_id() >> 3))


def take(tile: Any, room: Any, held: Any) -> None:
    """Take this lane's words from the tile."""
    for i in static_range(tile.items):
        held[i] = get(tile, room, local_id() * tile.items + i)


def exchange(tile: Any, room: Any, ranks: Any, held: Any) -> None:
    """Put the words held where they rank in the tile; nobody reads the tile before, all may afterwards."""
    for i in static_range(tile.items):
        put(tile, room, ranks[i], held[i])
    barrier()


def swap(tile: Any, room: Any, words: Any) -> None:
    """Give each lane words that lie side by side, for those of every ``lanes``-th place that it has read."""
    for i in static_range(tile.items):
        put(tile, room, i * tile.lanes + local_id(), words[i])
    barrier()
    take(tile, room, words)
