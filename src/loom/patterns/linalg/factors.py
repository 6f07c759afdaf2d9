"""Spectra, pseudo-inverses, least squares, ranks, norms: ``loom.tensor.linalg`` over whatever patterns take.

Layer: patterns, over tensors. Operands are f32 or f64 (f16 and bf16 are computed in f32), lists of integers f64, or
complex; leading dimensions are a batch. Invariant: the bits are those of ``loom.tensor.linalg``.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from loom.core.given import is_list
from loom.patterns.tensors import Tensors
from loom.runtime.port.device import Device
from loom.tensor import linalg
from loom.tensor.linalg.powers import LstSq
from loom.tensor.linalg.spectral import SVD, Eigh
from loom.tensor.linalg.systems import SLogDet

__all__ = [
    "complex_linalg", "cond", "eigh", "eigvalsh", "expm", "lstsq", "matrix_norm", "matrix_power", "matrix_rank",
    "pinv", "slogdet", "solve_triangular", "svd", "svdvals", "trace", "vector_norm",
]  # fmt: skip


def _call(name: str, on: str | Device | None, **given: Any) -> Tensors:
    """Return a call over operands, lists of integers being floats."""
    read = {key: _floats(data) for key, data in given.items()}
    return Tensors(f"linalg.{name}", on, complexes=True, **read)


def _floats(data: Any) -> Any:
    if not is_list(data):
        return data
    try:
        found = np.asarray(data)
    except ValueError:  # ragged: the reader says so
        return data
    return found.astype(np.float64) if found.dtype.kind in "iu" else data


def complex_linalg(name: str, on: str | Device | None, *given: Any, **options: Any) -> Any:
    """Return what a function of ``tensor.linalg`` makes of operands of which one at least is complex."""
    call = _call(name, on, **dict(zip("ab", given, strict=False)))
    found: Any = getattr(linalg, name)(*call.given.values(), **options)
    if not isinstance(found, tuple):
        return call.result(found)
    return tuple(call.result(each) for each in cast("tuple[Any, ...]", found))


def eigh(a: Any, *, on: str | Device | None = None) -> Eigh:
    """Return eigenvalues (..., n), ascending, and eigenvectors, the columns of (..., n, n), of symmetric matrices.

    Complex ones are Hermitian. Only the lower triangle is read. The element of largest magnitude of a vector is real
    and positive. ShapeError, DTypeError.

    >>> w, v = eigh([[2.0, 1.0], [1.0, 2.0]])
    >>> w.round(12).tolist()
    [1.0, 3.0]
    """
    call = _call("eigh", on, a=a)
    return Eigh(*(call.result(x) for x in linalg.eigh(call.given["a"])))


def eigvalsh(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the eigenvalues (..., n), ascending, of symmetric matrices, of which the lower triangle is read."""
    call = _call("eigvalsh", on, a=a)
    return call.result(linalg.eigvalsh(call.given["a"]))


def svd(a: Any, *, full_matrices: bool = True, on: str | Device | None = None) -> SVD:
    """Return U, singular values, descending, and Vh, with a = U[:, :k] diag(S) Vh[:k], k = min(m, n).

    ``full_matrices=False``: only the k first columns of U and rows of Vh. The element of largest magnitude of a column
    of U is positive. ShapeError, DTypeError.

    >>> svd([[3.0, 0.0], [0.0, -4.0]]).S.tolist()
    [4.0, 3.0]
    """
    call = _call("svd", on, a=a)
    return SVD(*(call.result(x) for x in linalg.svd(call.given["a"], full_matrices=full_matrices)))


def svdvals(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the singular values (..., min(m, n)), descending."""
    call = _call("svdvals", on, a=a)
    return call.result(linalg.svdvals(call.given["a"]))


def pinv(a: Any, *, rtol: Any = None, on: str | Device | None = None) -> Any:
    """Return pseudo-inverses (..., n, m); singular values up to ``rtol`` (max(m, n) epsilon) times the largest are 0.

    >>> pinv([[2.0], [0.0]]).tolist()
    [[0.5, 0.0]]
    """
    call = _call("pinv", on, a=a)
    return call.result(linalg.pinv(call.given["a"], rtol=rtol))


def lstsq(a: Any, b: Any, *, rtol: Any = None, on: str | Device | None = None) -> LstSq:
    """Return x of least norm among those that make \\|a x - b\\| least, squared residuals, ranks, singular values.

    ``a`` (..., m, n), ``b`` (..., m, k) or (m,), of one dtype. ``rtol`` as in ``pinv``. ShapeError, DTypeError.

    >>> lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0]).x.round(9).tolist()
    [1.0, 2.0]
    """
    call = _call("lstsq", on, a=a, b=b)
    return LstSq(*(call.result(x) for x in linalg.lstsq(call.given["a"], call.given["b"], rtol=rtol)))


def slogdet(a: Any, *, on: str | Device | None = None) -> SLogDet:
    """Return signs of determinants and logarithms of their magnitude: 0 and -inf for a singular matrix."""
    call = _call("slogdet", on, a=a)
    return SLogDet(*(call.result(x) for x in linalg.slogdet(call.given["a"])))


def solve_triangular(a: Any, b: Any, *, upper: bool = False, on: str | Device | None = None) -> Any:
    """Return x with a x = b for lower (``upper``: upper) triangular matrices; the other triangle is not read."""
    call = _call("solve_triangular", on, a=a, b=b)
    return call.result(linalg.solve_triangular(call.given["a"], call.given["b"], upper=upper))


def matrix_power(a: Any, n: int, *, on: str | Device | None = None) -> Any:
    """Return the n-th power of square matrices by repeated squaring; of the inverse for a negative n."""
    call = _call("matrix_power", on, a=a)
    return call.result(linalg.matrix_power(call.given["a"], n))


def expm(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the exponential of square matrices.

    >>> expm([[0.0, 1.0], [0.0, 0.0]]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    call = _call("expm", on, a=a)
    return call.result(linalg.expm(call.given["a"]))


def matrix_rank(a: Any, *, rtol: Any = None, on: str | Device | None = None) -> Any:
    """Return the number of singular values above ``rtol`` (max(m, n) epsilon) times the largest."""
    call = _call("matrix_rank", on, a=a)
    return call.result(linalg.matrix_rank(call.given["a"], rtol=rtol))


def cond(a: Any, *, p: Any = None, on: str | Device | None = None) -> Any:
    """Return condition numbers by norm ``p``: None, 2 and -2 by singular values, or 1, -1, inf, -inf, "fro", "nuc"."""
    call = _call("cond", on, a=a)
    return call.result(linalg.cond(call.given["a"], p=p))


def matrix_norm(a: Any, *, ord: Any = "fro", keepdims: bool = False, on: str | Device | None = None) -> Any:  # noqa: A002
    """Return norms of matrices: "fro", "nuc", 1 and -1 (columns), inf and -inf (rows), 2 and -2 (singular values)."""
    call = _call("matrix_norm", on, a=a)
    return call.result(linalg.matrix_norm(call.given["a"], ord=ord, keepdims=keepdims))


def vector_norm(
    a: Any, *, axis: Any = None, ord: Any = 2, keepdims: bool = False, on: str | Device | None = None  # noqa: A002
) -> Any:  # fmt: skip
    """Return (sum |a|^ord)^(1/ord) along axes; inf, -inf, and 0, which counts elements other than 0."""
    call = _call("vector_norm", on, a=a)
    return call.result(linalg.vector_norm(call.given["a"], axis=axis, ord=ord, keepdims=keepdims))


def trace(a: Any, *, offset: int = 0, on: str | Device | None = None) -> Any:
    """Return sums of the diagonals of matrices."""
    call = _call("trace", on, a=a)
    return call.result(linalg.trace(call.given["a"], offset=offset))
