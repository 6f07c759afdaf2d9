"""Records attention over pages: write the new keys and values, weigh, add up.

Layer: schedules. Where lanes are threads and a pass has many rows of few sequences, tiles of rows share keys and
values; else a group takes a row. Invariant: sizes and ``Caps`` choose groups, and no row's bits depend on another's.
"""

from __future__ import annotations

from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_CHUNK
from loom.kernels.attention.abreast import Abreast, add_values_abreast, choose_abreast, weigh_keys_abreast
from loom.kernels.attention.cached import PAGE, WRITE_LANES, add_values, weigh_keys, write_places
from loom.kernels.attention.rowtiles import RowTile, choose_row_tile
from loom.kernels.attention.tiled import add_tiled_values, score_keys, weigh_scores
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import Recorder

__all__ = ["CachedAttention", "few_sequences", "record_cached_attention", "usual_rows"]

_WEIGHTS_NBYTES = 1 << 26
"""Memory for the weights of rows that are computed at a time, if one row needs no more."""
_TILED_WEIGHTS_NBYTES = 1 << 28
"""The same where many rows at a time keep a GPU busy."""
_LEAST_TILED, _LEAST_STRETCH = 256, 32
"""Rows of a pass, and for each sequence that it may know, from which tiles of rows are worth it."""
_SOME_ROWS, _MANY_ROWS = 512, 2048
_PARTS = 8
"""Groups that share the pages of a tile of rows."""


@dataclass(frozen=True, slots=True)
class CachedAttention:
    """``rows`` tokens of ``heads`` key heads with ``together`` queries each, over at most ``width`` pages a sequence,
    of which the pass knows ``sequences``.

    ``factor``: what dots are multiplied by, as its f32 says; ``window``: positions that are seen at most;
    ``held``: the type of the kept keys and values.
    """

    rows: int
    heads: int
    together: int
    size: int
    width: int
    factor: float
    window: int
    element: DType
    held: DType
    sequences: int

    @property
    def chunks(self) -> int:
        """Chunks of positions, of a sequence at most."""
        return -(-self.width * PAGE // MATMUL_CHUNK)

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row's weights."""
        return self.heads * self.together * self.width * PAGE * 4

    def stretch(self, nbytes: int) -> int:
        """Return how many rows' weights fit, one at least."""
        return max(1, min(self.rows, nbytes // self.row_nbytes))


def few_sequences(rows: int) -> int:
    """Return of how many sequences a pass may know at most to be computed by tiles of rows, 0: it is not."""
    return rows // _LEAST_STRETCH if rows >= _LEAST_TILED else 0


def usual_rows(caps: Caps) -> int:
    """Return how many tokens of prompts a pass had best have: many where many rows keep a device busy."""
    return _MANY_ROWS if lanes_of(caps) == THREADS and not caps.short else _SOME_ROWS


def _choose(caps: Caps, what: CachedAttention) -> RowTile | Abreast | None:
    """Return how a pass is cut where lanes are threads, None: a group takes a row, page by page."""
    if lanes_of(caps) != THREADS:
        return None
    tile = choose_row_tile(caps, what.together) if what.sequences <= few_sequences(what.rows) else None
    return tile or choose_abreast(caps, what.together, what.size)


def record_cached_attention(
    chain: Recorder, q: Any, k: Any, v: Any, keys: Any, values: Any, places: Any, tables: Any, out: Any,
    what: CachedAttention, *, cut: RowTile | Abreast | None = None,
) -> None:  # fmt: skip
    """Record ``out`` = attention of each row's queries over its sequence up to itself; see ``kernels.attention``.

    ``cut``: forces tiles of rows, or pages side by side.
    """
    caps = chain.device.caps
    new = what.rows * what.heads * what.size
    chain.dispatch(
        write_places(what.element, what.held), [k, v, places, tables, keys, values],
        [what.rows, what.heads, what.size, what.width], -(-new // WRITE_LANES),
    )  # fmt: skip
    cut = cut or _choose(caps, what)
    if isinstance(cut, RowTile):
        _by_tiles(chain, (q, keys, values, places, tables, out), what, cut)
    else:
        _by_rows(chain, (q, keys, values, places, tables, out), what, cut)


def _by_rows(chain: Recorder, buffers: tuple[Any, ...], what: CachedAttention, cut: Abreast | None) -> None:
    """Record it with a group for each row and key head; ``cut``: its pages side by side."""
    q, keys, values, places, tables, out = buffers
    allocate, stretch = chain.device.allocate, what.stretch(_WEIGHTS_NBYTES)
    weights, scales = allocate(stretch * what.row_nbytes), allocate(stretch * what.heads * what.together * 4)
    lanes, sizes = min(64, 1 << (what.size - 1).bit_length()), [what.heads, what.size, what.width, what.window]
    if cut is None:
        weigh = weigh_keys(what.together, what.held, tiles=what.chunks)
        add = add_values(what.together, what.held, lanes, chunks=what.chunks)
    else:
        lanes, sizes = PAGE, [what.heads, what.width, what.window]
        weigh = weigh_keys_abreast(cut, what.held, what.size)
        add = add_values_abreast(cut, what.held, what.size, chunks=what.chunks)
    for first in range(0, what.rows, stretch):
        rows = min(stretch, what.rows - first)
        chain.dispatch(
            weigh, [q, keys, places, tables, weights, scales], [*sizes, first, what.factor], (what.heads, rows)
        )  # fmt: skip
        groups = (what.heads, rows, -(-what.size // lanes))
        chain.dispatch(add, [weights, scales, values, places, tables, out], [*sizes, first], groups)


def _by_tiles(chain: Recorder, buffers: tuple[Any, ...], what: CachedAttention, tile: RowTile) -> None:
    """Record it with groups for tiles of rows: scores, their exponentials and sums, weighted values."""
    q, keys, values, places, tables, out = buffers
    allocate, stretch = chain.device.allocate, what.stretch(_TILED_WEIGHTS_NBYTES)
    queries = what.heads * what.together
    weights, scales = allocate(stretch * what.row_nbytes), allocate(stretch * queries * 4)
    score, weigh = score_keys(tile, what.held, what.size), weigh_scores(tiles=what.chunks)
    add = add_tiled_values(tile, what.held, what.size, chunks=what.chunks)
    for first in range(0, what.rows, stretch):
        rows = min(stretch, what.rows - first)
        tiles, sizes = -(-rows // tile.rows), [rows, what.heads, what.width, what.window, first]
        chain.dispatch(
            score, [q, keys, places, tables, weights], [*sizes, _PARTS, what.factor], (what.heads, tiles, _PARTS)
        )  # fmt: skip
        chain.dispatch(weigh, [places, weights, scales], [queries, *sizes[2:]], (queries, rows))
        groups = (what.heads, tiles, -(-what.size // PAGE))
        chain.dispatch(add, [weights, scales, values, places, tables, out], sizes, groups)
