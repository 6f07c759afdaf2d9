"""Eigenvalues of Hermitian matrices and singular values of complex ones, with their vectors.

Layer: tensor. Reflections leave a real tridiagonal or bidiagonal matrix (``kernels.linalg.unitary``), of which
``spectral`` tells the rest. Gradients as there, transposed matrices being conjugate too. Invariant: of every vector the
element of largest magnitude, the first of several, is made real and positive, so that vectors are functions of the
matrix and have derivatives; of singular vectors the left one's.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import u32
from loom.core.errors import ArgumentError
from loom.tensor.linalg.complexes import adjoint, complex_bidiagonal, complex_factors, complex_hessenberg
from loom.tensor.linalg.nodes import eigen_node, part, singular_node
from loom.tensor.linalg.operands import diagonal_of, embed_diagonal, mt, tril, triu
from loom.tensor.ops.elementwise import apply, coordinate, where
from loom.tensor.ops.joining import concat
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.reductions import find_extreme, sum_of
from loom.tensor.ops.views import broadcast_to, detach, expand_dims, routed, squeeze

__all__ = [
    "complex_singular",
    "complex_singular_values",
    "hermitian",
    "hermitian_values",
    "inverse_gaps",
    "refuse_full",
]


def inverse_gaps(gaps: Any) -> Any:
    """Return 1 / gaps, 0 where there is none."""
    is_none = apply("eq", gaps, 0)
    return where(is_none, 0, 1 / where(is_none, 1, gaps))


def refuse_full(_node: Any, _g: Any) -> list[Any]:
    """Raise what says that vectors beyond the rank's have no gradient."""
    raise ArgumentError("linalg.svd", "no gradient", expected="full_matrices=False", got="full_matrices=True",
                        remedy="The added vectors are no function of the matrix")  # fmt: skip


def _times(x: Any, real: Any) -> Any:
    """Return a complex tensor times a real one, by parts."""
    return join(part_of(x, 0) * real, part_of(x, 1) * real)


def _by_real(x: Any, matrix: Any) -> Any:
    """Return complex matrices times real ones."""
    return join(part_of(x, 0) @ matrix, part_of(x, 1) @ matrix)


def _phases(u: Any) -> Any:
    """Return what makes the largest element of each column real and positive, (..., 1, columns)."""
    re, im = part_of(u, 0), part_of(u, 1)
    size = detach(re * re + im * im)
    axis = size.ndim - 2
    at = broadcast_to(find_extreme(size, axis, largest=True), size.shape)
    hit = apply("eq", coordinate(size.shape, axis, u32, size), at)
    a, b = (sum_of(where(hit, half, 0), axis, keepdims=True) for half in (re, im))
    length = apply("hypot", a, b)
    return join(a / length, -(b / length))


# Hermitian matrices


def _mirror(x: Any) -> Any:
    """Return the Hermitian matrices of the lower triangles; what is imaginary on the diagonal is left out."""
    re, im = part_of(x, 0), tril(part_of(x, 1), -1)
    below = tril(re, -1)
    return join(tril(re) + mt(below), im - mt(im))


def _tridiagonal(x: Any) -> tuple[Any, Any, Any]:
    """Return the real tridiagonal matrices, what they are multiplied by from the left, and their scales."""
    hr, _, q, scale = complex_hessenberg(_mirror(x))
    band = triu(tril(hr), -1)
    return band + mt(tril(band, -1)), q, squeeze(scale, -1)


@IN_FULL
def hermitian(x: Any) -> tuple[Any, Any]:
    """Return eigenvalues, ascending, and eigenvectors of Hermitian matrices that are not empty."""
    band, q, scale = _tridiagonal(detach(x))
    w, v = _eigen(x, eigen_node(band, vectors=True), q, scale)
    return w, v * _phases(v)


def _eigen(x: Any, raw: Any, q: Any, scale: Any) -> tuple[Any, Any]:
    n = x.shape[-1]

    def by_values(node: Any, g: Any) -> list[Any]:
        _, v = _eigen(node.inputs[0], raw, q, scale)
        return [_times(v, expand_dims(g, -2)) @ adjoint(v)]

    def by_vectors(node: Any, g: Any) -> list[Any]:
        w, v = _eigen(node.inputs[0], raw, q, scale)
        inner = _times(adjoint(v) @ g, inverse_gaps(expand_dims(w, -2) - expand_dims(w, -1)))
        whole = v @ inner @ adjoint(v)
        return [_times(whole + adjoint(whole), 0.5)]

    vectors = _by_real(q, part(raw, n, (n, n)))
    return routed(part(raw, 0, (n,)) / scale, [x], by_values), routed(vectors, [x], by_vectors)


@IN_FULL
def hermitian_values(x: Any) -> Any:
    """Return the eigenvalues alone, of the same bits."""

    def vjp(node: Any, g: Any) -> list[Any]:
        band, q, scale = _tridiagonal(detach(node.inputs[0]))
        _, v = _eigen(node.inputs[0], eigen_node(band, vectors=True), q, scale)
        return [_times(v, expand_dims(g, -2)) @ adjoint(v)]

    band, _, scale = _tridiagonal(detach(x))
    return routed(eigen_node(band, vectors=False) / scale, [x], vjp)


# singular values


def _bidiagonal(x: Any) -> tuple[Any, Any, Any, Any]:
    q, b, p, scale = complex_bidiagonal(x)
    return q, triu(tril(b, 1)), p, squeeze(scale, -1)


@IN_FULL
def complex_singular(x: Any, is_full: bool = False) -> tuple[Any, Any, Any]:
    """Return U, S and Vh of complex matrices that are not empty."""
    m, n = x.shape[-2:]
    if m < n:
        u, s, vh = complex_singular(adjoint(x), is_full)
        return adjoint(vh), s, adjoint(u)
    outer, r = complex_factors(detach(x), m if is_full else n) if m > n else (None, detach(x))
    q, b, p, scale = _bidiagonal(r[..., :n, :])
    left = q if outer is None else outer[..., :n] @ q
    u, s, vh = _singular(x, singular_node(b, vectors=True), left, p, scale)
    phases = _phases(u)
    u, vh = u * phases, adjoint(adjoint(vh) * phases)
    if outer is not None and is_full:
        u = concat([u, routed(outer[..., n:], [x], refuse_full)], -1)
    return u, s, vh


def _singular(x: Any, raw: Any, left: Any, right: Any, scale: Any) -> tuple[Any, Any, Any]:
    """Return the reduced factors, but for the phases of vectors, with their gradients.

    The phases of a pair of vectors are free together: the gradients of both have each half of what that makes.
    """
    n = x.shape[-1]

    def factors(node: Any) -> tuple[Any, Any, Any, Any]:
        u, s, vh = _singular(node.inputs[0], raw, left, right, scale)
        column, row = expand_dims(s, -1), expand_dims(s, -2)
        return u, s, vh, inverse_gaps((row - column) * (row + column))

    def by_phases(skew: Any, s: Any) -> Any:
        """Return the part by phases: the diagonal over 4 s, imaginary alone."""
        share = diagonal_of(part_of(skew, 1)) * (inverse_gaps(s) * 0.25)
        matrix = embed_diagonal(share, n, n)
        return join(matrix * 0, matrix)

    def by_u(node: Any, g: Any) -> list[Any]:
        u, s, vh, gaps = factors(node)
        along = adjoint(u) @ g
        skew = along - adjoint(along)
        found = u @ (_times(skew, gaps * expand_dims(s, -2)) + by_phases(skew, s)) @ vh
        if u.shape[-2] > n:
            found = found + _times(g - u @ along, expand_dims(inverse_gaps(s), -2)) @ vh
        return [found]

    def by_s(node: Any, g: Any) -> list[Any]:
        u, _, vh, _ = factors(node)
        return [_times(u, expand_dims(g, -2)) @ vh]

    def by_vh(node: Any, g: Any) -> list[Any]:
        u, s, vh, gaps = factors(node)
        along = vh @ adjoint(g)
        skew = along - adjoint(along)
        return [u @ (_times(skew, gaps * expand_dims(s, -1)) - by_phases(skew, s)) @ vh]

    return (
        routed(_by_real(left, part(raw, n, (n, n))), [x], by_u),
        routed(part(raw, 0, (n,)) / scale, [x], by_s),
        routed(adjoint(_by_real(right, mt(part(raw, n + n * n, (n, n))))), [x], by_vh),
    )


@IN_FULL
def complex_singular_values(x: Any) -> Any:
    """Return the singular values alone, of the same bits."""

    def vjp(node: Any, g: Any) -> list[Any]:
        u, _, vh = complex_singular(node.inputs[0])
        return [_times(u, expand_dims(g, -2)) @ vh]

    m, n = x.shape[-2:]
    tall = detach(adjoint(x) if m < n else x)
    k = tall.shape[-1]
    r = complex_factors(tall, k)[1] if tall.shape[-2] > k else tall
    _, b, _, scale = _bidiagonal(r)
    return routed(singular_node(b, vectors=False) / scale, [x], vjp)
