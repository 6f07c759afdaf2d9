"""Vectors as a table of Arrow.

Layer: vectors, over the package pyarrow (extra ``data``). Invariant: elements keep their bits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.optional import load

__all__ = ["as_table"]


def as_table(entries: Sequence[Any], dims: int) -> Any:
    """Return entries as a pyarrow.Table: id (texts, if any is one), vector (lists of ``dims`` f32), meta (JSON)."""
    arrow: Any = load("pyarrow", "to_arrow")
    ids = [e.id for e in entries]
    has_text = any(isinstance(name, str) for name in ids)
    if has_text and len({str(name) for name in ids}) < len(ids):
        raise ArgumentError("to_arrow", "ids that would be the same as texts", expected="no such pair",
                            got="an int and a text of its digits", remedy="Rename one, or read to_numpy()")  # fmt: skip
    elements = np.array([e.vector for e in entries], np.float32).reshape(-1)
    metas = [None if e.meta is None else json.dumps(e.meta, ensure_ascii=False) for e in entries]
    return arrow.table({
        "id": arrow.array([str(n) for n in ids] if has_text else ids, arrow.string() if has_text else arrow.int64()),
        "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(elements), dims),
        "meta": arrow.array(metas, arrow.string()),
    })  # fmt: skip
