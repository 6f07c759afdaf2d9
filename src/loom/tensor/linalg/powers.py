"""What is made of factors and products: powers, the exponential, pseudo-inverses and least squares.

Layer: tensor. Invariant: each is a fixed sequence of operations of the record, and differentiable where it says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from loom.core.dtype import f64, i64
from loom.core.errors import ShapeError
from loom.core.numbers import whole
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.linalg.complexes import as_blocks, as_columns, from_columns
from loom.tensor.linalg.norms import rank_bound
from loom.tensor.linalg.operands import as_computed, batch_shape, common, fill, identity, matrices, mt, square
from loom.tensor.linalg.spectral import singular
from loom.tensor.linalg.systems import complex_inverse, inverse, solve_system
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.parts import part_of
from loom.tensor.ops.precision import IN_FULL
from loom.tensor.ops.reductions import max_of, sum_of
from loom.tensor.ops.views import broadcast_to, detach, expand_dims, routed, squeeze

__all__ = ["LstSq", "expm", "lstsq", "matrix_power", "pinv"]


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """Return the n-th power of square matrices by repeated squaring; of the inverse for a negative n."""
    where_ = "linalg.matrix_power"
    square(x, where_)
    exponent = whole(n, f"{where_}, n")
    held = x if x.dtype.is_complex else as_computed(x, where_)
    if exponent == 0 or not x.size:
        real = part_of(x, 0) if x.dtype.is_complex else held
        return cast(broadcast_to(identity(x.shape[-1], real), x.shape), x.dtype)
    base, left, found = held, abs(exponent), None
    if exponent < 0:
        base = complex_inverse(held, where_) if x.dtype.is_complex else inverse(held, where_)
    while left:
        if left & 1:
            found = base if found is None else found @ base
        left >>= 1
        base = base @ base if left else base
    assert found is not None
    return cast(found, x.dtype)


_PADE = {
    7: (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0),
    13: (
        64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
        10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
    ),
}  # fmt: skip
_BOUNDS = {7: 3.925724783138660, 13: 5.371920351148152}
_SQUARINGS = 20


@IN_FULL
def expm(x: Tensor, /) -> Tensor:
    """Return the exponential of square matrices, by Padé's approximation, scaling and squaring.

    Degree 7 in f32, 13 in f64; matrices whose 1-norm is above 4e6 (f32), 5e6 (f64) give NaN. Differentiable. The error
    is what rounding the elements does: of order epsilon times the norm, 2e-11 for skew matrices of f64 of norm 1e5.

    Source: N. J. Higham, "The scaling and squaring method for the matrix exponential revisited" (2005).
    """
    square(x, "linalg.expm")
    if x.dtype.is_complex:
        return from_columns(expm(as_blocks(x)), x.shape[-1]) if x.size else x
    a, n = as_computed(x, "linalg.expm"), x.shape[-1]
    if not x.size:
        return x
    degree = 13 if a.dtype == f64 else 7
    bound, b = _BOUNDS[degree], _PADE[degree]
    norm = detach(max_of(sum_of(apply("abs", a), -2), -1))
    norm = expand_dims(expand_dims(norm, -1), -1)
    halved = [norm > bound * 2.0**k for k in range(_SQUARINGS)]
    for half in halved:
        a = a * where(half, cast(fill(0.5, norm.shape, a), a.dtype), 1)
    eye = identity(n, a)
    square_of = a @ a
    powers = [eye, square_of]
    while len(powers) <= degree // 2:
        powers.append(powers[-1] @ square_of)
    even, odd = (_combine(powers, b[start::2]) for start in (0, 1))
    odd = a @ odd
    found = solve_system(even - odd, even + odd)
    for half in halved:
        found = where(half, found @ found, found)
    is_far = norm > bound * 2.0**_SQUARINGS
    return cast(where(is_far, float("nan"), found), x.dtype)


def _combine(powers: list[Any], weights: tuple[float, ...]) -> Any:
    total = powers[0] * weights[0]
    for power, weight in zip(powers[1:], weights[1:], strict=False):
        total = total + power * weight
    return total


@IN_FULL
def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """Return the Moore-Penrose inverse (..., n, m): singular values up to ``rtol`` times the largest count as 0.

    ``rtol``: a number, or one for each matrix; default max(m, n) epsilon. The gradient is that of a matrix whose rank
    does not change (G. H. Golub and V. Pereyra, 1973).
    """
    where_ = "linalg.pinv"
    matrices(x, where_)
    if x.dtype.is_complex:
        return from_columns(pinv(as_blocks(x), rtol=_least_of(x) if rtol is None else rtol), x.shape[-2])
    held = as_computed(x, where_)
    if not x.size:
        return fill(0, (*x.shape[:-2], x.shape[-1], x.shape[-2]), x)
    return cast(_pseudo_inverse(held, rtol, where_), x.dtype)


def _least_of(x: Any) -> float:
    """Return the default ``rtol`` of complex matrices."""
    return max(x.shape[-2:]) * (2.0**-52 if x.dtype.part == f64 else 2.0**-23)


def _pseudo_inverse(x: Any, rtol: Any, where_: str) -> Any:
    u, s, vh = singular(detach(x))
    found = mt(vh) @ (expand_dims(_invert(s, x.shape, rtol, where_), -1) * mt(u))

    def vjp(node: Any, g: Any) -> list[Any]:
        return [_pinv_gradient(node.inputs[0], node, g)]

    return routed(found, [x], vjp)


def _invert(s: Any, shape: tuple[int, ...], rtol: Any, where_: str) -> Any:
    """Return 1 / s, 0 for what counts as 0."""
    is_some = s > rank_bound(s, shape, rtol, where_)
    lost = apply("ne", s, s)
    return where(is_some, 1 / where(is_some, s, 1), where(lost, s, 0))


def _pinv_gradient(x: Any, p: Any, g: Any) -> Any:
    """Return -P^T g P^T + (I - X P) g^T P P^T + P^T P g^T (I - P X)."""
    turned = mt(p)
    by_rows = mt(g) @ p @ turned
    by_columns = turned @ p @ mt(g)
    return by_rows - x @ (p @ by_rows) + by_columns - (by_columns @ p) @ x - turned @ g @ turned


class LstSq(NamedTuple):
    """Solutions, sums of squared residuals, ranks and singular values."""

    x: Tensor
    residuals: Tensor
    rank: Tensor
    s: Tensor


@IN_FULL
def lstsq(a: Tensor, b: Tensor, /, *, rtol: Any = None) -> LstSq:
    """Return x of least norm among those that make |a x - b| least, with residuals, ranks and singular values.

    ``a`` (..., m, n), ``b`` (..., m, k) or one vector (m,). Singular values up to ``rtol`` times the largest (default
    max(m, n) epsilon) count as 0. ``residuals``: the sums of squares of each column of a x - b. x is differentiable.
    """
    where_ = "linalg.lstsq"
    matrices(a, where_)
    x, y, dtype = common(where_, a, b)
    is_vector = y.ndim == 1
    y = expand_dims(y, 1) if is_vector else y
    if y.ndim < 2 or y.shape[-2] != x.shape[-2]:
        raise ShapeError(where_, "right-hand sides that do not fit", expected=f"{x.shape[-2]} rows", got=b.shape,
                         remedy="Match the rows")  # fmt: skip
    batch_shape(x.shape[:-2], y.shape[:-2], where_=where_)
    if not x.size:
        raise ShapeError(where_, "a matrix of no elements", expected="at least 1", got=a.shape, remedy="Check it")
    real, columns = (dtype.part if dtype.is_complex else dtype), y.shape[-1]
    if dtype.is_complex:  # every singular value of the real matrices is there twice
        rtol = _least_of(x) if rtol is None else rtol
        x, y = as_blocks(x), as_columns(y)
    x, y = as_computed(x, where_), as_computed(y, where_)
    s, found, rank = _least_squares(x, y, rtol, where_)
    away = x @ found - y
    residuals = sum_of(away * away, -2)
    if dtype.is_complex:
        found, s, rank = from_columns(found, columns), s[..., ::2], rank // 2
    if is_vector:
        found, residuals = squeeze(found, -1), squeeze(residuals, -1)
    return LstSq(cast(found, dtype), cast(residuals, real), rank, cast(s, real))


def _least_squares(x: Any, y: Any, rtol: Any, where_: str) -> tuple[Any, Any, Any]:
    u, s, vh = singular(detach(x))
    scale = _invert(s, x.shape, rtol, where_)
    held = detach(y)
    found = mt(vh) @ (expand_dims(scale, -1) * (mt(u) @ held))

    def vjp(node: Any, g: Any) -> list[Any]:
        a, b = node.inputs[:2]
        p = _pseudo_inverse(a, rtol, where_)
        by_p = g @ mt(b)
        lead = by_p.ndim - a.ndim
        by_a, by_b = _pinv_gradient(a, p, by_p), mt(p) @ g
        return [_unbroadcast(by_a, a.shape) if lead or by_a.shape != a.shape else by_a, _unbroadcast(by_b, b.shape)]

    return s, routed(found, [x, y], vjp), sum_of(cast(apply("ne", scale, 0), i64), -1)


def _unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Return a gradient summed over the leading dimensions that ``shape`` lacks or repeats."""
    if g.shape == shape:
        return g
    new = g.ndim - len(shape)
    axes = [*range(new), *(new + a for a, n in enumerate(shape) if n == 1 and g.shape[new + a] != 1)]
    total = sum_of(g, tuple(axes))
    return total.reshape(shape)
