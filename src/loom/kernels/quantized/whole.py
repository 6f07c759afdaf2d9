"""Products of quantised weights by activations that are whole numbers too: their sums are exact in any order.

Layer: kernels. Of each row of x and block of 128 k the activations become whole numbers v and a power of two 2^e
(``kernels.matmul.digits``). For each block of 16 or 32 weights t = the exact sum of (u - offset) v, and s that of v;
c = f32(t) scale (+ f32(s) minimum); the c of 128 k are added from +0, k ascending, their sum times 2^e is what is added
up as blocks of matrix products are. Invariant: f32(t) and f32(s) are exact; only what follows rounds, in this order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, i8, i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    barrier,
    bitcast,
    dot2_i16,
    dot4_u8i8,
    group_id,
    local_id,
    private,
    select,
    shared,
    static_range,
)
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of
from loom.kernels.matmul.tiles import BLOCK, BLOCKS
from loom.kernels.precisions import Precision
from loom.kernels.quantized.forms import LANES, BlockForm
from loom.kernels.quantized.tiles import QuantizedTile, block_of, first_tile, keeping_features, lane_of

__all__ = ["multiply_whole", "record_words", "whole_activations"]

_ACTIVATION_LANES = 32
"""Lanes of a group that makes whole numbers of 128 activations."""
_EACH = BLOCK // _ACTIVATION_LANES


def _storage_words(precision: Precision) -> int:
    """Return the words of 128 whole numbers: of bytes, or of halves of 16 bits."""
    return BLOCK * precision.held.bits // 32


def record_words(precision: Precision, block: int) -> int:
    """Return the words that 128 activations of a row take: whole numbers, the sums of blocks, the scale."""
    return _storage_words(precision) + BLOCK // block + 1


@cache
def whole_activations(precision: Precision, block: int) -> KernelFunction:
    """Return the kernel (x, out, k): rows of k f32 as records of 128, filled up with 0. Groups: records, then rows.

    A word is four numbers of 8 bits, or two of 16, k and k + 2, the words of k = 4 i and of 4 i + 1 following each
    other. Then come the sums of ``block`` numbers and the bits of 2^e, NaN where the 128 hold a NaN or an infinity,
    whose numbers are 0.
    """
    exponent_of, whole_of = exponents_of(precision), rounding_of(precision)
    words, lanes, are_bytes = record_words(precision, block), block // _EACH, precision.held == i8
    held = _storage_words(precision)

    @kernel(workgroup=_ACTIVATION_LANES, trusted=True)
    def activations(x: In[f32], out: Out[i32], k: u32):
        lane, number, row = local_id(), group_id(0), group_id(1)
        blocks = (k + (BLOCK - 1)) // BLOCK
        begin, largest_of, sum_of = number * BLOCK + lane * _EACH, shared(u32, _ACTIVATION_LANES), shared(i32, 32)
        elements = private(f32, _EACH)
        largest = u32(0)
        for i in static_range(_EACH):
            value = f32(0)
            if begin + i < k:
                value = x[row * k + begin + i]
            elements[i] = value
            largest = max(largest, bitcast(u32, value) & MAGNITUDE)
        largest_of[lane] = largest
        barrier()
        for n in static_range(_ACTIVATION_LANES):
            largest = max(largest, largest_of[n])
        exponent = exponent_of(largest)
        inverse, is_finite = inverse_of(exponent), largest < INFINITE
        whole = private(i32, _EACH)
        total = i32(0)
        for i in static_range(_EACH):
            whole[i] = select(is_finite, whole_of(elements[i] * inverse), 0)
            total = total + whole[i]
        target = (row * blocks + number) * words
        if are_bytes:
            low = (whole[0] & 0xFF) | ((whole[1] & 0xFF) << 8)
            out[target + lane] = low | ((whole[2] & 0xFF) << 16) | (whole[3] << 24)
        else:
            out[target + 2 * lane] = (whole[0] & 0xFFFF) | (whole[2] << 16)
            out[target + 2 * lane + 1] = (whole[1] & 0xFFFF) | (whole[3] << 16)
        sum_of[lane] = total
        barrier()
        if lane < BLOCK // block:
            together = i32(0)
            for n in range(lanes):
                together = together + sum_of[lane * lanes + n]
            out[target + held + lane] = together
        if lane == 0:
            out[target + words - 1] = bitcast(i32, scale_of(exponent, largest))

    activations.name = f"whole_activations_{precision.name}_{block}"
    return activations


def _adding_word(tile: QuantizedTile, form: BlockForm, precision: Precision) -> Callable[..., None]:
    """Return what adds the products of a word of each vector by each row, of which word w of a block is at ``x_at``."""
    rows, vectors, at, are_bytes = tile.rows, tile.vectors, tile.index, precision.held == i8
    step = form.bits if are_bytes or form.bits == 4 else 8
    pieces = form.halves if are_bytes else 2 * form.halves
    mask = sum(((1 << form.bits) - 1) << low for low in range(0, 32, 8 if are_bytes else 16))
    whole_words = are_bytes and form.bits == 8
    quarter = form.block // 4
    multiply = dot4_u8i8 if are_bytes else dot2_i16

    def add_word(words: Any, x: Any, sums: Any, v: Any, w_at: Any, x_at: Any, x_row: Any, row: Any, m: Any) -> None:
        for piece in static_range(pieces):
            place = piece * (quarter // 2) if are_bytes else (piece % form.halves) * quarter + piece // form.halves
            a = words[w_at] if whole_words else (words[w_at] >> (step * piece)) & mask
            for r in static_range(rows):
                s = r * vectors + v
                sums[s] = multiply(a, x[at(min(row + r, m - 1)) * x_row + (x_at + place)], sums[s])

    return add_word


def _adding_block(tile: QuantizedTile, form: BlockForm, precision: Precision) -> Callable[..., None]:
    """Return what adds the scaled sums of block b of weights, from word ``x_at`` of x on, to partial sums."""
    rows, vectors, at, number = tile.rows, tile.vectors, tile.index, block_of(tile)
    held, scale_words, offset, has_minima = form.words, form.parts * LANES, form.offset, form.minima
    add_word, per = _adding_word(tile, form, precision), BLOCK // form.block
    x_held, of_record = _storage_words(precision), record_words(precision, form.block)
    x_block, x_word = x_held // per, x_held // (BLOCK // 4)

    def add_block(
        words: Any, scales: Any, x: Any, partial: Any, first: Any, last: Any, lane: Any, row: Any, m: Any, blocks: Any,
        x_row: Any, b: Any,
    ) -> None:  # fmt: skip
        sums = private(i32, rows * vectors)
        for s in static_range(rows * vectors):
            sums[s] = i32(0)
        record, inside = at(b // per) * of_record, b % per
        for w in range(held):
            x_at = record + (at(inside) * x_block + at(w) * x_word)
            for v in static_range(vectors):
                w_at = number(v, first, last, blocks, b) * (held * LANES) + at(w) * LANES + at(lane)
                add_word(words, x, sums, v, w_at, x_at, x_row, row, m)
        for v in static_range(vectors):
            place = number(v, first, last, blocks, b) * scale_words + at(lane)
            factor = f32(scales[place])
            least = f32(scales[place + LANES]) if has_minima else f32(0)
            for r in static_range(rows):
                s = r * vectors + v
                own = x[at(min(row + r, m - 1)) * x_row + (record + at(inside) + x_held)]
                value = f32(sums[s] - own * offset if offset else sums[s]) * factor
                partial[s] = partial[s] + (value + f32(own) * least if has_minima else value)

    return add_block


@cache
def multiply_whole(tile: QuantizedTile, form: BlockForm, precision: Precision) -> KernelFunction:
    """Return the kernel (words, scales, x, out, m, n, k): as ``multiply_exact``, x being ``whole_activations``."""
    rows, vectors, at, scale, block = tile.rows, tile.vectors, tile.index, form.scale, form.block
    count, of_record = rows * vectors, record_words(precision, form.block)
    add_block, keep = _adding_block(tile, form, precision), keeping_features(tile)
    lane_in, tile_of = lane_of(tile), first_tile(tile)

    @kernel(workgroup=tile.lanes, trusted=True)
    def product(
        words: In[i32],
        scales: In[scale],  # type: ignore[valid-type]
        x: In[i32],
        out: Out[f32],
        m: u32,
        n: u32,
        k: u32,
    ):
        lane, first, row, chunk = lane_in(), tile_of(group_id(0)), group_id(1) * rows, group_id(2)
        blocks, records, last = k // block, (k + (BLOCK - 1)) // BLOCK, (n + (LANES - 1)) // LANES - 1
        x_row = at(records) * of_record
        totals, partial = private(f32, count), private(f32, count)
        for s in static_range(count):
            totals[s] = f32(0)
        for number in range(chunk * BLOCKS, min(chunk * BLOCKS + BLOCKS, records)):
            for s in static_range(count):
                partial[s] = f32(0)
            for b in range(number * (BLOCK // block), min((number + 1) * (BLOCK // block), blocks)):
                add_block(words, scales, x, partial, first, last, lane, row, m, blocks, x_row, b)
            for r in static_range(rows):
                power = bitcast(f32, x[at(min(row + r, m - 1)) * x_row + (at(number + 1) * of_record - 1)])
                for v in static_range(vectors):
                    s = r * vectors + v
                    totals[s] = totals[s] + partial[s] * power
        keep(out, totals, chunk, row, first, lane, m, n)

    product.name = f"quantized_{precision.name}_{tile}_{form}"
    return product
