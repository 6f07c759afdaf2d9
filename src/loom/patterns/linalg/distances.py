"""Distances and similarities of vectors, one by one and each with each.

Layer: patterns, over tensors. Floats only. Invariant: the distance of equal vectors is exactly 0, for differences are
taken before squares.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError
from loom.patterns.operand_kinds import require_alike
from loom.patterns.tensor_rows import answer, row
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["cosine_similarity", "distance", "pairwise"]


def _squares(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y) * (x - y)).sum(-1)


def _euclidean(x: Tensor, y: Tensor) -> Tensor:
    return _squares(x, y).sqrt()


def _manhattan(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).map("abs").sum(-1)


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1) / ((x * x).sum(-1).sqrt() * (y * y).sum(-1).sqrt())


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return 1 - _cosine(x, y)


_METRICS = {"euclidean": _euclidean, "squared": _squares, "manhattan": _manhattan, "cosine": _apart}


def _alike(where: str, x: Tensor, y: Tensor) -> None:
    require_alike(where, {"a": x, "b": y})
    if x.shape != y.shape or not x.ndim:
        raise ShapeError(
            where, "not vectors of one shape", expected="equal shapes (..., n)", got=f"{x.shape} and {y.shape}",
            remedy="Match them, or use linalg.pairwise",
        )  # fmt: skip


def _distance(x: Tensor, y: Tensor) -> Tensor:
    _alike("linalg.distance", x, y)
    return _euclidean(x, y)


def _similarity(x: Tensor, y: Tensor) -> Tensor:
    if x.dtype != y.dtype or x.shape != y.shape or not (x.dtype.is_float and x.ndim):
        return tensor.cosine_similarity(x, y)
    return _cosine(x, y)


def _pairwise(x: Tensor, b: Tensor | None = None, *, metric: str) -> Tensor:
    where, y = "linalg.pairwise", x if b is None else b
    if not isinstance(metric, str) or metric not in _METRICS:
        raise ArgumentError(
            where, f"no metric is called {metric!r}", expected=", ".join(_METRICS), got=metric, remedy="Use one of them"
        )
    require_alike(where, {"a": x, "b": y})
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ShapeError(
            where, "not rows of vectors", expected="(m, size) and (n, size)", got=f"{x.shape} and {y.shape}",
            remedy="Reshape them",
        )  # fmt: skip
    return _METRICS[metric](tensor.expand_dims(x, 1), tensor.expand_dims(y, 0))


@row(_distance, 2, where="linalg.distance")
def distance(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the Euclidean distances of vectors (..., n) of one shape.

    >>> distance([0.0, 3.0], [4.0, 0.0]).item()
    5.0
    """


@row(_similarity, 2, where="linalg.cosine_similarity")
def cosine_similarity(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the cosines of the angles between vectors (..., n) of one shape; NaN for a vector of zeros.

    >>> cosine_similarity([1.0, 0.0], [0.0, 2.0]).item()
    0.0
    """


def pairwise(a: Any, b: Any = None, metric: str = "euclidean", *, on: str | Device | None = None) -> Any:
    """Return (m, n): how each vector of ``a`` (m, size) lies to each of ``b`` (n, size), by default ``a`` itself.

    ``metric``: euclidean, squared, manhattan, cosine (1 - the cosine). Rows that are equal are 0 apart.
    """
    return answer("linalg.pairwise", _pairwise, [a] if b is None else [a, b], {"metric": metric, "on": on}, ("a", "b"))
