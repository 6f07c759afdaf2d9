"""Records what keeps, pairs and cuts in order: tiles are counted, counts added up, and each tile moved to its place.

Layer: schedules. Invariant: the same elements in the same places, whoever counts and moves a tile.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.caps import Caps
from loom.core.dtype import DType, u32, u64
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.fold import groups
from loom.kernels.move import compact, compact_threads, join
from loom.kernels.move.compact import KEEP_TILE
from loom.kernels.move.join import JOIN_TILE, MATCH_LANES, match_keys
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["CountKernels", "Pairing", "count_kernels", "record_kept"]


@dataclass(frozen=True, slots=True, eq=False)
class CountKernels:
    """Kernels that count a tile, add up the counts of all, and move a tile: elements kept, pairs, tiles of groups."""

    add_counts: Callable[[DType], KernelFunction]
    count_kept: Callable[[DType], KernelFunction]
    keep_positions: Callable[[DType], KernelFunction]
    keep_elements: Callable[[DType, DType], KernelFunction]
    count_pairs: Callable[..., KernelFunction]
    write_pairs: Callable[..., KernelFunction]
    cut_groups: Callable[[], KernelFunction]
    list_tiles: Callable[[], KernelFunction]
    groups_of_lane: int
    """Short groups that a lane folds, one after the other."""


_VECTORS = CountKernels(
    compact.add_counts, compact.count_kept, compact.keep_positions, compact.keep_elements, join.count_pairs,
    join.write_pairs, groups.cut_groups, groups.list_tiles, groups.SHORT_GROUPS,
)  # fmt: skip
_THREADS = CountKernels(
    compact_threads.lane_add_counts, compact_threads.lane_count_kept, compact_threads.lane_keep_positions,
    compact_threads.lane_keep_elements, compact_threads.lane_count_pairs, compact_threads.lane_write_pairs,
    groups.lane_cut_groups, groups.lane_list_tiles, 1,
)  # fmt: skip


def count_kernels(caps: Caps) -> CountKernels:
    """Return the kernels for a device."""
    return _THREADS if caps.threads else _VECTORS


def record_kept(
    chain: Recorder, flags: DType, n: int, mask: StorageLike, out: StorageLike, found: StorageLike,
    elements: tuple[DType, StorageLike] | None = None,
) -> None:  # fmt: skip
    """Record what is kept where ``mask``, ``n`` flags of a type, is not zero, to ``out``; its size, u32, to ``found``.

    That is ``elements``, or else positions, i64.
    """
    kernels, tiles = count_kernels(chain.device.caps), -(-n // KEEP_TILE)
    counts, starts = (chain.device.allocate(tiles * u32.nbytes) for _ in range(2))
    chain.dispatch(kernels.count_kept(flags), [mask, counts], [n], groups=tiles)
    chain.dispatch(kernels.add_counts(u32), [counts, starts, found], [tiles])
    if elements is None:
        chain.dispatch(kernels.keep_positions(flags), [mask, starts, out], [n], groups=tiles)
    else:
        element, x = elements
        chain.dispatch(kernels.keep_elements(element, flags), [x, mask, starts, out], [n], groups=tiles)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of equal keys, integers, of ``n`` left and ``m`` sorted right ones; ``outer``: left ones without, too."""

    key: DType
    n: int
    m: int
    outer: bool

    @property
    def tiles(self) -> int:
        """Number of tiles of the left keys."""
        return -(-self.n // JOIN_TILE)

    def record_matches(
        self, chain: Recorder, left: StorageLike, right: StorageLike, lows: StorageLike, counts: StorageLike,
        starts: StorageLike, total: StorageLike,
    ) -> None:  # fmt: skip
        """Record the first equal right key of each left one and how many there are, and where tiles' pairs start."""
        kernels, pairs = count_kernels(chain.device.caps), chain.device.allocate(self.tiles * u64.nbytes)
        matches = [left, right, lows, counts]
        chain.dispatch(match_keys(self.key), matches, [self.n, self.m], groups=-(-self.n // MATCH_LANES))
        chain.dispatch(kernels.count_pairs(outer=self.outer), [counts, pairs], [self.n], groups=self.tiles)
        chain.dispatch(kernels.add_counts(u64), [pairs, starts, total], [self.tiles])

    def record_pairs(
        self, chain: Recorder, lows: StorageLike, counts: StorageLike, positions: StorageLike, starts: StorageLike,
        lefts: StorageLike, rights: StorageLike,
    ) -> None:  # fmt: skip
        """Record the pairs, by what ``record_matches`` found; ``positions`` are those of the right keys."""
        write = count_kernels(chain.device.caps).write_pairs(outer=self.outer)
        chain.dispatch(write, [lows, counts, positions, starts, lefts, rights], [self.n], groups=self.tiles)
