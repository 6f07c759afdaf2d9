"""Panels as arrays of the host, and rows made of them: what kernels lay down and read back, in numpy.

Layer: kernels. Invariant: the same words as ``panels``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.kernels.vectors.panels import BIAS, BYTES

__all__ = ["panel_shape", "panels_of_rows", "rows_of_panels"]


def panel_shape(dims: int, width: int, kind: np.dtype[Any]) -> tuple[int, ...]:
    """Return the shape of a panel of ``width`` rows: (dims, width), or (words, width, bytes of a word)."""
    return (-(-dims // BYTES), width, BYTES) if kind == np.int8 else (dims, width)


def rows_of_panels(panels: Array, dims: int, width: int, kind: np.dtype[Any]) -> Array:
    """Return the rows (n, dims) of the bytes of whole panels."""
    if kind == np.int8:
        words = panels.reshape(-1, *panel_shape(dims, width, kind)).transpose(0, 2, 1, 3)
        rows = words.reshape(-1, words.shape[2] * BYTES)[:, :dims]
        return (rows ^ np.uint8(BIAS)).view(np.int8)
    found = panels.view(kind).reshape(-1, dims, width)
    return np.ascontiguousarray(found.transpose(0, 2, 1)).reshape(-1, dims)


def panels_of_rows(rows: Array, width: int) -> Array:
    """Return rows as the bytes of panels, the last one padded with zeros."""
    count, dims = rows.shape
    padded = np.zeros((-(-count // width) * width, dims), rows.dtype)
    padded[:count] = rows
    if rows.dtype == np.int8:
        words = -(-dims // BYTES)
        biased = np.full((len(padded), words * BYTES), BIAS, np.uint8)
        biased[:, :dims] = padded.view(np.uint8) ^ np.uint8(BIAS)
        return np.ascontiguousarray(biased.reshape(-1, width, words, BYTES).transpose(0, 2, 1, 3)).reshape(-1)
    return np.ascontiguousarray(padded.reshape(-1, width, dims).transpose(0, 2, 1)).reshape(-1).view(np.uint8)
