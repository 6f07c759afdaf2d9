"""A batch_norm in training has more than one value of each channel, or says so before anything runs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError

TEXT = re.escape(
    "[train, batch_size] a batch of one sample, of which batch_norm 'layers.1' has no statistics: expected 2 samples "
    "or more in every batch, in the last one too, got 1. Choose a batch_size that leaves no sample over, leave one "
    "out, or freeze the layer."
)
DENSE: list[dict[str, Any]] = [
    {"type": "dense", "output_size": 3}, {"type": "batch_norm"}, {"type": "dense", "output_size": 2},
]  # fmt: skip
_RNG = np.random.default_rng(0)
X, Y = _RNG.normal(size=(5, 2)).astype("f4"), np.array([0, 1, 0, 1, 0])


def net(layers: list[dict[str, Any]], shape: list[int]) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": shape}, "layers": layers}, on="interp")


@pytest.mark.parametrize("settings", [
    {"batch_size": 1}, {"batch_size": 2}, {"batch_size": 4}, {"batch_size": 5, "micro_batch": 1},
])  # fmt: skip
def test_a_sample_that_is_left_over_is_told_before_anything_runs(settings: dict[str, int]) -> None:
    made = net(DENSE, [2])
    before = made.digest()
    with pytest.raises(ArgumentError, match=TEXT):
        made.train(X, Y, epochs=1, **settings)
    assert made.digest() == before


@pytest.mark.parametrize("settings", [{"batch_size": 3}, {"batch_size": 5}, {"batch_size": 5, "micro_batch": 4}])
def test_two_samples_are_enough(settings: dict[str, int]) -> None:
    made = net(DENSE, [2])
    made.train(X, Y, epochs=1, **settings)
    assert (made.weights()["layers.1.running_variance"] != 1).all()


def test_frozen_statistics_take_any_batch() -> None:
    made = net(DENSE, [2]).freeze("layers.1")
    made.train(X, Y, epochs=1, batch_size=4)
    assert (made.weights()["layers.1.running_variance"] == 1).all()


def test_places_of_an_image_are_values_too() -> None:
    made = net([{"type": "conv2d", "filters": 2, "kernel_size": 1}, {"type": "batch_norm"}, {"type": "flatten"},
                {"type": "dense", "output_size": 2}], [1, 3, 3])  # fmt: skip
    made.train(_RNG.normal(size=(5, 1, 3, 3)).astype("f4"), Y, epochs=1, batch_size=4)


def test_evaluation_takes_one_sample() -> None:
    made = net(DENSE, [2])
    assert made.forward(X[:1]).shape == (1, 2)
    assert made.evaluate(X[:1], Y[:1]).samples == 1


def test_a_channel_of_one_place_says_so_too() -> None:
    made = net([{"type": "conv2d", "filters": 2, "kernel_size": 3}, {"type": "batch_norm"}, {"type": "flatten"},
                {"type": "dense", "output_size": 2}], [1, 3, 3])  # fmt: skip
    with pytest.raises(ArgumentError, match=TEXT):
        made.train(_RNG.normal(size=(5, 1, 3, 3)).astype("f4"), Y, epochs=1, batch_size=4)


@pytest.mark.parametrize(
    "act",
    [
        lambda net: net.step(training=True),
        lambda net: net.tween().step(X[:1], Y[:1]),
    ],
    ids=["step", "tween"],
)
def test_steps_and_tweens_of_one_sample_are_refused(act: Any) -> None:
    with pytest.raises(ArgumentError, match=r"one sample, of which batch_norm 'layers\.1' has no statistics"):
        act(net(DENSE, [2]))
