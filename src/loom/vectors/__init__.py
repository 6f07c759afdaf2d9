"""Vectors that stay on the device, and exact search among them: the same hits and score bits everywhere.

Layer: vectors. ``VectorStore`` never opens a file. Invariant: scores are
those of matrix products (see ``docs/numerics.md``, section 2), and of equal ones the older row is first.

Stability: new.

>>> import loom
>>> db = loom.vectors.VectorStore(dims=3)
>>> _ = db.capture("x", [1.0, 0.0, 0.0], {"batch": 42})
>>> _ = db.capture("y", [0.0, 2.0, 0.0], {"batch": 43})
>>> [(hit.id, hit.score) for hit in db.search([0.0, 5.0, 0.0], k=2)]
[('y', 1.0), ('x', 0.0)]
>>> [hit.id for hit in db.search([0.0, 5.0, 0.0], where={"batch": 42})]
['x']
"""

from __future__ import annotations

from loom.core.tracebacks import brief_names
from loom.vectors.approximate import IndexReport
from loom.vectors.entries import Entry, Hit
from loom.vectors.files import edit, flush, restore
from loom.vectors.store import VectorStore

__all__ = ["Entry", "Hit", "IndexReport", "VectorStore", "edit", "flush", "restore"]

brief_names(globals(), __all__)
