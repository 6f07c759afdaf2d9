"""Layer 3: stores of vectors: what is kept, and what is found, by every metric and for every kind of elements.

Layer: proof. Rows lie in several segments of several panels, the last of each not full. Invariant: a case's digest is
of the bits of elements and scores, and of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from loom.core.dtype import f32
from loom.proof.inputs import numbers, seed_of
from loom.runtime.port.device import Device
from loom.vectors import VectorStore

__all__ = ["VECTORS"]

Bits = np.ndarray[Any, Any]
_Row = tuple[str, Callable[[], Sequence[Bits]], Callable[..., Sequence[Bits]]]
_ROWS, _DIMS, _SEGMENT, _QUERIES = 217, 133, 64, 5


def _found(kept: str, metric: str, device: Device, x: Bits, queries: Bits) -> Sequence[Bits]:
    """Capture in two parts, delete some, search with a filter and without."""
    with VectorStore(_DIMS, _SEGMENT, metric, device, kept) as store:
        store.capture_many(None, x[:100], {"part": 1})
        store.capture_many(None, x[100:], {"part": 2})
        store.delete(list(range(0, _ROWS, 7)))
        hits = [store.search_many(queries, 20), store.search_many(queries[:1], 9, where={"part": 2})]
        told = [hit for found in hits for each in found for hit in each]
        elements = store.to_numpy()[1]
    return [np.array([hit.row for hit in told], np.int64), np.array([hit.score for hit in told], np.float32), elements]


def _row(kept: str, metric: str) -> _Row:
    name = f"vectors {kept}, {metric}"

    def inputs() -> Sequence[Bits]:
        shapes = ((_ROWS, _DIMS), (_QUERIES, _DIMS))
        return [numbers(shape, f32, seed_of(f"{name} {n}"), spread=6) for n, shape in enumerate(shapes)]

    return name, inputs, partial(_found, kept, metric)


VECTORS: tuple[_Row, ...] = tuple(
    _row(kept, metric) for kept in ("f32", "f16", "i8") for metric in ("cosine", "dot", "euclidean")
)
