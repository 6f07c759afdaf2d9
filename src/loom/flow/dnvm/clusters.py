"""Names of clusters and correlations that the older package has besides: two data sets, and another spelling.

Layer: flow, over ``loom.nn.measure``. Invariant: what has a name in ``telemetry`` has the same numbers there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import widen
from loom.core.errors import ShapeError
from loom.flow.dnvm.telemetry import silhouette_score
from loom.nn.measure.correlation import correlate

__all__ = ["compute_correlation_matrix", "compute_silhouette_score"]


def compute_silhouette_score(data: Sequence[Sequence[float]], assignments: Sequence[int]) -> float:
    """Return what ``silhouette_score`` returns."""
    return silhouette_score(data, assignments)


def _rows(values: Any, name: str) -> Array:
    return widen(*read_array(values, f"compute_correlation_matrix, {name}"))


def compute_correlation_matrix(
    matrix_a: Sequence[Sequence[float]], matrix_b: Sequence[Sequence[float]] | None = None
) -> list[list[float]]:
    """Return the correlations of each feature of one with each of the other, of as many samples; of one with itself."""
    if matrix_b is None:
        return correlate(matrix_a).matrix.tolist()
    a, b = (_rows(m, name) for m, name in ((matrix_a, "matrix_a"), (matrix_b, "matrix_b")))
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise ShapeError("compute_correlation_matrix", "not as many samples of both", expected=f"{len(a)} rows",
                         got=b.shape, remedy="Let each row be a sample")  # fmt: skip
    return correlate(np.concatenate([a, b], axis=1)).matrix[: a.shape[1], a.shape[1] :].tolist()
