"""What Loom's loop of a training does on the host, and an export in C: several batches, patience, scores, scaling."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.export import export_c, freeze
from unit.export.exported import Library, at

LAYERS: list[dict[str, Any]] = [
    {"type": "dense", "output_size": 12, "activation": "tanh"}, {"type": "dense", "output_size": 3},
]  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.02, "batch_size": 16, "seed": 3, "epochs": 6}


def network(layers: list[dict[str, Any]]) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}, on="cpu")


def samples(n: int, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(2, 3, (n, 4)).astype(np.float32), random.integers(0, 3, n).astype(np.int32)


def exported(folder: Path, net: loom.Network, **settings: Any) -> Library:
    export_c(freeze(net, **settings), folder, optimize="size")
    return Library(folder / "x86_64-linux" / "libnet.so")


def test_gradients_of_several_batches_make_an_update(tmp_path: Path) -> None:
    net, (x, y) = network(LAYERS), samples(75, 0)
    settings = {**SETTINGS, "accumulate": 3, "schedule": "cosine", "epochs": 3}
    library = exported(tmp_path, net, train=settings, data=(x, y))
    assert library("step")(library.net, at(x), at(y), 16, None) == 6
    assert [library.train(x, y, 1)[0] for _ in range(2)] == [0, 0]
    kept, far = library.save(), np.full((4, 12), 9, np.float32)
    far[1::2] *= -1
    assert library("write")(library.net, b"layers.0.weight", at(far), ctypes.c_size_t(far.nbytes)) == 0
    x[40] = 3e38  # finite, but not times 9
    assert library.train(x, y, 1)[0] == 7  # two batches of the update were added already: they are forgotten
    x[40] = samples(75, 0)[0][40]
    assert library("load")(library.net, kept, ctypes.c_size_t(len(kept))) == 0
    assert library.train(x, y, 1)[0] == 0
    library("reset")(library.net)
    code, loss = library.train(x, y, 3)
    history = net.train(x, y, progress=False, **settings)
    assert (code, loss, library.digest()) == (0, history.loss[-1], net.digest())


def test_patience_ends_it_and_puts_the_best_weights_back(tmp_path: Path) -> None:
    net, data, held = network(LAYERS), samples(64, 0), samples(21, 1)
    settings = {**SETTINGS, "epochs": 40, "patience": 3, "least_gain": 0.001}
    library = exported(tmp_path, net, train=settings, data=data, validation=held)
    history = net.train(*data, validation=held, progress=False, **settings)
    assert history.stopped
    epochs = len(history.loss)
    assert 3 < epochs < 40
    losses = []
    pointers = [at(a) for a in (*data, *held)]
    loss, held_loss = ctypes.c_double(), ctypes.c_double()
    for _ in range(epochs):
        told = (*pointers[:2], 64, *pointers[2:], 21, 1, ctypes.byref(loss), ctypes.byref(held_loss))
        assert library("train_validated")(library.net, *told) == 0
        losses.append((loss.value, held_loss.value))
        library("load")(library.net, library.save(), ctypes.c_size_t(len(library.save())))
    assert losses == list(zip(history.loss, history.validation_loss, strict=True))
    assert library.digest() == net.digest()
    assert library.train(*data, 1)[0] == 11  # over
    assert library.digest() == net.digest()


@pytest.mark.slow
def test_patience_watches_the_loss_of_training_where_nothing_is_held_out(tmp_path: Path) -> None:
    net, data = network(LAYERS), samples(64, 0)
    settings = {**SETTINGS, "learning_rate": 0.9, "patience": 5}
    library = exported(tmp_path, net, train=settings, data=data)
    history = net.train(*data, progress=False, **settings)
    assert len(history.loss) == 6
    assert min(history.loss) != history.loss[-1]
    assert library.train(*data, 20)[0] == 0
    assert library.digest() == net.digest()


@pytest.mark.slow
def test_scores_are_those_of_validation(tmp_path: Path) -> None:
    net, data, held = network(LAYERS), samples(64, 0), samples(37, 1)
    library = exported(tmp_path, net, train=SETTINGS, data=data, validation=held)
    history = net.train(*data, validation=held, progress=False, **SETTINGS)
    assert library.train(*data, 6)[0] == 0
    loss, accuracy = ctypes.c_double(), ctypes.c_double()
    told = ctypes.byref(loss), ctypes.byref(accuracy)
    assert library("evaluate")(library.net, at(held[0]), at(held[1]), 37, *told) == 0
    assert (loss.value, accuracy.value) == (history.validation_loss[-1], history.validation_accuracy[-1])
    assert library("evaluate")(library.net, at(held[0]), at(held[1]), 37, None, None) == 1


def test_scaling_is_learned_of_the_samples_it_is_frozen_with(tmp_path: Path) -> None:
    net, (x, y) = network([{"type": "scale"}, *LAYERS]), samples(64, 0)
    before = net.digest()
    library = exported(tmp_path, net, train=SETTINGS, data=(x.astype(np.float64), y))
    assert net.digest() == before
    assert library.train(x, y, 6)[0] == 0
    net.train(x.astype(np.float64), y, progress=False, **SETTINGS)
    assert library.digest() == net.digest()


@pytest.mark.slow
def test_truths_of_one_output_are_two_classes(tmp_path: Path) -> None:
    net, (x, y) = network([*LAYERS[:1], {"type": "dense", "output_size": 1}]), samples(64, 0)
    chances = (y[:, None] > 0).astype(np.float32)
    settings = {**SETTINGS, "loss": "binary_cross_entropy"}
    library = exported(tmp_path, net, train=settings, data=(x, chances))
    history = net.train(x, chances, validation=(x, chances), progress=False, **settings)
    assert library.train(x, chances, 6)[0] == 0
    loss, accuracy = ctypes.c_double(), ctypes.c_double()
    assert library("evaluate")(library.net, at(x), at(chances), 64, ctypes.byref(loss), ctypes.byref(accuracy)) == 0
    assert (loss.value, accuracy.value) == (history.validation_loss[-1], history.validation_accuracy[-1])


def test_threads_do_not_change_a_bit(tmp_path: Path) -> None:
    net, data = network([{"type": "dense", "output_size": 600, "activation": "tanh"}, *LAYERS]), samples(64, 0)
    library = exported(tmp_path, net, train={**SETTINGS, "epochs": 3}, data=data, threads=True)
    digests = []
    for threads in (1, 3, 64, 2, 1):
        assert library("threads")(library.net, threads) == 0
        assert library("reset")(library.net) == 0
        assert library.train(*data, 3)[0] == 0
        digests.append(library.digest())
    net.train(*data, progress=False, **{**SETTINGS, "epochs": 3})
    assert set(digests) == {net.digest()}
    assert [library("threads")(library.net, n) for n in (0, 65)] == [12, 12]
    with pytest.raises(ArgumentError, match="an export for x86_64-windows has none"):
        export_c(freeze(net, threads=True), tmp_path, ["x86_64-windows"])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"compute": "bf16"}, {"compute": "f16", "loss_scale": 2.0**22}])
def test_mixed_precision_takes_and_skips_the_same_steps(settings: dict[str, Any], tmp_path: Path) -> None:
    net, data = network(LAYERS), samples(48, 0)
    told = {**SETTINGS, "epochs": 3, **settings}
    library = exported(tmp_path, net, train=told, data=data)
    code, loss = library.train(*data, 3)
    history = net.train(*data, progress=False, **told)
    assert (code, loss, library.digest()) == (0, history.loss[-1], net.digest())
    assert history.skipped in ([], [3, 3, 0])
