"""Records a selection: the key of a rank is found digit by digit, then the parts around it are counted, tile by tile.

Layer: schedules. Invariant: what is found, and the order of elements within a part, is the same for every schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loom.core.caps import Caps
from loom.core.dtype import u32
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.group.marks import MARK_TILE
from loom.kernels.sort import select, select_threads
from loom.kernels.sort.keys import DIGITS, Order
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sort import cut

__all__ = ["Selection"]

Factory = Callable[[Order], KernelFunction]


@dataclass(frozen=True, slots=True, eq=False)
class _Kernels:
    """Kernels over tiles of ``x`` and the key ``found``; ``clear`` where all tiles count together."""

    clear: Callable[[], KernelFunction] | None
    count_prefixed: Factory
    find_digit: Callable[[], KernelFunction]
    count_parts: Factory
    place_parts: Callable[[], KernelFunction]
    write_parts: Factory
    pick_lowest: Factory


_VECTORS = _Kernels(
    None, select.count_prefixed, select.find_digit, select.count_parts, select.place_parts, select.write_parts,
    select.pick_lowest,
)  # fmt: skip
_THREADS = _Kernels(
    select_threads.clear_counts, select_threads.count_prefixed, select_threads.find_digit, select_threads.count_parts,
    select_threads.place_parts, select_threads.write_parts, select_threads.pick_lowest,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """How a rank of ``n`` elements is looked for: by ``kernels`` over tiles of ``tile`` elements."""

    order: Order
    n: int
    tile: int
    kernels: _Kernels

    @classmethod
    def of(cls, order: Order, n: int, caps: Caps) -> Selection:
        """Choose for a device."""
        if caps.threads:
            return cls(order, n, MARK_TILE, _THREADS)
        return cls(order, n, cut(n, order.dtype.nbytes, caps), _VECTORS)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.n // self.tile)

    def record(self, chain: Recorder, x: StorageLike, found: StorageLike) -> StorageLike:
        """Record the search for the rank in ``found``; return where each tile's parts begin, for what follows.

        ``found`` holds two u64: 0, and the rank.
        """
        kernels, digits = self.kernels, self.order.bits.nbytes
        rows = self.tiles if kernels.clear is None else digits
        counts = chain.device.allocate(rows * DIGITS * u32.nbytes)
        places = chain.device.allocate(self.tiles * select.PARTS * u32.nbytes)
        if kernels.clear is not None:
            chain.dispatch(kernels.clear(), [counts], groups=digits)
        for number in reversed(range(digits)):
            of_find = [number] if kernels.clear is not None else [self.tiles, number]
            self._over_tiles(chain, kernels.count_prefixed(self.order), [x, found, counts], number)
            chain.dispatch(kernels.find_digit(), [counts, found], of_find)
        self._over_tiles(chain, kernels.count_parts(self.order), [x, found, places])
        chain.dispatch(kernels.place_parts(), [places], [self.tiles])
        return places

    def record_parts(self, chain: Recorder, x: StorageLike, found: StorageLike, out: StorageLike) -> None:
        """Record the search, and write what is below the key found, what equals it, and what is above, to ``out``."""
        places = self.record(chain, x, found)
        self._over_tiles(chain, self.kernels.write_parts(self.order), [x, found, places, out])

    def record_lowest(
        self, chain: Recorder, x: StorageLike, found: StorageLike, k: int, out: StorageLike, positions: StorageLike
    ) -> None:
        """Record the search, for rank ``k`` - 1, and write the ``k`` lowest, unsorted, and their positions, u32."""
        places = self.record(chain, x, found)
        self._over_tiles(chain, self.kernels.pick_lowest(self.order), [x, found, places, out, positions], k)

    def _over_tiles(self, chain: Recorder, kernel: KernelFunction, buffers: list[StorageLike], *more: int) -> None:
        chain.dispatch(kernel, buffers, [self.n, self.tile, *more], groups=self.tiles)
