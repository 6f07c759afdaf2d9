"""Which lanes execute a statement.

Layer: ir. Invariant: a mask is immutable, and narrowing that keeps every lane returns the same object,
so "did any lane leave?" is an identity test.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Array", "Mask"]

Array = np.ndarray[Any, Any]


class Mask:
    """A set of lanes of a batch: ``active`` holds one bool per lane."""

    __slots__ = ("_lanes", "active", "count")

    def __init__(self, active: Array) -> None:
        self.active = active
        self.count = int(np.count_nonzero(active))
        self._lanes: Array | None = None

    @property
    def full(self) -> bool:
        """True when every lane of the batch is in."""
        return self.count == self.active.shape[0]

    @property
    def lanes(self) -> Array:
        """The lanes in the set, ascending."""
        if self._lanes is None:
            self._lanes = np.flatnonzero(self.active)
        return self._lanes

    def narrow(self, condition: Array) -> Mask:
        """Return the lanes for which ``condition`` (one bool per lane, or one for all) holds too."""
        if condition.shape[0] == 1 and condition[0]:
            return self
        return self._keep(self.active & condition)

    def without(self, gone: Array | None) -> Mask:
        """Return the lanes that are not in ``gone``."""
        return self if gone is None else self._keep(self.active & ~gone)

    def union(self, other: Mask) -> Mask:
        """Return the lanes of both."""
        if not other.count:
            return self
        return other if not self.count else Mask(self.active | other.active)

    def _keep(self, active: Array) -> Mask:
        kept = Mask(active)
        return self if kept.count == self.count else kept
