"""The alpha-entmax map, which ``softmax`` of the variants sparse and entmax ends in.

Layer: nn. With s = alpha - 1 the map is [s z - tau]+ ^ (1 / s), tau such that the sum is 1. For s above 1 the root is
steep near 0, and what a float rounds off s z - tau would show in the result: there the least element that is not 0 is
found first, tau being looked for in a pair of floats, and then how far above 0 it is, by its logarithm.
Invariant: every row is a distribution.

Source: B. Peters, V. Niculae and A. Martins, "Sparse sequence-to-sequence models" (2019), algorithm 1, with more places
a step; pairs of floats after T. J. Dekker (1971).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom import tensor
from loom.tensor import Tensor

__all__ = ["entmax"]

_PLACES = 32
"""Places between its bounds at which tau is looked for at once; 5 bits of it."""


def entmax(z: Tensor, alpha: float) -> Tensor:
    """Return [(alpha - 1) z - tau]+ ^ (1 / (alpha - 1)) with sum 1 along the last axis, for alpha above 1.

    The derivative is s (g - sum(s g) / sum(s)), s = y ^ (2 - alpha) where y > 0. Results are off by at most 2^-20
    (f64: 2^-45), for alpha near 1 by 2^-17.
    """
    y = _steep(z, alpha - 1) if alpha > 2 else _power(_search(z, alpha), 1 / (alpha - 1))
    y = y / y.sum(-1, keepdims=True)

    def vjp(node: Tensor, g: Tensor) -> list[Tensor]:
        if alpha > 2:
            return [_steep_gradient(node, g, alpha)]
        s = _power(node, 2 - alpha)
        return [s * (g - (s * g).sum(-1, keepdims=True) / s.sum(-1, keepdims=True))]

    return tensor.routed(y, [z], vjp)


def _steep_gradient(y: Tensor, g: Tensor, alpha: float) -> Tensor:
    """Return the derivative where s grows as y falls: weights over the largest s; the gradients' sum is 0.

    An s beyond a float's range is of the least y, which takes what the others leave, unless several are equal.
    """
    least = tensor.where(y > 0, y, math.inf).min(-1, keepdims=True)
    weights = _power(tensor.where(y > 0, least / tensor.where(y > 0, y, 1), 0), alpha - 2)
    away = g - (weights * g).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    single = (y == least).astype(y.dtype).sum(-1, keepdims=True) == 1
    most = 1e300 if y.dtype.nbytes == 8 else 1e37
    s = tensor.minimum(_power(y, 2 - alpha), most) * away
    others = tensor.where(y == least, 0, s)
    return tensor.where(y == least, tensor.where(single, -others.sum(-1, keepdims=True), s), others)


def _search(z: Tensor, alpha: float) -> Tensor:
    """Return (alpha - 1) z - tau."""
    power = 1 / (alpha - 1)
    raised = (z - z.max(-1, keepdims=True)) * (alpha - 1)
    low = raised.max(-1, keepdims=True) - 1
    width = 1 - float(z.shape[-1]) ** (1 - alpha)
    places = tensor.arange(_PLACES, dtype=z.dtype) + 1
    for _ in range(11 if z.dtype.nbytes == 8 else 5):
        width /= _PLACES
        sums = _power(tensor.expand_dims(raised, -2) - tensor.expand_dims(low + places * width, -1), power).sum(-1)
        low = low + (sums >= 1).astype(z.dtype).sum(-1, keepdims=True) * width
    return raised - low


def _steep(z: Tensor, slope: float) -> Tensor:
    """Return the map for slopes above 1: of the least element above 0 and the others, by their distances from it."""
    base, double = _least(z, slope), z.dtype.nbytes == 8
    places, width = tensor.arange(_PLACES, dtype=z.dtype) + 1, 60.0 if double else 30.0
    over = tensor.where(z > base, (z - base) * slope, 0)
    ties = (z == base).astype(z.dtype).sum(-1, keepdims=True)
    least = ties * 0 - width  # log2 of the result at the base
    for _ in range(12 if double else 6):
        width /= _PLACES
        at = least + places * width
        raised = tensor.expand_dims((at * slope).map("exp2"), -1)
        far = tensor.expand_dims(over, -2)
        sums = tensor.where(far > 0, _power(far + raised, 1 / slope), 0).sum(-1) + ties * at.map("exp2")
        least = least + (sums < 1).astype(z.dtype).sum(-1, keepdims=True) * width
    others = _power(over + (least * slope).map("exp2"), 1 / slope)
    return tensor.where(over > 0, others, tensor.where(z == base, least.map("exp2"), 0))


def _least(z: Tensor, slope: float) -> Tensor:
    """Return the least z of every row whose result is above 0."""
    x = _above_threshold(z, slope)
    base = tensor.where(x >= 0, z, math.inf).min(-1, keepdims=True)
    following = tensor.where(x < 0, z, -math.inf).max(-1, keepdims=True)
    over = tensor.where(z > following, (z - following) * slope, 0)
    return tensor.where(_power(over, 1 / slope).sum(-1, keepdims=True) < 1, following, base)


def _above_threshold(z: Tensor, slope: float) -> Tensor:
    """Return slope (z - max z) - tau nearly: first the exponent of -tau is found, then its digits, from below."""
    double = z.dtype.nbytes == 8
    power, places = 1 / slope, tensor.arange(_PLACES, dtype=z.dtype) + 1
    raised, rest = _scale(z, slope)
    across, across1 = tensor.expand_dims(raised, -2), tensor.expand_dims(rest, -2)

    def below_one(t: Tensor, t1: Tensor) -> Tensor:
        """Return how many of the places, in ascending order, have a sum below 1."""
        x = _plus(tensor.expand_dims(t, -1), tensor.expand_dims(t1, -1), across, across1)
        return (_power(x, power).sum(-1) < 1).astype(z.dtype).sum(-1, keepdims=True)

    width = min(slope * math.log2(max(z.shape[-1], 2)), 900.0 if double else 100.0)
    exponent = raised.max(-1, keepdims=True) - width
    for _ in range(4):
        width /= _PLACES
        at = (exponent + places * width).map("exp2")
        exponent = exponent + below_one(at, at * 0) * width
    t = exponent.map("exp2")
    t1, step = t * 0, ((exponent + width).map("exp2") * (1 + 2.0**-18) - t) * (1 / _PLACES)
    for _ in range(16 if double else 7):
        at, left = _two_sum(t, places * step)
        count = below_one(at, t1 + left)
        t, left = _two_sum(t, count * step)
        t1 = t1 + left
        step = step * (1 / _PLACES)
    return _plus(t, t1, raised, rest)


def _scale(z: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    """Return slope (z - max z), cut at -2, as a pair."""
    away, left = _two_sum(z, -z.max(-1, keepdims=True))
    inside = away > -2 / slope
    away, left = tensor.where(inside, away, -2 / slope), tensor.where(inside, left, 0)
    kind: Any = np.float64 if z.dtype.nbytes == 8 else np.float32
    high = float(kind(slope))
    splitter = float(2**27 + 1 if z.dtype.nbytes == 8 else 2**12 + 1)
    upper = float(kind(kind(high * splitter) - kind(kind(high * splitter) - kind(high))))
    far = away * splitter
    first = far - (far - away)
    second = away - first
    whole = away * high
    more = ((first * upper - whole) + first * (high - upper) + second * upper) + second * (high - upper)
    return whole, more + (away * (slope - high) + left * high)


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``a + b`` rounded, and what the rounding left out (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _plus(a: Tensor, a1: Tensor, b: Tensor, b1: Tensor) -> Tensor:
    """Return the sum of two pairs, rounded once or nearly so."""
    total, left = _two_sum(a, b)
    return total + (left + (a1 + b1))


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return x to a power where x is positive, else 0."""
    there = x > 0
    if exponent == 0:
        return there.astype(x.dtype)
    if exponent in (1.0, 2.0):
        return tensor.where(there, x if exponent == 1.0 else x * x, 0)
    if exponent == 0.5:
        return tensor.where(there, x, 0).sqrt()
    return tensor.where(there, tensor.where(there, x, 1).map("pow", exponent), 0)
