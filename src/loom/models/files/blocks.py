"""GGUF's blocks of quantised numbers as f32.

Layer: models. Layouts and formulas: ``ggml-common.h`` and ``dequantize_row_*`` of ``ggml-quants.c`` (llama.cpp).
Invariant: each number is made by the operations of that reference in its order, each rounded to f32: the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.arrays import Array

__all__ = ["BLOCK_DECODERS", "decode_blocks"]

_AT_A_TIME = 1 << 17
"""Elements decoded in one go: they stay in a cache."""


def decode_blocks(data: Any, name: str, block: int, nbytes: int) -> Array:
    """Return the numbers (n,) of whole blocks of ``block`` elements in ``nbytes`` bytes, encoded as ``name`` says."""
    decode = BLOCK_DECODERS[name]
    blocks = np.frombuffer(data, np.uint8).reshape(-1, nbytes)
    found = np.empty((len(blocks), block), np.float32)
    step = max(_AT_A_TIME // block, 1)
    with np.errstate(all="ignore"):  # infinite scales
        for start in range(0, len(blocks), step):
            decode(blocks[start : start + step], found[start : start + step])
    return found.reshape(-1)


def _half(blocks: Array, at: int) -> Array:
    """Return the f16 at a place of each block, (n, 1), as f32."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Array) -> Array:
    """Return (n, m) bytes as (n, 2, m) codes: the low halves, then the high ones."""
    return np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=1)


def _fifth_bits(blocks: Array, at: int) -> Array:
    """Return 32 bits of each block as (n, 32) codes of 0 and 16."""
    bits = np.unpackbits(np.ascontiguousarray(blocks[:, at : at + 4]), axis=1, bitorder="little")
    return bits << np.uint8(4)


def _q4_0(blocks: Array, out: Array) -> None:
    codes = _nibbles(blocks[:, 2:]).reshape(len(blocks), 32).view(np.int8) - np.int8(8)
    np.multiply(codes, _half(blocks, 0), out=out)


def _q4_1(blocks: Array, out: Array) -> None:
    codes = _nibbles(blocks[:, 4:]).reshape(len(blocks), 32)
    np.multiply(codes, _half(blocks, 0), out=out)
    np.add(out, _half(blocks, 2), out=out)


def _q5_0(blocks: Array, out: Array) -> None:
    codes = _nibbles(blocks[:, 6:]).reshape(len(blocks), 32) | _fifth_bits(blocks, 2)
    np.multiply(codes.view(np.int8) - np.int8(16), _half(blocks, 0), out=out)


def _q5_1(blocks: Array, out: Array) -> None:
    codes = _nibbles(blocks[:, 8:]).reshape(len(blocks), 32) | _fifth_bits(blocks, 4)
    np.multiply(codes, _half(blocks, 0), out=out)
    np.add(out, _half(blocks, 2), out=out)


def _q8_0(blocks: Array, out: Array) -> None:
    np.multiply(blocks[:, 2:].view(np.int8), _half(blocks, 0), out=out)


def _q2_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    scales = (_half(blocks, 80) * (blocks[:, :16] & np.uint8(15)))[:, :, None]
    least = (_half(blocks, 82) * (blocks[:, :16] >> np.uint8(4)))[:, :, None]
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    codes = (blocks[:, 16:80].reshape(n, 2, 1, 32) >> shifts) & np.uint8(3)
    _scaled(codes.reshape(n, 16, 16), scales, least, out)


def _q3_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    packed = blocks[:, 96:108]
    low = _nibbles(packed[:, :8]).reshape(n, 16)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = ((packed[:, None, 8:] >> shifts) & np.uint8(3)).reshape(n, 16)
    scales = _half(blocks, 108) * ((low | (high << np.uint8(4))).view(np.int8) - np.int8(32))
    codes = ((blocks[:, 32:96].reshape(n, 2, 1, 32) >> shifts) & np.uint8(3)).reshape(n, 256)
    bits = np.arange(8, dtype=np.uint8)[:, None]
    third = ((blocks[:, None, :32] >> bits) & np.uint8(1)).reshape(n, 256)
    whole = codes.view(np.int8) - ((third ^ np.uint8(1)) << np.uint8(2)).view(np.int8)
    np.multiply(whole.reshape(n, 16, 16), scales[:, :, None], out=out.reshape(n, 16, 16))


def _six_bits(packed: Array) -> tuple[Array, Array]:
    """Return the 8 scales and the 8 minima of 6 bits that 12 bytes of each block hold, (n, 8) codes each."""
    scales, least, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    low, top = np.uint8(15), np.uint8(0x30)
    more = [(high & low) | ((scales >> np.uint8(2)) & top), (high >> np.uint8(4)) | ((least >> np.uint8(2)) & top)]
    first = [scales & np.uint8(63), least & np.uint8(63)]
    return np.concatenate([first[0], more[0]], axis=1), np.concatenate([first[1], more[1]], axis=1)


def _scaled(codes: Array, scales: Array, least: Array, out: Array) -> None:
    """Write codes (n, groups, each) times their scales, less their minima (n, groups, 1)."""
    whole = out.reshape(codes.shape)
    np.multiply(codes, scales, out=whole)
    np.subtract(whole, least, out=whole)


def _q4_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    scales, least = _six_bits(blocks[:, 4:16])
    codes = _nibbles(blocks[:, 16:].reshape(n * 4, 32)).reshape(n, 8, 32)
    _scaled(codes, (_half(blocks, 0) * scales)[:, :, None], (_half(blocks, 2) * least)[:, :, None], out)


def _q5_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    scales, least = _six_bits(blocks[:, 4:16])
    codes = _nibbles(blocks[:, 48:].reshape(n * 4, 32)).reshape(n, 8, 32)
    bits = np.arange(8, dtype=np.uint8)[:, None]
    codes |= ((blocks[:, None, 16:48] >> bits) & np.uint8(1)) << np.uint8(4)
    _scaled(codes, (_half(blocks, 0) * scales)[:, :, None], (_half(blocks, 2) * least)[:, :, None], out)


def _q6_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    low = _nibbles(blocks[:, :128].reshape(n * 2, 64)).reshape(n, 2, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = (blocks[:, 128:192].reshape(n, 2, 1, 32) >> shifts) & np.uint8(3)
    codes = (low | (high << np.uint8(4))).view(np.int8) - np.int8(32)
    scales = _half(blocks, 208) * blocks[:, 192:208].view(np.int8)
    np.multiply(codes.reshape(n, 16, 16), scales[:, :, None], out=out.reshape(n, 16, 16))


BLOCK_DECODERS: dict[str, Callable[[Array, Array], None]] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
}  # fmt: skip
"""Encoding -> what writes the numbers of blocks (n, bytes) to (n, elements) of f32."""
