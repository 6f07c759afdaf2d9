"""Factors by elimination with partial pivoting: lu, lu_factor.

Layer: tensor. The gradient is that of both triangles, the permutation being constant. Invariant: the bits are those of
``loom.linalg.lu``.
"""

from __future__ import annotations

from typing import NamedTuple

from loom.core.dtype import i64, u32
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.linalg.nodes import lu_node, order_node, part
from loom.tensor.linalg.operands import as_computed, fill, identity, mt, square, tril, triu
from loom.tensor.linalg.systems import solve_system
from loom.tensor.ops.elementwise import apply, cast, coordinate
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.views import detach, expand_dims, routed
from loom.tensor.record.composite import Composite

__all__ = ["LU", "lu", "lu_factor"]


class LU(NamedTuple):
    """P, lower triangular L and upper triangular U with a = P L U."""

    P: Tensor
    L: Tensor
    U: Tensor


def lu_factor(x: Tensor, /) -> tuple[Tensor, Tensor]:
    """Return the factors of square matrices in one tensor, and the pivots (..., n) as i64, as scipy does.

    u is the upper triangle, l the part below it with ones on its diagonal; row j was swapped with row pivots[j]. For
    gradients use ``lu``.
    """
    square(x, "linalg.lu_factor")
    held = as_computed(x, "linalg.lu_factor")
    if not x.size:
        return fill(0, x.shape, x), cast(fill(0, x.shape[:-1], x), i64)
    factors, pivots = _LU_FACTOR((held,), ((x.shape, held.dtype), (x.shape[:-1], i64)))
    return cast(factors, x.dtype), pivots


@IN_FULL
def _factors(held: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors and pivots of matrices of f32 or f64."""
    raw, n = lu_node(held), held.shape[-1]

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        swaps = _permutation(part(raw, n * n, (n,)), node.inputs[0])
        return [_lu_gradient(node, swaps, tril(g, -1), triu(g))]

    return routed(part(raw, 0, (n, n)), [held], vjp), cast(detach(part(raw, n * n, (n,))), i64)


_LU_FACTOR = Composite("lu_factor", _factors)


def lu(x: Tensor, /) -> LU:
    """Return P, L and U of square matrices with x = P L U, P being a permutation, L having ones on its diagonal."""
    square(x, "linalg.lu")
    held = as_computed(x, "linalg.lu")
    if not x.size:
        return LU(*(fill(0, x.shape, x) for _ in range(3)))
    p, lower, upper = _LU((held,), ((x.shape, held.dtype),) * 3)
    return LU(cast(p, x.dtype), cast(lower, x.dtype), cast(upper, x.dtype))


@IN_FULL
def _lower_upper(held: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return P, L and U of matrices of f32 or f64."""
    raw, n = lu_node(held), held.shape[-1]
    swaps = _permutation(part(raw, n * n, (n,)), held)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        return [_lu_gradient(node, swaps, tril(g, -1), triu(g))]

    both = routed(part(raw, 0, (n, n)), [held], vjp)
    return detach(swaps), tril(both, -1) + identity(n, held), triu(both)


_LU = Composite("lu", _lower_upper)


def _permutation(pivots: Tensor, like: Tensor) -> Tensor:
    """Return P of a = P L U from the rows that were exchanged, each in turn."""
    n = pivots.shape[-1]
    rows = coordinate((n, 1), 0, u32, like)
    return cast(apply("eq", rows, expand_dims(order_node(pivots), -2)), like.dtype)


def _lu_gradient(both: Tensor, swaps: Tensor, by_lower: Tensor, by_upper: Tensor) -> Tensor:
    """Return P L^-T (tril(L^T gL, -1) + triu(gU U^T)) U^-T."""
    n = both.shape[-1]
    lower, upper = tril(both, -1) + identity(n, both), triu(both)
    inner = tril(mt(lower) @ by_lower, -1) + triu(by_upper @ mt(upper))
    left = solve_system(mt(lower), inner)
    return swaps @ mt(solve_system(upper, mt(left)))
