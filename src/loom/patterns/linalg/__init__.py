"""``loom.linalg``: products of vectors and matrices, factorisations, systems of equations.

Stability: stable.
"""

from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.patterns.linalg.distances import cosine_similarity, distance, pairwise
from loom.patterns.linalg.elimination import cholesky, det, inv, lu, solve
from loom.patterns.linalg.factors import (
    cond,
    eigh,
    eigvalsh,
    expm,
    lstsq,
    matrix_norm,
    matrix_power,
    matrix_rank,
    pinv,
    slogdet,
    solve_triangular,
    svd,
    svdvals,
    trace,
    vector_norm,
)
from loom.patterns.linalg.orthogonal import qr
from loom.patterns.linalg.products import cross, dot, matvec, norm, normalize, outer, transpose
from loom.tensor.linalg.operands import LinAlgError as LinAlgError

__all__ = [
    "cholesky",
    "cond",
    "cosine_similarity",
    "cross",
    "det",
    "distance",
    "dot",
    "eigh",
    "eigvalsh",
    "expm",
    "inv",
    "lstsq",
    "lu",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matvec",
    "norm",
    "normalize",
    "outer",
    "pairwise",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "trace",
    "transpose",
    "vector_norm",
]


brief_names(globals(), __all__)


def __getattr__(name: str) -> Any:
    raise missing_name("loom.linalg", name, __all__)
