"""Random words within the record: what dropout and noise of a training step are made of.

Layer: tensor. One kernel draws all words of a tensor (``kernels.maps.random``). Invariant: a word depends on seed,
number, step, stream and its place alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, u32
from loom.kernels.maps.random import RANDOM_LANES, later_bits, normals_of_words, step_bits
from loom.schedules.recorder import Recorder, store
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import BufferView
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make

__all__ = ["random_bits", "random_words", "standard_normals"]


def _record(node: Node, draft: Recorder, operands: Sequence[BufferView], out: Any) -> None:
    seed, number, stream = node.attributes
    if node.size:
        seeds = store(draft, np.array([seed & 0xFFFF_FFFF, seed >> 32, stream, number], np.uint32))
        draw = step_bits()
        groups = -(-node.size // (draw.per_block * RANDOM_LANES))
        draft.dispatch(draw.kernel, [seeds, operands[0].buffer, out], [node.size], groups)


def _record_later(node: Node, draft: Recorder, operands: Sequence[BufferView], out: Any) -> None:
    seed, number, stream, each = node.attributes
    if node.size:
        seeds = store(draft, np.array([seed & 0xFFFF_FFFF, seed >> 32, stream, number, each], np.uint32))
        draw = later_bits()
        groups = -(-node.size // (draw.per_block * RANDOM_LANES))
        draft.dispatch(draw.kernel, [seeds, operands[0].buffer, operands[1].buffer, out], [node.size], groups)


LATER = TensorOp("random_words_later", NodeKind.KERNEL, record=_record_later)
WORDS = TensorOp("random_words", NodeKind.KERNEL, record=_record)


def random_words(
    shape: Sequence[int], seed: int, number: int, step: NodeT, stream: int, after: tuple[NodeT, int] | None = None
) -> NodeT:
    """Return random u32: of tensor ``number`` of a stream in training step ``step``, an integer tensor of one element.

    Element i is word i % 4 of Philox's counter (i // 4, number, step, stream). ``after``: (n, m): i counts from n m on,
    n a tensor of one u32.
    """
    at = reshape(cast(step, u32), ())
    if after is None:
        flat = make(WORDS, [at], (math.prod(shape),), u32, (seed, number, int(stream)))
    else:
        told = (seed, number, int(stream), after[1])
        flat = make(LATER, [at, reshape(cast(after[0], u32), ())], (math.prod(shape),), u32, told)
    return reshape(flat, tuple(shape))


def _record_counted(node: Node, draft: Recorder, operands: Sequence[BufferView], out: Any) -> None:
    if node.size:
        draw = step_bits()
        groups = -(-node.size // (draw.per_block * RANDOM_LANES))
        draft.dispatch(draw.kernel, [operands[1].buffer, operands[0].buffer, out], [node.size], groups)


def _record_normals(node: Node, draft: Recorder, operands: Sequence[BufferView], out: Any) -> None:
    if node.size:
        kernel = normals_of_words(node.dtype)
        draft.dispatch(kernel, [operands[0].buffer, out], [node.size], -(-node.size // (2 * RANDOM_LANES)))


COUNTED = TensorOp("random", NodeKind.KERNEL, record=_record_counted)
NORMALS = TensorOp("random_normal", NodeKind.KERNEL, record=_record_normals)


def random_bits(size: int, step: NodeT, seeds: NodeT) -> NodeT:
    """Return ``size`` random u32 of a step, a tensor of one u32, by ``seeds``: key low, key high, stream, number."""
    return make(COUNTED, [step, seeds], (size,), u32)


def standard_normals(words: NodeT, dtype: DType) -> NodeT:
    """Return standard normal numbers, f32 or f64, of an even number of words (of f64 two for each)."""
    return make(NORMALS, [words], (words.size * u32.bits // dtype.bits,), dtype)
