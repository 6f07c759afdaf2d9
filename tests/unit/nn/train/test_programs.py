"""Programs of a training: made once, and the same bits whether the host or the device picks the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import Network, tensor
from loom.core.errors import NotFinite
from loom.nn.train import programs
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.optimizers import Adam

DOCUMENT = {
    "format": "loom/1", "input": {"shape": [4]},
    "layers": [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 3}],
}  # fmt: skip


def _fitted(model: Any, samples: Any, **settings: Any) -> Trainer:
    trainer = Trainer(model, TrainConfig(loss="cross_entropy", batch_size=6, epochs=3, learning_rate=0.1, **settings))
    trainer.fit(*samples)
    return trainer


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    compile_ = tensor.compile

    def counting(*args: Any, **options: Any) -> Any:
        names.append(options["name"])
        return compile_(*args, **options)

    monkeypatch.setattr(tensor, "compile", counting)
    return names


@pytest.mark.parametrize("accumulate", [1, 3])
def test_samples_on_the_device_give_the_same_bits(
    accumulate: int, two_layers: Any, samples: Any, digest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"accumulate": accumulate, "optimizer": Adam()}
    fed = _fitted(two_layers(), samples, **settings)
    monkeypatch.setattr(programs, "_is_apart", lambda _where: True)
    held = _fitted(two_layers(), samples, **settings)
    assert digest(held.arrays()) == digest(fed.arrays())
    assert held.history.loss == fed.history.loss
    inputs = {name for program in held.programs._made.values() for name in program.inputs}
    assert inputs == ({"rate"} if accumulate == 1 else {"rate", "share"})


def test_samples_on_the_device_after_a_stop_and_of_other_data(
    two_layers: Any, samples: Any, digest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _fitted(two_layers(), samples)
    monkeypatch.setattr(programs, "_is_apart", lambda _where: True)
    trainer = Trainer(two_layers(), whole.config)
    trainer.fit(*samples, report=lambda p: trainer.stop() if (p.epoch, p.batch) == (1, 2) else None)
    trainer.fit(*samples)
    assert digest(trainer.arrays()) == digest(whole.arrays())
    other = samples[0] * np.float32(2), samples[1]
    trainer.programs.restart(whole.config)
    again = Trainer(trainer.model, whole.config, after=trainer)
    fresh = two_layers()
    fresh.load(trainer.model.weights())
    again.fit(*other)
    monkeypatch.setattr(programs, "_is_apart", lambda _where: False)
    assert digest(again.arrays()) == digest(_fitted(fresh, other).arrays())


def test_a_loss_that_is_not_finite_stops_held_training_at_its_step(
    two_layers: Any, samples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for is_apart in (False, True):
        monkeypatch.setattr(programs, "_is_apart", lambda _where, answer=is_apart: answer)
        config = TrainConfig(loss="mse", batch_size=5, epochs=3, learning_rate=1e18)
        trainer = Trainer(two_layers(), config)
        with pytest.raises(NotFinite) as caught:
            trainer.fit(samples[0], np.ones((20, 3), np.float32))
        found.append((str(caught.value), caught.value.step, {n: a.tobytes() for n, a in trainer.arrays().items()}))
    assert found[0] == found[1]


def test_a_second_training_compiles_nothing_and_has_the_bits_of_a_fresh_one(samples: Any, compiled: list[str]) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 6, "optimizer": "adam", "progress": False}
    net = Network.from_json(DOCUMENT)
    net.train(*samples, **settings)
    before = net.weights()
    first = len(compiled)
    assert first == 2  # batches of 6, and the last of 2
    net.train(*samples, **settings, learning_rate=0.02)
    assert len(compiled) == first
    fresh = Network.from_json(DOCUMENT)
    fresh.load_weights(before)
    fresh.train(*samples, **settings, learning_rate=0.02)
    assert net.digest() == fresh.digest()
    net.train(*samples, **settings, clip_norm=1.0)
    assert len(compiled) == first + 4


def test_forward_compiles_once_for_a_batch_size(compiled: list[str]) -> None:
    net = Network.from_json(DOCUMENT)
    for size in (1, 2, 1, 2):
        net.forward(np.ones((size, 4), np.float32))
    assert len(compiled) == 2


def test_programs_kept_are_bounded(two_layers: Any, samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MOST_PROGRAMS", 2)
    trainer = Trainer(two_layers(), TrainConfig(loss="cross_entropy", epochs=1))
    losses = [trainer.train_batch(samples[0][:size], samples[1][:size]) for size in (3, 6, 3, 20, 6)]
    assert len(trainer.programs._made) == 2
    assert np.isfinite(losses).all()


def test_programs_are_taken_over_only_by_a_training_of_the_same_weights(two_layers: Any, samples: Any) -> None:
    config = TrainConfig(loss="cross_entropy", epochs=1)
    model = two_layers()
    first, *others = model.parameters
    whole = Trainer(model, config)
    assert Trainer(model, config, after=whole).programs is whole.programs
    part = Trainer(model, config, frozen=[first], after=whole)
    assert part.programs is not whole.programs
    before = model.weights()
    part.fit(*samples)
    after = model.weights()
    assert after[first].tobytes() == before[first].tobytes()
    assert all(after[name].tobytes() != before[name].tobytes() for name in others)
    assert Trainer(model, config, rates={others[0]: 0.5}, after=whole).programs is not whole.programs
    assert Trainer(two_layers(), config, after=whole).programs is not whole.programs
