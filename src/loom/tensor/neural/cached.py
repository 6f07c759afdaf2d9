"""Attention of single tokens over keys and values kept in pages, as one operation of a program.

Layer: tensor. It writes the rows' keys and values into the pages, which are parameters, in place, and then reads them:
programs that share pages see each other's rows in the order in which they run. It is for programs that are compiled,
and has no gradient. Invariant: the result is attention over each row's own sequence up to itself, in its bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import f32
from loom.kernels.attention.cached import MOST_POSITIONS
from loom.schedules.attention.cached import CachedAttention, record_cached_attention
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make

__all__ = ["cached_attention"]


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    q, k, _, keys, _, _, tables = node.inputs
    rows, heads, together, size = q.shape
    factor, window = node.attributes
    sequences, width = tables.shape
    what = CachedAttention(rows, heads, together, size, width, factor, window, k.dtype, keys.dtype, sequences)
    buffers: tuple[Any, ...] = (*(o.buffer for o in operands), out)
    record_cached_attention(draft, *buffers, what=what)


_ALL = MOST_POSITIONS
_CACHED = TensorOp("cached_attention", NodeKind.KERNEL, record=_record)


def cached_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    values: Tensor,
    places: Tensor,
    tables: Tensor,
    factor: float,
    window: int | None = None,
) -> Tensor:
    """Return attention of queries (rows, heads, together, size), with a new key and value (rows, heads, size) each.

    ``keys`` and ``values``: parameters of (pages, heads, 64 size) elements, of f32, f16 or bf16; see
    ``kernels.attention.cached`` for these, ``places`` (rows, 2) and ``tables`` (sequences, pages), both u32. Scores are
    multiplied by ``factor``, and seen are the last ``window`` positions (None: all).
    """
    assert q.dtype == f32, "accumulated and multiplied in f32"
    return make(
        _CACHED,
        [q, k, v, keys, values, places, tables],
        q.shape,
        f32,
        (float(np.float32(factor)), min(window or _ALL, _ALL)),
    )
