"""Eigenvalues of symmetric matrices and singular values, with their vectors.

Layer: tensor. The algorithms are in ``kernels.linalg.symmetric`` and ``kernels.linalg.bidiagonal``. Gradients: M. Giles
(2008) and J. Townsend, "Differentiating the singular value decomposition" (2016). Gradients through vectors divide by
the gaps between values: they are large where values are near one another, and leave out the part between values that
are equal, where vectors have no derivative. Invariant: of every vector the element of largest magnitude, the first of
several, is positive (of singular vectors the left one's), so that vectors are functions of the matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from loom.core.given import flag
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.linalg.nodes import eigen_node, part, singular_node
from loom.tensor.linalg.operands import (
    as_computed,
    fill,
    identity,
    lower_mask,
    matrices,
    mt,
    square,
)
from loom.tensor.linalg.orthogonal import factor
from loom.tensor.linalg.unitary import (
    complex_singular,
    complex_singular_values,
    hermitian,
    hermitian_values,
    inverse_gaps,
    refuse_full,
)
from loom.tensor.ops.elementwise import cast, where
from loom.tensor.ops.joining import concat
from loom.tensor.ops.parts import part_of
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.views import broadcast_to, detach, expand_dims, routed

__all__ = ["SVD", "Eigh", "eigh", "eigvalsh", "singular", "svd", "svdvals"]


class Eigh(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors, which are columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    """Left singular vectors (columns), singular values, descending, and right singular vectors (rows)."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@IN_FULL
def eigh(x: Tensor, /) -> Eigh:
    """Return eigenvalues (..., n), ascending, and eigenvectors (..., n, n), the columns, of symmetric matrices.

    Complex matrices are Hermitian, their eigenvalues real. Only the lower triangle is read. A matrix with an element
    that is not finite gives NaN. f16 and bf16 are computed in f32. The gradient is that of a symmetric matrix; see the
    module for equal eigenvalues. ShapeError, DTypeError.

    >>> from loom import tensor
    >>> eigh(tensor.array([[2.0, 1.0], [1.0, 2.0]])).eigenvalues.tolist()
    [1.0, 3.0]
    """
    square(x, "linalg.eigh")
    if x.dtype.is_complex:
        return Eigh(*hermitian(x)) if x.size else Eigh(fill(0, x.shape[:-1], part_of(x, 0)), x * 0)
    held = as_computed(x, "linalg.eigh")
    if not x.size:
        return Eigh(fill(0, x.shape[:-1], x), fill(0, x.shape, x))
    w, v = _eigen(held, eigen_node(_mirror(held), vectors=True))
    return Eigh(cast(w, x.dtype), cast(v, x.dtype))


def _mirror(x: Any) -> Any:
    """Return the symmetric matrices of the lower triangles."""
    return where(lower_mask(x), x, mt(x))


def _eigen(x: Any, raw: Any) -> tuple[Any, Any]:
    n = x.shape[-1]

    def by_values(node: Any, g: Any) -> list[Any]:
        _, v = _eigen(node.inputs[0], raw)
        return [(v * expand_dims(g, -2)) @ mt(v)]

    def by_vectors(node: Any, g: Any) -> list[Any]:
        w, v = _eigen(node.inputs[0], raw)
        inner = (mt(v) @ g) * inverse_gaps(expand_dims(w, -2) - expand_dims(w, -1))
        whole = v @ inner @ mt(v)
        return [(whole + mt(whole)) * 0.5]

    return routed(part(raw, 0, (n,)), [x], by_values), routed(part(raw, n, (n, n)), [x], by_vectors)


@IN_FULL
def eigvalsh(x: Tensor, /) -> Tensor:
    """Return the eigenvalues of ``eigh`` alone, in less time, with the same bits."""
    square(x, "linalg.eigvalsh")
    if x.dtype.is_complex:
        return hermitian_values(x) if x.size else fill(0, x.shape[:-1], part_of(x, 0))
    held = as_computed(x, "linalg.eigvalsh")
    if not x.size:
        return fill(0, x.shape[:-1], x)

    def vjp(node: Any, g: Any) -> list[Any]:
        _, v = _eigen(node.inputs[0], eigen_node(_mirror(node.inputs[0]), vectors=True))
        return [(v * expand_dims(g, -2)) @ mt(v)]

    return cast(routed(eigen_node(_mirror(held), vectors=False), [held], vjp), x.dtype)


@IN_FULL
def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVD:
    """Return U (..., m, m), S (..., k), descending, and Vh (..., n, n) with x = U[:, :k] diag(S) Vh[:k], k = min(m, n).

    ``full_matrices=False``: U (..., m, k) and Vh (..., k, n), which gradients need. Matrices that are not square are
    first factored by ``qr``. A matrix with an element that is not finite gives NaN. ShapeError, DTypeError.

    >>> from loom import tensor
    >>> svd(tensor.array([[3.0, 0.0], [0.0, -4.0]])).S.tolist()
    [4.0, 3.0]
    """
    matrices(x, "linalg.svd")
    is_full = flag(full_matrices, "linalg.svd, full_matrices")
    if not x.size:
        return _empty(x, is_full)
    if x.dtype.is_complex:
        return SVD(*complex_singular(x, is_full))
    u, s, vh = singular(as_computed(x, "linalg.svd"), is_full)
    return SVD(cast(u, x.dtype), cast(s, x.dtype), cast(vh, x.dtype))


def _empty(x: Any, is_full: bool) -> SVD:
    """Return the factors of matrices of no elements."""
    (m, n), batch = x.shape[-2:], x.shape[:-2]
    k, held = min(m, n), part_of(x, 0) if x.dtype.is_complex else as_computed(x, "linalg.svd")
    u = broadcast_to(identity(m, held)[:, : m if is_full else k], (*batch, m, m if is_full else k))
    vh = broadcast_to(identity(n, held)[: n if is_full else k], (*batch, n if is_full else k, n))
    real = held.dtype if x.dtype.is_complex else x.dtype
    return SVD(cast(u, x.dtype), cast(fill(0, (*batch, k), held), real), cast(vh, x.dtype))


@IN_FULL
def singular(x: Any, is_full: bool = False) -> tuple[Any, Any, Any]:
    """Return U, S and Vh of matrices of f32 or f64 that are not empty."""
    m, n = x.shape[-2:]
    if m < n:
        u, s, vh = singular(mt(x), is_full)
        return mt(vh), s, mt(u)
    k, columns = n, m if is_full else n
    q, r = factor(detach(x), columns) if m > n else (None, detach(x))
    raw = singular_node(r[..., :k, :], vectors=True)
    u, s, vh = _singular(x, raw, q)
    if q is not None and columns > k:
        u = concat([u, routed(q[..., k:], [x], refuse_full)], -1)
    return u, s, vh


def _singular(x: Any, raw: Any, q: Any) -> tuple[Any, Any, Any]:
    """Return the reduced factors with their gradients, from what was computed."""
    n = x.shape[-1]

    def by_u(node: Any, g: Any) -> list[Any]:
        u, s, vh = _singular(node.inputs[0], raw, q)
        skew = mt(u) @ g
        inner = (skew - mt(skew)) * _gaps(s) * expand_dims(s, -2)
        found = u @ inner @ vh
        if u.shape[-2] > n:
            away = (g - u @ skew) * expand_dims(inverse_gaps(s), -2)
            found = found + away @ vh
        return [found]

    def by_s(node: Any, g: Any) -> list[Any]:
        u, _, vh = _singular(node.inputs[0], raw, q)
        return [(u * expand_dims(g, -2)) @ vh]

    def by_vh(node: Any, g: Any) -> list[Any]:
        u, s, vh = _singular(node.inputs[0], raw, q)
        skew = vh @ mt(g)
        inner = (skew - mt(skew)) * _gaps(s) * expand_dims(s, -1)
        return [u @ inner @ vh]

    left = part(raw, n, (n, n))
    left = left if q is None else q[..., :n] @ left
    return (
        routed(left, [x], by_u),
        routed(part(raw, 0, (n,)), [x], by_s),
        routed(part(raw, n + n * n, (n, n)), [x], by_vh),
    )


def _gaps(s: Any) -> Any:
    """Return 1 / (s[j]^2 - s[i]^2), 0 where they are equal."""
    column, row = expand_dims(s, -1), expand_dims(s, -2)
    return inverse_gaps((row - column) * (row + column))


@IN_FULL
def svdvals(x: Tensor, /) -> Tensor:
    """Return the singular values of ``svd`` alone, in less time, with the same bits."""
    matrices(x, "linalg.svdvals")
    if x.dtype.is_complex:
        if not x.size:
            return fill(0, (*x.shape[:-2], min(x.shape[-2:])), part_of(x, 0))
        return complex_singular_values(x)
    held = as_computed(x, "linalg.svdvals")
    if not x.size:
        return fill(0, (*x.shape[:-2], min(x.shape[-2:])), x)
    m, n = x.shape[-2:]

    def vjp(node: Any, g: Any) -> list[Any]:
        u, _, vh = singular(node.inputs[0])
        return [(u * expand_dims(g, -2)) @ vh]

    tall = detach(mt(held) if m < n else held)
    k = tall.shape[-1]
    r = factor(tall, k)[1] if tall.shape[-2] > k else tall
    return cast(routed(singular_node(r, vectors=False), [held], vjp), x.dtype)
