"""Products in the canonical order by weights that are made f32 in registers.

Layer: kernels. Each weight is (u - offset) scale, plus its minimum, rounded to f32 after each operation as ggml's
reference does; then products and sums are those of ``kernels.matmul.tiles``. Invariant: the bits of a product by a
matrix of those f32 weights, which is never in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, private, static_range
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.quantized.forms import LANES, BlockForm
from loom.kernels.quantized.tiles import QuantizedTile, block_of, first_tile, keeping_features, lane_of

__all__ = ["multiply_exact", "take_quantized_rows"]


def weight_of(form: BlockForm) -> Callable[[Any, Any, Any, Any], Any]:
    """Return what makes the f32 weight of a word's bits from a shift on: (word, shift, scale, minimum)."""
    mask, offset, minima = (1 << form.bits) - 1, form.offset, form.minima

    def weight(word: Any, shift: Any, scale: Any, minimum: Any) -> Any:
        whole = (word >> shift) & mask
        if offset:
            whole = whole - offset
        value = f32(whole) * scale
        if minima:
            value = value + minimum
        return value

    return weight


def _adding_block(tile: QuantizedTile, form: BlockForm) -> Callable[..., None]:
    """Return what adds the products of a block of weights, k ascending, to sums."""
    rows, vectors, at, number = tile.rows, tile.vectors, tile.index, block_of(tile)
    weight, scale_words, has_minima = weight_of(form), form.parts * LANES, form.minima
    block, held, halves = form.block, form.words, form.halves

    def add_block(
        words: Any, scales: Any, x: Any, sums: Any, first: Any, last: Any, lane: Any, row: Any, m: Any, k: Any, b: Any,
    ) -> None:  # fmt: skip
        factors, least = private(f32, vectors), private(f32, vectors)
        for v in static_range(vectors):
            place = number(v, first, last, k // block, b) * scale_words + at(lane)
            factors[v] = f32(scales[place])
            least[v] = f32(scales[place + LANES]) if has_minima else f32(0)
        for half in static_range(halves):
            for w in range(held):
                k_at = at(b) * block + at(w) * 4 + half * (block // 2)
                for v in static_range(vectors):
                    place = number(v, first, last, k // block, b) * (held * LANES) + at(w) * LANES + at(lane)
                    word = words[place]
                    for j in static_range(4):
                        value = weight(word, 8 * j + 4 * half, factors[v], least[v])
                        for r in static_range(rows):
                            own = x[at(min(row + r, m - 1)) * at(k) + (k_at + j)]
                            sums[r * vectors + v] = sums[r * vectors + v] + own * value

    return add_block


@cache
def multiply_exact(tile: QuantizedTile, form: BlockForm) -> KernelFunction:
    """Return the kernel (words, scales, x, out, m, n, k): ``out[chunk]`` (m, n) of x (m, k) by n rows of weights.

    Groups: features by ``vectors * lanes``, rows by ``rows``, chunks of 4096 k.
    """
    count, block, scale = tile.rows * tile.vectors, form.block, form.scale
    add_block, keep = _adding_block(tile, form), keeping_features(tile)
    lane_in, tile_of = lane_of(tile), first_tile(tile)

    @kernel(workgroup=tile.lanes, trusted=True)
    def product(
        words: In[i32],
        scales: In[scale],  # type: ignore[valid-type]
        x: In[f32],
        out: Out[f32],
        m: u32,
        n: u32,
        k: u32,
    ):
        lane, first, row, chunk = lane_in(), tile_of(group_id(0)), group_id(1) * tile.rows, group_id(2)
        last = (n + (LANES - 1)) // LANES - 1
        totals, sums = private(f32, count), private(f32, count)
        for s in static_range(count):
            totals[s] = f32(0)
        end = min((chunk + 1) * (CHUNK // block), k // block)
        for begin in range(chunk * (CHUNK // block), end, BLOCK // block):
            for s in static_range(count):
                sums[s] = f32(0)
            for b in range(begin, min(begin + BLOCK // block, end)):
                add_block(words, scales, x, sums, first, last, lane, row, m, k, b)
            for s in static_range(count):
                totals[s] = totals[s] + sums[s]
        keep(out, totals, chunk, row, first, lane, m, n)

    product.name = f"quantized_exact_{tile}_{form}"
    return product


@cache
def take_quantized_rows(form: BlockForm, index: DType) -> KernelFunction:
    """Return the kernel (words, scales, at, out, count, n, k): row ``at[i]`` of the weights as f32, zeros for none.

    Groups of 64 lanes: columns, then positions.
    """
    weight, at = weight_of(form), index
    block, held_words, parts, minima, bits = form.block, form.words, form.parts, form.minima, form.bits
    scale, half = form.scale, form.block // 2

    @kernel(workgroup=64, trusted=True)
    def take(
        words: In[i32],
        scales: In[scale],  # type: ignore[valid-type]
        indices: In[u32],
        out: Out[f32],
        count: u32,
        n: u32,
        k: u32,
    ):
        column, position = group_id(0) * 64 + local_id(), group_id(1)
        if column < k and position < count:
            row = indices[position]
            value = f32(0)
            if row < n:
                here = at(row // LANES) * at(k // block) + at(column // block)
                inside, lane = column % block, at(row % LANES)
                byte = inside % half if bits == 4 else inside
                shift = (byte % 4) * 8 + ((inside // half) * 4 if bits == 4 else u32(0))
                word = words[here * (held_words * LANES) + at(byte // 4) * LANES + lane]
                factor = f32(scales[here * (parts * LANES) + lane])
                least = f32(0)
                if minima:
                    least = f32(scales[here * (parts * LANES) + LANES + lane])
                value = weight(word, i32(shift), factor, least)
            out[at(position) * at(k) + at(column)] = value

    take.name = f"take_quantized_rows_{form}_{index}"
    return take
