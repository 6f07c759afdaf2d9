"""``loom.linalg``: products of vectors and matrices, factorisations, systems of equations."""

from typing import Any

from loom.core.names import missing_name
from loom.patterns.linalg.distances import cosine_similarity, distance, pairwise
from loom.patterns.linalg.elimination import cholesky, det, inv, lu, solve
from loom.patterns.linalg.orthogonal import qr
from loom.patterns.linalg.products import cross, dot, matvec, norm, normalize, outer, transpose

__all__ = [
    "cholesky",
    "cosine_similarity",
    "cross",
    "det",
    "distance",
    "dot",
    "inv",
    "lu",
    "matvec",
    "norm",
    "normalize",
    "outer",
    "pairwise",
    "qr",
    "solve",
    "transpose",
]


def __getattr__(name: str) -> Any:
    raise missing_name("loom.linalg", name, __all__)
