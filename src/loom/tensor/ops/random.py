"""Random words within the record: what dropout and noise of a training step are made of.

Layer: tensor. One kernel draws all words of a tensor (``kernels.maps.random``). Invariant: a word depends on seed,
number, step, stream and its place alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import u32
from loom.kernels.maps.random import RANDOM_LANES, step_bits
from loom.schedules.recorder import Recorder, store
from loom.tensor.draft import BufferView
from loom.tensor.graph import Node, NodeKind, NodeT, TensorOp, make
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.views import reshape

__all__ = ["random_words"]


def _record(node: Node, draft: Recorder, operands: Sequence[BufferView], out: Any) -> None:
    seed, number, stream = node.attributes
    if node.size:
        seeds = store(draft, np.array([seed & 0xFFFF_FFFF, seed >> 32, stream, number], np.uint32))
        draw = step_bits()
        groups = -(-node.size // (draw.per_block * RANDOM_LANES))
        draft.dispatch(draw.kernel, [seeds, operands[0].buffer, out], [node.size], groups)


WORDS = TensorOp("random_words", NodeKind.KERNEL, record=_record)


def random_words(shape: Sequence[int], seed: int, number: int, step: NodeT, stream: int) -> NodeT:
    """Return random u32: of tensor ``number`` of a stream in training step ``step``, an integer tensor of one element.

    Element i is word i % 4 of Philox's counter (i // 4, number, step, stream).
    """
    at = reshape(cast(step, u32), ())
    flat = make(WORDS, [at], (math.prod(shape),), u32, (seed, number, int(stream)))
    return reshape(flat, tuple(shape))
