"""Codes narrower than a byte, several in one.

Layer: core (numpy alone). Invariant: ``unpack(pack(codes, b), b, n)`` is ``codes``; bits that no element has are 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["pack", "unpack"]

Array = np.ndarray[Any, Any]


def pack(codes: Array, bits: int, *, high_first: bool = False) -> Array:
    """Return codes (n,) of ``bits`` (1, 2 or 4; 8 is as it is) as bytes, ceil(n bits / 8) of them.

    The first element has the lowest bits of its byte (as in safetensors), or, ``high_first``, the highest (as in the
    older generations).

    >>> codes = np.array([1, 2, 3], np.uint8)
    >>> pack(codes, 4).tolist(), pack(codes, 4, high_first=True).tolist()
    ([33, 3], [18, 48])
    """
    if bits == 8:
        return codes.astype(np.uint8)
    each = 8 // bits
    padded = np.zeros(-(-codes.size // each) * each, np.uint8)
    padded[: codes.size] = codes & ((1 << bits) - 1)
    return np.bitwise_or.reduce(padded.reshape(-1, each) << _shifts(bits, high_first), axis=1).astype(np.uint8)


def unpack(data: Array, bits: int, count: int, *, high_first: bool = False) -> Array:
    """Return the first ``count`` codes of bytes that ``pack`` made, as u8."""
    if bits == 8:
        return data[:count]
    codes = (data[:, None] >> _shifts(bits, high_first)) & np.uint8((1 << bits) - 1)
    return codes.reshape(-1)[:count]


def _shifts(bits: int, high_first: bool) -> Array:
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return shifts[::-1] if high_first else shifts
