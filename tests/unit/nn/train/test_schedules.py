"""Schedules against numbers worked out by hand; their bits do not come from the host's libm."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.nn.train.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosineWarmRestarts,
    Exponential,
    Linear,
    Polynomial,
    Schedule,
    Step,
    Warmup,
    schedule_of,
)

ROWS: list[tuple[Schedule, dict[int, float]]] = [
    (Constant(0.1), {0: 0.1, 999: 0.1}),
    (Linear(1.0, 0.5, 4), {0: 1.0, 1: 0.875, 2: 0.75, 4: 0.5, 100: 0.5}),
    (Cosine(1.0, 4), {0: 1.0, 1: 0.8535533905932737, 2: 0.5, 3: 0.1464466094067262, 4: 0.0, 9: 0.0}),
    (Cosine(1.0, 3, 0.5), {1: 0.875, 2: 0.625, 3: 0.5}),
    (CosineWarmRestarts(1.0, 4), {0: 1.0, 2: 0.5, 4: 1.0, 6: 0.5, 8: 1.0}),
    (Exponential(1.0, 0.25, 2), {0: 1.0, 1: 0.5, 2: 0.25, 4: 0.0625}),
    (Step(1.0, 0.5, 10), {0: 1.0, 9: 1.0, 10: 0.5, 25: 0.25}),
    (Polynomial(1.0, 0.5, 4, 2.0), {0: 1.0, 1: 0.78125, 2: 0.625, 4: 0.5, 8: 0.5}),
    (Polynomial(1.0, 0.0, 4), {1: 0.75, 3: 0.25}),
    (Warmup(Linear(1.0, 0.0, 4), 4), {0: 0.0, 1: 0.25, 3: 0.75, 4: 1.0, 6: 0.5, 8: 0.0}),
    (Warmup(Constant(1.0), 2, 0.5), {0: 0.5, 1: 0.75, 2: 1.0}),
]


@pytest.mark.parametrize(("schedule", "rates"), ROWS, ids=lambda v: type(v).__name__)
def test_written_out(schedule: Schedule, rates: dict[int, float]) -> None:
    assert schedule.rates(np.array(list(rates))).tolist() == pytest.approx(list(rates.values()), rel=2e-16, abs=0)
    assert all(
        schedule.at(step) == rate for step, rate in zip(rates, schedule.rates(np.array(list(rates))), strict=True)
    )


def test_powers_are_rounded_once() -> None:
    from fractions import Fraction

    exact = Fraction(0.96) ** 7  # of the double nearest to 0.96
    assert Exponential(1.0, 0.96, 1).at(7) == float(exact)
    assert Exponential(1.0, 0.96, 1000).at(1) == pytest.approx(math.pow(0.96, 0.001), rel=1e-15)


def test_by_name() -> None:
    assert {name: type(schedule_of(name, 0.1, 100)).__name__.lower() for name in SCHEDULES} == {
        name: name.replace("_", "") for name in SCHEDULES
    }
    assert schedule_of("linear", 1.0, 100).at(100) == 0.01
    for name in ("step", "exponential", "linear", "polynomial"):  # all that fall are low by the end
        found = schedule_of(name, 1.0, 90)
        assert found.at(0) == 1.0
        assert 0.0099 < found.at(89) < 0.03
    assert [schedule_of("step", 1.0, 90).at(n) for n in (29, 30, 59, 60)] == pytest.approx([1.0, 0.1, 0.1, 0.01])
    assert schedule_of("exponential", 1.0, 90).at(45) == pytest.approx(0.1)
    with pytest.raises(ArgumentError, match=r"\[train, schedule\] no schedule is called 'cosin'.*'cosine'"):
        schedule_of("cosin", 0.1, 10)
    with pytest.raises(ArgumentError, match="steps is no number of steps: expected an int of at least 1, got 0"):
        Linear(1.0, 0.0, 0)
    with pytest.raises(ArgumentError, match=r"rate is out of range: expected a number of at least 0, got -1.0"):
        Constant(-1.0)
