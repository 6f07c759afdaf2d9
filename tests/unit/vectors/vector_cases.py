"""Vectors that tests search."""

from __future__ import annotations

from typing import Any

import numpy as np

DIMS = 70
METRICS = ("cosine", "dot", "euclidean")
KEPT = ("f32", "f16", "i8")


def vectors(count: int, dims: int = DIMS, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal((count, dims), np.float32)


def scores(queries: Any, x: Any, metric: str) -> Any:
    """Larger is better, in f64."""
    q, v = queries.astype(np.float64), x.astype(np.float64)
    if metric == "euclidean":
        return -np.sqrt(((q[:, None] - v[None]) ** 2).sum(-1))
    found = q @ v.T
    if metric == "cosine":
        found /= np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(v, axis=1)[None]
    return found


def ranked(found: Any, k: int) -> Any:
    """Rows of the best scores, of equal ones the older first."""
    return np.argsort(-found, axis=1, kind="stable")[:, :k]
