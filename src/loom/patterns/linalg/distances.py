"""Distances and similarities of vectors, one by one and each with each.

Layer: patterns, over tensors. Floats only. Invariant: the distance of equal vectors is exactly 0, for differences are
taken before squares.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError
from loom.patterns.calling.fallback import falls_back
from loom.patterns.tensors import Tensors
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["cosine_similarity", "distance", "pairwise"]


def distance(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the Euclidean distances of vectors (..., n) of one shape.

    >>> distance([0.0, 3.0], [4.0, 0.0]).item()
    5.0
    """
    call = Tensors("linalg.distance", on, a=a, b=b)
    x, y = _alike(call)
    return call.result(_euclidean(x, y))


@falls_back("cosine_similarity", 2, where="linalg.cosine_similarity")
def cosine_similarity(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the cosines of the angles between vectors (..., n) of one shape; NaN for a vector of zeros.

    >>> cosine_similarity([1.0, 0.0], [0.0, 2.0]).item()
    0.0
    """
    call = Tensors("linalg.cosine_similarity", on, a=a, b=b)
    x, y = _alike(call)
    return call.result(_cosine(x, y))


def pairwise(a: Any, b: Any = None, metric: str = "euclidean", *, on: str | Device | None = None) -> Any:
    """Return (m, n): how each vector of ``a`` (m, size) lies to each of ``b`` (n, size), by default ``a`` itself.

    ``metric``: euclidean, squared, manhattan, cosine (1 - the cosine). Rows that are equal are 0 apart.
    """
    where = "linalg.pairwise"
    if not isinstance(metric, str) or metric not in _METRICS:
        raise ArgumentError(
            where, f"no metric is called {metric!r}", expected=", ".join(_METRICS), got=metric, remedy="Use one of them"
        )
    call = Tensors(where, on, optional=("b",), a=a, b=b)
    x, y = call.given["a"], call.given.get("b", call.given["a"])
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ShapeError(
            where, "not rows of vectors", expected="(m, size) and (n, size)", got=f"{x.shape} and {y.shape}",
            remedy="Reshape them",
        )  # fmt: skip
    return call.result(_METRICS[metric](tensor.expand_dims(x, 1), tensor.expand_dims(y, 0)))


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y) * (x - y)).sum(-1)


def _euclidean(x: Tensor, y: Tensor) -> Tensor:
    return _squared(x, y).sqrt()


def _manhattan(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).map("abs").sum(-1)


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1) / ((x * x).sum(-1).sqrt() * (y * y).sum(-1).sqrt())


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return 1 - _cosine(x, y)


_METRICS = {"euclidean": _euclidean, "squared": _squared, "manhattan": _manhattan, "cosine": _apart}


def _alike(call: Tensors) -> tuple[Tensor, Tensor]:
    x, y = call.given["a"], call.given["b"]
    if x.shape != y.shape or not x.ndim:
        raise ShapeError(
            call.where, "not vectors of one shape", expected="equal shapes (..., n)", got=f"{x.shape} and {y.shape}",
            remedy="Match them, or use linalg.pairwise",
        )  # fmt: skip
    return x, y
