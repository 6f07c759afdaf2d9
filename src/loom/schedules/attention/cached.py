"""Records attention over pages: write the new keys and values, weigh, add up.

Layer: schedules. Invariant: sizes and ``Caps`` choose groups, and no group sees another's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loom.core.dtype import DType
from loom.core.numerics import MATMUL_CHUNK
from loom.kernels.attention.cached import PAGE, WRITE_LANES, add_values, weigh_keys, write_places
from loom.schedules.recorder import Recorder

__all__ = ["CachedAttention", "record_cached_attention"]

_WEIGHTS_NBYTES = 1 << 26
"""Memory for the weights of rows that are computed at a time, if one row needs no more."""


@dataclass(frozen=True, slots=True)
class CachedAttention:
    """``rows`` tokens of ``heads`` key heads with ``together`` queries each, over at most ``width`` pages a sequence.

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


def record_cached_attention(
    chain: Recorder, q: Any, k: Any, v: Any, keys: Any, values: Any, places: Any, tables: Any, out: Any,
    what: CachedAttention,
) -> None:  # fmt: skip
    """Record ``out`` = attention of each row's queries over its sequence up to itself; see ``kernels.attention``."""
    allocate, parts = chain.device.allocate, -(-what.width * PAGE // MATMUL_CHUNK)
    new = what.rows * what.heads * what.size
    chain.dispatch(
        write_places(what.element, what.held), [k, v, places, tables, keys, values],
        [what.rows, what.heads, what.size, what.width], -(-new // WRITE_LANES),
    )  # fmt: skip
    row_nbytes = what.heads * what.together * what.width * PAGE * 4
    stretch = max(1, min(what.rows, _WEIGHTS_NBYTES // row_nbytes))
    weights, scales = allocate(stretch * row_nbytes), allocate(stretch * what.heads * what.together * 4)
    lanes = min(64, 1 << (what.size - 1).bit_length())
    weigh = weigh_keys(what.together, what.held, tiles=parts)
    add = add_values(what.together, what.held, lanes, chunks=parts)
    sizes = [what.heads, what.size, what.width, what.window]
    for first in range(0, what.rows, stretch):
        rows = min(stretch, what.rows - first)
        chain.dispatch(
            weigh, [q, keys, places, tables, weights, scales], [*sizes, first, what.factor], (what.heads, rows)
        )  # fmt: skip
        groups = (what.heads, rows, -(-what.size // lanes))
        chain.dispatch(add, [weights, scales, values, places, tables, out], [*sizes, first], groups)
