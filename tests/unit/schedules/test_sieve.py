"""How ranges of numbers are cut to be sieved: by shape and capabilities, within 32 bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.patterns.sieve import build_count, list_primes
from loom.schedules.sieve.classes import Classes, segment_words
from loom.schedules.sieve.plan import plan_list, plan_sieve
from loom.schedules.sieve.stretches import MOST_LISTED, Stretches

CAPS = Caps(8, 1 << 16, 1024, unified_memory=True, workers=2, cache_nbytes=1 << 20)
THREADS = replace(CAPS, threads=True)


def test_few_numbers_are_sieved_by_classes_everywhere() -> None:
    assert isinstance(plan_sieve(0, 10**7, CAPS), Classes)
    assert isinstance(plan_sieve(0, 10**9, CAPS), Stretches)
    assert isinstance(plan_sieve(0, 10**9, THREADS), Classes)


@pytest.mark.parametrize("cache_nbytes", [0, 1 << 20, 1 << 24, 1 << 30])
@pytest.mark.parametrize("lo", [0, 29, 10**12 - MOST_LISTED])
def test_the_longest_list_is_told_with_32_bits(lo: int, cache_nbytes: int) -> None:
    (cut,) = plan_list(lo, lo + MOST_LISTED, replace(CAPS, cache_nbytes=cache_nbytes))
    assert isinstance(cut, Stretches)
    assert cut.total <= cut.stretches * cut.stretch < 2**32
    assert cut.segment >= 64 * 1024


def test_a_list_that_one_cpu_could_not_hold_at_once_is_made_in_parts_by_classes() -> None:
    parts = plan_list(5, 5 + MOST_LISTED, THREADS)
    assert [p.lo for p in parts[1:]] == [p.hi for p in parts[:-1]]
    assert (parts[0].lo, parts[-1].hi) == (5, 5 + MOST_LISTED)
    assert all(p.hi - p.lo <= 1 << 28 for p in parts)


@pytest.mark.parametrize(("lo", "hi"), [(0, 10_000), (123_456, 300_000), (10**9, 10**9 + 20_000)])
def test_both_ways_find_the_same(lo: int, hi: int) -> None:
    where = loom.device("cpu")
    ways = [Stretches.of(lo, hi, where.caps), Classes(lo, hi, segment_words(where.caps))]
    lists = [list_primes(way, where) for way in ways]
    assert np.array_equal(*lists)
    if lo == 0:
        for way in ways:
            program, out = build_count(way, where)
            program.run()
            assert int(out.read(0, 8).view(np.uint64)[0]) == lists[0].size == 1229 - 3
