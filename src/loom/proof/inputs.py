"""Inputs of the proof: the same bits on every machine, made of integers alone.

Layer: proof. Words come from Philox4x32-10, written out here once more and on purpose: inputs are an oracle, so neither
a device nor ``core.philox`` takes part in what it is judged by. Invariant: an input is a function of its
name's seed and its size.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import zlib
from typing import Any, cast

import numpy as np

from loom.core.dtype import DType

__all__ = ["every_exponent", "numbers", "seed_of", "words"]

Bits = np.ndarray[Any, Any]
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_PIECE = 16384
"""Blocks that are taken at once: rounds stay in a core's cache, so that inputs cost half as much as from memory."""
_EXPONENT = {32: (23, 127, 255), 64: (52, 1023, 2047), 16: (10, 15, 31)}
"""By width: bits of the fraction, bias, and the exponent field of infinities."""


def seed_of(name: str) -> int:
    """Return the seed of a case, from its name."""
    return zlib.crc32(name.encode())


def words(count: int, seed: int) -> Bits:
    """Return ``count`` words of 32 random bits."""
    blocks = -(-count // 4)
    found = np.empty((blocks, 4), np.uint32)
    for start in range(0, blocks, _PIECE):
        found[start : start + _PIECE] = _philox(np.arange(start, min(start + _PIECE, blocks), dtype=np.uint64), seed)
    return found.reshape(-1)[:count]


def _philox(numbers: Bits, seed: int) -> Bits:
    """Return the words of these blocks, four a row."""
    counter = [numbers, *(np.zeros(len(numbers), np.uint64) for _ in range(3))]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        products = [c * m for c, m in zip(counter[::2], _MULTIPLIERS, strict=True)]
        high, low = [p >> np.uint64(32) for p in products], [p & _LOW for p in products]
        counter = [high[1] ^ counter[1] ^ np.uint64(key[0]), low[1], high[0] ^ counter[3] ^ np.uint64(key[1]), low[0]]
        key = [(k + w) & 0xFFFFFFFF for k, w in zip(key, _WEYL, strict=True)]
    return np.stack(counter, axis=1).astype(np.uint32)


def _random_bits(count: int, bits: int, seed: int) -> Bits:
    """Return ``count`` random unsigned integers of ``bits`` bits."""
    found = words(count * max(1, bits // 32), seed)
    return found.view(np.uint64) if bits == 64 else found.astype(f"u{bits // 8}")


def numbers(shape: int | tuple[int, ...], dtype: DType, seed: int, *, spread: int = 6) -> Bits:
    """Return random elements: any integers, or floats of either sign from 2^-spread to 2^spread.

    Exponents are spread so that a sum in any other order has other bits.
    """
    sizes = (shape,) if isinstance(shape, int) else shape
    count = int(np.prod(sizes))
    raw = _random_bits(count, dtype.bits, seed)
    if dtype.is_bool:
        return (raw % 2 == 1).reshape(sizes)
    if not dtype.is_float:
        return raw.view(dtype.numpy).reshape(sizes)
    fraction, bias, _ = (7, 127, 255) if dtype.name == "bf16" else _EXPONENT[dtype.bits]
    exponents = words(count, seed + 1) % np.uint32(2 * spread) + np.uint32(bias - spread)
    kind = raw.dtype.type
    mantissa = raw & kind((1 << fraction) - 1)
    sign = raw & kind(1 << (dtype.bits - 1))
    return (sign | exponents.astype(kind) << kind(fraction) | mantissa).view(dtype.numpy).reshape(sizes)


def every_exponent(count: int, dtype: DType, seed: int) -> Bits:
    """Return floats of every exponent and both signs, with zeros, infinities, NaN and subnormals among them."""
    fraction, _, top = _EXPONENT[dtype.bits]
    kind = np.dtype(f"u{dtype.bits // 8}").type
    field = (np.arange(count, dtype=np.uint64) // np.uint64(2)) % np.uint64(top + 1)
    sign = np.arange(count, dtype=np.uint64) % np.uint64(2)
    mantissa = _random_bits(count, dtype.bits, seed) & kind((1 << fraction) - 1)
    simple = words(count, seed + 1) % np.uint32(8)  # an eighth of the fractions all zeros, an eighth all ones
    ones = cast("Any", np.where(simple == 1, kind((1 << fraction) - 1), mantissa))
    mantissa = cast("Any", np.where(simple == 0, kind(0), ones))
    bits = sign.astype(kind) << kind(dtype.bits - 1) | field.astype(kind) << kind(fraction) | mantissa
    return bits.astype(kind).view(dtype.numpy)
