"""A store as it was at one moment, for whoever writes it to files.

Layer: vectors. Rows never change, so that nothing is copied but lists. Invariant: what is captured later is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.vectors.given import Id, Meta
from loom.vectors.growing import GrowingList
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
    placing: Callable[[str], AbstractContextManager[bool]]
    """Tells, while nobody else puts this store there, whether a place has none that was frozen later."""

    @property
    def scales(self) -> Array | None:
        """What the integers of rows are multiplied by, where they are integers."""
        if self.facts["dtype"] != "i8":
            return None
        found = [s.scales(0, n) for s, n in zip(self.segments, self.counts, strict=True)]
        return np.concatenate([*found, np.empty(0, np.float32)])

    def rows(self, step: int) -> Iterator[Array]:
        """Give all rows as they are kept, at most ``step`` at a time."""
        for segment, count in zip(self.segments, self.counts, strict=True):
            for place in range(0, count, step):
                yield segment.kept(place, min(step, count - place))

    def told(self, first: int, count: int) -> tuple[list[Id | None], list[Meta | None] | None]:
        """Return the ids of rows, None for tombstones, and what they are told; None for nothing at all."""
        ids: list[Any] = self.ids[first : first + count]
        metas: list[Meta | None] = self.metas[first : first + count]
        live = self.live[first : first + count]
        for n in np.flatnonzero(~live).tolist():
            ids[n] = metas[n] = None
        return ids, metas if metas.count(None) < count else None

    def flushed(self, kept: WrittenRows) -> None:
        """Let segments know the file that has their rows."""
        for segment, count in zip(self.segments, self.counts, strict=True):
            segment.written(kept, count)
        self.done()
