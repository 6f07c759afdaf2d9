"""Settings: every one that is accepted changes something; numpy's numbers are numbers; names in capitals are names."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, NotFinite
from loom.nn.train import (
    OPTIMIZERS,
    SGD,
    Constant,
    Cosine,
    CosineWarmRestarts,
    Exponential,
    Linear,
    Polynomial,
    RMSprop,
    Schedule,
    Step,
    TrainConfig,
    Warmup,
    optimizer_of,
    schedule_of,
)

X = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def network(**fields: Any) -> loom.Network:
    layers = [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 3}]
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers} | fields, on="cpu")


def digest(**settings: Any) -> str:
    net = network()
    net.train(X, Y, **{"epochs": 3, "batch_size": 4, "learning_rate": 0.1} | settings)
    return net.digest()


CHANGES: dict[str, Any] = {
    "loss": "binary_cross_entropy", "learning_rate": 0.2, "epochs": 2, "batch_size": 3, "accumulate": 2,
    "shuffle": False, "seed": 7, "clip_value": 0.01, "clip_norm": 0.01, "optimizer": "adam", "schedule": "linear",
    "compute": "bf16", "precision": "q8", "micro_batch": 1,
}  # fmt: skip
"""Those that change the weights; the others' effects are tested below and where they belong."""
ELSEWHERE = {"probabilities", "patience", "least_gain", "checkpoint", "checkpoint_every", "budget_nbytes",
             "evaluate_every", "loss_scale"}  # fmt: skip


def test_every_setting_that_makes_weights_makes_others() -> None:
    assert set(CHANGES) | ELSEWHERE == {f.name for f in fields(TrainConfig)}
    plain = digest()
    assert {name: digest(**{name: value}) == plain for name, value in CHANGES.items()} == dict.fromkeys(CHANGES, False)


def test_every_setting_of_an_optimizer_makes_other_weights() -> None:
    others: dict[str, Any] = {
        "momentum": 0.5, "dampening": 0.5, "nesterov": True, "weight_decay": 0.3, "beta1": 0.5, "beta2": 0.5,
        "epsilon": 0.1, "alpha": 0.5, "decay_all": True,
    }  # fmt: skip
    for name, kind in OPTIMIZERS.items():
        base: dict[str, Any] = {"momentum": 0.9} if name == "sgd" else {}
        for field in fields(kind):
            needed: dict[str, Any] = base | ({"weight_decay": 0.3} if field.name == "decay_all" else {})
            plain, other = (digest(optimizer=optimizer_of(name, **needed | changed))
                            for changed in ({}, {field.name: others[field.name]}))  # fmt: skip
            assert plain != other, field.name


def test_every_setting_of_a_schedule_makes_other_rates() -> None:
    steps = np.arange(40)
    plain: list[Schedule] = [
        Constant(0.1), Linear(0.1, 0.01, 20), Cosine(0.1, 20, 0.01), CosineWarmRestarts(0.1, 7, 0.01),
        Exponential(0.1, 0.9, 10), Step(0.1, 0.5, 6), Polynomial(0.1, 0.01, 20, 2.0), Warmup(Constant(0.1), 9, 0.01),
    ]  # fmt: skip
    for one in plain:
        values = {f.name: getattr(one, f.name) for f in fields(one)}
        for name, value in values.items():
            other = Constant(0.3) if name == "after" else value + (3 if isinstance(value, int) else 0.05)
            assert (type(one)(**values | {name: other}).rates(steps) != one.rates(steps)).any(), (one, name)


def test_numbers_of_numpy_are_numbers() -> None:
    """The same settings, the same bits, and a training that either resumes."""
    settings: dict[str, Any] = {
        "epochs": np.int64(3), "batch_size": np.uint8(4), "learning_rate": np.float64(0.1), "shuffle": np.bool_(True),
        "seed": np.int32(0), "accumulate": np.int16(1), "clip_norm": np.float32(4),
        "optimizer": SGD(momentum=np.float64(0.5), nesterov=np.bool_(True), weight_decay=np.float32(0)),
        "schedule": None,
    }  # fmt: skip
    wanted = digest(clip_norm=4, optimizer=SGD(momentum=0.5, nesterov=True))
    assert digest(**settings) == wanted
    one, other = (
        TrainConfig(learning_rate=np.float64(0.1), epochs=np.int64(2)),
        TrainConfig(learning_rate=0.1, epochs=2),
    )
    assert one == other
    assert one.facts() == other.facts()
    assert type(one.epochs) is int
    assert repr(Cosine(np.float64(0.5), np.int64(9))) == repr(Cosine(0.5, 9))
    half = TrainConfig(learning_rate=np.float32(0.1)).learning_rate
    assert half == pytest.approx(0.1, rel=1e-7)
    assert half != 0.1


def test_names_in_capitals_are_names() -> None:
    assert optimizer_of("RMSprop") == RMSprop() == optimizer_of("RMSPROP")
    assert optimizer_of("SGD_momentum") == SGD(momentum=0.9)
    assert schedule_of("Cosine", 0.1, 9) == Cosine(0.1, 9)
    assert digest(optimizer="AdamW", schedule="Linear") == digest(optimizer="adamw", schedule="linear")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"least_gain": 0.1}, "[train, least_gain] has no effect alone: expected patience=... as well, got no patience. "
     "Pass patience, or leave least_gain out."),
    ({"checkpoint_every": 2}, "[train, checkpoint_every] has no effect alone: expected checkpoint=... as well"),
    ({"schedule": Constant(0.1)}, "[train, learning_rate] has no effect: the schedule has its own rates"),
    ({"shuffle": "no"}, "[train, shuffle] not usable: expected True or False, got 'no'. Correct it."),
    ({"resume": "folder"}, "[train, resume] not usable: expected True or False, got 'folder'. Correct it."),
    ({"progress": "bar"}, "[train, progress] not usable: expected True or False, got 'bar'. Correct it."),
    ({"epochs": True}, "[train, epochs] not usable: expected an int of at least 1, got True. Correct it."),
    ({"epochs": np.float64(2)}, "[train, epochs] not usable: expected an int of at least 1"),
    ({"learning_rate": np.nan}, "[train, learning_rate] not usable: expected a number of at least 0, got nan"),
    ({"learning_rate": "0.1"}, "[train, learning_rate] not usable: expected a number of at least 0, got '0.1'"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "told"), REFUSED, ids=[next(iter(s)) for s, _ in REFUSED])
def test_what_has_no_effect_or_sense_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(told)):
        digest(**settings)


def test_settings_of_optimizers_that_have_no_effect_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"\[train, SGD, nesterov\] has no effect without a momentum: expected "
                       r"momentum above 0, got 0.0. Pass momentum=0.9, or leave nesterov out"):  # fmt: skip
        SGD(nesterov=True)
    with pytest.raises(ArgumentError, match=r"\[train, SGD, dampening\] has no effect without a momentum"):
        SGD(dampening=0.5)
    with pytest.raises(ArgumentError, match=r"\[train, SGD, nesterov\] not usable: expected True or False, got 0.5"):
        SGD(momentum=0.9, nesterov=0.5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="momentum is out of range: expected 0 up to but not including 1, got True"):
        SGD(momentum=True)
    with pytest.raises(ArgumentError, match=r"\[train, Warmup\] after is no schedule: expected a schedule"):
        Warmup(0.1, 5)  # type: ignore[arg-type]


def test_dampening_counts_from_the_first_step() -> None:
    """As the docstring has it: one step of half the gradient."""
    start = {n: w.astype(np.float64) for n, w in network().weights().items()}
    moved = []
    for optimizer in (SGD(momentum=0.9), SGD(momentum=0.9, dampening=0.5)):
        net = network()
        net.train(X, Y, batch_size=12, optimizer=optimizer, learning_rate=0.5)
        moved.append({n: w - start[n] for n, w in net.weights().items()})
    for n, whole in moved[0].items():
        np.testing.assert_allclose(moved[1][n], whole / 2, rtol=1e-4, atol=1e-7)


def test_forward_refuses_what_predict_refuses() -> None:
    net, bad = network(), X.copy()
    bad[3, 1] = np.nan
    for call in (net.forward, net.predict):
        with pytest.raises(NotFinite, match=r"\[loom.Network\] NaN in the data: x, sample 3"):
            call(bad)
    with pytest.raises(NotFinite, match="an infinity in the data: x, sample 0"):
        net.forward([np.inf, 0, 0, 0])


def test_a_safetensors_file_takes_no_id(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "m.safetensors"
    with pytest.raises(ArgumentError, match=r"\[loom.Network.save, id\] a .safetensors file keeps no id"):
        net.save(path, "mine")
    net.save(path)
    with pytest.raises(ArgumentError, match=r"\[loom.Network.load, id\] a .safetensors file keeps no id.*'mine'"):
        loom.Network.load(path, "mine")
    assert loom.Network.load(path, on="cpu").digest() == net.digest()
