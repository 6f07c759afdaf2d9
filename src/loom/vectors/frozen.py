"""A store as it was at one moment, for whoever writes it to files.

Layer: vectors. Rows never change, so that nothing is copied but lists. Invariant: what is captured later is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.vectors.given import Id, Meta
from loom.vectors.segments import RowSegment, WrittenRows

__all__ = ["FrozenStore"]


@dataclass(frozen=True, slots=True)
class FrozenStore:
    """See the module. ``counts``: rows of each segment; ``live``: which rows are no tombstones."""

    facts: dict[str, Any]
    segments: Sequence[RowSegment]
    counts: Sequence[int]
    live: Array
    ids: Sequence[Id]
    metas: Sequence[Meta | None]
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

    def rows(self) -> Iterator[Array]:
        """Give all rows as they are kept, a segment at a time."""
        for segment, count in zip(self.segments, self.counts, strict=True):
            yield segment.kept(0, count)

    def told(self) -> Iterator[tuple[int, Id, str | None]]:
        """Give number, id and JSON of what is told of each row that is alive."""
        for row in np.flatnonzero(self.live).tolist():
            meta = self.metas[row]
            yield row, self.ids[row], None if meta is None else json.dumps(meta, ensure_ascii=False)

    def flushed(self, kept: WrittenRows) -> None:
        """Let segments know the file that has their rows."""
        for segment, count in zip(self.segments, self.counts, strict=True):
            segment.written(kept, count)
        self.done()
