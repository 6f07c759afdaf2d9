"""Streams: what is right follows from what is seen, tasks change on time, noise has its deviation."""

from __future__ import annotations

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.nn.adapt import stream


def test_right_is_where_the_retina_sees_most() -> None:
    seen = stream("chase", 3, 2000)
    cells = seen.observations.reshape(-1, 4, 4)
    halves = np.stack([cells[:, :, 2:].sum((1, 2)), cells[:, :, :2].sum((1, 2)),
                       cells[:, :2].sum((1, 2)), cells[:, 2:].sum((1, 2))], 1)  # fmt: skip
    brightest = halves.argmax(1)
    assert (brightest == seen.answers[0, :, 0]).mean() > 0.9
    assert (seen.answers[0] ^ 1 == seen.answers[1]).all()  # avoid is the opposite


def test_classes_are_told_by_their_patterns_and_renamed() -> None:
    seen = stream("classes", 3, 1000)
    patterns = {tuple(x): y for x, y in zip(seen.observations.tolist(), seen.answers[0, :, 0].tolist(), strict=True)}
    assert sorted(patterns.values()) == [0, 1, 2, 3]
    assert ((seen.answers[0] + 1) % 4 == seen.answers[1]).all()
    assert all((seen.observations[k] == seen.observations[k + 49]).all() for k in range(0, 1000, 50))


def test_the_task_changes_on_time() -> None:
    seen = stream("chase", 3, 90, changes=2)
    assert seen.changes == ((30, 1), (60, 0))
    told = [seen.answer(ms * 1_000_000)[0] == seen.answers[0, ms, 0] for ms in range(90)]
    assert told == [True] * 30 + [False] * 30 + [True] * 30
    assert (seen.observe(10**12) == seen.observations[-1]).all()


def test_agents_of_a_world_have_answers_of_their_own() -> None:
    for world in ("chase", "classes"):
        answers = stream(world, 5, 200, agents=4).answers
        assert (np.sort(answers, -1) == np.arange(4)).all()
        assert (answers[:, :, :1] == stream(world, 5, 200).answers).all()


def test_noise_has_its_deviation_and_is_drawn_by_the_seed() -> None:
    clean = stream("chase", 3, 4000).observations
    noisy = stream("chase", 3, 4000, noise=0.5).observations
    away = noisy.astype(np.float64) - clean
    assert abs(away.std() - 0.5) < 0.005
    assert abs(away.mean()) < 0.005
    assert (stream("chase", 3, 4000, noise=0.5).observations == noisy).all()
    assert (stream("chase", 4, 4000, noise=0.5).observations != noisy).any()


def test_refuses_what_is_no_stream() -> None:
    with pytest.raises(ArgumentError, match="chase"):
        stream("chasse", 1, 100)
    with pytest.raises(ArgumentError, match="more changes"):
        stream("chase", 1, 10, changes=10)
    for wrong in ({"noise": -1.0}, {"noise": float("nan")}, {"agents": 0}, {"changes": -1}):
        with pytest.raises(ArgumentError):
            stream("chase", 1, 100, **wrong)
