"""The kernels of the prime sieve, one by one, against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.kernels.sieve import wheel as sieve

WHEEL = (1, 7, 11, 13, 17, 19, 23, 29)


def run(kernel: Any, *buffers: Any, params: tuple[int, ...] = (), groups: Any = 1) -> None:
    chain = loom.Chain("cpu")
    chain.dispatch(kernel, list(buffers), list(params), groups)
    chain.build().run()


def primes_up_to(limit: int) -> list[int]:
    return [n for n in range(2, limit + 1) if all(n % d for d in range(2, int(n**0.5) + 1))]


def test_the_wheel_has_the_residues_prime_to_30() -> None:
    import math

    assert sieve.RESIDUES == WHEEL == tuple(r for r in range(30) if math.gcd(r, 30) == 1)


def test_a_strike_mask_clears_the_bit_of_the_product() -> None:
    for p_index, p in enumerate(WHEEL):
        for q_index, q in enumerate(WHEEL):
            mask = sieve.STRIKE_MASKS[p_index] >> 8 * q_index & 0xFF
            assert mask == 0xFF - (1 << WHEEL.index(p * q % 30))


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 72, 73, 74, 78, 79, 80, 82, 83, 120, 121, 1020, 1021, 1031, 5000])
def test_base_primes_are_those_above_73(limit: int) -> None:
    expected = [p for p in primes_up_to(limit) if p > 73]
    found = np.zeros(2 + len(expected) + 4, np.uint32)
    run(sieve.base_primes(), np.zeros(limit // 2 + 1, np.uint8), found, params=(limit,))
    assert found[:2].tolist() == [len(expected), sum(p < 1024 for p in expected)]
    assert [(e >> 3, WHEEL[e & 7]) for e in found[2 : 2 + len(expected)].tolist()] == [(p, p % 30) for p in expected]
    assert not found[2 + len(expected) :].any()


def test_patterns_strike_the_multiples_of_their_primes_and_no_others() -> None:
    patterns = np.zeros(sieve.PATTERN_STARTS[-1], np.uint8)
    run(sieve.fill_patterns(), patterns, groups=-(-patterns.size // 64))
    bits = np.array(WHEEL)
    for row, start, end in zip(sieve.PRESIEVED, sieve.PATTERN_STARTS, sieve.PATTERN_STARTS[1:], strict=False):
        numbers = 30 * np.arange(end - start)[:, None] + bits
        left = np.all([numbers % p != 0 for p in row], axis=0)
        assert (patterns[start:end] == np.packbits(left, axis=1, bitorder="little")[:, 0]).all()
    assert sorted(p for row in sieve.PRESIEVED for p in row) == [p for p in primes_up_to(73) if p > 5]


@pytest.mark.parametrize(("first", "stretch"), [(0, 1000), (7, 513), (10**10, 65_536), (33_333_333_000, 300)])
def test_strides_start_at_the_first_multiple_in_each_stretch(first: int, stretch: int) -> None:
    base = [79, 83, 101, 997, 1009, 7919, 99_991]
    listed = np.array([len(base), 4, *(p * 8 + WHEEL.index(p % 30) for p in base)], np.uint32)
    groups, room = 3, len(base) + 2
    strides = np.zeros((groups, room, 8), np.uint32)
    run(sieve.start_strides(), listed, strides.reshape(-1), params=(first, stretch, room), groups=(1, groups))
    for group in range(groups):
        begin = first + group * stretch
        for i, p in enumerate(base):
            for r, residue in enumerate(WHEEL):
                least = max(p, -(-30 * begin // p))
                cofactor = least + (residue - least) % 30
                byte = p * cofactor // 30 - begin
                assert strides[group, i, r] == (byte if byte <= stretch else 0xFFFF_FFFF)


def test_counting_summing_and_listing_bits() -> None:
    rng = np.random.default_rng(5)
    bits, tile, first = rng.integers(0, 256, 1000, np.uint8), 300, 77
    counts, starts = np.zeros(4, np.uint32), np.zeros(5, np.uint32)
    run(sieve.count_bits(), bits, counts, params=(bits.size, tile), groups=4)
    expected = [sum(bin(b).count("1") for b in bits[at : at + tile].tolist()) for at in range(0, 1000, tile)]
    assert counts.tolist() == expected
    run(sieve.running_starts(), counts, starts, params=(4,))
    assert starts.tolist() == [sum(expected[:k]) for k in range(5)]
    numbers = np.zeros(starts[-1], np.uint64)
    run(sieve.collect_primes(), bits, starts, numbers, params=(bits.size, tile, first), groups=4)
    wanted = [30 * (first + n) + r for n, b in enumerate(bits.tolist()) for k, r in enumerate(WHEEL) if b >> k & 1]
    assert numbers.tolist() == wanted
