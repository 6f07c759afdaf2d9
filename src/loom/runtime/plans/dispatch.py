"""What a chain holds: dispatches of kernels over bound memory, in segments that are repeated.

Layer: runtime. A segment is a few dispatches done ``repeats`` times, each time with its own parameters. Invariant:
nothing here checks, plans or runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass
from loom.ir.verified import VerifiedKernel
from loom.runtime.memory.storage import Storage

__all__ = ["Binding", "Dispatch", "Segment"]


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """Memory as one kernel buffer sees it."""

    storage: Storage
    elements: int


@dataclass(frozen=True, slots=True, eq=False)
class Dispatch:
    """A kernel with its bindings; ``params`` and ``groups`` have one row per repeat of the segment.

    ``indirect`` is (storage, byte offset) of three u32 counts read when the dispatch starts. ``reports``: it tells of
    an index outside, whatever the settings.
    """

    kernel: VerifiedKernel
    bindings: tuple[Binding, ...]
    params: np.ndarray[Any, Any]
    groups: np.ndarray[Any, Any]
    indirect: tuple[Storage, int] | None = None
    reports: bool = False


@dataclass(slots=True, eq=False)
class Segment:
    """Dispatches done in order, ``repeats`` times."""

    repeats: int
    dispatches: list[Dispatch] = field(default_factory=list[Dispatch])
    values: np.ndarray[Any, Any] | None = None

    @property
    def params(self) -> Sequence[np.ndarray[Any, Any]]:
        """Columns of the array given to ``repeat``, to be passed on as parameters."""
        if self.values is None:
            raise StateError(
                "chain.repeat", "no array of parameters was given", remedy="Write chain.repeat(n, params=array)"
            )
        if self.values.dtype.names:
            return [self.values[name] for name in self.values.dtype.names]
        return [*np.atleast_2d(self.values.transpose())]
