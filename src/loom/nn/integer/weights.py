"""The numbers an integer network holds: masters of its weights, and the exponents of everything.

Layer: nn. A master is an i32 of ``30 - bits`` fraction bits below the weight that is computed with, so that small steps
add up; a bias is its master. Invariant: a master is at most MOST 2^fraction in size, a bias 2^30 - 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.nn.integer.record import most_of

__all__ = [
    "LEAST_EXPONENT", "MOST_EXPONENT", "exponent_of", "fraction_of", "largest_master", "masters_of", "quantise",
    "round_masters", "shift_by", "to_float",
]  # fmt: skip

_MASTER_BITS = 30
LEAST_EXPONENT, MOST_EXPONENT = -100, 122
"""Exponents at the door: the largest holds all of f32 in 8 bits."""


def fraction_of(name: str, bits: int) -> int:
    """Return the fraction bits of a weight's master; a bias has none, as it is added to sums as it is."""
    return 0 if name.rpartition(".")[2] == "bias" else _MASTER_BITS - bits


def largest_master(name: str, bits: int) -> int:
    """Return the largest size of a weight's master."""
    fraction = fraction_of(name, bits)
    return most_of(bits) << fraction if fraction else most_of(_MASTER_BITS)


def exponent_of(largest: float, most: int) -> int:
    """Return the least exponent e with ``largest <= most 2^e``; of 0 one that holds 1."""
    if largest == 0:
        return -(most.bit_length() - 1)
    e = math.frexp(largest / most)[1] - 1
    while math.ldexp(most, e) < largest:
        e += 1
    return min(max(e, LEAST_EXPONENT), MOST_EXPONENT)


def quantise(x: Array, e: int, most: int) -> Array:
    """Return numbers as i64 in units of 2^e, rounded to nearest, halves to even, and saturated: the door."""
    return np.clip(np.rint(np.ldexp(x.astype(np.float64), -e)), -most, most).astype(np.int64)


def to_float(q: Array, e: int) -> Array:
    """Return ``q 2^e`` as f32, rounded once; beyond f32 infinite."""
    with np.errstate(over="ignore"):
        return np.ldexp(q.astype(np.float64), e).astype(np.float32)


def masters_of(weights: Mapping[str, Array], bits: int) -> tuple[dict[str, Array], dict[str, int]]:
    """Return masters (i32) and their exponents for a network's weights."""
    masters: dict[str, Array] = {}
    exponents: dict[str, int] = {}
    for name, w in weights.items():
        most = largest_master(name, bits)
        largest = float(np.abs(w.astype(np.float64)).max(initial=0.0))
        if not largest <= math.ldexp(most, MOST_EXPONENT):  # NaN, infinities, numbers of f64
            raise ArgumentError("loom.Network.quantize", f"weight {name!r} is beyond what f32 holds",
                                expected="finite numbers", got=f"{largest:g}", remedy="Train it again")  # fmt: skip
        e = exponent_of(largest, most)
        masters[name], exponents[name] = quantise(w, e, most).astype(np.int32), e
    return masters, exponents


def round_masters(master: Array, fraction: int) -> Array:
    """Return masters as the weights that are computed with, rounded to nearest, halves to even."""
    if fraction == 0:
        return master.astype(np.int64)
    v = master.astype(np.int64)
    return (v + ((1 << (fraction - 1)) - 1) + ((v >> fraction) & 1)) >> fraction


def shift_by(v: Array, by: int) -> Array:
    """Return ``v 2^by`` of i64 as ``fixed.align`` does on a device."""
    if by >= 0:
        most = (1 << 62) >> min(by, 62)
        return np.clip(v, -most, most) << min(by, 62)
    return round_masters(v, min(-by, 62))
