"""Order-free products written down plainly, after docs/numerics.md: the oracle of their tests. Whole numbers are int64.

Nothing of Loom is used here but the constants of the text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["TOPS", "digits", "order_free_product"]

TOPS = {"q8": 127, "q12": 2015, "q24": 8_355_711}
Array = np.ndarray[Any, Any]


def digits(x: Array, top: int) -> tuple[Array, Array, Array]:
    """Return whole numbers (rows, blocks, 128), exponents and marks of blocks that are not finite (rows, blocks)."""
    rows, k = x.shape
    blocks = -(-k // 128)
    padded = np.zeros((rows, blocks * 128))
    padded[:, :k] = x
    padded = padded.reshape(rows, blocks, 128)
    wrong = ~np.isfinite(padded).all(2)
    padded = np.where(wrong[..., None], 0, padded)
    largest = np.abs(padded).max(2)
    exponents = np.full((rows, blocks), -126)
    while (too_large := np.rint(np.ldexp(largest, -exponents)) > top).any():
        exponents += too_large
    return np.rint(np.ldexp(padded, -exponents[..., None])).astype(np.int64), exponents, wrong


def _power(exponents: Array) -> Array:
    return np.ldexp(np.float32(1), exponents).astype(np.float32)


def order_free_product(a: Array, b: Array, precision: str) -> Array:
    """Return the f32 product of (m, k) and (k, n) by the definition."""
    top = TOPS[precision]
    (x, x_exp, x_wrong), (y, y_exp, y_wrong) = digits(a, top), digits(b.T, top)
    chunks: list[Array] = []
    with np.errstate(all="ignore"):
        for block in range(x.shape[1]):
            total = x[:, block] @ y[:, block].T  # int64: no sum is 2^53 or more
            assert np.abs(total).max(initial=0) < 2**53
            low, high = (
                f.outer(x_exp[:, block], y_exp[:, block]) for f in (np.minimum, np.maximum)
            )  # fmt: skip
            found = total.astype(np.float32) * _power(low) * _power(high) + np.float32(0)
            found[np.logical_or.outer(x_wrong[:, block], y_wrong[:, block])] = np.nan
            if block % 32 == 0:
                chunks.append(found)
            else:
                chunks[-1] = chunks[-1] + found
        while len(chunks) > 1:
            pairs = [chunks[i : i + 2] for i in range(0, len(chunks), 2)]
            chunks = [p[0] + p[1] if len(p) == 2 else p[0] for p in pairs]
    return chunks[0]
