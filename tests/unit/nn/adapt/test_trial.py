"""Trials: what is measured of a learner whose answers and times are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import NotFinite
from loom.nn.adapt import CostModel, Costs, TaskStream, run_trial
from loom.nn.adapt.learner import Learner

MS = 1_000_000


class Knowing(Learner):
    """Answers what is right of the observation that came ``delay`` before, from the number it begins with."""

    def __init__(self, *, block: int = 1, delay: int = 0, fails: bool = False) -> None:
        self.block, self.delay, self.fails, self.at_once = block, delay, fails, block == 1
        self.shape, self.outputs = (2,), (4,)
        self.learnt: list[tuple[Any, Any]] = []
        self.told: list[tuple[int, int]] = []
        self._seen: list[int] = []

    def start(self, weights: Any) -> None:
        assert not weights

    def answer(self, x: Any, right: Any) -> Any:
        self._seen.append(int(x[0]))
        at = self._seen[-1 - self.delay] if len(self._seen) > self.delay else 0
        if right is not None:
            self.told.append((at, int(right.argmax())))
        return np.eye(4, dtype=np.float32)[at]

    def learn(self, x: Any, right: Any) -> None:
        if self.fails:
            raise NotFinite("test", "a number is not finite")
        self.learnt.append((x, right))


def told(total: int = 200, every: int = 10, changes: tuple[tuple[int, int], ...] = ()) -> TaskStream:
    """Return a stream that shows the right answer, another one every so many milliseconds; wrong in the other task."""
    right = (np.arange(total) // every) % 4
    seen = np.stack([right, right], 1).astype(np.float32)
    return TaskStream("told", seen, np.stack([right, (right + 1) % 4])[..., None], ("as shown", "other"), changes)


def test_answers_at_once_are_all_right_and_all_there() -> None:
    found = run_trial(Knowing(), told(), Costs(MS, MS))
    assert found.accuracy == found.each == 100.0  # looks at even milliseconds, answers at odd ones
    assert found.throughput == 100 / 0.2
    assert found.availability == 1.0
    assert found.learning == 0.5
    assert found.longest_gap_ms == 2.0


def test_an_answer_is_judged_when_it_is_given() -> None:
    late = Knowing(delay=1)
    # of what is seen at 0, 5, 10, 15 .. the answer comes 10 ms later, when the next number has come
    assert run_trial(late, told(every=10), Costs(5 * MS, 0)).accuracy == pytest.approx(100 / 39)  # the first
    assert len(late.told) == 39
    assert all(shown == right for shown, right in late.told)  # what it learns is of that very observation


def test_blocks_make_a_network_unavailable() -> None:
    learner = Knowing(block=10)
    found = run_trial(learner, told(220), Costs(MS, 100 * MS))
    assert len(learner.learnt) == 2
    x, right = learner.learnt[0]
    assert x.shape == (10, 2)
    assert right.shape == (10, 4)
    assert found.tracked["total_outputs"] == 20
    # 10 answers in 10 ms, 100 ms of learning, 10 answers, learning up to the end: gaps of 101 and 100 ms
    assert found.longest_gap_ms == 101.0
    assert found.availability == 1 - (81 + 80) / 220
    assert found.learning == 200 / 220
    assert found.score == pytest.approx(20 / 0.22 * found.availability * found.accuracy / 100)


def test_what_follows_a_change_is_told_apart() -> None:
    found = run_trial(Knowing(), told(3000, changes=((1000, 1), (2000, 0))), Costs(MS, 0))
    assert found.lowest == 0.0
    assert found.adapting == 45.0  # all wrong in one task, in the other but those that come as the number changes
    assert found.recovered == 0.5
    assert found.recovery_ms == 0.0


def test_updates_that_are_refused_are_counted() -> None:
    assert run_trial(Knowing(block=10, fails=True), told(), Costs(MS, 0)).refused == 19


def test_in_real_time_work_takes_its_time() -> None:
    found = run_trial(Knowing(), told(30), None)
    assert found.tracked["total_outputs"] > 10
    assert 30 * MS <= found.tracked["duration"] < 5000 * MS


def test_costs_follow_the_formula() -> None:
    model = CostModel(operation_ns={"f32": 10, "f64": 30}, layer_ns=7)
    step, normal = model.of("dense", "step"), model.of("dense", "normal", batch=20, parts=4)
    # 16 x 32 + 32 x 4 multiply-adds, 36 biases, 32 tanh; 676 weights
    operations = 2 * 640 + 36 + 32
    assert step == Costs(10 * operations + 14, 10 * (2 * operations + 2 * 676) + 28)
    assert normal == Costs(10 * operations + 14, 10 * (20 * 3 * operations + 4 * 2 * 676) + 4 * 42)
    assert model.of("dense", "normal").learn == step.learn
    tween = model.of("dense", "step_tween", "f64")
    assert tween == Costs(30 * operations + 14, 30 * (2 * operations + 4 * 676) + 28)
    with pytest.raises(ValueError, match="operations of f16 have no cost"):
        model.of("dense", "step", "f16")
    with pytest.raises(ValueError, match="layer_ns"):
        CostModel(layer_ns=-1)
