"""Records what is read off an order tile by tile: the parts around a rank, and the runs of equal elements.

Layer: schedules. A rank's key is found digit by digit, without sorting; runs are those of elements that are sorted.
Tiles are counted, the counts become places, and the tiles are written there. Invariant: what is found, and the order
of elements within a part, is the same for every schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Access
from loom.kernels.group.marks import MARK_TILE
from loom.kernels.maps.nest import Load, LoopNest, Store
from loom.kernels.sort import search, search_threads, select, select_threads
from loom.kernels.sort.heap import MOST_KEPT, first_of_rows
from loom.kernels.sort.keys import DIGITS, Order, Records
from loom.schedules.maps import THREADS, lanes_of, plan_strided
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sorting.sort import cut, plan_sort

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RunSearch", "Selection", "record_first"]

_NOTHING = 8
"""Bytes bound in place of a buffer that a kernel does not use."""

Factory = Callable[[Order], KernelFunction]


@dataclass(frozen=True, slots=True, eq=False)
class _Kernels:
    """Kernels over tiles; ``clear_counts`` where all tiles count digits together, in a row for each digit."""

    clear_counts: Callable[[], KernelFunction] | None
    count_prefixed: Factory
    find_digit: Callable[[], KernelFunction]
    count_parts: Factory
    place_parts: Callable[[], KernelFunction]
    write_parts: Factory
    pick_lowest: Factory
    count_runs: Factory
    place_runs: Callable[[], KernelFunction]
    write_runs: Callable[..., KernelFunction]


_VECTORS = _Kernels(
    None, select.count_prefixed, select.find_digit, select.count_parts, select.place_parts, select.write_parts,
    select.pick_lowest, search.count_runs, search.place_runs, search.write_runs,
)  # fmt: skip
_THREADS = _Kernels(
    select_threads.clear_counts, select_threads.count_prefixed, select_threads.find_digit, select_threads.count_parts,
    select_threads.place_parts, select_threads.write_parts, select_threads.pick_lowest, search_threads.count_runs,
    search_threads.place_runs, search_threads.write_runs,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tiles:
    """How ``n`` elements are looked at: by ``kernels`` over tiles of ``tile`` elements."""

    order: Order
    n: int
    tile: int
    kernels: _Kernels

    @classmethod
    def of(cls, order: Order, n: int, caps: Caps) -> Self:
        """Choose for a device."""
        if caps.threads:
            return cls(order, n, MARK_TILE, _THREADS)
        return cls(order, n, cut(n, order.dtype.nbytes, caps), _VECTORS)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.n // self.tile)

    def over_tiles(self, chain: Recorder, kernel: KernelFunction, buffers: list[StorageLike], *more: int) -> None:
        """Record a kernel with a group for each tile."""
        chain.dispatch(kernel, buffers, [self.n, self.tile, *more], groups=self.tiles)


class Selection(_Tiles):
    """A search for the key of a rank, and for the parts around it."""

    __slots__ = ()

    def record(self, chain: Recorder, x: StorageLike, found: StorageLike) -> StorageLike:
        """Record the search for the rank in ``found``; return where each tile's parts begin, for what follows.

        ``found`` holds two u64: 0, and the rank.
        """
        kernels, digits = self.kernels, self.order.bits.nbytes
        together = kernels.clear_counts is not None
        counts = chain.device.allocate((digits if together else self.tiles) * DIGITS * u32.nbytes)
        places = chain.device.allocate(self.tiles * select.PARTS * u32.nbytes)
        if kernels.clear_counts is not None:
            chain.dispatch(kernels.clear_counts(), [counts], groups=digits)
        for number in reversed(range(digits)):
            self.over_tiles(chain, kernels.count_prefixed(self.order), [x, found, counts], number)
            rows = [] if together else [self.tiles]
            chain.dispatch(kernels.find_digit(), [counts, found], [*rows, number])
        self.over_tiles(chain, kernels.count_parts(self.order), [x, found, places])
        chain.dispatch(kernels.place_parts(), [places], [self.tiles])
        return places

    def record_parts(self, chain: Recorder, x: StorageLike, found: StorageLike, out: StorageLike) -> None:
        """Record the search, and write what is below the key found, what equals it, and what is above, to ``out``."""
        places = self.record(chain, x, found)
        self.over_tiles(chain, self.kernels.write_parts(self.order), [x, found, places, out])

    def record_lowest(
        self, chain: Recorder, x: StorageLike, found: StorageLike, k: int, out: StorageLike, positions: StorageLike
    ) -> None:
        """Record the search, for rank ``k`` - 1, and write the ``k`` lowest, unsorted, and their positions, u32."""
        places = self.record(chain, x, found)
        self.over_tiles(chain, self.kernels.pick_lowest(self.order), [x, found, places, out, positions], k)


class RunSearch(_Tiles):
    """A search for the runs of equal elements, of elements that are in order."""

    __slots__ = ()

    def record(
        self, chain: Recorder, x: StorageLike, places: StorageLike, out: StorageLike, starts: StorageLike,
        inverse: tuple[StorageLike, StorageLike] | None = None,
    ) -> None:  # fmt: skip
        """Record each run's first element to ``out`` and its place to ``starts``, their number to ``places[tiles]``.

        ``inverse``: positions, and where ``numbers[positions[i]]`` becomes the number of the run of element i.
        """
        kernels = self.kernels
        positions, numbers = inverse or (chain.device.allocate(_NOTHING), chain.device.allocate(_NOTHING))
        self.over_tiles(chain, kernels.count_runs(self.order), [x, places])
        chain.dispatch(kernels.place_runs(), [places], [self.tiles])
        write = kernels.write_runs(self.order, inverse=inverse is not None)
        self.over_tiles(chain, write, [x, positions, places, out, starts, numbers])


_FEW_KEPT = 16


def record_first(
    chain: Recorder, x: StorageLike, out: StorageLike, order: Order, shape: tuple[int, int, int], where: str
) -> None:
    """Record the positions (u64) of the first elements of rows in an order; ``shape``: rows, their length, how many.

    There are some. A few are kept in a heap while a row is read, but where lanes are threads; else all are sorted.
    """
    rows, n, k = shape
    lanes = lanes_of(chain.device.caps)
    if k <= MOST_KEPT and 4 * k <= n and lanes != THREADS:
        kernel = first_of_rows(order, _FEW_KEPT if k <= _FEW_KEPT else MOST_KEPT)
        chain.dispatch(kernel, [x, out], [n, k], groups=rows)
        return
    plan = plan_sort(Records(order, "index"), rows, n, keys_out=False, caps=chain.device.caps, where=where)
    positions = out if k == n else chain.device.allocate(rows * n * u64.nbytes)
    plan.record(chain, x, None, None, positions, [chain.device.allocate(nbytes) for nbytes in plan.sizes])
    if k < n:
        part = LoopNest((rows, k), (Load(0, 0, (n, 1)),), (Store(0, 1, 0, (k, 1)),),
                        ((u64, Access.READ), (u64, Access.WRITE)))  # fmt: skip
        copy = plan_strided(part, lanes)
        chain.dispatch(copy.kernel, [positions, out], copy.params, copy.groups)
