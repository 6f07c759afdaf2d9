"""Records products with quantised weights: which tile, over which pieces.

Layer: schedules. Tensors record through ``record_quantized``. Invariant: shapes and ``Caps`` choose the tile, and every
tile gives the same bits.
"""

from __future__ import annotations

from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import f32, u32, u64
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.direct import FINISH_LANES, finish_chunks
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.precisions import PRECISIONS
from loom.kernels.quantized.exact import multiply_exact, take_quantized_rows
from loom.kernels.quantized.forms import LANES, BlockForm
from loom.kernels.quantized.tiles import QuantizedTile
from loom.kernels.quantized.whole import multiply_whole, record_words, whole_activations
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import Recorder

__all__ = ["QuantizedProduct", "activation_words", "record_activations", "record_quantized", "record_quantized_rows"]

_MOST_ELEMENTS = 0xFFFF_FFFF
_MOST_ROWS = {16: 8, 8: 4, 4: 4}
"""Rows of a tile, by the 32-bit lanes of a vector: as many sums as registers hold."""
_THREAD_TILES = 4
"""Tiles of features side by side where lanes are threads."""


@dataclass(frozen=True, slots=True)
class QuantizedProduct:
    """x (m, k) times the transposed weights (n, k) of a form; ``compute``: "exact", "q8" or "q12"."""

    m: int
    n: int
    k: int
    form: BlockForm
    compute: str


def _choose(caps: Caps, what: QuantizedProduct) -> QuantizedTile:
    if lanes_of(caps) == THREADS:
        return QuantizedTile(min(what.m, 4), 1, _THREAD_TILES, u32)
    simd = max((lanes for lanes in _MOST_ROWS if lanes <= caps.simd_lanes), default=0)
    if not simd:
        return QuantizedTile(min(what.m, 2), 1, 1, u32)
    most = _MOST_ROWS[simd]
    turns = -(-what.m // most)
    rows = -(-what.m // turns)
    vectors = 4 if rows == 1 else 2
    return QuantizedTile(rows, vectors, 1, u64)


def record_activations(chain: Recorder, x: Any, out: Any, m: int, k: int, block: int, compute: str) -> None:
    """Record the whole numbers of x (m, k), as ``activation_words`` of i32."""
    chain.dispatch(whole_activations(PRECISIONS[compute], block), [x, out], [k], (-(-k // BLOCK), m))


def activation_words(m: int, k: int, block: int, compute: str) -> int:
    """Return the words of whole activations; ShapeError if they are too many."""
    size = m * -(-k // BLOCK) * record_words(PRECISIONS[compute], block)
    if size > _MOST_ELEMENTS:
        raise ShapeError("quantized product", "too many activations", expected="below 2^32 words", got=f"{m} x {k}",
                         remedy="Multiply in parts of rows")  # fmt: skip
    return size


def record_quantized(chain: Recorder, words: Any, scales: Any, x: Any, out: Any, what: QuantizedProduct) -> None:
    """Record ``out`` (m, n) of f32; x is f32 for "exact", else whole numbers. No dimension may be 0."""
    tile = _choose(chain.device.caps, what)
    chunks, size = -(-what.k // CHUNK), what.m * what.n
    if chunks * size > _MOST_ELEMENTS:
        raise ShapeError("quantized product", "too many partial sums", expected="m n (k / 4096) below 2^32",
                         got=f"{what.m} x {what.n} x {what.k}", remedy="Multiply in parts of rows")  # fmt: skip
    sums = out if chunks == 1 else chain.device.allocate(chunks * size * f32.nbytes)
    if what.compute == "exact":
        kernel = multiply_exact(tile, what.form)
    else:
        kernel = multiply_whole(tile, what.form, PRECISIONS[what.compute])
    features = -(-what.n // LANES)
    groups = (-(-features // (tile.vectors * tile.tiles)), -(-what.m // tile.rows), chunks)
    chain.dispatch(kernel, [words, scales, x, sums], [what.m, what.n, what.k], groups)
    if sums is not out:
        chain.dispatch(finish_chunks(f32, f32), [sums, out], [size, chunks, 0], (-(-size // FINISH_LANES), 1))


def record_quantized_rows(
    chain: Recorder, words: Any, scales: Any, at: Any, out: Any, count: int, n: int, k: int, form: BlockForm
) -> None:
    """Record ``out`` (count, k) of f32: the rows of the weights that ``at`` names, zeros for those they lack."""
    index = u32 if lanes_of(chain.device.caps) == THREADS else u64
    kernel = take_quantized_rows(form, index)
    chain.dispatch(kernel, [words, scales, at, out], [count, n, k], (-(-k // 64), count))
