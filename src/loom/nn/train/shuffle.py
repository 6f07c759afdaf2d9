"""The order of samples in each epoch: Philox on the host, the same as ``loom.random.permutation``.

Layer: nn. Invariant: the order depends on the seed, the epoch and the number of samples alone.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["order_of_epoch"]

_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_STREAMS = 1 << 31
"""Epochs take the streams from here on; those before are for weights and dropout."""


def order_of_epoch(n: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    """Return 0 to n - 1 (int64) in the order of an epoch.

    It is ``loom.random.permutation(n, seed=seed, stream=2^31 + epoch)``.

    >>> sorted(order_of_epoch(4, 1, 0).tolist())
    [0, 1, 2, 3]
    """
    blocks = np.arange(-(-n // 2), dtype=np.uint64)
    a, b, c, d = _philox(blocks, _STREAMS + epoch % _STREAMS, seed)
    words = np.stack([b << _HALF | a, d << _HALF | c], 1).reshape(-1)[:n]
    return np.argsort(words, kind="stable")


def _philox(block: np.ndarray[Any, Any], stream: int, seed: int) -> list[np.ndarray[Any, Any]]:
    """Return the four words, each in a uint64, of the counters (block, 0, 0, stream)."""
    zero = np.zeros_like(block)
    c0, c1, c2, c3 = block, zero, zero, zero + np.uint64(stream)
    k0, k1 = seed & 0xFFFF_FFFF, seed >> 32
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = second >> _HALF ^ c1 ^ np.uint64(k0), first >> _HALF ^ c3 ^ np.uint64(k1)
        c1, c3 = second & _LOW, first & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFF_FFFF, (k1 + _WEYL[1]) & 0xFFFF_FFFF
    return [c0, c1, c2, c3]
