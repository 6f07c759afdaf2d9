"""Every setting of an optimiser, a schedule and a training changes something, or is refused.

Settings are the fields of records, found by themselves: a new one fails until it has a value here that shows.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import loom
from loom import LoomError
from loom.nn.train import optimizers, schedules
from loom.nn.train.config import TrainConfig

OTHER: dict[str, Any] = {
    "momentum": 0.5, "dampening": 0.25, "nesterov": True, "weight_decay": 0.25, "beta1": 0.5, "beta2": 0.5,
    "epsilon": 0.5, "alpha": 0.5, "decay_all": True,
}  # fmt: skip
"""Setting of an optimiser -> another value than its default."""

NEEDS = {"dampening": {"momentum": 0.5}, "nesterov": {"momentum": 0.5}, "decay_all": {"weight_decay": 0.25}}
"""Setting -> others without which it is refused."""

SCHEDULES: dict[str, Any] = {
    "Constant": schedules.Constant(0.5), "Linear": schedules.Linear(0.5, 0.25, 8), "Cosine": schedules.Cosine(0.5, 8),
    "CosineWarmRestarts": schedules.CosineWarmRestarts(0.5, 8), "Exponential": schedules.Exponential(0.5),
    "Step": schedules.Step(0.5, every=4), "Polynomial": schedules.Polynomial(0.5, 0.25, 8),
    "Warmup": schedules.Warmup(schedules.Constant(0.5), 8),
}  # fmt: skip

DOCUMENT = {
    "format": "loom/1", "seed": 1, "input": {"shape": [3]},
    "layers": [{"type": "dense", "output_size": 4, "activation": "tanh"}, {"type": "dense", "output_size": 2}],
}  # fmt: skip


def _trained(**settings: Any) -> bytes:
    """Return the weights after a short training."""
    net = loom.Network.from_json(DOCUMENT)
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    y = np.sin(np.arange(16, dtype=np.float32)).reshape(8, 2)
    net.train(x, y, **{"loss": "mse", "epochs": 2, "batch_size": 4, "progress": False, **settings})
    return b"".join(np.asarray(w).tobytes() for _, w in sorted(net.weights().items()))


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_setting_of_an_optimiser_changes_the_weights(name: str) -> None:
    made = optimizers.optimizer_of(name)
    for field in fields(made):
        needed = {k: v for k, v in NEEDS.get(field.name, {}).items() if hasattr(made, k)}
        base = replace(made, **needed)
        other = replace(base, **{field.name: OTHER[field.name]})
        assert _trained(optimizer=base) != _trained(optimizer=other), f"{name}, {field.name}: no effect"


def test_every_setting_of_a_schedule_changes_the_rates() -> None:
    known = {kind.__name__ for kind in schedules.Schedule.__subclasses__()}
    assert known == set(SCHEDULES)
    steps = np.arange(40)
    for name, made in SCHEDULES.items():
        for field in fields(made):
            value = getattr(made, field.name)
            other = schedules.Constant(0.125) if field.name == "after" else value + 2 if type(value) is int else 0.75
            changed = replace(made, **{field.name: other})
            assert (changed.rates(steps) != made.rates(steps)).any(), f"{name}, {field.name}: no effect"


TRAINING: dict[str, Any] = {
    "loss": "mae", "optimizer": optimizers.Lion(), "learning_rate": 0.25, "schedule": schedules.Constant(0.5),
    "epochs": 3, "batch_size": 2, "accumulate": 2, "shuffle": False, "seed": 5, "clip_value": 1e-3, "clip_norm": 1e-3,
    "compute": "bf16", "precision": "q8", "micro_batch": 1,
}  # fmt: skip
"""Setting -> a value with which the weights are others than with its default."""

SHOWN_ELSEWHERE = {
    "probabilities": "set by the network, of what its output means",
    "patience": "stops: tests/unit/nn", "least_gain": "of patience: tests/unit/nn",
    "checkpoint": "writes: tests/unit/nn", "checkpoint_every": "of checkpoint: tests/unit/nn",
    "budget_nbytes": "refuses: below",
    "evaluate_every": "measures: tests/unit/nn", "loss_scale": "of compute in f16: tests/unit/nn/train",
}  # fmt: skip


def test_every_setting_of_a_training_changes_the_weights() -> None:
    assert {f.name for f in fields(TrainConfig)} == {*TRAINING, *SHOWN_ELSEWHERE}
    usual = _trained()
    for name, value in TRAINING.items():
        assert _trained(**{name: value}) != usual, f"{name}: no effect"


def test_settings_of_no_effect_are_refused() -> None:
    for settings in ({"budget_nbytes": 1}, {"least_gain": 0.5}, {"checkpoint_every": 2}, {"no_such": 1},
                     {"schedule": schedules.Constant(0.5), "learning_rate": 0.25}):  # fmt: skip
        with pytest.raises(LoomError):
            _trained(**settings)
