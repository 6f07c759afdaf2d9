"""Orthogonal factors: qr.

Layer: tensor. Reflections and signs are those of ``loom.linalg.qr``. The gradient is that of S. F. Walter and
L. Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum experimental design"
(2010), for matrices of full rank. Invariant: R is exactly upper triangular.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from loom.core.errors import ArgumentError
from loom.core.given import one_of
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.linalg.complexes import adjoint, as_blocks, as_columns, complex_factors, from_columns
from loom.tensor.linalg.nodes import part, qr_node
from loom.tensor.linalg.operands import (
    as_computed,
    diagonal_of,
    embed_diagonal,
    fill,
    identity,
    matrices,
    mt,
    safe_scale,
    tril,
)
from loom.tensor.linalg.systems import solve_system
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.joining import concat
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.views import broadcast_to, detach, routed
from loom.tensor.record.composite import Composite

__all__ = ["QR", "factor", "qr"]


class QR(NamedTuple):
    """Q with orthonormal columns and upper triangular R."""

    Q: Tensor
    R: Tensor


@IN_FULL
def qr(x: Tensor, /, *, mode: str = "reduced") -> QR:
    """Return Q (..., m, k) and R (..., k, n) with x = Q R, k = min(m, n), or k = m for ``mode="complete"``.

    The diagonal of R has the sign opposite to the element it replaces, as in LAPACK. Gradients need full rank, and with
    ``mode="complete"`` m <= n. f16 and bf16 are computed in f32. ShapeError, DTypeError.
    """
    where_ = "linalg.qr"
    matrices(x, where_)
    columns = (
        x.shape[-2] if one_of(mode, f"{where_}, mode", ("reduced", "complete")) == "complete" else min(x.shape[-2:])
    )
    if x.dtype.is_complex and x.size:
        q, r = complex_factors(detach(x), columns)
        return QR(*_parts(x, q, r))
    if x.dtype.is_complex:
        empty = (join(a, a * 0) for a in factor(part_of(x, 0), columns))
        return QR(*empty)
    q, r = factor(as_computed(x, where_), columns)
    return QR(cast(q, x.dtype), cast(r, x.dtype))


def factor(x: Tensor, columns: int) -> Sequence[Tensor]:
    """Return Q of so many columns, and R, for matrices of f32 or f64."""
    m, n = x.shape[-2:]
    batch = x.shape[:-2]
    if 0 in (m, n, columns) or not x.size:
        eye = broadcast_to(identity(m, x)[:, :columns], (*batch, m, columns))
        return eye, fill(0, (*batch, columns, n), x)
    return _QR((x,), (((*batch, m, columns), x.dtype), ((*batch, columns, n), x.dtype)), columns)


@IN_FULL
def _factors(x: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    m, n = x.shape[-2:]
    scale = safe_scale(x, (-2, -1))
    raw = qr_node(x * scale, columns)
    return _parts(x, part(raw, 0, (m, columns)), part(raw, m * columns, (columns, n)) / scale)


_QR = Composite("qr", _factors)


def _parts(x: Tensor, plain_q: Tensor, plain_r: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q and R with their gradients, from what was computed."""

    def by_q(node: Tensor, g: Tensor) -> list[Tensor]:
        q, r = _parts(node.inputs[0], plain_q, plain_r)
        return [_gradient(node.inputs[0], q, r, g, None)]

    def by_r(node: Tensor, g: Tensor) -> list[Tensor]:
        q, r = _parts(node.inputs[0], plain_q, plain_r)
        return [_gradient(node.inputs[0], q, r, None, g)]

    return routed(plain_q, [x], by_q), routed(plain_r, [x], by_r)


def _gradient(x: Tensor, q: Tensor, r: Tensor, by_q: Any, by_r: Any) -> Tensor:
    """Return (gQ + Q copyltu(R gR^T - gQ^T Q)) R^-T, the last columns of wide matrices first put into gQ."""
    m, n = x.shape[-2:]
    if q.shape[-1] > n:
        raise ArgumentError("linalg.qr", "no gradient", expected="mode='reduced'", got=f"complete, of shape {x.shape}",
                            remedy="The added columns of Q are no function of the matrix")  # fmt: skip
    if n <= m:
        return _square_gradient(q, r, by_q, by_r)
    last = x[..., m:]
    if by_r is None:
        return concat([_square_gradient(q, r[..., :m], by_q, None), fill(0, last.shape, x)], -1)
    turned = last @ adjoint(by_r[..., m:])
    return concat([_square_gradient(q, r[..., :m], turned, by_r[..., :m]), q @ by_r[..., m:]], -1)


def _square_gradient(q: Tensor, r: Tensor, by_q: Any, by_r: Any) -> Tensor:
    """Return the gradient where R is square."""
    inner: Any = None
    if by_r is not None:
        inner = r @ adjoint(by_r)
    if by_q is not None:
        inner = -(adjoint(by_q) @ q) if inner is None else inner - adjoint(by_q) @ q
    whole = q @ _mirror(inner)
    whole = whole if by_q is None else whole + by_q
    if whole.dtype.is_complex:
        return adjoint(from_columns(solve_system(as_blocks(r), as_columns(adjoint(whole))), whole.shape[-2]))
    return mt(solve_system(r, mt(whole)))


def _mirror(x: Tensor) -> Tensor:
    """Return Hermitian matrices of lower triangles: what would be imaginary on the diagonal is left out."""
    if x.dtype.is_complex:
        below = tril(part_of(x, 1), -1)
        return join(_mirror(part_of(x, 0)), below - mt(below))
    low, line = tril(x, -1), diagonal_of(x)
    return low + mt(low) + embed_diagonal(line, line.shape[-1], line.shape[-1])
