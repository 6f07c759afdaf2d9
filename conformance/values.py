"""Operand values that have broken compilers: edges of every format, ties, neighbours of powers of two."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from loom.core.dtype import INTEGERS, DType

__all__ = ["adversarial", "pairs", "random_bits", "triples"]

Array = np.ndarray[Any, Any]
_FORMATS = {"f16": (10, 5), "f32": (23, 8), "f64": (52, 11)}
"""Fraction and exponent bits."""


@cache
def adversarial(dtype: DType) -> Array:
    """Return the edge values of a scalar type, no bit pattern twice (bf16 as its 16 bits)."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        return _integers(dtype)
    if dtype.name == "bf16":
        f32 = np.concatenate([_floats("f32"), random_bits(np.dtype(np.float32), 64, seed=5)])
        return np.unique((f32.view(np.uint32) >> np.uint32(16)).astype(np.uint16))
    return _floats(dtype.name)


def _integers(dtype: DType) -> Array:
    exponents = [*range(9), 15, 16, 17, 23, 24, 31, 32, 33, 52, 53, 62, 63, 64]
    powers = {sign * (1 << k) + d for k in exponents for d in (-1, 0, 1) for sign in (1, -1)}
    counts = {dtype.bits - 1, dtype.bits, dtype.bits + 1, 2 * dtype.bits, 3, 5, 7, 10, 100}
    values = powers | counts | {-c for c in counts} | {dtype.minimum, dtype.maximum}
    return np.array(sorted(v for v in values if dtype.minimum <= v <= dtype.maximum), dtype.numpy)


def _floats(name: str) -> Array:
    fraction, exponent = _FORMATS[name]
    width = 1 + exponent + fraction
    carrier, real = np.dtype(f"u{width // 8}"), np.dtype(f"f{width // 8}")
    one = ((1 << (exponent - 1)) - 1) << fraction
    infinity = ((1 << exponent) - 1) << fraction
    patterns = [
        0, 1, 2, 3, 1 << (fraction - 1), (1 << fraction) - 1, (1 << fraction) - 2,  # subnormals
        1 << fraction, (1 << fraction) + 1, 2 << fraction,  # smallest normals
        one - 1, one, one + 1, one + (1 << (fraction - 1)), one - (1 << fraction),  # about 1
        infinity - 1, infinity - 2, infinity - (1 << fraction), infinity,  # largest
        infinity + 1, infinity + (1 << (fraction - 1)), (1 << (width - 1)) - 1,  # NaNs, quiet and signalling
    ]  # fmt: skip
    edges = np.array(patterns, carrier).view(real)
    both = np.concatenate([edges, _near_integers(real, fraction)])
    negative = (both.view(carrier) | carrier.type(1 << (width - 1))).view(real)
    return np.unique(np.concatenate([both, negative]).view(carrier)).view(real)


def _near_integers(real: np.dtype[Any], fraction: int) -> Array:
    """Halves and ties, the limits of every integer type and of f16 and f32, with their neighbours."""
    halves = [0.5, 1.5, 2.5, 3.5, 2.0, 3.0, 7.0, 10.0, 0.1, 1 / 3]
    ties = [2.0 ** (fraction + d) for d in (-2, -1, 0, 1, 2)]
    ties += [2.0 ** (fraction - 1) + 0.5, 2.0 ** (fraction - 2) + 0.75, 2.0**fraction + 1]
    limits = [float(t.maximum + 1) for t in INTEGERS] + [65504.0, 65520.0, 2.0**-14, 2.0**-24, 2.0**-25, 16777217.0]
    roots = [2.0**-126, 2.0**-149, 2.0**127, 2.0 ** (fraction // 2)]
    with np.errstate(over="ignore"):
        centre = np.array([*halves, *ties, *limits, *roots], np.float64).astype(real)
    centre = centre[np.isfinite(centre)]
    with np.errstate(over="ignore", under="ignore"):
        up, down = np.nextafter(centre, real.type(np.inf)), np.nextafter(centre, real.type(0))
    below = centre - real.type(0.5)
    return np.concatenate([centre, up, down, below[below >= 0]])


def random_bits(dtype: np.dtype[Any], count: int, *, seed: int) -> Array:
    """Return random bit patterns of a numpy dtype (bool: random truths)."""
    rng = np.random.default_rng(seed)
    if dtype == np.bool_:
        return rng.integers(0, 2, count).astype(np.bool_)
    return rng.integers(0, 256, count * dtype.itemsize, dtype=np.uint8).view(dtype)


def pairs(dtype: DType, extra: int = 3000, *, seed: int = 1) -> tuple[Array, Array]:
    """Return two operand arrays: every pair of edge values, then random bits."""
    edges = adversarial(dtype)
    a = np.concatenate([np.repeat(edges, edges.size), random_bits(dtype.numpy, extra, seed=seed)])
    b = np.concatenate([np.tile(edges, edges.size), random_bits(dtype.numpy, extra, seed=seed + 1)])
    return a, b


def triples(dtype: DType, count: int, *, seed: int) -> tuple[Array, Array, Array]:
    """Return three operand arrays of edge values chosen at random."""
    rng = np.random.default_rng(seed)
    edges = adversarial(dtype)
    a, b, c = (edges[rng.integers(0, edges.size, count)] for _ in "abc")
    return a, b, c
