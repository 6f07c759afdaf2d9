"""Records the folds of groups: elements that lie side by side, group after group.

Layer: schedules. Short groups are folded by a lane each; longer ones by a workgroup, after they were cut into tiles as
often as the longest needs. Invariant: a group's fold has the bits of the fold of its elements as an array of their own.
"""

from __future__ import annotations

from loom.core.dtype import DType, u32
from loom.core.late.dataclass import dataclass
from loom.core.numerics import REDUCE_TILE
from loom.kernels.fold import groups
from loom.schedules.compact import count_kernels
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["GroupFold", "levels_of"]


def levels_of(longest: int) -> int:
    """Return how many times the longest group is cut into tiles; -1 if one lane folds it."""
    if longest <= groups.SHORT_GROUP:
        return -1
    levels = 0
    while longest > REDUCE_TILE:
        longest = -(-longest // REDUCE_TILE)
        levels += 1
    return levels


@dataclass(frozen=True, slots=True)
class GroupFold:
    """A fold of ``FOLDS`` by name, of ``n`` values in ``count`` groups; the longest are cut ``levels`` times."""

    name: str
    element: DType
    accumulator: DType
    result: DType
    n: int
    count: int
    levels: int

    def record(self, chain: Recorder, x: StorageLike, starts: StorageLike, out: StorageLike) -> None:
        """Record it over values and where groups start, one place more for the end, to ``out``."""
        kernels = count_kernels(chain.device.caps)
        element, accumulator, count = self.element, self.accumulator, self.count
        if self.levels < 0:
            kernel = groups.fold_short_groups(self.name, element, accumulator, self.result, kernels.groups_of_lane)
            chain.dispatch(kernel, [x, starts, out], [count], groups=-(-count // groups.SHORT_GROUPS))
            return
        size = self.n
        for _ in range(self.levels):
            size = count + size // REDUCE_TILE
            sizes = (count + 1) * u32.nbytes, size * u32.nbytes, size * accumulator.nbytes
            offsets, owners, tiles = (chain.device.allocate(nbytes) for nbytes in sizes)
            chain.dispatch(kernels.cut_groups(), [starts, offsets], [count])
            chain.dispatch(kernels.list_tiles(), [offsets, owners], [count], groups=-(-size // groups.LANES))
            kernel = groups.fold_tiles(self.name, element, accumulator)
            chain.dispatch(kernel, [x, starts, offsets, owners, tiles], [count], groups=size)
            x, starts, element = tiles, offsets, accumulator
        kernel = groups.fold_groups(self.name, element, accumulator, self.result)
        chain.dispatch(kernel, [x, starts, out], [], groups=count)
