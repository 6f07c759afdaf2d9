"""Clusters and correlations by the older names: ``kmeans_cluster``, ``compute_silhouette_score``, ...

Layer: flow, over ``loom.nn.measure``. Invariant: the JSON's keys are those of sections 6 and 14 of design/dnvm.md;
random choices are Philox's of seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.errors import ShapeError
from loom.nn.measure.clustering import kmeans, silhouette
from loom.nn.measure.correlation import correlate

__all__ = ["compute_correlation", "compute_correlation_matrix", "compute_silhouette_score", "kmeans_cluster"]


def kmeans_cluster(data: Sequence[Sequence[float]], k: int, max_iter: int = 100) -> dict[str, Any]:
    """Return ``centroids`` and ``assignments`` of k clusters of samples (n, features)."""
    found = kmeans(data, k, iterations=max_iter)
    return {"centroids": found.centroids.tolist(), "assignments": found.assignments.tolist()}


def compute_silhouette_score(data: Sequence[Sequence[float]], assignments: Sequence[int]) -> float:
    """Return the mean silhouette of samples in clusters: -1 (wrong) to 1 (tight and apart); one alone has 0, or is
    counted as the older programs do with ``loom.nn.measure.silhouette(.., single=1.0)``.
    """
    return silhouette(data, assignments)


def compute_correlation(data: Sequence[Sequence[float]], labels: Sequence[str] | None = None) -> dict[str, Any]:
    """Return Pearson's correlations of the features of samples (n, features), with means, deviations and ranges."""
    return correlate(data, labels).to_dict()


def compute_correlation_matrix(
    matrix_a: Sequence[Sequence[float]], matrix_b: Sequence[Sequence[float]] | None = None
) -> list[list[float]]:
    """Return the correlations of each feature of one with each of the other, of as many samples; of one with itself."""
    a = np.asarray(matrix_a)
    if matrix_b is None:
        return correlate(a).matrix.tolist()
    b = np.asarray(matrix_b)
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise ShapeError("compute_correlation_matrix", "not as many samples of both", expected=f"{len(a)} rows",
                         got=b.shape, remedy="Let each row be a sample")  # fmt: skip
    return correlate(np.concatenate([a, b], axis=1)).matrix[: a.shape[1], a.shape[1] :].tolist()
