"""The definition of products with quantised weights (docs/numerics.md, section 2), in numpy, as plainly as can be."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TOPS = {"q8": 127, "q12": 2015}


def whole_numbers(x: Array, top: int) -> tuple[Array, Array]:
    """Return rows of f32 (m, k) as whole numbers (m, blocks, 128), and the power of two of each block as f32."""
    m, k = x.shape
    blocks = -(-k // 128)
    padded = np.zeros((m, blocks * 128), np.float32)
    padded[:, :k] = x
    found, powers = np.zeros((m, blocks, 128), np.int64), np.full((m, blocks), np.nan, np.float32)
    for i in range(m):
        for j, values in enumerate(padded[i].reshape(blocks, 128).astype(np.float64)):
            largest = np.abs(values).max()
            if np.isfinite(largest):
                e = next(e for e in range(-126, 200) if np.rint(largest / 2.0**e) <= top)
                found[i, j], powers[i, j] = np.rint(values / 2.0**e), 2.0**e
    return found, powers


def product(
    x: Array, codes: Array, offset: int, scales: Array, minima: Array | None, block: int, compute: str
) -> Array:
    """Return x (m, k) times the weights (n, k) whose codes, scales (n, k / block) and minima these are."""
    v, powers = whole_numbers(x, TOPS[compute])
    weights, m, n = codes.astype(np.int64) - offset, len(x), len(codes)
    chunks: list[Array] = []
    with np.errstate(all="ignore"):
        for first in range(0, v.shape[1], 32):
            total = np.zeros((m, n), np.float32)
            for j in range(first, min(first + 32, v.shape[1])):
                part = np.zeros((m, n), np.float32)
                for b in range(j * 128 // block, min((j + 1) * 128, codes.shape[1]) // block):
                    own = v[:, j, b * block - j * 128 :][:, :block]
                    t = own @ weights[:, b * block : (b + 1) * block].T
                    c = t.astype(np.float32) * scales[:, b]
                    if minima is not None:
                        c = c + own.sum(axis=1).astype(np.float32)[:, None] * minima[:, b]
                    part = part + c
                total = total + part * powers[:, j, None]
            chunks.append(total)
        while len(chunks) > 1:
            chunks = [sum(chunks[i + 1 : i + 2], chunks[i]) for i in range(0, len(chunks), 2)]
    return chunks[0]
