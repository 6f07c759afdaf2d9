"""How large a network document may be.

Layer: nn. Invariant: every limit is met before anything proportional to the number is done.
"""

from __future__ import annotations

__all__ = [
    "MOST_BYTES",
    "MOST_DEPTH",
    "MOST_ELEMENTS",
    "MOST_LAYERS",
    "MOST_VALUES",
    "MOST_WIDTH",
]

MOST_BYTES = 1 << 31
"""Bytes of a document's text, base64 weights included."""

MOST_DEPTH = 64
"""Objects and lists within one another; a branch of a branch takes two."""

MOST_VALUES = 4_000_000
"""Objects, lists and scalars of a document, an object that occurs twice counted twice."""

MOST_LAYERS = 10_000
"""Layers of a network, nested and shared ones included."""

MOST_WIDTH = (1 << 31) - 1
"""Largest single size: units, channels, tokens."""

MOST_ELEMENTS = 1 << 40
"""Elements of one tensor, weights or activations, of one sample."""
