"""Stores of vectors to call, and usable arguments of their methods, by method and parameter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from loom import tensor
from loom.kernels.precisions import FULL
from loom.vectors import VectorStore, flush

Make = Callable[[], Any]


def store(kept: str = "f32") -> Any:
    """Return a store of three vectors of three elements, on the CPU."""
    db = VectorStore(3, 8, device="cpu", dtype=kept)
    db.capture_many(["a", "b", 7], [[1, 2, 3], [0, 1, 0], [4, 0, 1]], [{"n": 1}, None, {"n": 2, "t": "x"}])
    return db


def _path() -> Any:
    path = Path(os.environ.get("HOSTILE_FOLDER") or tempfile.gettempdir()) / "vectors"
    flush(store(), path, replace=True)
    return path


def _matrix() -> Any:
    return np.array([[1.0, 0.5, 2.0], [0.0, 1.0, 4.0]], np.float32)


STORES: dict[str, Make] = {"VectorStore": store, "i8 VectorStore": lambda: store("i8")}
"""Name -> a store."""

_SEARCH: dict[str, Make] = {
    "precision": lambda: "q8",
    "k": lambda: 2,
    "where": lambda: {"n": (">", 1)},
    "approximate": lambda: False,
}
_WHERE: dict[str, Make] = {"metas": lambda: {"n": 3}, "duplicates": lambda: "replace"}
_METHODS: dict[str, dict[str, Make]] = {
    "capture": {
        "id": lambda: "c",
        "vector": lambda: [1.0, 2.0, 3.0],
        "meta": lambda: {"n": 3},
        "duplicates": lambda: "skip",
    },
    "capture_many": {"ids": lambda: ["a", 9], "matrix": _matrix, **_WHERE},
    "capture_from": {
        "source": lambda: tensor.array(_matrix(), on="cpu"),
        "offset": lambda: 0,
        "count": lambda: 2,
        "ids": lambda: None,
        "binding": lambda: "globals",
        **_WHERE,
    },
    "update": {"name": lambda: "a", "vector": lambda: [3.0, 2.0, 1.0], "meta": lambda: {"n": 5}},
    "delete": {"ids": lambda: ["a", 7], "missing": lambda: "skip"},
    "search": {"query": lambda: [1.0, 0.0, 1.0], **_SEARCH},
    "search_many": {"queries": _matrix, **_SEARCH},
    "build_index": {"connectivity": lambda: 4, "expansion": lambda: 8, "samples": lambda: 2},
    "get": {"name": lambda: "a", "default": lambda: 0},
    "__getitem__": {"name": lambda: 7},
    "__contains__": {"name": lambda: "b"},
}
VECTOR_SAMPLES: dict[str, dict[str, Make]] = {
    **{f"{name}.{method}": given for name in STORES for method, given in _METHODS.items()},
    **{  # whole numbers already: other precisions are refused
        f"i8 VectorStore.{method}": {**_METHODS[method], "precision": lambda: FULL}
        for method in ("search", "search_many")
    },
    "loom.vectors.VectorStore": {
        "dims": lambda: 3,
        "capacity": lambda: 8,
        "metric": lambda: "euclidean",
        "device": lambda: "cpu",
        "dtype": lambda: "f16",
        "memory_budget": lambda: 1 << 20,
    },
    "loom.vectors.flush": {"store": store, "path": lambda: _path().with_name(os.urandom(8).hex())},
    "loom.vectors.edit": {"path": _path},
    "loom.vectors.restore": {"path": _path, "device": lambda: "cpu", "memory_budget": lambda: 1 << 20},
}
