"""Queries as kernels read them: whole tiles of them, each with its facts.

Layer: vectors. A query of a store of bytes becomes integers of up to 16 bits, as many as keep every sum of products
exact in 32 bits. Invariant: what is made of a query depends on that query alone.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import i8
from loom.core.numerics import MATMUL_BLOCK
from loom.kernels.vectors.order_free import pack_queries
from loom.kernels.vectors.panels import BYTES
from loom.kernels.vectors.rank import FACTS
from loom.schedules.vectors import VectorLayout
from loom.vectors.given import require_lengths

__all__ = ["inverse_lengths", "prepare_queries"]

_LEAST = np.float32(2.0**-149)
_MOST_WORD = 32767
_EXACT = (1 << 24) - 1
"""What the sum of a query's integers stays below, so that f32 holds it, and 127 times it i32."""


def prepare_queries(array: Array, layout: VectorLayout, where: str) -> tuple[Array, Array]:
    """Return queries (n, dims), and their facts, padded with zeros to whole tiles."""
    squares = _squares(array)
    require_lengths(squares, where, "query")
    tile = layout.tile(len(array))
    padded = np.zeros((-(-len(array) // tile) * tile, layout.dims), np.float32)
    padded[: len(array)] = array
    facts = np.zeros((len(padded), FACTS), np.float32)
    if layout.kept == i8:
        return _as_integers(padded, facts, layout), facts
    facts[: len(array), 0] = inverse_lengths(squares) if layout.is_cosine else 1
    facts[: len(array), 1] = squares
    if layout.packing is not None:
        return pack_queries(padded, layout.packing), facts
    return (_short(padded) if layout.precision == "x12" else padded), facts


def _short(array: Array) -> Array:
    """Return elements rounded to 12 significant bits, halves to even."""
    bits = array.view(np.uint32)
    return ((bits + (0x7FF + ((bits >> np.uint32(12)) & np.uint32(1)))) & np.uint32(0xFFFFF000)).view(np.float32)


def _squares(array: Array) -> Array:
    """Return sums of squares in the order of matrix products."""
    total = np.zeros(len(array), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, array.shape[1], MATMUL_BLOCK):
            part = array[:, first : first + MATMUL_BLOCK]
            total += np.add.accumulate(part * part, axis=1, dtype=np.float32)[:, -1]
    total[(total == 0) & array.any(axis=1)] = _LEAST
    return total


def inverse_lengths(squares: Array) -> Array:
    """Return 1 / length of squared lengths, 0 for length 0."""
    lengths = np.sqrt(squares, dtype=np.float32)
    return np.divide(np.float32(1), lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _as_integers(array: Array, facts: Array, layout: VectorLayout) -> Array:
    """Return pairs of 16 bits as kernels multiply them: of every four elements the first and third, then the others."""
    most = min(_MOST_WORD, _EXACT // layout.dims)
    largest = np.abs(array).max(axis=1)
    scale = largest / np.float32(most)
    fine = np.divide(np.float32(most), largest, out=np.zeros_like(largest), where=largest > 0)
    integers = np.clip(np.rint(array * fine[:, None]), -most, most).astype(np.int64)
    squares = (integers * integers).sum(axis=1).astype(np.float32)
    facts[:, 0] = inverse_lengths(squares) if layout.is_cosine else scale
    facts[:, 1] = squares * scale * scale
    facts[:, 2] = integers.sum(axis=1)
    padded = np.zeros((len(array), layout.words * BYTES), np.int64)
    padded[:, : layout.dims] = integers
    four = (padded & 0xFFFF).reshape(len(array), layout.words, BYTES)
    pairs = np.stack([four[..., 0] | four[..., 2] << 16, four[..., 1] | four[..., 3] << 16], axis=-1)
    return pairs.astype(np.uint32).view(np.int32).reshape(len(array), 2 * layout.words)
