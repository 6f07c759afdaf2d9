"""Systems of equations and what elimination tells: solve, inv, det, slogdet, cholesky.

Layer: tensor. Gradients are recorded: M. Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), and I. Murray, "Differentiation of the Cholesky decomposition" (2016). A matrix
without an answer raises ``LinAlgError`` where its elements are decided (made of arrays); what depends on parameters
or inputs gives NaN or infinities instead. Invariant: the bits are those of ``loom.linalg``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from loom.core.dtype import i64
from loom.core.errors import ShapeError
from loom.core.given import flag
from loom.kernels.linalg.small import SMALL
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.linalg.complexes import (
    adjoint,
    as_blocks,
    as_columns,
    complex_det,
    complex_slogdet,
    from_columns,
    from_interleaved,
    interleave,
)
from loom.tensor.linalg.nodes import cholesky_node, det_node, lu_node, part, solve_node
from loom.tensor.linalg.operands import (
    as_computed,
    batch_shape,
    common,
    diagonal_of,
    fill,
    identity,
    mt,
    raise_failed,
    square,
    tril,
    triu,
)
from loom.tensor.ops.elementwise import apply, cast, coordinate, where
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.reductions import sum_of
from loom.tensor.ops.views import broadcast_to, detach, expand_dims, permute, reshape, reverse, routed, squeeze
from loom.tensor.record.composite import Composite

__all__ = ["SLogDet", "cholesky", "det", "inv", "inverse", "slogdet", "solve", "solve_system", "solve_triangular"]

_SINGULAR = "the matrix is singular"
_PIVOT = "a pivot other than 0 in every column"


class SLogDet(NamedTuple):
    """Sign and logarithm of the magnitude of determinants."""

    sign: Tensor
    logabsdet: Tensor


@IN_FULL
def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return x with x1 x = x2, by elimination with partial pivoting (``loom.linalg.solve``).

    ``x1`` (..., n, n) and ``x2`` (..., n, m), or one vector (n,); batches are broadcast. f16 and bf16 are computed in
    f32. LinAlgError for a singular matrix (see the module); ShapeError, DTypeError.

    >>> from loom import tensor
    >>> solve(tensor.array([[2.0, 0.0], [0.0, 4.0]]), tensor.array([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    where_ = "linalg.solve"
    square(x1, where_)
    a, b, dtype = common(where_, x1, x2)
    is_vector = b.ndim == 1
    if not b.ndim or b.shape[0 if is_vector else -2] != a.shape[-1]:
        raise ShapeError(where_, "right-hand sides that do not fit", expected=f"{a.shape[-1]} rows",
                         got=f"{x2.shape} for matrices {x1.shape}", remedy="Match the rows")  # fmt: skip
    batch = batch_shape(a.shape[:-2], () if is_vector else b.shape[:-2], where_=where_)
    if not dtype.is_complex:
        return cast(solve_system(as_computed(a, where_), as_computed(b, where_), batch, where_), dtype)
    b = expand_dims(b, 1) if is_vector else b
    found = from_columns(solve_system(as_blocks(a), as_columns(b), batch, where_), b.shape[-1])
    return squeeze(found, -1) if is_vector else found


def solve_system(a: Any, b: Any, batch: Any = None, where_: str = "") -> Any:
    """Return the solution for operands of f32 or f64; a name makes a singular matrix an error."""
    leading: tuple[int, ...] = b.shape[:-2] if batch is None else batch
    shape = (*leading, *b.shape[-2:])
    if 0 in shape:
        return fill(0, shape, b)
    if not where_:
        return _solution(a, b, leading)[0]
    found, info = _SOLVE((a, b), ((shape, b.dtype), (leading if a.ndim > 2 else (), b.dtype)), leading)
    raise_failed(info, where_, _SINGULAR, _PIVOT, "Check the matrix, or use linalg.lstsq")
    return found


@IN_FULL
def _solution(a: Tensor, b: Tensor, leading: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the solution, and of each matrix 0 or 1 + the first column without a pivot."""
    if b.ndim == 1:
        found, info = _solution(a, expand_dims(b, 1), leading)
        return squeeze(found, -1), info
    if a.ndim == 2 and b.ndim > 2:  # one matrix, many right-hand sides: they are columns of one
        order = [b.ndim - 2, *range(b.ndim - 2), b.ndim - 1]
        turned = permute(b, order)
        flat, info = _elimination(a, reshape(turned, (a.shape[-1], -1)))
        back = [*range(1, b.ndim - 1), 0, b.ndim - 1]
        return permute(reshape(flat, turned.shape), back), info
    return _elimination(broadcast_to(a, (*leading, *a.shape[-2:])), broadcast_to(b, (*leading, *b.shape[-2:])))


def _elimination(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of as many matrices as right-hand sides."""
    raw = solve_node(a, b)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        by_right, _ = _elimination(mt(node.inputs[0]), g)
        return [-(by_right @ mt(node)), by_right]

    return routed(part(raw, 0, b.shape[-2:]), [a, b], vjp), part(raw, raw.shape[-1] - 1, ())


_SOLVE = Composite("solve", _solution)


@IN_FULL
def solve_triangular(a: Tensor, b: Tensor, /, *, upper: bool = False) -> Tensor:
    """Return x with a x = b for triangular matrices, of which the other triangle is not read.

    ``a`` (..., n, n), ``b`` (..., n, m), batches broadcast. A zero on the diagonal is a LinAlgError as in ``solve``.
    """
    where_ = "linalg.solve_triangular"
    square(a, where_)
    x, y, dtype = common(where_, a, b)
    if y.ndim < 2 or y.shape[-2] != x.shape[-1]:
        raise ShapeError(where_, "right-hand sides that do not fit", expected=f"(..., {a.shape[-1]}, m)",
                         got=b.shape, remedy="Match the rows")  # fmt: skip
    batch = batch_shape(x.shape[:-2], y.shape[:-2], where_=where_)
    if dtype.is_complex:
        side = join(*((triu if flag(upper, f"{where_}, upper") else tril)(part_of(x, k)) for k in (0, 1)))
        return from_columns(solve_system(as_blocks(side), as_columns(y), batch, where_), y.shape[-1])
    x, y = as_computed(x, where_), as_computed(y, where_)
    if flag(upper, f"{where_}, upper"):
        return cast(solve_system(triu(x), y, batch, where_), dtype)
    turned = solve_system(
        reverse(tril(x), (-1, -2)), reverse(y, -2), batch, where_
    )  # upper, so that no row is exchanged
    return cast(reverse(turned, -2), dtype)


def inv(x: Tensor, /) -> Tensor:
    """Return the inverse of square matrices; LinAlgError for a singular one (see the module)."""
    square(x, "linalg.inv")
    if x.dtype.is_complex:
        return complex_inverse(x, "linalg.inv")
    return cast(inverse(as_computed(x, "linalg.inv"), "linalg.inv"), x.dtype)


@IN_FULL
def complex_inverse(x: Any, where_: str = "") -> Any:
    """Return the inverse of complex matrices."""
    return from_columns(inverse(as_blocks(x), where_), x.shape[-1])


def inverse(x: Any, where_: str = "") -> Any:
    """Return the inverse of matrices of f32 or f64; a name makes a singular matrix an error."""
    if not x.size:
        return fill(0, x.shape, x)
    if not where_:
        return _inverse(x)[0]
    found, info = _INVERSE((x,), ((x.shape, x.dtype), (x.shape[:-2], x.dtype)))
    raise_failed(info, where_, _SINGULAR, _PIVOT, "Check the matrix, or use linalg.pinv")
    return found


@IN_FULL
def _inverse(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inverse, and 0 or 1 + the first column without a pivot."""
    raw = solve_node(x, broadcast_to(identity(x.shape[-1], x), x.shape) if x.shape[-1] <= SMALL else None)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        turned = mt(node)
        return [-(turned @ g @ turned)]

    return routed(part(raw, 0, x.shape[-2:]), [x], vjp), part(raw, raw.shape[-1] - 1, ())


_INVERSE = Composite("inv", _inverse)


@IN_FULL
def det(x: Tensor, /) -> Tensor:
    """Return determinants: the product of the pivots, in order; 0 for a singular matrix, 1 for one of no rows.

    Its gradient, det times the transposed inverse, is NaN for a singular matrix.
    """
    square(x, "linalg.det")
    if x.dtype.is_complex:
        return complex_det(x, complex_inverse) if x.size else _complex_one(x)
    held = as_computed(x, "linalg.det")
    if not x.size:
        return fill(1, x.shape[:-2], x)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        scale = reshape(g * node, (*g.shape, 1, 1))
        return [mt(inverse(node.inputs[0])) * scale]

    return cast(routed(det_node(held), [held], vjp), x.dtype)


def _complex_one(x: Tensor) -> Tensor:
    """Return the determinants of complex matrices of no rows."""
    return join(*(fill(value, x.shape[:-2], part_of(x, 0)) for value in (1, 0)))


@IN_FULL
def slogdet(x: Tensor, /) -> SLogDet:
    """Return the sign of determinants and the logarithm of their magnitude: 0 and -inf for a singular matrix."""
    square(x, "linalg.slogdet")
    batch = x.shape[:-2]
    if x.dtype.is_complex:
        if x.size:
            return SLogDet(*complex_slogdet(x, complex_inverse))
        return SLogDet(_complex_one(x), fill(0, batch, part_of(x, 0)))
    held = as_computed(x, "linalg.slogdet")
    if not x.size:
        return SLogDet(fill(1, batch, x), fill(0, batch, x))
    sign, size = _SLOGDET((held,), ((batch, held.dtype),) * 2)
    return SLogDet(cast(sign, x.dtype), cast(size, x.dtype))


@IN_FULL
def _sign_and_size(held: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sign and logarithm for matrices of f32 or f64."""
    raw, n = lu_node(held), held.shape[-1]
    line, pivots = diagonal_of(part(raw, 0, (n, n))), part(raw, n * n, (n,))
    swapped = apply("ne", pivots, coordinate((n,), 0, held.dtype, held))
    odd = sum_of(cast(swapped, i64) + cast(line < 0, i64), -1) & 1
    size = sum_of(apply("log", apply("abs", line)), -1)
    is_number = apply("eq", size, size)
    sign = where(is_number, where(apply("eq", size, -float("inf")), 0, 1 - 2 * cast(odd, held.dtype)), size)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        return [mt(inverse(node.inputs[0])) * reshape(g, (*g.shape, 1, 1))]

    return detach(sign), routed(size, [held], vjp)


_SLOGDET = Composite("slogdet", _sign_and_size)


@IN_FULL
def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """Return the lower triangular L with L L^T = x (``upper``: U with U^T U = x) of positive definite matrices.

    Only the lower triangle is read (``upper``: the upper); of complex matrices the other is its conjugate.
    LinAlgError for another matrix (see the module). The gradient is that of a symmetric matrix.

    >>> from loom import tensor
    >>> cholesky(tensor.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    where_ = "linalg.cholesky"
    square(x, where_)
    is_upper = flag(upper, f"{where_}, upper")
    if x.dtype.is_complex:
        found = from_interleaved(cholesky(interleave(adjoint(x) if is_upper else x)))
        return adjoint(found) if is_upper else found
    held = as_computed(x, where_)
    if not x.size:
        return fill(0, x.shape, x)
    held = mt(held) if is_upper else held
    found, info = _CHOLESKY((held,), ((held.shape, held.dtype), (held.shape[:-2], held.dtype)))
    raise_failed(info, where_, "the matrix is not positive definite", "a diagonal above 0 left in every column",
                 "Check the matrix, or use solve")  # fmt: skip
    found = cast(found, x.dtype)
    return mt(found) if is_upper else found


@IN_FULL
def _root(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lower factor of matrices of f32 or f64, and 0 or 1 + the first column without a root."""
    raw = cholesky_node(x)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        turned = mt(node)
        inner = tril(turned @ g)
        inner = inner - tril(triu(inner)) * 0.5
        left = solve_system(turned, inner)
        whole = mt(solve_system(turned, mt(left)))
        return [(whole + mt(whole)) * 0.5]

    return routed(part(raw, 0, x.shape[-2:]), [x], vjp), part(raw, raw.shape[-1] - 1, ())


_CHOLESKY = Composite("cholesky", _root)
