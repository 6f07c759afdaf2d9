"""The canonical order of matrix products, written again from the document (docs/numerics.md, section 2) in plain numpy.

Block j covers k in [128 j, 128 j + 128): acc = +0, then k ascending acc = acc + a_k b_k, the product rounded, then the
sum; blocks are added up in turn within 4096 k, and those chunks by pairs, (0, 1), (2, 3), ..., level by level, an odd
last one carried up. Nothing of Loom is used here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def canonical_matmul(a: Array, b: Array) -> Array:
    """Return the product of (..., m, k) and (..., k, n) float arrays, k at least 1, in their own precision."""
    with np.errstate(all="ignore"):
        chunks = [_chunk(a, b, k) for k in range(0, a.shape[-1], 4096)]
        while len(chunks) > 1:
            pairs = [x + y for x, y in zip(chunks[::2], chunks[1::2], strict=False)]
            chunks = pairs + chunks[2 * len(pairs) :]
        return chunks[0]


def _chunk(a: Array, b: Array, start: int) -> Array:
    total = _block(a, b, start)
    for k in range(start + 128, min(start + 4096, a.shape[-1]), 128):
        total = total + _block(a, b, k)
    return total


def _block(a: Array, b: Array, start: int) -> Array:
    acc = np.zeros(a.dtype.type(0).shape, a.dtype)
    for k in range(start, min(start + 128, a.shape[-1])):
        product = a[..., :, k, None] * b[..., None, k, :]
        acc = acc + product
    return acc


def canonical_product_in_python(row: list[float], column: list[float]) -> float:
    """Return one element of a product of Python floats (binary64): an oracle for the oracle."""
    chunks = []
    for chunk in range(0, len(row), 4096):
        blocks = []
        for block in range(chunk, min(chunk + 4096, len(row)), 128):
            acc = 0.0
            for k in range(block, min(block + 128, len(row))):
                acc = acc + row[k] * column[k]
            blocks.append(acc)
        total = blocks[0]
        for later in blocks[1:]:
            total = total + later
        chunks.append(total)
    while len(chunks) > 1:
        odd = chunks[-1:] if len(chunks) % 2 else []
        chunks = [chunks[i] + chunks[i + 1] for i in range(0, len(chunks) - 1, 2)] + odd
    return chunks[0]


def round_to_12_bits(x: Array) -> Array:
    """Return float32 numbers of ordinary size with 12 significant bits, halves to even."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(mantissa * 4096) / 4096, exponent).astype(np.float32)
