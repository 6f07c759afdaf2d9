"""What a file keeps of a training: one that goes on after loading has the bits of one that never stopped."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, CheckpointError, NotFinite, SpecError
from loom.nn.spec import Snapshot
from loom.nn.train import SGD, AdamW

_BRANCH = {"type": "dense", "output_size": 3, "activation": "tanh"}
LAYERS: list[dict[str, Any]] = [
    {"type": "parallel", "combine_mode": "filter", "gate": {"type": "dense", "output_size": 2}, "branches": [
        {"type": "sequential", "layers": [_BRANCH, {"type": "residual", "layers": [_BRANCH]}]},
        {"type": "kmeans", "num_clusters": 3, "attached_layer": _BRANCH, "learning_rate": 0.05},
    ]},
    {"type": "batch_norm"},
    {"type": "dropout", "rate": 0.2},
    {"type": "dense", "output_size": 3},
]  # fmt: skip
ADAMW: dict[str, Any] = {
    "optimizer": AdamW(), "learning_rate": 0.05, "batch_size": 8, "accumulate": 2, "clip_norm": 0.5, "patience": 9,
}  # fmt: skip
NESTEROV: dict[str, Any] = {"optimizer": SGD(momentum=0.9, nesterov=True), "learning_rate": 0.05, "batch_size": 8}
PLAIN: dict[str, Any] = {"learning_rate": 0.05, "batch_size": 8}
SHORT = [{**_BRANCH, "output_size": 5}, *LAYERS[1:]]
SMALL: list[dict[str, Any]] = [{"type": "dense", "output_size": 3}]


def built(layers: list[dict[str, Any]] = LAYERS, dtype: str = "f32") -> loom.Network:
    document = {"format": "loom/1", "seed": 3, "dtype": dtype, "input": {"shape": [4]}, "layers": layers}
    return loom.Network.from_json(document, on="cpu")


def stored(net: loom.Network, kind: str, folder: Path) -> loom.Network:
    """Return the network after a journey through a text or a file."""
    if kind == "text":
        return loom.Network.load(net.save(), on="cpu")
    path = folder / f"m.{kind}"
    net.save(path)
    return loom.Network.load(path, on="cpu")


@pytest.mark.parametrize(
    ("kind", "dtype", "settings", "layers"),
    [
        ("text", "f32", ADAMW, SMALL),
        ("safetensors", "bf16", NESTEROV, SMALL),
        pytest.param("json", "f64", ADAMW, SHORT, marks=pytest.mark.slow),
        pytest.param("safetensors", "f32", ADAMW, LAYERS, marks=pytest.mark.slow),
    ],
)
def test_a_loaded_network_trains_on_to_the_same_bits(
    kind: str, dtype: str, settings: dict[str, Any], layers: list[dict[str, Any]], samples: Any, tmp_path: Path
) -> None:
    whole, parts = built(layers, dtype), built(layers, dtype)
    history = whole.train(*samples, epochs=4, **settings)
    parts.train(*samples, epochs=2, **settings)
    again = stored(parts, kind, tmp_path)
    assert (again.digest(), again.spec) == (parts.digest(), parts.spec)
    assert again.train(*samples, epochs=4, resume=True, **settings) == history
    assert again.digest() == whole.digest()
    assert again.save() == whole.save()


@pytest.mark.parametrize("kind", ["text", "safetensors"])
def test_every_bit_of_nested_layers_comes_back(kind: str, tmp_path: Path) -> None:
    net = built()
    draw = np.random.default_rng(8)
    shapes = {f"state/mean.{n}": w.shape for n, w in net.weights().items()} | {"state/step": ()}
    arrays = {n: draw.integers(0, 2**32, s, dtype=np.uint32) for n, s in shapes.items()}
    kept = {n: a if n == "state/step" else a.view(np.float32) for n, a in arrays.items()}  # NaNs among them
    net.training = Snapshot({"epoch": 2, "total": 0.1}, kept)
    again = stored(net, kind, tmp_path)
    assert (again.digest(), again.spec) == (net.digest(), net.spec)
    assert again.training is not None
    assert again.training.facts == net.training.facts
    found = again.training.without(again.weights()).arrays
    assert {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in kept.items()}
    assert all((found[n].dtype, found[n].shape) == (a.dtype, a.shape) for n, a in kept.items())


def test_without_its_training_it_begins_anew(samples: Any) -> None:
    net = built(SMALL)
    net.train(*samples, **NESTEROV)
    text = net.save(training=False)
    assert "velocity" in net.save()
    assert "velocity" not in text
    again = loom.Network.load(text, on="cpu")
    with pytest.raises(ArgumentError, match=r"there is no folder to resume from.*Name the folder, or train first"):
        again.train(*samples, resume=True, **NESTEROV)


def test_after_control_c_in_the_same_process(samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = built(SMALL), built(SMALL)
    whole.train(*samples, epochs=3, **NESTEROV)
    interrupt = signal.getsignal(signal.SIGINT)
    seen = []

    class Bar:
        def __enter__(self) -> Any:
            def report(_progress: Any) -> None:
                seen.append(1)
                if len(seen) == 5:
                    os.kill(os.getpid(), signal.SIGINT)

            return report

        def __exit__(self, *_: object) -> None:
            return None

    with monkeypatch.context() as patch:
        patch.setattr("loom.nn.train.loop.progress.show_progress", lambda _shown: Bar())
        with pytest.raises(KeyboardInterrupt):
            parts.train(*samples, epochs=3, **NESTEROV)
    assert signal.getsignal(signal.SIGINT) is interrupt
    assert parts.digest() != whole.digest()
    parts.train(*samples, epochs=3, resume=True, **NESTEROV)
    assert parts.digest() == whole.digest()


def test_patience_keeps_the_last_weights_beside_the_best(samples: Any) -> None:
    x, y = samples
    settings = {**NESTEROV, "learning_rate": 0.9, "patience": 50}
    held = (x[10:], y[10:])
    whole, parts = built(SMALL), built(SMALL)
    whole.train(x[:10], y[:10], validation=held, epochs=12, **settings)
    parts.train(x[:10], y[:10], validation=held, epochs=8, **settings)
    saved = json.loads(parts.save())["models"][0]["training"]["tensors"]
    assert {n for n in saved if n.startswith("weights/")} == {"weights/layers.0.weight", "weights/layers.0.bias"}
    again = loom.Network.load(parts.save(), on="cpu")
    again.train(x[:10], y[:10], validation=held, epochs=12, resume=True, **settings)
    assert again.save() == whole.save()


def test_what_makes_it_forgotten(samples: Any) -> None:
    net = built(SMALL)
    net.train(*samples, **PLAIN)
    assert net.training is not None
    with pytest.raises(NotFinite, match="nothing was run"):
        net.train(samples[0] * np.nan, samples[1], **PLAIN)
    assert net.training is not None
    net.load_weights(net.weights())
    assert net.training is None
    net.train(*samples, **PLAIN)
    with pytest.raises(NotFinite, match="the loss is infinite"):
        net.train(samples[0], np.full((20, 3), 1e30), **PLAIN)
    assert net.training is None


def test_another_training_is_told(samples: Any) -> None:
    net = built(SMALL)
    net.train(*samples, **NESTEROV)
    before = net.digest()
    with pytest.raises(CheckpointError, match=r"made with another learning_rate: expected 0.5, got 0.05. Use the same"):
        net.train(*samples, epochs=2, resume=True, **{**NESTEROV, "learning_rate": 0.5})
    text = (
        r"\[train, resume\] what is kept of the training is of another network or optimiser: expected "
        r"'state/mean.layers.0.weight' of float32, shape \(4, 3\), got nothing. Resume with the document and settings"
    )
    with pytest.raises(CheckpointError, match=text):
        net.train(*samples, epochs=2, resume=True, **ADAMW | {"accumulate": 1})
    assert net.digest() == before
    assert net.training is not None


def test_broken_texts(samples: Any) -> None:
    net = built(SMALL)
    net.train(*samples, **NESTEROV)
    bundle = json.loads(net.save())
    del bundle["sha256"], bundle["models"][0]["training"]["facts"]["epoch"]
    again = loom.Network.load(bundle, on="cpu")
    with pytest.raises(CheckpointError, match=r"what is kept of the training is broken \(KeyError\('epoch'\)\)"):
        again.train(*samples, resume=True, **NESTEROV)
    tensors = bundle["models"][0]["training"]["tensors"]
    tensors["state/step"]["dtype"] = "i64"
    tensors["state/velocity.layers.0.bias"]["shape"] = [4]
    tensors["state/velocity.layers.0.weight"]["shape"] = "x"
    with pytest.raises(SpecError) as caught:
        loom.Network.load(bundle)
    base = "$.models[0].training.tensors"
    assert [str(p) for p in caught.value.problems] == [
        f"{base}['state/velocity.layers.0.weight'].shape: unusable value: expected a list of sizes, got 'x'.",
        f"{base}['state/velocity.layers.0.bias'].data: the number of bytes does not match: expected 16, got 12.",
        f"{base}['state/step'].dtype: unusable value: expected one of f32, f64, f16, u16, u32, got 'i64'.",
    ]
    bundle["models"][0]["training"] = {"facts": []}
    with pytest.raises(SpecError, match=r"training.*expected an object with facts and tensors, both objects"):
        loom.Network.load(bundle)


@pytest.mark.parametrize(
    "name", ["linear", "cosine", "cosine_warm_restarts", "polynomial", "warmup", "step", "exponential"]
)
def test_a_schedule_by_name_says_how_to_go_on_for_longer(samples: Any, name: str) -> None:
    """What the message names works when it is followed."""
    from loom.nn import train

    net = built(SMALL)
    net.train(*samples, epochs=1, batch_size=8, schedule=name)
    with pytest.raises(CheckpointError, match="the checkpoint was made with another schedule") as raised:
        net.train(*samples, epochs=8, batch_size=8, schedule=name, resume=True)
    told = re.search(
        r"Train from the start with schedule=(.*), of loom.nn.train, which stays the same", str(raised.value)
    )
    assert told
    schedule = eval(told[1], {name: getattr(train, name) for name in train.__all__})
    whole, parts = built(SMALL), built(SMALL)
    whole.train(*samples, epochs=8, batch_size=8, schedule=schedule)
    parts.train(*samples, epochs=1, batch_size=8, schedule=schedule)
    parts.train(*samples, epochs=8, batch_size=8, schedule=schedule, resume=True)
    assert parts.digest() == whole.digest()
    named = built(SMALL)
    named.train(*samples, epochs=8, batch_size=8, schedule=name)
    assert named.digest() == whole.digest()


def test_other_schedules_are_other_settings(samples: Any) -> None:
    net = built(SMALL)
    net.train(*samples, epochs=1, schedule="linear")
    with pytest.raises(CheckpointError, match=r"another schedule.*Use the same settings, or train from the start"):
        net.train(*samples, epochs=1, schedule="cosine", resume=True)
