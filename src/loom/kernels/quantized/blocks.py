"""Stored blocks of GGUF as whole numbers, scales and minima; and f32 weights as such blocks.

Layer: kernels. Layouts, formulas and rounding: ``ggml-common.h``, ``dequantize_row_*`` and ``quantize_row_*_ref`` of
``ggml-quants.c`` (llama.cpp). Invariant: (u - offset) scale, plus the minimum, in f32, are the bits that ggml's
reference dequantises to; blocks whose scales are products are held with those products, rounded to f32 once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import f16, f32
from loom.core.late.dataclass import dataclass
from loom.kernels.quantized.forms import BlockForm

__all__ = ["ENCODINGS", "QUANTISERS", "BlockEncoding", "dequantise", "quantise"]

Parts = tuple[Array, Array, Array | None]
"""Codes (blocks, elements) u8, scales and minima (blocks, groups) f32."""


@dataclass(frozen=True, slots=True)
class BlockEncoding:
    """``elements`` in ``nbytes`` bytes, held as ``form``; ``read`` takes blocks (n, nbytes) of u8 apart."""

    elements: int
    nbytes: int
    form: BlockForm
    read: Callable[[Array], Parts]


def dequantise(form: BlockForm, codes: Array, scales: Array, minima: Array | None) -> Array:
    """Return the f32 that codes (rows, k) stand for."""
    rows, k = codes.shape
    with np.errstate(all="ignore"):
        whole = (codes.astype(np.int32) - form.offset).astype(np.float32).reshape(rows, k // form.block, form.block)
        found = whole * scales.astype(np.float32)[:, :, None]
        if minima is not None:
            found = found + minima.astype(np.float32)[:, :, None]
    return found.reshape(rows, k)


def _half(blocks: Array, at: int) -> Array:
    """Return the f16 at a byte of each block as f32 (n, 1)."""
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Array, run: int) -> Array:
    """Return two codes a byte: of each ``run`` bytes the low halves, then the high ones."""
    parts = packed.reshape(len(packed), -1, run)
    return np.concatenate([parts & np.uint8(15), parts >> np.uint8(4)], axis=2).reshape(len(packed), -1)


def _fifth(blocks: Array, at: int) -> Array:
    bits = np.unpackbits(np.ascontiguousarray(blocks[:, at : at + 4]), axis=1, bitorder="little")
    return bits << np.uint8(4)


def _q4_0(blocks: Array) -> Parts:
    return _nibbles(blocks[:, 2:], 16), _half(blocks, 0), None


def _q4_1(blocks: Array) -> Parts:
    return _nibbles(blocks[:, 4:], 16), _half(blocks, 0), _half(blocks, 2)


def _q5_0(blocks: Array) -> Parts:
    return _nibbles(blocks[:, 6:], 16) | _fifth(blocks, 2), _half(blocks, 0), None


def _q5_1(blocks: Array) -> Parts:
    return _nibbles(blocks[:, 8:], 16) | _fifth(blocks, 4), _half(blocks, 0), _half(blocks, 2)


def _q8_0(blocks: Array) -> Parts:
    return blocks[:, 2:] ^ np.uint8(128), _half(blocks, 0), None


def _six_bits(packed: Array) -> tuple[Array, Array]:
    """Return 8 scales and 8 minima of 6 bits, (n, 8) each, from 12 bytes."""
    first, second, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    low, top = np.uint8(15), np.uint8(0x30)
    more = (high & low) | ((first >> np.uint8(2)) & top), (high >> np.uint8(4)) | ((second >> np.uint8(2)) & top)
    return (
        np.concatenate([first & np.uint8(63), more[0]], axis=1),
        np.concatenate([second & np.uint8(63), more[1]], axis=1),
    )


def _scale_groups(blocks: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        scales, least = _six_bits(blocks[:, 4:16])
        return _half(blocks, 0) * scales, -(_half(blocks, 2) * least)


def _q4_k(blocks: Array) -> Parts:
    scales, minima = _scale_groups(blocks)
    return _nibbles(blocks[:, 16:], 32), scales, minima


def _q5_k(blocks: Array) -> Parts:
    scales, minima = _scale_groups(blocks)
    bits = np.arange(8, dtype=np.uint8)[:, None]
    fifth = ((blocks[:, None, 16:48] >> bits) & np.uint8(1)) << np.uint8(4)
    return _nibbles(blocks[:, 48:], 32) | fifth.reshape(len(blocks), 256), scales, minima


def _q6_k(blocks: Array) -> Parts:
    n = len(blocks)
    low = _nibbles(blocks[:, :128], 64).reshape(n, 2, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = (blocks[:, 128:192].reshape(n, 2, 1, 32) >> shifts) & np.uint8(3)
    with np.errstate(all="ignore"):
        scales = _half(blocks, 208) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
    return (low | (high << np.uint8(4))).reshape(n, 256), scales, None


ENCODINGS: dict[str, BlockEncoding] = {
    "Q4_0": BlockEncoding(32, 18, BlockForm(4, 32, 8, False, f16), _q4_0),
    "Q4_1": BlockEncoding(32, 20, BlockForm(4, 32, 0, True, f16), _q4_1),
    "Q5_0": BlockEncoding(32, 22, BlockForm(8, 32, 16, False, f16), _q5_0),
    "Q5_1": BlockEncoding(32, 24, BlockForm(8, 32, 0, True, f16), _q5_1),
    "Q8_0": BlockEncoding(32, 34, BlockForm(8, 32, 128, False, f16), _q8_0),
    "Q4_K": BlockEncoding(256, 144, BlockForm(4, 32, 0, True, f32), _q4_k),
    "Q5_K": BlockEncoding(256, 176, BlockForm(8, 32, 0, True, f32), _q5_k),
    "Q6_K": BlockEncoding(256, 210, BlockForm(8, 16, 32, False, f32), _q6_k),
}
"""GGUF's name of an encoding -> its blocks. Numbers of 5 and 6 bits are held in 8, scales of K blocks as f32."""


# rounding f32 weights


def _inverse(scales: Array) -> Array:
    """Return 1 / scale, 0 where it is 0."""
    with np.errstate(all="ignore"):
        return np.where(scales == 0, np.float32(0), np.float32(1) / scales)


def _whole(x: Array, most: int) -> Array:
    """Return what C makes of ``min(most, (int8_t) x)``: cut off towards zero."""
    return np.clip(np.trunc(x), 0, most).astype(np.uint8)


def _quantise_4_0(x: Array) -> Parts:
    at = np.abs(x).argmax(axis=1)[:, None]
    scales = np.take_along_axis(x, at, axis=1) / np.float32(-8)
    return _whole(x * _inverse(scales) + np.float32(8.5), 15), scales, None


def _quantise_4_1(x: Array) -> Parts:
    least, most = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    scales = (most - least) / np.float32(15)
    return _whole((x - least) * _inverse(scales) + np.float32(0.5), 15), scales, least


def _quantise_8_0(x: Array) -> Parts:
    scales = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    scaled = x * _inverse(scales)
    size = np.abs(scaled)
    floor = np.floor(size)
    rounded = np.sign(scaled) * (floor + np.floor(np.float32(2) * (size - floor)))  # halves away from zero
    return (rounded.astype(np.int32) + 128).astype(np.uint8), scales, None


QUANTISERS: dict[str, Callable[[Array], Parts]] = {
    "q4_0": _quantise_4_0, "q4_1": _quantise_4_1, "q8_0": _quantise_8_0,
}  # fmt: skip
"""Name -> what rounds blocks (n, 32) of finite f32 as ggml's reference does; its scales are not f16 yet."""


def quantise(weights: Array, name: str) -> Any:
    """Return codes (rows, k), scales and minima (rows, k / 32), as f16, of finite f32 weights (rows, k)."""
    rows, k = weights.shape
    codes, scales, minima = QUANTISERS[name](np.ascontiguousarray(weights, np.float32).reshape(-1, 32))
    with np.errstate(all="ignore"):
        held = [None if p is None else p.astype(np.float16).reshape(rows, k // 32) for p in (scales, minima)]
    return codes.reshape(rows, k), *held
