"""States: learning in every mode, epochs, pickling, threads, bad input, frozen weights, the same bits everywhere."""

from __future__ import annotations

import ctypes
import hashlib
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError, NotFinite, ShapeError, StateError
from loom.export import export_c, freeze_program
from loom.nn.train.optimizers import Adam
from loom.nn.tween import TweenConfig, TweenMode

DOCUMENT = {
    "format": "loom/1", "seed": 1, "input": {"shape": [4]},
    "layers": [{"type": "dense", "output_size": 12, "activation": "tanh"}, {"type": "dense", "output_size": 3}],
}  # fmt: skip
DIGEST = "971d98200f7f6feb"
"""Of two networks moved in two modes, on every device and for any number of threads."""
RATES = {"tween": 3.0, "step_tween": 3.0, "tween_chain": 0.2, "step_tween_chain": 0.2}


def net_of(**more: Any) -> loom.Network:
    return loom.Network.from_json({**DOCUMENT, **more})


def task(n: int = 120) -> tuple[Any, Any]:
    """Return samples of three classes that a line parts."""
    rng = np.random.default_rng(0)
    centers = np.array([[2, 0, 0, 1], [-1, 2, 0, 0], [0, -2, 1, 0]], np.float32)
    y = rng.integers(0, 3, n)
    return (centers[y] + 0.5 * rng.normal(size=(n, 4))).astype(np.float32), y


@pytest.mark.slow
@pytest.mark.parametrize("mode", [m.value for m in TweenMode])
def test_every_mode_learns(mode: str) -> None:
    net, (x, y) = net_of(), task()
    config = TweenConfig(early_stop_score=1000)
    history = net.tween(mode=mode, config=config).fit(x, y, epochs=15, batch_size=20, rate=RATES.get(mode, 0.2))
    assert history.loss[-1] < 0.6 * history.loss[0]
    assert net.evaluate(x, y).accuracy >= 0.95
    assert history.score_epochs == [5, 10, 15]
    assert max(history.scores) == history.scores[history.score_epochs.index(history.best_epoch)]


@pytest.mark.parametrize(
    "mode", ["step_tween", *(pytest.param(m, marks=pytest.mark.slow) for m in ("step", "normal", "tween_chain"))]
)
def test_a_pickled_state_goes_on_with_the_same_bits(mode: str) -> None:
    net, (x, y) = net_of(), task(40)
    tweens = "tween" in mode
    config = TweenConfig(guard=True, early_stop_score=1000) if tweens else TweenConfig(optimizer=Adam())
    state = net.tween(mode=mode, config=config)
    state.fit(x, y, epochs=1, batch_size=20, rate=0.01, seed=3)
    again = pickle.loads(pickle.dumps(state))
    for each in (state, again):
        each.fit(x, y, epochs=2, batch_size=20, rate=0.01, seed=3, resume=True)
        each.step(x[:20], y[:20], 0.01)
    assert again.network.digest() == net.digest()
    assert again.network is not net
    assert again.steps == state.steps
    assert {n: a.tobytes() for n, a in again.arrays().items()} == {n: a.tobytes() for n, a in state.arrays().items()}


def test_updates_have_the_same_bits_everywhere(on: str) -> None:
    assert digest_of_all(on)[:16] == DIGEST


def test_updates_have_the_same_bits_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_THREADS", "1")
    assert digest_of_all("cpu")[:16] == DIGEST


def test_an_update_exported_to_c_has_the_same_bits(tmp_path: Path) -> None:
    x, y = task(3)
    here, there = net_of().tween(mode="step_tween_chain"), net_of().tween(mode="step_tween_chain")
    frozen = freeze_program(*there.record(x, y), name="tween")
    export_c(frozen, tmp_path, optimize="size")
    library = ctypes.CDLL(str(tmp_path / "x86_64-linux" / "libtween.so"))
    library.tween_size.restype = ctypes.c_size_t
    memory, at = ctypes.create_string_buffer(library.tween_size()), ctypes.c_void_p()
    assert library.tween_open(memory, ctypes.c_size_t(len(memory)), ctypes.byref(at)) == 0
    for _ in range(5):
        loss = np.zeros((), np.float32)
        arrays = {"x0": x, "y0": y.astype(np.int32), "rate": np.array(0.2, np.float32), "loss": loss}
        given = [arrays[a.name].ctypes.data_as(ctypes.c_void_p) for a in frozen.arguments]
        assert library.tween_run(at, *given) == 0
        assert loss.item() == here.step(x, y, 0.2)


def digest_of_all(device: str) -> str:
    found = hashlib.sha256()
    layers = [
        {"type": "conv1d", "filters": 3, "kernel_size": 2, "activation": "relu"},
        {"type": "flatten"},
        {"type": "dense", "output_size": 5, "activation": "sigmoid"},
        {"type": "dense", "output_size": 3},
    ]
    document = {"format": "loom/1", "seed": 1, "input": {"shape": [1, 6]}, "layers": layers}
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 2, 1, 6)).astype(np.float32), rng.integers(0, 3, (4, 2))
    for mode in ("tween", "step_tween_chain"):
        net = loom.Network.from_json(document, on=device)
        state = net.tween(mode=mode, config=TweenConfig(guard=True, guard_baseline=1))
        for a, b in zip(x, y, strict=True):
            found.update(np.float64(state.step(a, b, 0.5)).tobytes())
        found.update(net.digest().encode())
    return found.hexdigest()


def test_watching_changes_no_bit() -> None:
    x, y = task(8)
    digests = set()
    for watch in (False, True):
        net = net_of()
        state = net.tween(mode="tween")
        for _ in range(3):
            state.step(x, y, 1.0, watch=watch)
        digests.add(net.digest())
        assert (state.report is not None) == watch
    assert len(digests) == 1


@pytest.mark.parametrize("mode", [pytest.param("tween", marks=pytest.mark.slow), "tween_chain", "normal"])
def test_frozen_experts_keep_their_bits_and_the_gate_learns(mode: str) -> None:
    """Each expert is right for half of the samples; only the gate may learn which."""
    expert = {"type": "dense", "output_size": 2, "frozen": True}
    mixture = {"type": "parallel", "combine_mode": "filter", "branches": [expert, expert],
               "gate": {"type": "dense", "output_size": 2}}  # fmt: skip
    net = loom.Network.from_json({"format": "loom/1", "seed": 2, "input": {"shape": [2]}, "layers": [mixture]})
    weights = net.weights()
    for i, sign in enumerate((1.0, -1.0)):
        weights[f"layers.0.branches.{i}.weight"] = np.array([[sign, -sign], [0, 0]], np.float32)
        weights[f"layers.0.branches.{i}.bias"] = np.zeros(2, np.float32)
    weights["layers.0.gate.weight"] *= 0
    net.load_weights(weights)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (64, 2)).astype(np.float32)
    x[:, 0] = np.sign(x[:, 0]) * (0.5 + np.abs(x[:, 0]) / 2)
    y = ((x[:, 0] > 0) == (x[:, 1] > 0)).astype(np.int64)
    rate = {"tween": 40.0, "tween_chain": 2.0, "normal": 1.0}[mode]
    config = {"normal": TweenConfig(loss="mse"), "tween": TweenConfig(ignore_threshold=0)}  # experts are often opposite
    state = net.tween(mode=mode, config=config.get(mode))
    target = y if mode != "normal" else np.eye(2, dtype=np.float32)[y]
    first = state.step(x, target, rate)
    for _ in range(60):
        last = state.step(x, target, rate)
    assert last < 0.8 * first
    after = net.weights()
    for name in weights:
        assert (after[name].tobytes() == weights[name].tobytes()) == ("branches" in name), name


@pytest.mark.parametrize("mode", [pytest.param(TweenMode.STEP, marks=pytest.mark.slow), TweenMode.TWEEN_CHAIN])
def test_several_inputs_and_outputs_and_branches(mode: TweenMode) -> None:
    document = {
        "format": "loom/1", "seed": 4, "inputs": {"a": {"shape": [3]}, "b": {"shape": [2]}},
        "nodes": {
            "left": {"type": "dense", "output_size": 4, "activation": "tanh", "inputs": ["a"]},
            "right": {"type": "dense", "output_size": 4, "activation": "tanh", "inputs": ["b"]},
            "both": {"type": "merge", "combine_mode": "add", "inputs": ["left", "right"]},
            "class": {"type": "dense", "output_size": 2, "inputs": ["both"]},
            "size": {"type": "dense", "output_size": 1, "inputs": ["both"]},
        },
        "outputs": ["class", "size"],
    }  # fmt: skip
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(16, 3)), "b": rng.normal(size=(16, 2))}
    y = {"class": (x["a"][:, 0] > 0).astype(int), "size": x["b"].sum(1, keepdims=True)}
    net = loom.Network.from_json(document)
    before = net.weights()
    state = net.tween(mode=mode)
    losses = [state.step(x, y, 0.1) for _ in range(40)]
    assert losses[-1] < 0.7 * losses[3]
    assert all(a.tobytes() != before[n].tobytes() for n, a in net.weights().items())


def test_bad_input_is_told_and_changes_nothing() -> None:
    net, (x, y) = net_of(), task(4)
    before, state = net.digest(), net.tween()
    cases: list[tuple[type[LoomError], str, Any]] = [
        (ArgumentError, "no mode is called 'tweeen'", lambda: net.tween(mode="tweeen")),
        (ArgumentError, "no mode is called array", lambda: net.train([[1.0]], [1.0], mode=np.ones(3))),
        (ArgumentError, "TweenConfig", lambda: net.tween(config={"momentum": 0.5})),  # type: ignore[arg-type]
        (ArgumentError, "no effect in the mode 'tween'", lambda: net.tween("tween", TweenConfig(depth_scale=2))),
        (ArgumentError, "has no effect alone", lambda: TweenConfig(guard_floor=0.5)),
        (ArgumentError, "tween, momentum", lambda: TweenConfig(momentum=1.0)),
        (ArgumentError, "of type 'softmax'", lambda: TweenConfig(layer_rates={"softmax": 1.0})),
        (ArgumentError, "a class out of range", lambda: state.step(x, [0, 1, 2, 3], 0.1)),
        (ShapeError, "targets do not fit", lambda: state.step(x, np.zeros((4, 2), np.float32), 0.1)),
        (ShapeError, "another shape", lambda: state.step(x[:, :3], y, 0.1)),
        (ShapeError, "differ in samples", lambda: state.step(x, y[:3], 0.1)),
        (NotFinite, "NaN", lambda: state.step(x * np.nan, y, 0.1)),
        (NotFinite, "NaN", lambda: state.step(x, np.full((4, 3), np.nan, np.float32), 0.1)),
        (LoomError, "tween, step, x", lambda: state.step([[1.0, 2.0], [3.0]], 1, 0.1)),
        (ArgumentError, "nothing can be trained", lambda: net_of().freeze().tween()),
        (ArgumentError, "rate", lambda: state.step(x, y, -1.0)),
        (ArgumentError, "rate", lambda: state.step(x, y, float("nan"))),
        (StateError, "no ticks", lambda: net.tween(mode="tween").tick(x)),
        (StateError, "no tick was made", lambda: net.tween(mode="tween").output),
        (ArgumentError, "no link budgets", lambda: net.tween(mode="step").step(x, y, 0.1, watch=True)),
        (ArgumentError, "no setting is called 'lr'", lambda: state.fit(x, y, lr=0.1)),
        (ArgumentError, "has no setting 'patience'", lambda: net.train(x, y, mode="tween", patience=2)),
        (ArgumentError, "keeps no training", lambda: net.train(x, y, mode="tween", resume=True)),
        (ShapeError, "whole batches", lambda: state.fit(x, y, batch_size=5)),
    ]  # fmt: skip
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
    assert net.digest() == before
    state.step(x, y, 0.1)
    with pytest.raises(ShapeError, match="buffers of another batch"):
        state.step(x[:2], y[:2], 0.1)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    net, (x, y) = net_of(), task(4)
    weights = net.weights()
    weights["layers.1.weight"][0, 0] = 3e38
    net.load_weights(weights)
    before, state = net.digest(), net.tween(mode="tween_chain")
    with pytest.raises(NotFinite, match="the loss is"):
        state.step(x * 10, y, 0.1)
    assert net.digest() == before
    assert not any(np.any(a) for n, a in state.arrays().items() if n.startswith("velocity"))


def test_two_cannot_move_one_network_at_once() -> None:
    net, (x, y) = net_of(), task(4)
    state = net.tween(mode="tween_chain")
    with net.model.alone("test"), pytest.raises(StateError, match="being trained"):
        state.step(x, y, 0.1)
    errors: list[Exception] = []

    def work() -> None:
        for _ in range(20):
            try:
                state.step(x, y, 0.01)
            except StateError:
                pass
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert np.isfinite(net.forward(x)).all()


def test_what_is_frozen_between_steps_stays() -> None:
    net, (x, y) = net_of(), task(4)
    for mode in ("tween_chain", "normal"):
        state = net.unfreeze().tween(mode=mode)
        state.step(x, y, 0.1)
        before = net.freeze("layers.0").weights()
        state.step(x, y, 0.1)
        assert all((a.tobytes() == before[n].tobytes()) == n.startswith("layers.0") for n, a in net.weights().items())
    net.freeze()
    with pytest.raises(ArgumentError, match="nothing can be trained"):
        state.step(x, y, 0.1)
    net.unfreeze().to("interp")
    with pytest.raises(StateError, match="moved to another device"):
        state.step(x, y, 0.1)


def test_train_has_the_modes() -> None:
    net, (x, y) = net_of(), task()
    history = net.train(x, y, mode="step_tween_chain", epochs=12, batch_size=20, learning_rate=0.3, schedule="cosine")
    assert net.evaluate(x, y).accuracy > 0.9
    assert history.rate[0] > history.rate[-1]
    plain, same = net_of(), net_of()
    plain.train(x, y, epochs=1)
    same.train(x, y, epochs=1, mode="normal")
    assert plain.digest() == same.digest()


def test_a_low_layer_is_bypassed_then_removed() -> None:
    layers = [{"type": "dense", "output_size": 5, "activation": "tanh"} for _ in range(4)]
    net, (x, y) = net_of(layers=[*layers, {"type": "dense", "output_size": 3}]), task(40)
    config = TweenConfig(prune=True, prune_threshold=2.0, prune_patience=2, prune_at_once=2, early_stop_score=1000)
    state = net.tween(mode="tween", config=config)
    history = state.fit(x, y, epochs=6, batch_size=20, rate=1.0)
    assert history.bypassed[:2] == ["layers.1", "layers.2"]
    assert history.removed[:2] == ["layers.1", "layers.2"]
    assert [n.name for n in net.spec.nodes] == ["layers.0", "layers.1"]
    assert loom.Network.load(net.save()).digest() == net.digest()
    assert np.isfinite(state.step(x, y, 0.1))
