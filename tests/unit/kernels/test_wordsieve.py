"""The word sieve is exact, the same for any number of groups, and free of races."""

from __future__ import annotations

import math

import numpy as np
import pytest

import loom
from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark
from prime_oracle import is_prime

PI = {10**6: 78_498, 10**7: 664_579}
"""Published values of the prime counting function."""


def odd_primes(limit: int) -> np.ndarray:
    """Odd primes up to ``limit``, by a sieve of bytes on the host."""
    flags = bytearray([1]) * (limit + 1)
    for p in range(2, math.isqrt(limit) + 1):
        if flags[p]:
            flags[p * p :: p] = bytes(len(range(p * p, limit + 1, p)))
    return np.array([p for p in range(3, limit + 1) if flags[p]], np.uint32)


def sieve(n: int, words: int, segments: range, *, groups: int = 32, device: str | None = None) -> np.ndarray:
    """Registers after sieving ``segments`` below ``n``: bitmap of the last one, its count, the total."""
    primes = odd_primes(max(2, math.isqrt(n)))
    with loom.boot(registers=words + 2, globals=max(1, len(primes)), device=device) as unit:
        unit.write(primes)
        with unit.repeat(len(segments), params=np.array(segments, np.uint32).reshape(-1, 1)) as turn:
            (seg,) = turn.params
            unit.dispatch(sieve_init, [seg, words, n % 2**24, n // 2**24], groups)
            unit.dispatch(sieve_mark, [seg, words, 0, len(primes)], groups)
            unit.dispatch(sieve_count, [words, words], groups)
        unit.build().run()
        return unit.read()


def count(n: int, words: int = 8192, **options) -> int:
    return int(sieve(n, words, range(max(1, -(-n // (64 * words)))), **options)[-1])


@pytest.mark.parametrize("n", PI)
def test_published_counts(n: int) -> None:
    assert count(n) == PI[n]


def test_interpreter_and_debugger_find_the_same_and_no_race() -> None:
    assert count(10**6, device="interp") == PI[10**6]
    with loom.debug(races=True, bounds=True, uninitialized=True):
        assert count(10**6) == PI[10**6]


def test_no_index_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert count(10**6) == PI[10**6]


@pytest.mark.parametrize("n", [*range(12), 63, 64, 65, 66, 67, 127, 128, 129, 255, 256, 257, 258])
def test_every_limit_is_exclusive(n: int) -> None:
    assert count(n, words=2, groups=1) == sum(is_prime(p) for p in range(n))


@pytest.mark.parametrize("groups", [1, 5, 32])
def test_bits_stand_for_odd_numbers_whatever_the_groups(groups: int) -> None:
    n, words, segment = 9_999, 64, 2
    registers = sieve(n, words, range(segment, segment + 1), groups=groups)
    first = segment * words * 64 + 1
    bits = [registers[k // 32] >> np.uint32(k % 32) & np.uint32(1) for k in range(words * 32)]
    expected = [first + 2 * k < n and is_prime(first + 2 * k) for k in range(words * 32)]
    assert [bool(b) for b in bits] == expected
    assert registers[words] == registers[words + 1] == sum(expected)


def test_the_first_bit_stands_for_two() -> None:
    assert sieve(3, 1, range(1))[0] == 0b1
    assert sieve(14, 1, range(1))[0] == 0b1101111  # 2 3 5 7, not 9, 11 13


def test_addresses_beyond_32_bits() -> None:
    words = 32
    segment = 10**10 // (64 * words)
    low = segment * words * 64
    n = low + 1_001
    assert n > 2**33
    assert n // 2**24 == 596
    assert sieve(n, words, range(segment, segment + 1))[-2] == sum(is_prime(p) for p in range(low, n))


def test_counts_of_segment_and_total() -> None:
    registers = sieve(1024, 4, range(4))
    assert registers[4] == sum(is_prime(p) for p in range(768, 1024))
    assert registers[5] == 172  # primes below 1024


def test_words_left_between_segment_and_counts() -> None:
    with loom.boot(registers=16, globals=8) as unit:
        unit.write(odd_primes(16))
        unit.dispatch(sieve_init, [0, 4, 256, 0], groups=1)
        unit.dispatch(sieve_mark, [0, 4, 0, 5], groups=1)
        unit.dispatch(sieve_count, [4, 10], groups=1)
        program = unit.build()
        program.run()
        program.run()
        assert unit.read(10, 2).tolist() == [108, 108]  # two runs of 54, never cleared
        assert unit.read(4, 6).tolist() == [0] * 6
