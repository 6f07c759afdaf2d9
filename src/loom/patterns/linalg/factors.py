"""Spectra, pseudo-inverses, least squares, ranks, norms: ``loom.tensor.linalg`` over whatever patterns take.

Layer: patterns, over tensors. Operands are f32 or f64 (f16 and bf16 are computed in f32), lists of integers f64, or
complex; leading dimensions are a batch. Invariant: the bits are those of ``loom.tensor.linalg``.
"""

from __future__ import annotations

from typing import Any

from loom.patterns.tensor_rows import answer, as_floats, row
from loom.runtime.port.device import Device
from loom.tensor import linalg
from loom.tensor.linalg.powers import LstSq
from loom.tensor.linalg.spectral import SVD, Eigh
from loom.tensor.linalg.systems import SLogDet

__all__ = [
    "cond", "eigh", "eigvalsh", "expm", "lstsq", "matrix_norm", "matrix_power", "matrix_rank",
    "pinv", "slogdet", "solve_triangular", "svd", "svdvals", "trace", "vector_norm",
]  # fmt: skip


def _call(name: str, on: str | Device | None, *operands: object, **options: object) -> Any:
    """Return what a function of ``tensor.linalg`` gives, where more than one array is named."""
    return answer(
        f"linalg.{name}", getattr(linalg, name), [as_floats(x) for x in operands], {"on": on, **options}, complexes=True
    )


def eigh(a: Any, *, on: str | Device | None = None) -> Eigh:
    """Return eigenvalues (..., n), ascending, and eigenvectors, the columns of (..., n, n), of symmetric matrices.

    Complex ones are Hermitian. Only the lower triangle is read. The element of largest magnitude of a vector is real
    and positive. ShapeError, DTypeError.

    >>> w, v = eigh([[2.0, 1.0], [1.0, 2.0]])
    >>> w.round(12).tolist()
    [1.0, 3.0]
    """
    return _call("eigh", on, a)


@row("linalg.eigvalsh", floats=True, complexes=True)
def eigvalsh(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the eigenvalues (..., n), ascending, of symmetric matrices, of which the lower triangle is read."""


def svd(a: Any, *, full_matrices: bool = True, on: str | Device | None = None) -> SVD:
    """Return U, singular values, descending, and Vh, with a = U[:, :k] diag(S) Vh[:k], k = min(m, n).

    ``full_matrices=False``: only the k first columns of U and rows of Vh. The element of largest magnitude of a column
    of U is positive. ShapeError, DTypeError.

    >>> svd([[3.0, 0.0], [0.0, -4.0]]).S.tolist()
    [4.0, 3.0]
    """
    return _call("svd", on, a, full_matrices=full_matrices)


@row("linalg.svdvals", floats=True, complexes=True)
def svdvals(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the singular values (..., min(m, n)), descending."""


@row("linalg.pinv", floats=True, complexes=True)
def pinv(a: Any, *, rtol: Any = None, on: str | Device | None = None) -> Any:
    """Return pseudo-inverses (..., n, m); singular values up to ``rtol`` (max(m, n) epsilon) times the largest are 0.

    >>> pinv([[2.0], [0.0]]).tolist()
    [[0.5, 0.0]]
    """


def lstsq(a: Any, b: Any, *, rtol: Any = None, on: str | Device | None = None) -> LstSq:
    """Return x of least norm among those that make \\|a x - b\\| least, squared residuals, ranks, singular values.

    ``a`` (..., m, n), ``b`` (..., m, k) or (m,), of one dtype. ``rtol`` as in ``pinv``. ShapeError, DTypeError.

    >>> lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0]).x.round(9).tolist()
    [1.0, 2.0]
    """
    return _call("lstsq", on, a, b, rtol=rtol)


def slogdet(a: Any, *, on: str | Device | None = None) -> SLogDet:
    """Return signs of determinants and logarithms of their magnitude: 0 and -inf for a singular matrix."""
    return _call("slogdet", on, a)


@row("linalg.solve_triangular", 2, floats=True, complexes=True)
def solve_triangular(a: Any, b: Any, *, upper: bool = False, on: str | Device | None = None) -> Any:
    """Return x with a x = b for lower (``upper``: upper) triangular matrices; the other triangle is not read."""


@row("linalg.matrix_power", 2, floats=True, complexes=True)
def matrix_power(a: Any, n: int, *, on: str | Device | None = None) -> Any:
    """Return the n-th power of square matrices by repeated squaring; of the inverse for a negative n."""


@row("linalg.expm", floats=True, complexes=True)
def expm(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the exponential of square matrices.

    >>> expm([[0.0, 1.0], [0.0, 0.0]]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """


@row("linalg.matrix_rank", floats=True, complexes=True)
def matrix_rank(a: Any, *, rtol: Any = None, on: str | Device | None = None) -> Any:
    """Return the number of singular values above ``rtol`` (max(m, n) epsilon) times the largest."""


@row("linalg.cond", floats=True, complexes=True)
def cond(a: Any, *, p: Any = None, on: str | Device | None = None) -> Any:
    """Return condition numbers by norm ``p``: None, 2 and -2 by singular values, or 1, -1, inf, -inf, "fro", "nuc"."""


@row("linalg.matrix_norm", floats=True, complexes=True)
def matrix_norm(a: Any, *, ord: Any = "fro", keepdims: bool = False, on: str | Device | None = None) -> Any:  # noqa: A002
    """Return norms of matrices: "fro", "nuc", 1 and -1 (columns), inf and -inf (rows), 2 and -2 (singular values)."""


@row("linalg.vector_norm", floats=True, complexes=True)
def vector_norm(
    a: Any, *, axis: Any = None, ord: Any = 2, keepdims: bool = False, on: str | Device | None = None  # noqa: A002
) -> Any:  # fmt: skip
    """Return (sum |a|^ord)^(1/ord) along axes; inf, -inf, and 0, which counts elements other than 0."""


@row("linalg.trace", floats=True, complexes=True)
def trace(a: Any, *, offset: int = 0, on: str | Device | None = None) -> Any:
    """Return sums of the diagonals of matrices."""
