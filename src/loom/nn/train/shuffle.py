"""The order of samples in each epoch: Philox on the host, the same as ``loom.random.permutation``.

Layer: nn. Invariant: the order depends on the seed, the epoch and the number of samples alone.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.core.philox import philox

__all__ = ["order_of_epoch"]

_STREAMS = 1 << 31
"""Epochs take the streams from here on; those before are for weights and dropout."""


def order_of_epoch(n: int, seed: int, epoch: int) -> Array:
    """Return 0 to n - 1 (int64) in the order of an epoch.

    It is ``loom.random.permutation(n, seed=seed, stream=2^31 + epoch)``.

    >>> sorted(order_of_epoch(4, 1, 0).tolist())
    [0, 1, 2, 3]
    """
    blocks = np.arange(-(-n // 2), dtype=np.uint64)
    a, b, c, d = philox(blocks, 0, 0, _STREAMS + epoch % _STREAMS, seed)
    half = np.uint64(32)
    words = np.stack([b << half | a, d << half | c], 1).reshape(-1)[:n]
    return np.argsort(words, kind="stable")
