"""Records how the runs of equal elements are listed, of elements that are in order.

Layer: schedules. Invariant: runs are in their order, and no access is outside the arrays, whatever the elements' order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loom.core.caps import Caps
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.group.marks import MARK_TILE
from loom.kernels.sort import search, search_threads
from loom.kernels.sort.keys import Order
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sort import cut

__all__ = ["RunSearch"]

_NOTHING = 8
"""Bytes bound in place of a buffer that a kernel does not use."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kernels:
    """Kernels that count the runs that start in each tile, add up, and write them out."""

    count_runs: Callable[[Order], KernelFunction]
    place_runs: Callable[[], KernelFunction]
    write_runs: Callable[..., KernelFunction]


_VECTORS = _Kernels(search.count_runs, search.place_runs, search.write_runs)
_THREADS = _Kernels(search_threads.count_runs, search_threads.place_runs, search_threads.write_runs)


@dataclass(frozen=True, slots=True)
class RunSearch:
    """How the runs of ``n`` elements are found: by ``kernels`` over tiles of ``tile`` elements."""

    order: Order
    n: int
    tile: int
    kernels: _Kernels

    @classmethod
    def of(cls, order: Order, n: int, caps: Caps) -> RunSearch:
        """Choose for a device."""
        if caps.threads:
            return cls(order, n, MARK_TILE, _THREADS)
        return cls(order, n, cut(n, order.dtype.nbytes, caps), _VECTORS)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.n // self.tile)

    def record(
        self, chain: Recorder, x: StorageLike, places: StorageLike, out: StorageLike, starts: StorageLike,
        inverse: tuple[StorageLike, StorageLike] | None = None,
    ) -> None:  # fmt: skip
        """Record each run's first element to ``out`` and its place to ``starts``, their number to ``places[tiles]``.

        ``inverse``: positions, and where ``numbers[positions[i]]`` becomes the number of the run of element i.
        """
        kernels, cuts = self.kernels, [self.n, self.tile]
        positions, numbers = inverse or (chain.device.allocate(_NOTHING), chain.device.allocate(_NOTHING))
        chain.dispatch(kernels.count_runs(self.order), [x, places], cuts, groups=self.tiles)
        chain.dispatch(kernels.place_runs(), [places], [self.tiles])
        write = kernels.write_runs(self.order, inverse=inverse is not None)
        chain.dispatch(write, [x, positions, places, out, starts, numbers], cuts, groups=self.tiles)
