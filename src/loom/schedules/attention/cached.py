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
    queries = what.rows * what.heads * what.together
    weights, scales = allocate(queries * what.width * PAGE * 4), allocate(queries * 4)
    chain.dispatch(
        weigh_keys(what.together, what.held, tiles=parts), [q, keys, places, tables, weights, scales],
        [what.heads, what.size, what.width, what.window, what.factor], (what.heads, what.rows),
    )  # fmt: skip
    lanes = min(64, 1 << (what.size - 1).bit_length())
    chain.dispatch(
        add_values(what.together, what.held, lanes, chunks=parts), [weights, scales, values, places, tables, out],
        [what.heads, what.size, what.width, what.window], (what.heads, what.rows, -(-what.size // lanes)),
    )  # fmt: skip
