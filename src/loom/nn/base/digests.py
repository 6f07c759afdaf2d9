"""Digests of arrays by name: what tells one set of weights from another.

Layer: nn. Invariant: the digest depends on names, types, shapes and bits alone, not on the machine's byte order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from loom.core.arrays import Array

__all__ = ["digest_of"]


def digest_of(weights: Mapping[str, Array]) -> str:
    """Return the SHA-256 of names, types, shapes and bits of weights, in their order."""
    found = hashlib.sha256()
    for name, a in weights.items():
        found.update(f"{name} {a.dtype.newbyteorder('<').str} {a.shape}\n".encode())
        found.update(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
