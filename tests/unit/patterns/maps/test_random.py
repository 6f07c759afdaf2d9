"""``loom.random``: exact words and elements, prefixes, shapes, distributions, places.

Oracle: Philox4x32-10 in Python's integers, written from the paper (its own known answers are tested below), and the
formulas of the documentation in numpy.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

import loom
from loom import random
from loom.core.conversions import show
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]
SIZES = (0, 1, 2, 3, 4, 5, 255, 256, 257, 1023, 65_537)
SEED, STREAM = 0xFEDC_BA98_7654_3210, 0x89AB_CDEF
MASK = 0xFFFF_FFFF


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Salmon et al. 2011, figure 2, with two multiplications a round."""
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(right >> 32) ^ c[1] ^ k[0], right & MASK, (left >> 32) ^ c[3] ^ k[1], left & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return tuple(c)


@functools.cache
def _words(count: int, seed: int, stream: int) -> Array:
    key = seed & MASK, seed >> 32
    blocks = [philox((n, 0, 0, stream), key) for n in range(-(-count // 4))]
    return np.array(blocks, np.uint32).reshape(-1)[:count]


def words(count: int, seed: int = SEED, stream: int = STREAM) -> Array:
    return _words(1100 if count <= 1100 else count, seed, stream)[:count]


def wide(count: int) -> Array:
    return words(2 * count).view(np.uint64)


def test_the_oracle_knows_the_published_words() -> None:
    expected = (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)
    assert philox((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)) == expected


# exact elements


def test_words(place: str) -> None:
    for size in (0, 1, 5, 255, 256, 257, 1023):
        assert same_bits(random.bits(size, seed=SEED, stream=STREAM, on=place), words(size))
    got = random.bits(501, seed=SEED, stream=STREAM, dtype=np.uint64, on=place)
    assert same_bits(got, wide(501))


def test_uniform_numbers(place: str) -> None:
    options: dict[str, Any] = {"seed": SEED, "stream": STREAM, "on": place}
    w = words(1001)
    assert same_bits(random.uniform(1001, **options), (w >> 8).astype(np.float32) * np.float32(2.0**-24))
    low, high = np.float32(-0.3), np.float32(7.1)
    scaled = low + (w >> 8).astype(np.float32) * np.float32(2.0**-24) * (high - low)
    assert same_bits(random.uniform(1001, low=-0.3, high=7.1, **options), scaled)
    double = (wide(501) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    assert same_bits(random.uniform(501, dtype=loom.f64, **options), double)
    half = ((w >> 21).astype(np.float32) * np.float32(2.0**-11)).astype(np.float16)
    assert same_bits(random.uniform(1001, dtype="float16", **options), half)
    brain = ((w >> 24).astype(np.float32) * np.float32(2.0**-8)).view(np.uint32) >> 16
    assert same_bits(random.uniform(1001, dtype=loom.bf16, **options), show(brain.astype(np.uint16), loom.bf16))


RANGES = [
    (0, 10, "int64"), (-128, 128, "int8"), (-(2**31), 2**31 - 1, "int32"), (0, 2**32, "uint32"), (7, 8, "uint8"),
    (-(2**63), 2**63, "int64"), (0, 2**64, "uint64"), (-5, 1, "int16"), (1, 4, "uint16"),
]  # fmt: skip


def _check_integers(low: int, high: int, dtype: str, place: str) -> None:
    expected = np.array([low + (int(v) * (high - low) >> 64) for v in wide(500)], dtype)
    got = random.integers(500, low, high, dtype=dtype, seed=SEED, stream=STREAM, on=place)
    assert same_bits(got, expected), (low, high)


def test_integers(place: str) -> None:
    for low, high, dtype in RANGES[:2]:
        _check_integers(low, high, dtype, place)


@pytest.mark.parametrize(("low", "high", "dtype"), RANGES[2:])
def test_integers_of_every_width(low: int, high: int, dtype: str) -> None:
    _check_integers(low, high, dtype, "cpu")


def test_integers_redraw_what_would_be_biased(place: str) -> None:
    """A count just above 2^63 rejects almost half of the words; each attempt has its own counter."""
    count, size = 2**63 + 12345, 200
    least = 2**64 % count
    expected, redrawn = [], 0
    for i in range(size):
        for attempt in range(100):
            four = philox((i // 2, 0, attempt, STREAM), (SEED & MASK, SEED >> 32))
            x = four[2 * (i % 2)] | four[2 * (i % 2) + 1] << 32
            if x * count % 2**64 >= least:
                break
        redrawn += attempt > 0
        expected.append(x * count >> 64)
    assert redrawn > 50
    got = random.integers(size, 0, count, seed=SEED, stream=STREAM, dtype="uint64", on=place)
    assert got.tolist() == expected


def test_bools(place: str) -> None:
    options: dict[str, Any] = {"seed": SEED, "stream": STREAM, "on": place}
    w = words(1001)
    for p in (0.0, 0.25, 1 / 3, 1 - 2.0**-33, 1.0):
        expected = w.astype(np.uint64) < round(p * 2**32)
        assert same_bits(random.bernoulli(1001, p, **options), expected)
        assert same_bits(random.dropout_mask(1001, p, **options), ~expected)


def _box_muller(w: Array) -> Array:
    """The documented formula: f32 where it is exact, the rest in float64."""
    u = (w[0::2].astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    radius = np.sqrt(-2 * np.log(u.astype(np.float64)))
    angle = w[1::2].astype(np.float64) * 2.0**-32 * (2 * np.pi)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def test_normal_numbers_follow_the_formula() -> None:
    w = words(65_536)
    got, true = random.normal(65_536, seed=SEED, stream=STREAM).astype(np.float64), _box_muller(w)
    # log and sine at most 1 ulp each, root and product half a one, the angle two roundings: less than 4 ulp
    assert (np.abs(got - true) <= 4 * np.spacing(np.abs(true).astype(np.float32))).all()
    shifted = random.normal(65_536, seed=SEED, stream=STREAM, mean=3.0, std=0.5)
    assert same_bits(shifted, np.float32(3.0) + np.float32(0.5) * got.astype(np.float32))


def test_normal_doubles_follow_the_formula() -> None:
    x = wide(20_000)
    u = ((x[0::2] >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    radius, turns = np.sqrt(-2 * np.log(u)), x[1::2].astype(np.float64) * 2.0**-64
    got = random.normal(20_000, seed=SEED, stream=STREAM, dtype="float64")
    # numpy's angle, up to 2 pi, is off by up to 2^-51 and a rounding of 2 pi, times a radius of at most 8.6
    for part, function in ((got[0::2], np.cos), (got[1::2], np.sin)):
        assert (np.abs(part - radius * function(2 * np.pi * turns)) <= 2.0**-47).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_the_same_everywhere(dtype: str, place: str) -> None:
    options: dict[str, Any] = {"seed": 11, "mean": 1.5, "std": 2.5, "dtype": dtype}
    assert same_bits(random.normal(1001, on=place, **options), random.normal(1001, on="cpu", **options))


# what depends on what


@pytest.mark.parametrize("name", ["bits", "uniform", "normal", "integers", "bernoulli"])
def test_elements_depend_on_their_number_alone(name: str) -> None:
    more = {"integers": (-3, 1000), "bernoulli": (0.3,)}.get(name, ())
    whole = getattr(random, name)(1_000_000, *more, seed=5, stream=2)
    for size in SIZES:
        part = getattr(random, name)(size, *more, seed=5, stream=2)
        assert part.shape == (size,)
        assert same_bits(part, whole[:size])
    shaped = getattr(random, name)((10, 100, 3), *more, seed=5, stream=2)
    assert same_bits(shaped, whole[:3000].reshape(10, 100, 3))
    assert same_bits(getattr(random, name)((), *more, seed=5, stream=2), whole[0])


def test_seeds_and_streams_are_different() -> None:
    found = [random.bits(64, seed=s, stream=t) for s in (0, 1, 2**32, 2**64 - 1) for t in (0, 1, 2**32 - 1)]
    assert len({f.tobytes() for f in found}) == len(found)


def test_results_stay_on_the_device_of_like() -> None:
    there = loom.array([1.0])
    for found, host in (
        (random.uniform((2, 3), seed=1, like=there), random.uniform((2, 3), seed=1)),
        (random.permutation(10, seed=1, like=there), random.permutation(10, seed=1)),
    ):
        assert isinstance(found, loom.Array)
        assert same_bits(found.numpy(), host)


# permutations


def test_permutations() -> None:
    for size in SIZES:
        got = random.permutation(size, seed=SEED, stream=STREAM)
        assert got.dtype == np.int64
        assert (np.sort(got) == np.arange(size)).all()
    assert same_bits(random.permutation(500, seed=SEED, stream=STREAM), np.argsort(wide(500), kind="stable"))
    assert (random.permutation(257, seed=1, on="interp") == random.permutation(257, seed=1)).all()


def test_all_permutations_of_three_are_as_likely() -> None:
    found = [tuple(random.permutation(3, seed=s).tolist()) for s in range(1200)]
    counts = [found.count(p) for p in set(found)]
    assert len(counts) == 6
    assert sum((c - 200) ** 2 / 200 for c in counts) < 20.5  # chi-squared, 5 degrees, p = 0.001


# distributions: with the seed fixed these are constants; the bounds are those a true source passes 999 times in 1000


def _distance(sample: Array, cumulative: Array) -> float:
    """Kolmogorov and Smirnov's statistic times sqrt(n); 1.95 is passed by chance once in a thousand."""
    n = sample.size
    steps = np.arange(n) / n
    return float(max(np.max(cumulative - steps), np.max(steps + 1 / n - cumulative)) * math.sqrt(n))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_distribution(dtype: str) -> None:
    x = np.sort(random.uniform(1_000_000, seed=3, dtype=dtype).astype(np.float64))
    assert 0 <= x[0] < 1e-5 < 1 - 1e-5 < x[-1] < 1
    assert abs(x.mean() - 0.5) < 3.3 * math.sqrt(1 / 12 / x.size)
    assert abs(x.var() - 1 / 12) < 3.3 * math.sqrt(1 / 180 / x.size)
    assert _distance(x, x) < 1.95


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_distribution(dtype: str) -> None:
    x = np.sort(random.normal(200_000, seed=4, dtype=dtype).astype(np.float64))
    assert abs(x.mean()) < 3.3 / math.sqrt(x.size)
    assert abs(x.var() - 1) < 3.3 * math.sqrt(2 / x.size)
    assert abs((x**3).mean()) < 3.3 * math.sqrt(15 / x.size)
    assert abs((x**4).mean() - 3) < 3.3 * math.sqrt(96 / x.size)
    assert _distance(x, np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])) < 1.95


def test_neighbours_are_not_correlated() -> None:
    for x in (random.uniform(1_000_000, seed=6) - np.float32(0.5), random.normal(1_000_000, seed=6)):
        y = x.astype(np.float64)
        for lag in (1, 2, 3, 4, 256, 1024):
            assert abs((y[lag:] * y[:-lag]).mean() / y.var()) < 3.9 / math.sqrt(x.size)


def test_integer_and_bool_distributions() -> None:
    counts = np.bincount(random.integers(700_000, 0, 7, seed=8))
    assert ((counts - 100_000) ** 2 / 100_000).sum() < 22.5  # chi-squared, 6 degrees, p = 0.001
    assert abs(int(random.bernoulli(1_000_000, 0.3, seed=8).sum()) - 300_000) < 3.3 * math.sqrt(210_000)


def test_the_tail_of_the_normal_distribution() -> None:
    x = np.abs(random.normal(4_000_000, seed=9))
    assert 4.5 < x.max() < 6.8
    expected = 4_000_000 * math.erfc(4 / math.sqrt(2))  # about 253 beyond 4
    assert abs(int((x > 4).sum()) - expected) < 3.3 * math.sqrt(expected)
