"""The training loop against one written out in PyTorch in f64: order, sums of batches, clipping, rates, means.

Bound: some 20 updates of weights below 4 in f32, each rounded a few times: 20 x 4 x 2^-22, times 4 for what tanh and
softmax make of it.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import NotFinite
from loom.nn.train import SGD, Linear, TrainConfig, Trainer
from loom.nn.train.loop.checkpoints import read_checkpoint

BOUND = 8e-5
CONFIG = TrainConfig(
    loss="cross_entropy", optimizer=SGD(momentum=0.5), schedule=Linear(0.4, 0.1, 9), epochs=4, batch_size=6,
    accumulate=3, clip_norm=0.6, clip_value=0.15, seed=5,
)  # fmt: skip
"""20 samples: batches of 6, 6, 6 and 2; updates of 18 and 2 samples."""


class Written:
    """The same training, by loops."""

    def __init__(self, model: Any, samples: Any) -> None:
        self.torch: Any = pytest.importorskip("torch")
        self.w = {n: self.torch.tensor(v.astype(np.float64), requires_grad=True) for n, v in model.weights().items()}
        self.speed = {n: self.torch.zeros_like(v) for n, v in self.w.items()}
        self.x, self.y = (
            self.torch.tensor(samples[0].astype(np.float64)),
            self.torch.tensor(samples[1].astype(np.int64)),
        )
        self.losses: list[float] = []
        self.scales: list[float] = []

    def loss(self, at: Any) -> Any:
        hidden = (self.x[at] @ self.w["a.weight"] + self.w["a.bias"]).tanh()
        return self.torch.nn.functional.cross_entropy(hidden @ self.w["b.weight"] + self.w["b.bias"], self.y[at])

    def run(self, config: TrainConfig) -> None:
        update = 0
        for epoch in range(config.epochs):
            order = loom.random.permutation(20, seed=config.seed, stream=2**31 + epoch, on="cpu").tolist()
            cuts = [order[at : at + config.batch_size] for at in range(0, 20, config.batch_size)]
            total = 0.0
            for first in range(0, len(cuts), config.accumulate):
                group = cuts[first : first + config.accumulate]
                count = sum(map(len, group))
                whole: Any = sum(self.loss(cut) * (len(cut) / count) for cut in group)
                total += whole.item() * count
                self.update(whole, 0.4 + (0.1 - 0.4) * min(update, 9) / 9, config)
                update += 1
            self.losses.append(total / 20)

    def update(self, loss: Any, rate: float, config: TrainConfig) -> None:
        grads = dict(zip(self.w, self.torch.autograd.grad(loss, list(self.w.values())), strict=True))
        grads = {n: g.clamp(-0.15, 0.15) for n, g in grads.items()}
        norm = self.torch.cat([g.reshape(-1) for g in grads.values()]).norm().item()
        self.scales.append(min(1.0, config.clip_norm / norm))
        with self.torch.no_grad():
            for n, g in grads.items():
                self.speed[n] = 0.5 * self.speed[n] + g * self.scales[-1]
                self.w[n] -= rate * self.speed[n]


def test_a_whole_training_as_written(two_layers: Any, samples: Any) -> None:
    model = two_layers()
    written = Written(model, samples)
    written.run(CONFIG)
    assert min(written.scales) < 0.9  # the norm is cut in some updates
    assert max(written.scales) == 1.0  # and not in others
    history = Trainer(model, CONFIG).fit(*samples, validation=samples)
    for name, value in model.weights().items():
        np.testing.assert_allclose(value, written.w[name].detach().numpy(), rtol=0, atol=BOUND, err_msg=name)
    np.testing.assert_allclose(history.loss, written.losses, rtol=BOUND)
    assert history.rate == [Linear(0.4, 0.1, 9).at(last) for last in (1, 3, 5, 7)]
    assert history.validation_loss[-1] == pytest.approx(written.loss(list(range(20))).item(), rel=BOUND)


def test_a_small_gain_is_none(two_layers: Any, samples: Any) -> None:
    config = TrainConfig(loss="cross_entropy", learning_rate=1e-4, epochs=9, patience=1, batch_size=20)
    assert Trainer(two_layers(), config).fit(*samples).stopped == ""
    history = Trainer(two_layers(), replace(config, least_gain=0.5)).fit(*samples)
    assert (history.stopped, history.epochs) == ("no gain for 1 epoch", 2)


def test_checkpoints_come_every_so_many_epochs(two_layers: Any, samples: Any, tmp_path: Path) -> None:
    config = TrainConfig(loss="cross_entropy", epochs=5, batch_size=20, checkpoint=tmp_path, checkpoint_every=2)
    seen = []

    def report(progress: Any) -> None:
        written = (tmp_path / "manifest.json").exists()
        seen.append(read_checkpoint(tmp_path).facts["epoch"] if written else 0)

    Trainer(two_layers(), config).fit(*samples, report=report)
    assert seen == [0, 0, 0, 2, 2, 2, 2, 4, 4, 4]  # after the batch and after the epoch
    assert read_checkpoint(tmp_path).facts["epoch"] == 5


def test_a_bad_loss_among_several_batches_changes_nothing(two_layers: Any, samples: Any, digest: Any) -> None:
    model = two_layers()
    trainer = Trainer(model, TrainConfig(batch_size=10, accumulate=2, shuffle=False))
    y = np.ones((20, 3), np.float32)
    y[10:] = 3e30
    before = digest(model.weights())
    with pytest.raises(NotFinite, match=r"\[train, step 1\] the loss is infinite and all weights are finite"):
        trainer.fit(samples[0], y)
    assert digest(model.weights()) == before
    assert all(np.isfinite(a).all() for a in trainer.arrays().values())


def test_validation_has_no_noise(samples: Any) -> None:
    layers = [{"type": "dropout", "rate": 0.5}, {"type": "batch_norm"}, {"type": "dense", "output_size": 3}]
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}, on="cpu")
    history = net.train(*samples, validation=samples, epochs=2, batch_size=8)
    found = net.evaluate(*samples)
    assert history.validation_loss[-1] == pytest.approx(found.loss, rel=1e-6)
    assert history.validation_accuracy[-1] == found.accuracy


def test_a_frozen_layer_is_one_of_ten(samples: Any) -> None:
    """``layers.1`` begins the name of ``layers.10``."""
    layers: list[dict[str, Any]] = [{"type": "dense", "output_size": 3} for _ in range(11)]
    layers[1]["frozen"] = True
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}, on="cpu")
    assert net.model.frozen == {"layers.1.weight", "layers.1.bias"}


def test_a_second_control_c_ends_at_once(two_layers: Any, samples: Any) -> None:
    before, calls = signal.getsignal(signal.SIGINT), []

    def report(_progress: Any) -> None:
        calls.append("batch")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        calls.append("after both")

    trainer = Trainer(two_layers(), TrainConfig(loss="cross_entropy", epochs=3, batch_size=8))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*samples, report=report)
    assert calls == ["batch"]
    assert trainer.kept is None
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stopped_training_keeps_its_last_weights_not_the_best(two_layers: Any, samples: Any) -> None:
    model = two_layers()
    trainer = Trainer(model, TrainConfig(learning_rate=8.0, epochs=9, batch_size=20, patience=8))

    def report(progress: Any) -> None:
        if progress.epoch == 2:
            trainer.stop()

    history = trainer.fit(samples[0], np.ones((20, 3)), report=report)
    assert history.loss[1] > history.loss[0]  # the best are not the last
    assert trainer.kept is not None
    for name, value in model.weights().items():
        assert value.tobytes() == trainer.kept.arrays[f"weights/{name}"].tobytes()
        assert value.tobytes() != trainer.kept.arrays[f"best/{name}"].tobytes()
