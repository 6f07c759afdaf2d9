"""Estimates at extremes are finite or refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

import loom
from loom.core.errors import ArgumentError


@pytest.mark.parametrize("told", [
    {"parameters": 10**400}, {"micro_batches": 10**400}, {"micro_batch_seconds": 1e308}, {"bandwidth": 1e-300},
    {"latency": math.inf}, {"message_seconds": 10**400}, {"add_nbytes_per_second": math.nan}, {"bandwidth": 1e300},
])  # fmt: skip
def test_what_would_not_be_finite_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="out of range"):
        loom.cluster.estimate(
            **{"parameters": 10**6, "workers": 8, "micro_batches": 64, "micro_batch_seconds": 0.1} | told
        )


def test_the_largest_of_all_are_finite() -> None:
    most, least = 10**18, 1e-18
    found = loom.cluster.estimate(most, workers=1 << 20, micro_batches=most, micro_batch_seconds=most, bandwidth=least,
                                  message_seconds=most, latency=most, add_nbytes_per_second=least)  # fmt: skip
    assert math.isfinite(found.seconds)
    assert 0 < found.speedup <= 1 << 20
