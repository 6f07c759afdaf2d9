"""``loom.tensor.linalg``: the linear algebra of the Python array API standard 2024.12, and what people use beside it.

Layer: tensor. Everything is recorded, batched over leading dimensions, differentiable where it says so, and has the
same bits on every device. Invariant: names and signatures are those of the standard where it has them.
"""

from loom.core.tracebacks import brief_names
from loom.tensor.linalg.norms import cond, matrix_norm, matrix_rank, vector_norm
from loom.tensor.linalg.operands import LinAlgError
from loom.tensor.linalg.orthogonal import qr
from loom.tensor.linalg.powers import expm, lstsq, matrix_power, pinv
from loom.tensor.linalg.products import (
    cross,
    diagonal,
    matmul,
    matrix_transpose,
    outer,
    tensordot,
    trace,
    vecdot,
)
from loom.tensor.linalg.spectral import eigh, eigvalsh, svd, svdvals
from loom.tensor.linalg.systems import cholesky, det, inv, slogdet, solve, solve_triangular
from loom.tensor.linalg.triangles import lu, lu_factor

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "expm", "inv", "lstsq", "lu",
    "lu_factor", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr",
    "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip

brief_names(globals(), __all__)
