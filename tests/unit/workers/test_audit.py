"""Which calls are audited, and what a digest of a result tells apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError
from loom.workers.audit import AuditPlan, result_digest


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.5, 0.77, 1.0])
def test_one_call_of_each_window_is_audited(share: float) -> None:
    for seed in range(5):
        plan = AuditPlan(share, seed)
        chosen = [n for n in range(2000) if plan.next_is_audited(3)]
        assert abs(len(chosen) - 2000 * share) <= 1
        assert max(np.diff([-1, *chosen])) <= 2 / share + 1
        assert chosen == [n for n in range(2000) if plan.is_audited(3, n)]


def test_the_choice_follows_from_seed_and_worker() -> None:
    def chosen(seed: int, worker: int) -> list[int]:
        return [n for n in range(400) if AuditPlan(0.05, seed).is_audited(worker, n)]

    assert chosen(1, 2) == chosen(1, 2)
    assert len({tuple(chosen(s, w)) for s in range(3) for w in range(3)}) == 9
    assert not any(AuditPlan(0.0).next_is_audited(0) for _ in range(100))
    with pytest.raises(ArgumentError, match="out of range"):
        AuditPlan(1.5)


VALUES: list[Any] = [
    None, 0, 1, True, 1.0, -0.0, 0.0, "1", b"1", [], [1], [[1]], [1, 2], {}, {"a": 1}, {"b": 1}, {"a": [1]},
    np.float32(1), np.arange(3), np.arange(3, dtype=np.int32), np.arange(3.0), np.arange(4).reshape(2, 2), np.arange(4),
    1j, np.array([True]), {"a": np.zeros(3)}, {"a": np.zeros((3, 1))},
]  # fmt: skip


def test_digests_tell_values_apart() -> None:
    assert len({result_digest(v) for v in VALUES}) == len(VALUES)
    assert [result_digest(v) for v in VALUES] == [result_digest(v) for v in VALUES]


def test_one_bit_is_another_digest_and_a_nan_is_a_nan() -> None:
    a = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    b = a.copy()
    b.view(np.uint32)[500] ^= 1
    assert result_digest({"w": a}) != result_digest({"w": b})
    nans = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    assert len({result_digest(n) for n in nans}) == 1
    assert result_digest(a[::2]) == result_digest(a[::2].copy())
    assert result_digest(loom.array(a)) == result_digest(a)


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array(["a"]), [object()]])
def test_what_has_no_bits_is_refused(value: Any) -> None:
    with pytest.raises(DTypeError, match="no bits to compare"):
        result_digest(value)


@pytest.mark.parametrize(("share", "wrong"), [(0.05, 1), (0.05, 14), (0.05, 45), (0.05, 90), (0.25, 5)])
def test_wrong_calls_now_and_then_are_found_as_often_as_the_guide_says(share: float, wrong: int) -> None:
    """Of so many wrong calls at random places one is audited with probability 1 - (1 - share)^wrong."""
    trials, calls = 600, 4000
    found = 0
    for seed in range(trials):
        plan = AuditPlan(share, seed)
        places = np.random.default_rng(seed).choice(calls, wrong, replace=False)
        found += any(plan.is_audited(1, int(n)) for n in places)
    chance = 1 - (1 - share) ** wrong
    assert abs(found - trials * chance) <= 4 * (trials * chance * (1 - chance)) ** 0.5 + 1


def test_calls_counted_ahead_are_audited_as_others_are() -> None:
    one, other = AuditPlan(0.1, 3), AuditPlan(0.1, 3)
    chosen = [n for n in range(500) if one.next_is_audited(7)]
    at, found = 0, []
    while at < 500:
        free = other.calls_before_audit(7)
        other.count(7, free)
        assert other.next_is_audited(7)
        found.append(at + free)
        at += free + 1
    assert [n for n in found if n < 500] == chosen
    assert AuditPlan(0.0).calls_before_audit(1) >= 256
