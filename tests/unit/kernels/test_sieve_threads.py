"""What the kernels of the sieve over classes are fed, and what they make of it, against plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import loom
from loom.kernels.sieve import classes as kernels
from loom.schedules.sieve.classes import Classes, pattern_shifts, prime_table, striking_primes
from prime_oracle import is_prime

CLASSES = (1, 7, 11, 13, 17, 19, 23, 29)
WORDS = 256


def run(kernel: Any, *buffers: Any, params: tuple[int, ...] = (), groups: Any = 1) -> None:
    chain = loom.Chain("cpu")
    chain.dispatch(kernel, list(buffers), list(params), groups)
    chain.build().run()


def patterns() -> np.ndarray[Any, Any]:
    found = np.zeros(kernels.PATTERN_STARTS[-1], np.uint32)
    run(kernels.fill_patterns(), found, groups=-(-found.size // 64))
    return found


def bits_of(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.unpackbits(words.view(np.uint8), bitorder="little")


def sieve(cut: Classes, *, keep: bool, limits: tuple[int, int] = (256, 4096)) -> np.ndarray[Any, Any]:
    primes = striking_primes(math.isqrt(cut.hi - 1))
    out = np.zeros(8 * (cut.row if keep else cut.segments), np.uint32)
    buffers = [prime_table(primes), cut.classes(), patterns(), cut.reach(primes), out]
    params = (cut.first, cut.end, 0, cut.row, len(primes), *np.searchsorted(primes, limits).tolist())
    run(kernels.sieve_segments(cut.words, keep=keep), *buffers, params=params, groups=(cut.segments, 8))
    return out.reshape(8, -1) if keep else out.reshape(-1, 8)


@pytest.mark.parametrize("limit", [0, 1, 79, 82, 83, 88, 89, 1000, 99_991, 1_000_000])
def test_base_primes_are_those_above_79(limit: int) -> None:
    found = striking_primes(limit)
    assert found.dtype == np.uint32
    if limit <= 1000:
        assert found.tolist() == [n for n in range(80, limit + 1) if is_prime(n)]
    else:
        assert all(is_prime(n) for n in found[::50].tolist())
        assert len(found) == {99_991: 9592, 1_000_000: 78_498}[limit] - 22


def test_the_table_of_primes_holds_reciprocals_and_inverses() -> None:
    primes = striking_primes(1_000_000)
    p, reciprocal, inverse = prime_table(primes).reshape(3, -1).astype(object)
    assert (p == primes).all()
    assert (reciprocal == 2**32 // p).all()
    assert ((30 * inverse + 1) % p == 0).all()
    assert (inverse < p).all()


def test_patterns_strike_the_multiples_of_their_primes_and_no_others() -> None:
    found = patterns()
    ends = zip(kernels.PATTERN_STARTS, kernels.PATTERN_STARTS[1:], strict=False)
    for row, (start, end) in zip(kernels.PRESIEVED, ends, strict=True):
        numbers = 30 * np.arange(32 * (end - start)) + 1
        assert (bits_of(found[start:end]) == np.all([numbers % p != 0 for p in row], axis=0)).all()
    assert sorted(p for row in kernels.PRESIEVED for p in row) == [n for n in range(7, 80) if is_prime(n)]
    assert min(math.prod(row) for row in kernels.PRESIEVED) >= kernels.LANES


@pytest.mark.parametrize("residue", CLASSES)
def test_a_class_finds_its_place_in_each_pattern(residue: int) -> None:
    for row, shift in zip(kernels.PRESIEVED, pattern_shifts(residue), strict=True):
        for word in (0, 1, 1000):
            place = 32 * (word + shift)
            for bit in range(70):
                mine, theirs = 30 * (32 * word + bit) + residue, 30 * (place + bit) + 1
                assert [mine % p == 0 for p in row] == [theirs % p == 0 for p in row]


@pytest.mark.parametrize("limits", [(0, 0), (0, 10**6), (10**6, 10**6), (100, 200)], ids=str)
@pytest.mark.parametrize(("lo", "hi"), [(0, 300_000), (250_000, 251_000), (10**10, 10**10 + 3_000)])
def test_bits_are_the_primes_of_a_class(lo: int, hi: int, limits: tuple[int, int]) -> None:
    cut = Classes(lo, hi, WORDS)
    rows = sieve(cut, keep=True, limits=limits)
    for residue, row in zip(CLASSES, rows, strict=True):
        found = (30 * (cut.first + np.flatnonzero(bits_of(row))) + residue).tolist()
        assert found == [n for n in range(30 * cut.first + residue, hi, 30) if is_prime(n)]


def test_counts_are_of_a_segment_and_class() -> None:
    cut = Classes(0, 700_001, WORDS)
    counts = sieve(cut, keep=False)
    assert counts.shape == (3, 8)
    assert counts.sum() == sum(is_prime(n) for n in range(7, 700_001))
    ones = [[bits_of(part).sum() for part in row.reshape(3, WORDS)] for row in sieve(cut, keep=True)]
    assert counts.T.tolist() == [[int(n) for n in row] for row in ones]


def test_counting_and_listing_columns() -> None:
    row, first = 512, 96
    bits = np.random.default_rng(5).integers(0, 2**32, (8, row), np.uint32)
    counts = np.zeros(2, np.uint32)
    run(kernels.count_columns(), bits.reshape(-1), counts, params=(row,), groups=2)
    expected = [int(bits_of(bits[:, at : at + 256].copy().reshape(-1)).sum()) for at in (0, 256)]
    assert counts.tolist() == expected
    starts = np.array([0, expected[0]], np.uint32)
    found = np.zeros(sum(expected), np.uint64)
    run(kernels.collect_columns(), bits.reshape(-1), starts, found, params=(row, first), groups=2)
    wanted = [
        30 * (first + k) + r for r, word in zip(CLASSES, bits, strict=True) for k in np.flatnonzero(bits_of(word))
    ]
    assert found.tolist() == sorted(int(n) for n in wanted)
