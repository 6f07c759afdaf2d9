"""What a store gives out: hits of a search, entries read back; and how entries are read, some at a time.

Layer: vectors. Invariant: what is given out is a copy; whoever changes it changes nothing of the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.arrays import Array
from loom.vectors.given import Id, Meta
from loom.vectors.search import Ranks
from loom.vectors.segments import RowSegment
from loom.vectors.state import StoreView

__all__ = ["Entry", "Hit", "as_hits", "copy_meta", "normalize", "read_entries"]

_SOME = 1024
"""Vectors that iteration reads at a time."""


class Hit(NamedTuple):
    """A vector that was found: its id, its score, what it is told, its row.

    The score is the cosine or the product, larger for better, or the euclidean distance, smaller for better.
    """

    id: Id
    score: float
    meta: dict[str, Any] | Any  # None where nothing was told
    row: int


class Entry(NamedTuple):
    """A vector of a store: its id, its elements as f32, what it is told, its row."""

    id: Id
    vector: Array
    meta: dict[str, Any] | None
    row: int


def as_hits(ranks: Ranks, view: StoreView, is_euclidean: bool) -> list[Hit]:
    """Return what a search gives out for the best rows of a query."""
    scores = 0 - ranks.scores if is_euclidean else ranks.scores
    rows: list[int] = ranks.rows.tolist()
    ids, metas = view.ids, view.metas
    told = [copy_meta(metas[row]) for row in rows]
    return list(map(Hit._make, zip([ids[row] for row in rows], scores.tolist(), told, rows, strict=True)))


def read_entries(
    segments: Sequence[RowSegment],
    alive: Sequence[Sequence[int]],
    ids: Sequence[Id],
    metas: Sequence[Meta | None],
) -> Iterator[Entry]:
    """Give the rows at these places of segments, read some at a time."""
    for segment, places in zip(segments, alive, strict=True):
        for at in range(0, len(places), _SOME):
            some = places[at : at + _SOME]
            found = segment.floats(some[0], some[-1] - some[0] + 1)
            for place in some:
                row = segment.first + place
                yield Entry(ids[row], found[place - some[0]].copy(), copy_meta(metas[row]), row)


def copy_meta(meta: Meta | None) -> dict[str, Any] | None:
    """Return what is told of a vector as a dict of the caller's own."""
    if meta is None:
        return None
    copy = dict(meta)
    for name, value in copy.items():
        if isinstance(value, (list, dict)):
            copy[name] = _copy(value)
    return copy


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(each) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in cast("dict[str, Any]", value).items()}
    return value


def normalize(x: Array) -> Array:
    """Return rows scaled to length 1, those of length 0 as they are."""
    lengths = np.sqrt(np.add.accumulate(x * x, axis=1, dtype=np.float32)[:, -1:])
    return np.divide(x, lengths, out=x.copy(), where=lengths > 0)
