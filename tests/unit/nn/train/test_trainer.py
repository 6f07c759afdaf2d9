"""Training: the same bits everywhere and after interruptions; what it stops for, and what it keeps then."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, CheckpointError, DTypeError, NotFinite, ShapeError
from loom.nn.spec import Snapshot
from loom.nn.train import Adam, AdamW, Cosine, TrainConfig, Trainer
from loom.nn.train.loop.checkpoints import read_checkpoint, write_checkpoint
from loom.nn.train.plan import order_of_epoch
from loom.storage.disk import FaultyDisk

FULL = TrainConfig(
    loss="cross_entropy", optimizer=AdamW(), schedule=Cosine(0.05, 12), epochs=4, batch_size=8, accumulate=2,
    clip_norm=0.5, clip_value=0.2, patience=3,
)  # fmt: skip
PLAIN = TrainConfig(loss="cross_entropy", optimizer=Adam(), learning_rate=0.05, epochs=3, batch_size=8)


def trained(model: Any, samples: Any, config: TrainConfig, **options: Any) -> Trainer:
    trainer = Trainer(model, config)
    trainer.fit(*samples, **options)
    return trainer


def test_learns(two_layers: Any, samples: Any) -> None:
    trainer = trained(two_layers(), samples, replace(PLAIN, epochs=40), validation=samples)
    history = trainer.history
    assert history.loss[-1] < 0.3
    assert history.loss[0] > 1.0
    assert history.validation_accuracy[-1] >= 0.9
    assert len(history.rate) == history.epochs == 40


@pytest.mark.parametrize(("threads", "simd"), [(1, 8), (2, 8), (2, 1)])
def test_same_bits_for_threads_and_lanes(
    threads: int, simd: int, two_layers: Any, samples: Any, digest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = digest(trained(two_layers(), samples, replace(PLAIN, epochs=2)).arrays())
    monkeypatch.setenv("LOOM_THREADS", str(threads))
    monkeypatch.setenv("LOOM_SIMD", str(simd))
    assert digest(trained(two_layers(), samples, replace(PLAIN, epochs=2)).arrays()) == reference


@pytest.mark.needs("threads")
def test_same_bits_on_threads(on: str, two_layers: Any, samples: Any, digest: Any) -> None:
    config = replace(PLAIN, epochs=2)  # 6 steps
    found = [digest(trained(two_layers(on=place), samples, config).arrays()) for place in ("cpu", on)]
    assert found[0] == found[1]


def test_accumulated_batches_are_one_batch(two_layers: Any, samples: Any) -> None:
    config = TrainConfig(loss="cross_entropy", learning_rate=0.5, epochs=2, shuffle=False)
    one, parts = two_layers(), two_layers()
    trained(one, samples, replace(config, batch_size=20))
    trained(parts, samples, replace(config, batch_size=7, accumulate=3))
    for name, value in one.weights().items():
        assert np.abs(value - parts.weights()[name]).max() < 1e-6


def test_clipping_as_written(two_layers: Any) -> None:
    x, y = np.full((1, 4), 2.0, np.float32), np.full((1, 3), 50.0, np.float32)
    start = two_layers().weights()
    moved = {}
    for key, config in {
        "norm": TrainConfig(learning_rate=1.0, clip_norm=0.25),
        "value": TrainConfig(learning_rate=1.0, clip_value=0.125),
    }.items():
        model = two_layers()
        trained(model, (x, y), config)
        moved[key] = {n: start[n].astype(np.float64) - w for n, w in model.weights().items()}
    assert np.sqrt(sum((d**2).sum() for d in moved["norm"].values())) == pytest.approx(0.25, rel=1e-5)
    assert max(np.abs(d).max() for d in moved["value"].values()) == pytest.approx(0.125, rel=1e-5)


def test_order_is_a_permutation_of_philox() -> None:
    for n, seed, epoch in [(1, 0, 0), (7, 5, 3), (1000, 2**63 + 1, 2)]:
        expected = loom.random.permutation(n, seed=seed, stream=2**31 + epoch, on="cpu")
        assert order_of_epoch(n, seed, epoch).tolist() == expected.tolist()


# interruptions


@pytest.mark.parametrize("config", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("after", [1, 4, 6])
def test_resumed_as_not_interrupted(
    config: TrainConfig, after: int, two_layers: Any, samples: Any, digest: Any, tmp_path: Path
) -> None:
    whole = trained(two_layers(), samples, config, validation=samples)
    config = replace(config, checkpoint=tmp_path / "kept")
    first, seen = Trainer(two_layers(), config), []

    def report(progress: Any) -> None:
        seen.append(progress)
        if len(seen) == after:
            first.stop()

    first.fit(*samples, samples, report=report)
    assert first.history.epochs < config.epochs
    again = Trainer(two_layers(seed=99), config)
    again.fit(*samples, samples, resume=True)
    assert digest(again.arrays()) == digest(whole.arrays())
    assert again.history == whole.history


def test_control_c_leaves_a_checkpoint(two_layers: Any, samples: Any, digest: Any, tmp_path: Path) -> None:
    whole = trained(two_layers(), samples, PLAIN)
    config, before = replace(PLAIN, checkpoint=tmp_path), signal.getsignal(signal.SIGINT)
    calls = []

    def report(_progress: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(two_layers(), samples, config, report=report)
    assert signal.getsignal(signal.SIGINT) is before
    assert digest(trained(two_layers(), samples, config, resume=True).arrays()) == digest(whole.arrays())


def test_more_epochs_later(two_layers: Any, samples: Any, digest: Any, tmp_path: Path) -> None:
    config = replace(PLAIN, checkpoint=tmp_path)
    trained(two_layers(), samples, replace(config, epochs=1))
    later = trained(two_layers(), samples, config, resume=True)
    assert digest(later.arrays()) == digest(trained(two_layers(), samples, PLAIN).arrays())


def test_a_crash_while_writing_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    old = Snapshot({"epoch": 0}, {"weights/w": np.arange(3.0)})
    new = Snapshot({"epoch": 1}, {"weights/w": np.arange(3.0) + 1})
    for step in range(7):  # the manifest's rename is the seventh
        folder = tmp_path / str(step)
        write_checkpoint(folder, old)
        with pytest.raises(CheckpointError, match="The checkpoint before is still there"):
            write_checkpoint(folder, new, FaultyDisk(step))
        found = read_checkpoint(folder)
        assert (found.facts["epoch"], found.arrays["weights/w"].tolist()) == (0, [0.0, 1.0, 2.0])


def test_checkpoints_of_others(two_layers: Any, samples: Any, tmp_path: Path) -> None:
    config = replace(PLAIN, checkpoint=tmp_path, epochs=1)
    trained(two_layers(), samples, config)
    with pytest.raises(
        CheckpointError, match=r"made with another batch_size: expected 4, got 8. Use the same settings"
    ):
        trained(two_layers(), samples, replace(config, batch_size=4), resume=True)
    with pytest.raises(CheckpointError, match=r"is of another network or optimiser: expected 'weights/a.weight'"):
        trained(two_layers((4, 9, 3)), samples, config, resume=True)
    next(tmp_path.glob("*.blob")).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        trained(two_layers(), samples, config, resume=True)
    with pytest.raises(ArgumentError, match="there is no folder to resume from: expected checkpoint="):
        trained(two_layers(), samples, PLAIN, resume=True)


# stopping


def test_patience_puts_the_best_weights_back(two_layers: Any, samples: Any) -> None:
    model = two_layers()
    x, y = samples
    config = replace(PLAIN, epochs=60, patience=2, learning_rate=0.3)
    trainer = Trainer(model, config)
    history = trainer.fit(x[:10], y[:10], (x[10:], y[10:]))
    assert history.stopped == "no gain for 2 epochs"
    assert history.epochs < 60
    from loom.nn.train.samples import check_samples

    loss, _ = trainer.validate(check_samples(x[10:], y[10:], "cross_entropy"))
    assert loss == min(history.validation_loss) < history.validation_loss[-1]


@pytest.mark.parametrize(("patience", "epochs"), [(0, 2), (1, 2), (2, 3), (3, 4)])
def test_patience_counts_epochs_without_gain_as_keras_does(
    two_layers: Any, samples: Any, patience: int, epochs: int
) -> None:
    """The first epoch is the best: nothing is learned at a rate of 0."""
    config = replace(PLAIN, epochs=50, patience=patience, learning_rate=0.0, shuffle=False)
    history = Trainer(two_layers(), config).fit(*samples)
    assert (history.epochs, history.stopped) == (epochs, f"no gain for {epochs - 1} epoch{'s' * (epochs > 2)}")


def test_data_that_is_not_finite(two_layers: Any, samples: Any) -> None:
    x, y = samples[0].copy(), samples[1]
    x[3, 2] = np.nan
    model = two_layers()
    with pytest.raises(
        NotFinite, match=r"\[train\] NaN in the data: x, sample 3: expected finite numbers.*nothing was run"
    ):
        trained(model, (x, y), PLAIN)
    with pytest.raises(NotFinite, match=r"\[train, validation\] an infinity in the data: y, sample 0"):
        trained(model, (samples[0], np.ones((20, 3))), TrainConfig(), validation=(samples[0], np.full((20, 3), np.inf)))


def test_a_loss_that_is_not_finite_changes_nothing(two_layers: Any, samples: Any, digest: Any) -> None:
    model = two_layers()
    trainer = Trainer(model, TrainConfig(learning_rate=1e25, batch_size=20, epochs=9))
    seen = []
    with pytest.raises(NotFinite) as raised:
        trainer.fit(samples[0], np.ones((20, 3)), report=lambda p: seen.append(digest(model.weights())))
    assert "the loss is infinite and all weights are finite" in str(raised.value)
    assert "The weights are those before this step" in str(raised.value)
    assert raised.value.tensor == "loss"
    assert raised.value.where == f"train, step {raised.value.step}"
    assert digest(model.weights()) == seen[-1]


def test_a_weight_that_is_not_finite_is_named(two_layers: Any, samples: Any, digest: Any) -> None:
    def loss(output: Any, target: Any) -> Any:
        return (output - output).sqrt().sum() + target.sum() * 0  # 0, with a gradient that is not finite

    model = two_layers()
    before = digest(model.weights())
    with pytest.raises(
        NotFinite, match=r"the loss is NaN and weight 'a.weight' is not finite.*start of the epoch"
    ) as raised:
        trained(model, (samples[0], np.ones((20, 3))), TrainConfig(loss=loss, batch_size=8))
    assert (raised.value.step, raised.value.tensor) == (1, "a.weight")
    assert digest(model.weights()) == before
    with pytest.raises(NotFinite, match=r"\[train, step 1\] weight 'a.weight' is not finite: expected finite numbers"):
        trained(model, (samples[0], np.ones((20, 3))), TrainConfig(loss=loss, batch_size=20))  # after the last step
    assert digest(model.weights()) == before


def test_memory_is_told_before_anything_runs(two_layers: Any, samples: Any, digest: Any) -> None:
    model = two_layers()
    before = digest(model.weights())
    with pytest.raises(ArgumentError, match=r"needs more memory than it may have.*nothing was allocated"):
        trained(model, samples, replace(PLAIN, budget_nbytes=2000))
    assert digest(model.weights()) == before
    trained(model, samples, replace(PLAIN, budget_nbytes=10**6))


def test_bad_arguments(two_layers: Any, samples: Any) -> None:
    with pytest.raises(ShapeError, match="x and y differ in samples: expected 20 targets, got 19"):
        trained(two_layers(), (samples[0], samples[1][1:]), PLAIN)
    with pytest.raises(DTypeError, match=r"\[train, x\] not numbers"):
        trained(two_layers(), (np.array(["a"] * 20), samples[1]), PLAIN)
    with pytest.raises(ArgumentError, match="no samples: expected at least 1"):
        trained(two_layers(), (np.zeros((0, 4)), np.zeros(0, int)), PLAIN)
    with pytest.raises(ArgumentError, match=r"\[train, loss\] no loss is called 'mes'.*'mse'"):
        TrainConfig(loss="mes")
    with pytest.raises(ArgumentError, match=r"\[train, epochs\] not usable: expected an int of at least 1, got 0"):
        TrainConfig(epochs=0)
    with pytest.raises(ArgumentError, match="nothing can be trained: expected at least one weight that is not frozen"):
        Trainer(two_layers(), PLAIN, frozen=["a.weight", "a.bias", "b.weight", "b.bias"])


def test_frozen_weights_and_rates_of_their_own(two_layers: Any, samples: Any) -> None:
    model = two_layers()
    start = model.weights()
    Trainer(model, PLAIN, frozen=["a.weight"], rates={"b.bias": 0.0}).fit(*samples)
    moved = {n for n, w in model.weights().items() if (w != start[n]).any()}
    assert moved == {"a.bias", "b.weight"}
