"""Norms, ranks and condition numbers.

Layer: tensor. Sums are those of ``ops.reductions``. Where squares would overflow or vanish, elements are multiplied
by a power of two first. Invariant: a norm of zeros is 0 and has the gradient 0.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, i64
from loom.core.errors import ArgumentError
from loom.core.given import flag
from loom.core.numbers import real
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.linalg.operands import as_computed, fill, matrices, safe_scale, square
from loom.tensor.linalg.spectral import svdvals
from loom.tensor.linalg.systems import inv
from loom.tensor.ops.elementwise import apply, cast, constant, where
from loom.tensor.ops.parts import part_of
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.reductions import max_of, min_of, sum_of
from loom.tensor.ops.views import broadcast_to, expand_dims, normal_axes, reshape, routed
from loom.tensor.record.graph import Node, require_tensor

__all__ = ["cond", "matrix_norm", "matrix_rank", "rank_bound", "vector_norm"]


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:  # noqa: A002 - standard's
    """Return norms along axes (None: of all elements): (sum |x|^ord)^(1/ord); inf, -inf, and 0, which counts.

    Floats keep their dtype (f16 and bf16 are computed in f32), integers and bools give f64. No elements give 0.

    >>> from loom import tensor
    >>> vector_norm(tensor.array([3.0, 4.0])).item()
    5.0
    """
    where_ = "linalg.vector_norm"
    require_tensor(x, where_)
    x = cast(x, f64) if x.dtype.is_integer or x.dtype.is_bool else x
    held, axes = _sizes(x, where_), normal_axes(x, axis, where_)
    kept = flag(keepdims, f"{where_}, keepdims")
    order = _order(ord, where_)
    return cast(_vector_norm(held, axes, kept, order), held.dtype if x.dtype.is_complex else x.dtype)


def _sizes(x: Any, where_: str) -> Any:
    """Return real numbers of the same magnitudes, in the type that norms compute in."""
    return apply("abs", x) if x.dtype.is_complex else as_computed(x, where_)


def _order(value: Any, where_: str) -> float:
    return value if isinstance(value, float) and math.isinf(value) else float(real(value, f"{where_}, ord"))


def _vector_norm(x: Any, axes: tuple[int, ...], kept: bool, order: float) -> Any:
    size = apply("abs", x)
    if 0 in (x.shape[a] for a in axes) and order != -math.inf:
        return sum_of(size, axes, keepdims=kept)
    if order == 2:
        return _euclidean(x, axes, kept)
    if order in (math.inf, -math.inf):
        return (max_of if order > 0 else min_of)(size, axes, keepdims=kept)
    if order == 0:
        return sum_of(cast(apply("ne", x, 0), x.dtype), axes, keepdims=kept)
    if order == 1:
        return sum_of(size, axes, keepdims=kept)
    return apply("pow", sum_of(apply("pow", size, order), axes, keepdims=kept), 1 / order)


def _euclidean(x: Any, axes: tuple[int, ...], kept: bool) -> Any:
    if not axes:
        return apply("abs", x)
    if not x.size:
        return sum_of(x, axes, keepdims=kept)
    scale = safe_scale(x, axes)
    scaled = x * scale
    found = apply("sqrt", sum_of(scaled * scaled, axes, keepdims=True)) / scale
    full = found.shape

    def vjp(node: Any, g: Any) -> list[Any]:
        size = reshape(node, full)
        is_none = apply("eq", size, 0)
        return [where(is_none, 0, reshape(g, full) / where(is_none, 1, size)) * node.inputs[0]]

    shape = full if kept else tuple(n for a, n in enumerate(full) if a not in axes)
    return routed(reshape(found, shape), [x], vjp)


@IN_FULL
def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:  # noqa: A002 - standard's
    """Return norms of matrices: "fro", "nuc", 1 and -1 (columns), inf and -inf (rows), 2 and -2 (singular)."""
    where_ = "linalg.matrix_norm"
    matrices(x, where_)
    order: Any = ord if ord is None or isinstance(ord, (str, float)) else real(ord, f"{where_}, ord")
    if order not in (None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise ArgumentError(f"{where_}, ord", "no such norm", expected="'fro', 'nuc', 1, -1, 2, -2, inf or -inf",
                            got=f"{order!r:.60}", remedy="Use one of them")  # fmt: skip
    held = x if order in ("nuc", 2, -2) and x.dtype.is_complex else _sizes(x, where_)
    found = _matrix_norm(held, order)
    found = reshape(found, (*found.shape, 1, 1)) if flag(keepdims, f"{where_}, keepdims") else found
    return found if x.dtype.is_complex else cast(found, x.dtype)


def _matrix_norm(x: Any, order: Any) -> Any:
    if order == "fro" or order is None:
        return _euclidean(x, (x.ndim - 2, x.ndim - 1), kept=False)
    if order == "nuc":
        return sum_of(svdvals(x), -1)
    value = float(order)
    best = max_of if value > 0 else min_of
    if not x.size:
        return fill(0, x.shape[:-2], part_of(x, 0) if x.dtype.is_complex else x)
    if abs(value) == 2:
        return best(svdvals(x), -1)
    return best(sum_of(apply("abs", x), -2 if abs(value) == 1 else -1), -1)


def rank_bound(s: Any, shape: tuple[int, ...], rtol: Any, where_: str) -> Any:
    """Return the singular values, (.., 1), up to which they count as 0: rtol times the largest, by default
    max(m, n) epsilon."""
    largest = max_of(s, -1, keepdims=True)
    if rtol is None:
        return largest * (max(shape[-2:]) * (2.0**-52 if s.dtype.bits == 64 else 2.0**-23))
    if isinstance(rtol, Node):
        return largest * expand_dims(cast(rtol, s.dtype), -1)
    return largest * float(real(rtol, f"{where_}, rtol", least=0))


@IN_FULL
def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """Return the number of singular values above ``rtol`` times the largest (default: max(m, n) epsilon), as i64."""
    where_ = "linalg.matrix_rank"
    matrices(x, where_)
    if not x.size:
        return broadcast_to(constant(0, i64, x), x.shape[:-2])
    s = svdvals(x if x.dtype.is_complex else as_computed(x, where_))
    return sum_of(cast(s > rank_bound(s, x.shape, rtol, where_), i64), -1)


@IN_FULL
def cond(x: Tensor, /, *, p: Any = None) -> Tensor:
    """Return condition numbers: the largest singular value by the smallest, or by norm ``p`` that of x times its
    inverse's."""
    where_ = "linalg.cond"
    matrices(x, where_)
    if not isinstance(p, (int, float, str, type(None))):
        raise ArgumentError(f"{where_}, p", "no norm", expected="None, a number, 'fro' or 'nuc'", got=repr(p)[:80],
                            remedy="Leave it out")  # fmt: skip
    if p in (None, 2, -2):
        if not x.size:
            raise ArgumentError(where_, "no elements", expected="at least 1", got=x.shape, remedy="Check for emptiness")
        s = svdvals(x)
        largest, least = s[..., 0], s[..., -1]
        return least / largest if p == -2 else largest / least
    square(x, where_)
    return matrix_norm(x, ord=p) * matrix_norm(inv(x), ord=p)
