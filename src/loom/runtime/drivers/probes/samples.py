"""The values that probes compute with: adversarial, and the same every time.

Layer: runtime. Invariant: samples depend on a type alone; they hold subnormals, ties, zeros of both signs,
infinities and NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.dtype import DType

__all__ = [
    "floor_quotients", "fractions", "high_half", "leading_zeros", "pairs", "partial_turns", "products", "quotients",
    "reals", "specials", "squares", "tiles_of_bytes", "whole_pairs", "wholes", "wide_rows", "words_of_bytes",
]  # fmt: skip

Array = np.ndarray[Any, Any]
_COUNT = 2048


def _generator(salt: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(20_260 + salt))


def _shape(kind: np.dtype[Any]) -> tuple[np.dtype[Any], int, int]:
    """Return the unsigned type of a float's width, its fraction's bits and its exponent's bias."""
    return (np.dtype(np.uint32), 23, 127) if kind.itemsize == 4 else (np.dtype(np.uint64), 52, 1023)


def _random(kind: np.dtype[Any], count: int, salt: int) -> Array:
    """Return floats of any bits."""
    return _generator(salt).integers(0, 256, count * kind.itemsize, dtype=np.uint8).view(kind)


def _near_one(kind: np.dtype[Any], count: int, salt: int) -> Array:
    """Return floats with random fractions, from 2^-8 to 2^8 in size."""
    word, fraction, bias = _shape(kind)
    r = _generator(salt)
    exponents = r.integers(bias - 8, bias + 8, count).astype(word)
    signs = r.integers(0, 2, count).astype(word)
    bits = r.integers(0, 1 << fraction, count, dtype=np.uint64).astype(word)
    top = word.type(kind.itemsize * 8 - 1)
    return (signs << top | exponents << word.type(fraction) | bits).view(kind)


def specials(kind: np.dtype[Any]) -> Array:
    """Return zeros, ones, subnormals, the largest and smallest, infinities, NaN."""
    word, fraction, _ = _shape(kind)
    info = np.finfo(kind)
    tiny = np.array([1, 2, 3, (1 << fraction) - 1, (1 << fraction), (1 << fraction) + 1], word).view(kind)
    positive = np.concatenate(
        [np.array([0.0, 1.0, 1.5, 2.0, 3.0, float(info.eps)], kind), tiny, np.array([info.max, np.inf, np.nan], kind)]
    )
    return np.concatenate([positive, -positive])


def pairs(kind: np.dtype[Any]) -> tuple[Array, Array]:
    """Return two operands: specials against each other, any bits, fractions that need rounding, tiny results."""
    known = specials(kind)
    word, fraction, _ = _shape(kind)
    x, y = (_near_one(kind, _COUNT, n) for n in (1, 2))
    subnormal = _generator(3).integers(0, 1 << fraction, 512, dtype=np.uint64).astype(word).view(kind)
    scale = kind.type(2.0) ** kind.type(-120 if kind.itemsize == 4 else -1000)
    return (
        np.concatenate([np.repeat(known, len(known)), _random(kind, _COUNT, 4), x, subnormal, x[:512] * scale]),
        np.concatenate([np.tile(known, len(known)), _random(kind, _COUNT, 5), y, np.roll(subnormal, 1), y[:512]]),
    )


def products(kind: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return factors and what nearly cancels their product."""
    x, y = (_near_one(kind, _COUNT, n) for n in (6, 7))
    return x, y, -(x * y)


def fractions(kind: np.dtype[Any]) -> Array:
    """Return halves, what is next to them, and any bits."""
    halves = np.concatenate([np.arange(-40, 41), 2.0 ** np.arange(0, 24) + 0.5, 2.0 ** np.arange(22, 54)]) * 0.5
    halves = halves.astype(kind)
    beside = [np.nextafter(halves, kind.type(side), dtype=kind) for side in (-np.inf, np.inf)]
    return np.concatenate([halves, -halves, *beside, specials(kind), _random(kind, _COUNT, 8)])


def quotients(kind: np.dtype[Any]) -> tuple[Array, Array]:
    """Return dividends and divisors: quotients next to a tie, tiny quotients, and the pairs."""
    word, fraction, bias = _shape(kind)
    mask = (1 << fraction) - 1
    dividends, divisors = _near_ties(fraction)
    one = word.type(bias) << word.type(fraction)
    x = ((dividends & np.uint64(mask)).astype(word) | one).view(kind)
    y = ((divisors & np.uint64(mask)).astype(word) | one).view(kind)
    small = kind.type(2.0) ** kind.type(-100 if kind.itemsize == 4 else -900)
    a, b = pairs(kind)
    return np.concatenate([x, x[:512] * small, a]), np.concatenate([y, y[:512] / small / kind.type(2**20), b])


def _near_ties(fraction: int) -> tuple[Array, Array]:
    """Return significands a, b with a / b as near to t / 2^(fraction + 2) as can be, t odd: halfway between floats.

    b t = r modulo 2^(fraction + 2) for a small r, and a is what is left above.
    """
    hidden, modulus = 1 << fraction, 1 << (fraction + 2)
    found: list[tuple[int, int]] = []
    r = _generator(9)
    while len(found) < _COUNT:
        tie = int(r.integers(2 * hidden, 4 * hidden)) | 1
        rest = int(r.integers(-8, 8)) * 2 + 1
        divisor = rest * pow(tie, -1, modulus) % modulus
        whole = (divisor * tie - rest) // modulus
        if hidden <= divisor < 2 * hidden and hidden <= 2 * whole < 4 * hidden:
            found.append((whole if whole >= hidden else 2 * whole, divisor))
    both = np.array(found, np.uint64)
    return both[:, 0], both[:, 1]


def squares(kind: np.dtype[Any]) -> Array:
    """Return numbers whose roots are next to a tie, subnormals, and any bits."""
    word, fraction, _ = _shape(kind)
    many = (1 + 3 * _generator(10).random(1 << 18)).astype(np.float32)
    roots = np.sqrt(many.astype(np.float64))
    unit = np.spacing(roots.astype(np.float32)).astype(np.float64)
    distance = np.abs(np.abs(roots - roots.astype(np.float32)) / unit - 0.5)
    even = many[np.argsort(distance)[: _COUNT // 2]].astype(kind)
    near = even * kind.type(2.0) ** kind.type(-40)
    tiny = _generator(11).integers(0, 1 << fraction, 512, dtype=np.uint64).astype(word).view(kind)
    return np.concatenate([near, even, even * kind.type(2), tiny, specials(kind), _random(kind, _COUNT, 12)])


def wholes(source: DType, target: DType) -> Array:
    """Return integers next to a tie of a float type, and any others."""
    precision, width = (24 if target.bits == 32 else 53), source.bits
    values = [0, 1, source.maximum, source.minimum, source.maximum - 1]
    r = _generator(13)
    for shift in range(1, max(2, width - precision - source.is_signed + 1)):
        tops = r.integers(1 << (precision - 1), 1 << precision, 4, dtype=np.uint64).tolist()
        for top in (*tops, (1 << precision) - 1):
            tie = (top << shift) + (1 << (shift - 1))
            values += [tie - 1, tie, tie + 1, *([-tie - 1, -tie, 1 - tie] if source.is_signed else [])]
    kept = np.array([v for v in values if source.minimum <= v <= source.maximum], source.numpy)
    rest = r.integers(0, 256, 1024 * source.nbytes, dtype=np.uint8).view(source.numpy)
    return np.concatenate([kept, rest])


def reals(source: DType, target: DType) -> Array:
    """Return floats next to the limits of an integer type, or to ties of a narrower float."""
    kind = source.numpy
    base = np.concatenate([fractions(kind), pairs(kind)[0]])
    if target.is_integer:
        edges = np.array([float(target.maximum), float(target.minimum), float(target.maximum) + 1], kind)
        beside = [np.nextafter(edges, kind.type(side), dtype=kind) for side in (-np.inf, np.inf)]
        return np.concatenate([base, edges, *beside])
    if target.bits < source.bits:
        narrow = np.abs(_random(target.numpy, _COUNT, 14))
        narrow = narrow[np.isfinite(narrow) & (narrow > 0)].astype(np.float64)
        above = np.nextafter(narrow.astype(np.float32), np.float32(np.inf)).astype(np.float64)
        ties = (narrow + above) / 2
        ties = ties[np.isfinite(ties)]
        return np.concatenate([base, ties, np.nextafter(ties, 0), np.nextafter(ties, np.inf)])
    return base


# integers


def whole_pairs(kind: np.dtype[Any]) -> tuple[Array, Array]:
    """Return two integer operands: extremes against each other, and any."""
    info = np.iinfo(kind)
    known = np.array([0, 1, 2, 3, info.max, info.max - 1, info.min, info.min // 2, info.max // 3], kind)
    x, y = (_generator(n).integers(0, 256, 1024 * kind.itemsize, dtype=np.uint8).view(kind) for n in (15, 16))
    return np.concatenate([np.repeat(known, len(known)), x]), np.concatenate([np.tile(known, len(known)), y])


def words_of_bytes() -> tuple[Array, Array, Array]:
    """Return words of four bytes, extremes against each other in every place and any, and sums that overflow."""
    extremes = np.array([0x80, 0x7F, 0xFF, 0x00, 0x01], np.uint8)
    all_of = np.repeat(extremes, 4).view(np.int32)
    single = np.array([value << (8 * place) for value in extremes.tolist() for place in range(4)], np.uint32)
    known = np.concatenate([all_of, single.view(np.int32)])
    x, y, z = (_generator(n).integers(0, 256, 4096, dtype=np.uint8).view(np.int32) for n in (17, 18, 19))
    info = np.iinfo(np.int32)
    a, b = np.repeat(known, len(known)), np.tile(known, len(known))
    ends = np.array([0, info.max, info.min, info.max - 65024, info.min + 65535, -1], np.int32)
    return np.concatenate([a, x]), np.concatenate([b, y]), np.concatenate([np.resize(ends, len(a)), z])


def tiles_of_bytes() -> tuple[Array, Array]:
    """Return eight tiles of 24 rows of 128 bytes, two of them of extremes alone, and sums that overflow."""
    tiles = _generator(20).integers(0, 256, (8, 24, 128), dtype=np.uint8)
    tiles[0], tiles[1] = 0x80, np.resize(np.array([0x7F, 0x80], np.uint8), 128)
    info = np.iinfo(np.int32)
    ends = np.array([0, info.max, info.min, -1, info.max - (1 << 21)], np.int32)
    return tiles.reshape(-1).view(np.int32), np.resize(ends, 8 * 16 * 8)


def wide_rows(tickets: int, rows: int, elements: int) -> tuple[Array, Array]:
    """Return rows of 128 bytes for each ticket of two groups, some of extremes alone, and sums that overflow."""
    bytes_ = _generator(21).integers(0, 256, (2, tickets, rows, 128), dtype=np.uint8)
    bytes_[1, :2] = 0x80
    info = np.iinfo(np.int32)
    ends = np.array([0, info.max, info.min, -1, info.max - (1 << 21)], np.int32)
    return bytes_.reshape(-1).view(np.int32), np.resize(ends, 2 * elements)


def _each(x: Array, y: Array, function: Callable[[int, int], int]) -> Array:
    bits = x.dtype.itemsize * 8
    found = [function(a, b) & ((1 << bits) - 1) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return np.array(found, f"u{x.dtype.itemsize}").view(x.dtype)


def floor_quotients(x: Array, y: Array) -> Array:
    """Return quotients by odd numbers, rounded down."""
    return _each(x, y, lambda a, b: a // (b | 1))


def high_half(x: Array, y: Array) -> Array:
    """Return the high halves of products."""
    return _each(x, y, lambda a, b: (a * b) >> (x.dtype.itemsize * 8))


def leading_zeros(x: Array) -> Array:
    """Return how many of the highest bits are 0."""
    bits = x.dtype.itemsize * 8
    return _each(x, x, lambda a, _: bits - (a & ((1 << bits) - 1)).bit_length())


def partial_turns(bounds: Array) -> Array:
    """Return what the probe of partial groups computes."""
    found: list[int] = []
    for bound in bounds.tolist():
        turns = bound % 4 + 1
        value = sum(m for n in range(1 if turns == 4 else turns) for m in range(n, 4))
        found.append(value + turns)
    return np.array(found, np.uint32)
