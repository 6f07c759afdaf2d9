"""The prime sieve's schedule for many lanes: through the patterns on a Vulkan device, and its edges on the CPU."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_prime_count, gpu_primes
from loom.patterns.sieve import build_count, list_primes
from loom.schedules.sieve.classes import Classes, segment_words
from loom.schedules.sieve.plan import plan_list
from prime_oracle import is_prime

PI = {10**k: n for k, n in enumerate((0, 4, 25, 168, 1229, 9592, 78_498, 664_579, 5_761_455))}
"""Published values of the prime counting function (OEIS A006880)."""
WORDS = 256
SEGMENT = 30 * 32 * WORDS
"""Numbers in the segments that the CPU is given here."""
EDGES = [
    *range(8, 130), *(p * p + d for p in (83, 89, 97, 1021, 1031) for d in (-1, 0, 1)),
    *(30 * k + d for k in (3, 31, 32, 33, 100) for d in (-1, 0, 1, 2, 7, 8, 29)),
    *(SEGMENT * k + d for k in (1, 2, 3) for d in (-30, -1, 0, 1, 2, 30)),
]  # fmt: skip


@functools.cache
def plain_primes(limit: int = 1_100_000) -> np.ndarray[Any, Any]:
    """Primes below ``limit``, by Eratosthenes in plain Python."""
    flags = bytearray([0, 0]) + bytearray([1]) * (limit - 2)
    for p in range(2, math.isqrt(limit) + 1):
        if flags[p]:
            flags[p * p :: p] = bytes(len(range(p * p, limit, p)))
    return np.flatnonzero(np.frombuffer(flags, np.uint8))


def count_on_cpu(n: int, words: int = WORDS) -> int:
    program, out = build_count(Classes(0, n, words), loom.device("cpu"))
    program.run()
    return 3 + int(out.read(0, 8).view(np.uint64)[0])


# on the CPU, in short segments


def test_counts_below_every_edge() -> None:
    for n in EDGES:
        assert count_on_cpu(n) == np.searchsorted(plain_primes(), n), n


def test_a_segment_of_any_length_counts_the_same() -> None:
    assert {count_on_cpu(10**6, words) for words in (256, 300, 1024, 4096)} == {PI[10**6]}


def test_more_segments_than_one_dispatch_does_and_more_counts_than_one_tile() -> None:
    assert count_on_cpu(10**9 // 3) == gpu_prime_count(10**9 // 3)


@pytest.mark.parametrize(
    ("lo", "hi"),
    [
        (6, 8), (7, 8), (8, 11), (0, 1000), (960, 1020), (SEGMENT - 100, SEGMENT + 100), (SEGMENT - 1, SEGMENT),
        (SEGMENT, 3 * SEGMENT + 1), (10**12 - 3000, 10**12), (999_983**2 - 60, 999_983**2 + 60),
        (2**32 - 9, 2**32 + 500), (30 * 2**32 - 300, 30 * 2**32 + 300), (24, 29),
    ],
)  # fmt: skip
def test_lists(lo: int, hi: int) -> None:
    found = list_primes(Classes(lo, hi, WORDS), loom.device("cpu"))
    assert found.dtype == np.uint64
    assert found.tolist() == [n for n in range(max(lo, 7), hi) if is_prime(n)]


def test_a_list_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loom.schedules.sieve.plan._NUMBERS_PER_LIST", 50_000)
    assert len(plan_list(6, 400_001, loom.device("cpu").caps)) == 8
    assert np.array_equal(gpu_primes(6, 400_001), plain_primes()[3:33_860])


@pytest.mark.slow
def test_no_index_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert count_on_cpu(600_000) == 49_098
    assert list_primes(Classes(299_000, 300_000, WORDS), loom.device("cpu")).tolist() == [
        n for n in range(299_000, 300_000) if is_prime(n)
    ]


def test_nothing_is_read_before_it_is_written_and_no_lanes_race() -> None:
    with loom.debug(races=True, bounds=True, uninitialized=True):
        assert count_on_cpu(10_000) == PI[10_000]
        assert list_primes(Classes(6, 10_000, WORDS), loom.device("cpu")).size == PI[10_000] - 3


# on a Vulkan device


@pytest.mark.needs("threads")
def test_a_device_gets_segments_that_its_shared_memory_holds(device: Any) -> None:
    words = segment_words(device.caps)
    assert words * 4 <= device.caps.shared_nbytes
    assert words in (4096, 8192)


@pytest.mark.parametrize("n", PI)
@pytest.mark.needs("threads")
def test_published_counts(n: int, device: Any) -> None:
    assert gpu_prime_count(n, on=device) == PI[n]


@pytest.mark.slow
@pytest.mark.needs("threads")
def test_published_count_of_a_thousand_million(device: Any) -> None:
    assert gpu_prime_count(10**9, on=device) == 50_847_534


@pytest.mark.needs("threads")
def test_counts_of_the_first_numbers(device: Any) -> None:
    for n in (*range(12), 29, 30, 31, 32, 48, 49, 50, 961, 962):
        assert gpu_prime_count(n, on=device) == np.searchsorted(plain_primes(), n), n


@pytest.mark.needs("threads")
def test_lists_are_the_cpu_s(device: Any) -> None:
    for lo, hi in [(0, 0), (0, 4), (0, 100), (5, 7), (5, 8), (900_000, 1_000_000), (10**12 - 10_000, 10**12)]:
        found = gpu_primes(lo, hi, on=device)
        assert found.dtype == np.uint64
        assert np.array_equal(found, gpu_primes(lo, hi)), (lo, hi)


@pytest.mark.needs("threads")
def test_lists_join_without_gap_or_overlap(device: Any) -> None:
    cuts = [0, 1, 7, 29, 30, 31, 1000, 65_537, 99_999, 100_000]
    parts = [gpu_primes(a, b, on=device) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), plain_primes()[: PI[10**5]])


@pytest.mark.needs("threads")
def test_a_list_that_cannot_be_held_is_refused_there_too(device: Any) -> None:
    with pytest.raises(loom.LoomError, match=r"^\[gpu_primes\] the range is too long: expected at most \d+, got"):
        gpu_primes(5, 10**12, on=device)
