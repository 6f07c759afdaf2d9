"""A store as it was at one moment, for whoever writes it to files.

Layer: vectors. Rows never change, so that nothing is copied but lists. Invariant: what is captured later is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.vectors.given import Id, Meta
from loom.vectors.growing import GrowingList
from loom.vectors.known_places import KnownPlace
from loom.vectors.segments import RowSegment, WrittenRows

__all__ = ["FrozenStore"]


@dataclass(frozen=True, slots=True)
class FrozenStore:
    """See the module. ``counts``: rows of each segment; ``live``: which rows are no tombstones."""

    facts: dict[str, Any]
    segments: Sequence[RowSegment]
    counts: Sequence[int]
    live: Array
    ids: GrowingList[Id]
    metas: GrowingList[Meta | None]
    done: Callable[[], None]
    placing: Callable[[str], AbstractContextManager[KnownPlace]]
    """Gives a place as the store knows it, while nobody else puts this store there."""

    def panels(self, step: int) -> Iterator[Array]:
        """Give the bytes of all panels, at most ``step`` at a time, rows that are none being 0."""
        for segment, count in zip(self.segments, self.counts, strict=True):
            yield from segment.panels(count, step)

    def row_facts(self) -> tuple[Array, Array, Array]:
        """Return squares, weights and scales of the rows of all panels."""
        found = [segment.facts(count) for segment, count in zip(self.segments, self.counts, strict=True)]
        squares, weights, scales = (
            np.concatenate([np.empty(0, np.float32), *(each[n] for each in found)]) for n in range(3)
        )
        return squares, weights, scales

    def ids_and_metas(self, first: int, count: int) -> tuple[list[Id | None], list[Meta | None] | None]:
        """Return the ids of rows, None for tombstones, and what they are told; None for nothing at all."""
        ids: list[Any] = self.ids[first : first + count]
        metas: list[Meta | None] = self.metas[first : first + count]
        live = self.live[first : first + count]
        for n in np.flatnonzero(~live).tolist():
            ids[n] = metas[n] = None
        return ids, metas if metas.count(None) < count else None

    def note_flushed(self, kept: WrittenRows) -> None:
        """Let segments know the file that has their rows."""
        for segment, count in zip(self.segments, self.counts, strict=True):
            segment.note_written(kept, count)
        self.done()
