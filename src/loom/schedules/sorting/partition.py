"""Records a partition: values moved to the others of their key, where keys are whole numbers of a short range.

Layer: schedules. Invariant: values lie as a stable sort by key leaves them, so whether this is done changes no bit.
"""

from __future__ import annotations

from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, lookup, u32
from loom.core.late.dataclass import dataclass
from loom.kernels.move.partition import count_keys, move_values, place_keys
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sorting.sort import orders_by_threads

__all__ = ["PartitionPlan", "may_partition", "plan_partition"]

_MOST_KEYS = 1 << 14
"""More have their places no more within a worker's cache."""
_LEAST_ELEMENTS = 1 << 15
"""Fewer are sorted as fast."""
_ELEMENTS_A_KEY = 8
_TILES_A_WORKER = 2


def may_partition(key: DType, n: int, caps: Caps) -> bool:
    """Tell whether keys of a type are worth looking at for their range."""
    return (
        key.is_integer and not key.is_bool and key.lanes == 1 and n >= _LEAST_ELEMENTS and not orders_by_threads(caps)
    )


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """How ``n`` values of ``bits`` go to their keys, ``span`` whole numbers from ``low``, in tiles of ``tile``."""

    key: DType
    bits: int
    n: int
    low: int
    span: int
    tile: int

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.n // self.tile)

    def record(
        self, chain: Recorder, keys: StorageLike, starts: StorageLike, values: StorageLike | None = None,
        out: StorageLike | None = None,
    ) -> None:  # fmt: skip
        """Record where each key of the range starts (u32, one place more for the end), and the values moved."""
        tiles, cuts = self.tiles, [self.low, self.n, self.tile, self.span]
        counts = chain.device.allocate(tiles * self.span * u32.nbytes)
        chain.dispatch(count_keys(self.key), [keys, counts], cuts, groups=tiles)
        chain.dispatch(place_keys(), [counts, starts], [tiles, self.span], groups=1)
        if values is not None and out is not None:
            kernel = move_values(self.key, lookup(f"u{self.bits}"))
            chain.dispatch(kernel, [keys, values, counts, out], cuts, groups=tiles)


def plan_partition(key: DType, bits: Any, n: int, low: int, high: int, caps: Caps) -> PartitionPlan | None:
    """Return the plan for keys from ``low`` to ``high``; None where a sort is better."""
    span = high - low + 1
    if span > _MOST_KEYS or span * _ELEMENTS_A_KEY > n:
        return None
    tile = -(-n // (_TILES_A_WORKER * caps.workers))
    return PartitionPlan(key, bits, n, low, span, tile)
