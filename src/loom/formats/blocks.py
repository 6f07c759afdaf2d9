"""GGUF's blocks of quantised numbers as f32.

Layer: formats. What is in a block is told by `src/loom/kernels/quantized/blocks.py`, and here for two encodings that no
kernel computes with; layouts and formulas are those of ``ggml-common.h`` and ``ggml-quants.c`` (llama.cpp). Invariant:
each number is made by the operations of that reference, each rounded to f32: the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.formats.encodings import ENCODINGS

__all__ = ["decode_blocks", "has_decoder"]

_AT_A_TIME = 1 << 17
"""Elements decoded in one go: they stay in a cache."""

Parts = tuple[Array, Array, Array | None]
"""Codes (blocks, elements) u8, scales and minima (blocks, groups) f32."""


def has_decoder(name: str) -> bool:
    """Tell whether an encoding's blocks are decoded here."""
    from loom.kernels.quantized import blocks

    return name in blocks.ENCODINGS or name in _MORE


def decode_blocks(data: Any, name: str) -> Array:
    """Return the numbers (n,) of whole blocks, encoded as ``name`` says: (code - offset) scale, plus the minimum."""
    from loom.kernels.quantized import blocks

    known = ENCODINGS[name]
    if name in _MORE:
        read, offset = _MORE[name]
    else:
        read, offset = blocks.ENCODINGS[name].read, blocks.ENCODINGS[name].form.offset
    given = np.frombuffer(data, np.uint8).reshape(-1, known.nbytes)
    found = np.empty((len(given), known.block), np.float32)
    step = max(_AT_A_TIME // known.block, 1)
    with np.errstate(all="ignore"):  # infinite scales
        for start in range(0, len(given), step):
            _decode(read(given[start : start + step]), offset, found[start : start + step])
    return found.reshape(-1)


def _decode(parts: Parts, offset: int, out: Array) -> None:
    codes, scales, minima = parts
    whole = out.reshape(*scales.shape, -1)
    codes = codes.reshape(whole.shape)
    np.multiply(codes.astype(np.int16) - np.int16(offset) if offset else codes, scales[:, :, None], out=whole)
    if minima is not None:
        np.add(whole, minima[:, :, None], out=whole)


def _half(blocks: Array, at: int) -> Array:
    """Return the f16 at a place of each block, (n, 1), as f32."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


_PAIRS = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
"""Where a byte's codes of 2 bits are."""


def _q2_k(blocks: Array) -> Parts:
    scales = _half(blocks, 80) * (blocks[:, :16] & np.uint8(15))
    least = _half(blocks, 82) * (blocks[:, :16] >> np.uint8(4))
    codes = (blocks[:, 16:80].reshape(len(blocks), 2, 1, 32) >> _PAIRS) & np.uint8(3)
    return codes.reshape(len(blocks), 256), scales, -least


def _q3_k(blocks: Array) -> Parts:
    n = len(blocks)
    packed = blocks[:, 96:108]
    low = np.concatenate([packed[:, :8] & np.uint8(15), packed[:, :8] >> np.uint8(4)], axis=1)
    high = ((packed[:, None, 8:] >> _PAIRS) & np.uint8(3)).reshape(n, 16)
    scales = _half(blocks, 108) * ((low | (high << np.uint8(4))).view(np.int8) - np.int8(32))
    codes = ((blocks[:, 32:96].reshape(n, 2, 1, 32) >> _PAIRS) & np.uint8(3)).reshape(n, 256)
    bits = np.arange(8, dtype=np.uint8)[:, None]
    third = ((blocks[:, None, :32] >> bits) & np.uint8(1)).reshape(n, 256)
    return codes | (third << np.uint8(2)), scales, None


_MORE: dict[str, tuple[Callable[[Array], Parts], int]] = {"Q2_K": (_q2_k, 0), "Q3_K": (_q3_k, 4)}
"""Encoding -> what takes its blocks apart, and the code of 0."""
