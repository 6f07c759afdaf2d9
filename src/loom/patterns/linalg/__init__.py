"""``loom.linalg``: products of vectors and matrices, factorisations, systems of equations."""

from loom.patterns.linalg.elimination import cholesky, det, inv, lu, solve
from loom.patterns.linalg.orthogonal import qr
from loom.patterns.linalg.products import cross, dot, matvec, norm, normalize, outer, transpose

__all__ = [
    "cholesky",
    "cross",
    "det",
    "dot",
    "inv",
    "lu",
    "matvec",
    "norm",
    "normalize",
    "outer",
    "qr",
    "solve",
    "transpose",
]
