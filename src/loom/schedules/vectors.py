"""How vectors are cut into panels and segments, and what lays them down, compares them and reads them back.

Layer: schedules. The store of vectors records through these. Invariant: ``Caps`` and sizes choose the cut, and every
cut gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, f16, f32, i8, i32, u32, u64
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.matmul.grids import Grid
from loom.kernels.precisions import PRECISIONS
from loom.kernels.vectors.order_free import Packing, pack_panels
from loom.kernels.vectors.panels import Panel, lay_bytes, lay_floats, read_rows, words_of
from loom.kernels.vectors.pick import pick_best
from loom.kernels.vectors.rank import best_of_panels, scores_of_panels
from loom.kernels.vectors.slabs import best_of_slabs
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import Recorder

__all__ = ["GRID", "KEPT", "VectorLayout", "choose_layout"]

KEPT = (f32, f16, i8)
"""What the elements of vectors may be kept as."""
_TILES = {16: (2, 8), 8: (2, 4), 4: (2, 4)}
"""Vectors of a panel and queries compared at once, by the 32-bit lanes of a vector."""
_TILES_OF_BYTES = {**_TILES, 16: (4, 4)}
"""The same for bytes: with products that cost little, queries brought to all lanes are what counts."""
_SCALAR = (32, 1, 4)
_THREADS = (32, 4, 8)
"""Lanes, vectors and queries where lanes are threads of hardware, or are run many at once by the interpreter."""
GRID = Grid(16, 16, 1, 2, 16)
"""Queries and vectors that a group of threads compares where there are many queries: 64 and 128."""
_MANY = 16
"""Queries from which these are worth it."""
_MOST_PICKED = 256
"""Hits of a query up to which a device of threads picks them itself."""
_FEW = 2
"""Queries up to which memory is the limit."""
_READ_LANES = 256
_TOGETHER = 16
"""Panels of a group at most."""
_SEGMENT_NBYTES = 1 << 28
_SEGMENT_NBYTES_THREADS = 1 << 30
_MOST_ROWS, _MOST_ROWS_THREADS = 1 << 18, 1 << 20
_SEGMENTS_OF_BUDGET = 8


@dataclass(frozen=True, slots=True)
class VectorLayout:
    """Vectors of ``dims`` elements kept as ``kept``, in panels, ``rows`` of them in a segment of its own memory."""

    dims: int
    kept: DType
    metric: str
    panel: Panel
    rows: int
    together: int
    """Panels that a group compares."""
    threads: bool
    """Whether lanes are threads."""
    precision: str = ""
    """Of products; "" is f32 in its order."""
    packing: Packing | None = None
    """How whole numbers lie, in an order-free precision."""

    @property
    def words(self) -> int:
        """Words of a vector."""
        return words_of(self.dims, self.kept)

    @property
    def blocks(self) -> int:
        """Blocks of 128 elements of a vector."""
        return -(-self.dims // BLOCK)

    @property
    def units(self) -> int:
        """What kernels that compare are told of the length of vectors: words, or blocks of packed ones."""
        return self.words if self.packing is None else self.blocks

    @property
    def packed_nbytes(self) -> int:
        """Bytes of a segment's packed vectors."""
        return 0 if self.packing is None else self.rows * self.blocks * self.packing.lines * i32.nbytes

    def within(self, precision: str, dots: str) -> VectorLayout:
        """Return the same for comparisons in another precision; ``dots`` as ``Caps`` tells."""
        order_free = PRECISIONS.get(precision)
        packing = None if order_free is None else Packing(order_free, order_free.held == i8 and dots == "dot4_u8i8")
        return replace(self, precision=precision, packing=packing)

    def record_pack(self, chain: Recorder, slots: Sequence[Any], panels: int) -> None:
        """Record what packs up to so many panels: data, sizes, out."""
        assert self.packing is not None
        chain.dispatch(pack_panels(self.panel, self.packing), slots, [], (panels, self.blocks))

    @property
    def panels(self) -> int:
        """Panels of a segment."""
        return self.rows // self.panel.width

    @property
    def nbytes(self) -> int:
        """Bytes of a segment's vectors."""
        return self.rows * self.words * self.panel.held.nbytes

    @property
    def panel_nbytes(self) -> int:
        """Bytes of a panel."""
        return self.panel.width * self.words * self.panel.held.nbytes

    @property
    def is_cosine(self) -> bool:
        """Whether angles are asked for."""
        return self.metric == "cosine"

    @property
    def is_euclidean(self) -> bool:
        """Whether distances are asked for."""
        return self.metric == "euclidean"

    def record_lay(self, chain: Recorder, slots: Sequence[Any], panels: int, source: DType = f32) -> None:
        """Record what lays rows down: x, sizes, data, squares, weights, scales; up to so many panels at a time.

        ``x`` is of f32, or of the integers that bytes hold, whose scales are there already.
        """
        if self.kept == i8:
            kernel = lay_bytes(self.panel, cosine=self.is_cosine, source=source)
        else:
            kernel = lay_floats(self.panel, cosine=self.is_cosine)
        chain.dispatch(kernel, slots, [], panels)

    def record_read(self, chain: Recorder, slots: Sequence[Any], rows: int) -> None:
        """Record what reads up to so many rows back: data, sizes, out."""
        chain.dispatch(read_rows(self.panel, self.kept), slots, [], (-(-self.dims // _READ_LANES), rows))

    def tile(self, queries: int) -> int:
        """Return how many of so many queries are compared at once: one after the other where they are few."""
        if queries <= _FEW:
            return 1
        is_slab = self.threads and self.kept != i8 and queries > _MANY and not self.precision
        return GRID.height if is_slab else self.panel.queries

    def is_slab(self, tile: int) -> bool:
        """Tell whether so many queries at once go through shared memory, a group for each tile and panel."""
        return self.threads and tile == GRID.height

    def picks(self, k: int) -> bool:
        """Tell whether the device picks the best ``k`` of a query itself."""
        return self.threads and k <= _MOST_PICKED

    def record_best(self, chain: Recorder, slots: Sequence[Any], tile: int, tiles: int) -> None:
        """Record the best score of each panel of a segment for up to ``tiles`` tiles of ``tile`` queries."""
        if self.is_slab(tile):
            kernel = best_of_slabs(self.panel, GRID, euclidean=self.is_euclidean)
            chain.dispatch(kernel, slots, [], (tiles, self.panels))
            return
        groups = -(-self.panels // self.together)
        panel = replace(self.panel, queries=tile)
        chain.dispatch(self._kernel(best_of_panels, panel), slots, [], groups)

    def _kernel(self, make: Callable[..., KernelFunction], panel: Panel) -> KernelFunction:
        return make(panel, euclidean=self.is_euclidean, short=self.precision == "x12", packing=self.packing)

    def record_scores(self, chain: Recorder, slots: Sequence[Any], pairs: int) -> None:
        """Record all scores of up to so many pairs of a query and a panel."""
        chain.dispatch(self._kernel(scores_of_panels, self.panel), slots, [], pairs)

    def record_pick(self, chain: Recorder, slots: Sequence[Any], queries: int, *, panels: bool) -> None:
        """Record what picks the best of each query: scores, pairs, sizes, out, best."""
        chain.dispatch(pick_best(panels=panels), slots, [], queries)


def choose_layout(
    caps: Caps, dims: int, kept: DType, metric: str, capacity: int, budget: int | None = None
) -> VectorLayout:
    """Return how a store of vectors lies on a device; a segment has ``capacity`` rows, unless these are many.

    Some segments are to fit into ``budget`` bytes.
    """
    held = i32 if kept == i8 else kept
    threads = lanes_of(caps) == THREADS
    if threads or caps.simd_lanes < min(_TILES):
        lanes, vectors, queries = _THREADS if threads else _SCALAR
        panel = Panel(lanes, vectors, queries, held, u32)
    else:
        lanes = max(lanes for lanes in _TILES if lanes <= caps.simd_lanes)
        panel = Panel(lanes, *(_TILES_OF_BYTES if kept == i8 else _TILES)[lanes], held, u64)
    most = _SEGMENT_NBYTES_THREADS if threads else _SEGMENT_NBYTES
    if caps.buffer_nbytes is not None:
        most = min(most, caps.buffer_nbytes)
    if budget is not None:
        most = min(most, budget // _SEGMENTS_OF_BUDGET)
    most_rows = min(
        _MOST_ROWS_THREADS if threads else _MOST_ROWS, most // (words_of(dims, kept) * held.nbytes + 3 * f32.nbytes)
    )
    step = max(32, panel.width)  # a word of a mask is of one segment
    rows = max(step, min(capacity, most_rows) // step * step, min(most_rows, capacity + step - 1) // step * step)
    together = 1 if threads else max(1, min(_TOGETHER, rows // panel.width // (4 * caps.workers)))
    return VectorLayout(dims, kept, metric, panel, rows, together, threads)
