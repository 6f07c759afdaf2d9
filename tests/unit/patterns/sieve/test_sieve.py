"""``gpu_prime_count`` and ``gpu_primes``: exact for every limit, from the first primes to 10^12."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

from loom import gpu_prime_count, gpu_primes
from loom.core.errors import ArgumentError, DTypeError, LoomError
from prime_oracle import is_prime

PI = {10**k: n for k, n in enumerate((0, 4, 25, 168, 1229, 9592, 78_498, 664_579, 5_761_455))}
"""Published values of the prime counting function (OEIS A006880)."""
SEGMENT = 30 * 64 * 1024
"""Numbers in the smallest segment."""
EDGES = [
    *range(130), *(p * p + d for p in (7, 11, 13, 31, 67, 71, 73, 79, 83, 1021, 1031) for d in (-1, 0, 1)),
    *(30 * k + d for k in (3, 100, 4096) for d in (-1, 0, 1, 2, 7, 8, 29)),
    *(SEGMENT * k + d for k in (1, 2) for d in (-30, -1, 0, 1, 30)),
    *(30 * 24 * 1024 * k + d for k in (1, 3) for d in (-1, 0, 1)),
]  # fmt: skip


@functools.cache
def plain_primes(limit: int = 4_000_000) -> list[int]:
    """Primes below ``limit``, by Eratosthenes in plain Python."""
    flags = bytearray([0, 0]) + bytearray([1]) * (limit - 2)
    for p in range(2, math.isqrt(limit) + 1):
        if flags[p]:
            flags[p * p :: p] = bytes(len(range(p * p, limit, p)))
    return [n for n, flag in enumerate(flags) if flag]


@pytest.fixture(params=["chosen", "stretches"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Few numbers are sieved by classes; here by stretches as well."""
    if request.param == "stretches":
        monkeypatch.setattr("loom.schedules.sieve.plan._FEW_NUMBERS", 0)
    return request.param


def test_the_oracles_agree() -> None:
    assert [n for n in range(20_000) if is_prime(n)] == [p for p in plain_primes() if p < 20_000]
    assert len(plain_primes(10**6)) == PI[10**6]


def test_counts_below_every_edge() -> None:
    primes = np.array(plain_primes())
    for n in EDGES:
        assert gpu_prime_count(n) == np.searchsorted(primes, n), n


@pytest.mark.parametrize("n", PI)
def test_published_counts(n: int) -> None:
    assert gpu_prime_count(n) == PI[n]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stretches"], indirect=True)
@pytest.mark.parametrize(("n", "count"), [(10**9, 50_847_534), (10**10, 455_052_511)])
def test_published_counts_of_billions(n: int, count: int) -> None:
    assert gpu_prime_count(n) == count


def test_every_setting_counts_the_same(place: str) -> None:
    n = 300_007 if place == "cpu" else 2_003
    assert gpu_prime_count(n, on=place) == sum(p < n for p in plain_primes())
    assert gpu_primes(n - 500, n, on=place).tolist() == [p for p in range(n - 500, n) if is_prime(p)]


@pytest.mark.parametrize("way", ["stretches"], indirect=True)  # of classes: in test_sieve_threads
def test_no_index_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert gpu_prime_count(3_000_000) == 216_816
    assert gpu_primes(2_999_000, 3_000_000).tolist() == [p for p in plain_primes() if 2_999_000 <= p < 3_000_000]


def test_nothing_is_read_before_it_is_written_and_no_lanes_race() -> None:
    import loom

    with loom.debug(races=True, bounds=True, uninitialized=True):
        assert gpu_prime_count(1_000) == PI[1000]
        assert gpu_primes(0, 100).size == PI[100]


# lists


@pytest.mark.parametrize(
    ("lo", "hi"),
    [
        (0, 0), (0, 2), (0, 3), (2, 3), (2, 2), (3, 5), (0, 6), (5, 6), (0, 7), (0, 8), (6, 8), (7, 8), (7, 7), (8, 11),
        (0, 31), (29, 31), (30, 31), (31, 32), (29, 62), (0, 1000), (113, 127), (114, 127), (960, 1020),
        (SEGMENT - 1, SEGMENT + 1), (SEGMENT - 100, SEGMENT + 100), (1_999_000, 2_001_000), (30, 10), (100, 0),
        (65_536 * 30 - 31, 65_536 * 30 + 61), (0, 4_000_000 - 100),
    ],
)  # fmt: skip
def test_lists(lo: int, hi: int) -> None:
    found = gpu_primes(lo, hi)
    assert found.dtype == np.uint64
    assert found.tolist() == [p for p in plain_primes() if lo <= p < hi]


@pytest.mark.parametrize(
    ("lo", "hi"),
    [
        (10**12 - 3000, 10**12),
        (10**12 - 1, 10**12),
        (999_999_999_989, 999_999_999_990),
        (999_983**2 - 60, 999_983**2 + 60),  # the square of the largest base prime
        (2**32 - 500, 2**32 + 500),
        (30 * 2**32 - 300, 30 * 2**32 + 300),
        (10**10 + 1, 10**10 + 2000),
        (7, 8),
    ],
)
def test_lists_high_up(lo: int, hi: int) -> None:
    assert gpu_primes(lo, hi).tolist() == [n for n in range(lo, hi) if is_prime(n)]


def test_a_long_list_high_up_has_only_primes_and_as_many_as_counted() -> None:
    lo, hi = 10**8 - 3_000_000, 10**8
    found = gpu_primes(lo, hi)
    assert found.size == PI[10**8] - gpu_prime_count(lo)
    assert (np.diff(found.astype(np.int64)) > 0).all()
    assert all(is_prime(n) for n in found[::500].tolist())


def test_lists_join_without_gap_or_overlap() -> None:
    whole = gpu_primes(0, 100_000).tolist()
    cuts = [0, 1, 7, 29, 30, 31, 1000, 65_537, 99_999, 100_000]
    assert [p for a, b in itertools.pairwise(cuts) for p in gpu_primes(a, b).tolist()] == whole
    assert len(whole) == PI[10**5]


# what is a limit


def test_whole_numbers_of_any_kind_are_limits() -> None:
    for n in (100, 100.0, np.int8(100), np.uint64(100), np.float32(100), np.float64(100)):
        assert gpu_prime_count(n) == PI[100]
        assert gpu_primes(n, 104).tolist() == [101, 103]
    assert isinstance(gpu_prime_count(100), int)


NO_NUMBER = "[{}] not a whole number: expected an int, got {}. Round it first."
NO_RANGE = "[{}] out of range: expected 0 to 1000000000000, got {}. Stay within it."


@pytest.mark.parametrize("value", [2.5, True, "7", None, math.nan, math.inf, 3j, [7], np.bool_(True)], ids=repr)
def test_what_is_no_whole_number(value: Any) -> None:
    calls = {
        "gpu_prime_count, n": lambda: gpu_prime_count(value),
        "gpu_primes, lo": lambda: gpu_primes(value, 10),
        "gpu_primes, hi": lambda: gpu_primes(0, value),
    }
    for where, call in calls.items():
        with pytest.raises(DTypeError) as caught:
            call()
        assert str(caught.value) == NO_NUMBER.format(where, repr(value))


@pytest.mark.parametrize("value", [-1, 10**12 + 1, 2**64, -(2**70), 1e13])
def test_what_is_out_of_range(value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        gpu_prime_count(value)
    assert str(caught.value) == NO_RANGE.format("gpu_prime_count, n", int(value))
    with pytest.raises(LoomError) as caught:
        gpu_primes(value, 10)
    assert str(caught.value) == NO_RANGE.format("gpu_primes, lo", int(value))


def test_a_list_that_cannot_be_held_is_refused_before_any_work() -> None:
    with pytest.raises(ArgumentError) as caught:
        gpu_primes(5, 10**12)
    text = r"\[gpu_primes\] the range is too long: expected at most \d{12}, got 999999999995\. List it in parts\."
    assert caught.match(text)
