"""The options of ``loom demo --menu``: a network of each kind trained, the CPU against the GPU, models saved.

Layer: cli (no printing here). Numbers are those of the seeds' menu. Invariant: each option computes what it says, on
devices of this computer, and its figures are of that run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import loom
from loom.cli.demos import demo as job
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.nn.formats import convert_model

__all__ = ["OPTIONS", "MenuOption", "option_of"]

Lines = Iterator[str]


@dataclass(frozen=True, slots=True)
class MenuOption:
    """A choice: what it is called, and what yields its lines on a device (None: the default one)."""

    title: str
    run: Callable[[str | None], Lines]


@dataclass(frozen=True, slots=True)
class _Exercise:
    """A small task for one kind of layer: what a sample is, and the layers that learn it."""

    shape: tuple[int, ...]
    layers: tuple[dict[str, Any], ...]

    def network(self, on: str | None) -> loom.Network:
        document = {"format": "loom/1", "seed": 1, "input": {"shape": list(self.shape)}, "layers": list(self.layers)}
        return loom.Network.from_json(document, on=on)

    def samples(self, count: int = 96) -> tuple[Any, Any]:
        """Return samples of two classes: which half of the sample has the larger sum."""
        x = np.random.default_rng(1).standard_normal((count, *self.shape)).astype(np.float32)
        flat = x.reshape(count, -1)
        half = flat.shape[1] // 2
        return x, (flat[:, :half].sum(1) > flat[:, half:].sum(1)).astype(np.int32)


_HEAD: dict[str, Any] = {"type": "dense", "output_size": 2}
_FLAT: dict[str, Any] = {"type": "flatten"}
_EXERCISES = {
    "Dense": _Exercise((16,), ({"type": "dense", "output_size": 32, "activation": "tanh"}, _HEAD)),
    "Conv2D": _Exercise(
        (1, 8, 8),
        ({"type": "conv2d", "filters": 4, "kernel_size": 3, "padding": 1, "activation": "relu"}, _FLAT, _HEAD),
    ),
    "Multi-Head Attention": _Exercise(
        (4, 8), ({"type": "residual", "layers": [{"type": "multi_head_attention", "num_heads": 2}]}, _FLAT, _HEAD)
    ),
    "RNN": _Exercise((6, 4), ({"type": "rnn", "hidden_size": 16}, _FLAT, _HEAD)),
    "LSTM": _Exercise((6, 4), ({"type": "lstm", "hidden_size": 16}, _FLAT, _HEAD)),
}

_SAVED = _Exercise(
    (16,), ({"type": "dense", "output_size": 32, "activation": "tanh"}, _HEAD | {"activation": "sigmoid"})
)
"""What both older generations have words for."""


def _train(name: str) -> Callable[[str | None], Lines]:
    def run(on: str | None) -> Lines:
        exercise = _EXERCISES[name]
        net = exercise.network(on)
        x, y = exercise.samples()
        weights = sum(a.size for a in net.weights().values())
        yield f"{name}: {len(net.spec.nodes)} layers, {weights:,} weights, on {net.model.device.name}"
        before = net.evaluate(x, y)
        yield f"before training: loss {before.loss:.4f}, accuracy {before.accuracy:.3f}"
        start = time.perf_counter()
        net.train(x, y, epochs=15, batch_size=24, optimizer="adam", learning_rate=0.01, progress=False)
        spent = time.perf_counter() - start
        after = net.evaluate(x, y)
        yield f"after 15 epochs: loss {after.loss:.4f}, accuracy {after.accuracy:.3f}, {spent:.2f} s"
        yield f"sha256 of the weights {net.digest()}"

    return run


def _main_job(on: str | None) -> Lines:
    lines: list[job.DemoLine] = []
    for line in job.run_demo(job.QUICK, loom.device(on)):
        lines.append(line)
        yield f"{line.what}: {line.answer}, {line.seconds:.3f} s"
    different = job.differences(job.QUICK, lines)
    yield f"different from the committed digests: {', '.join(different)}" if different else "same as committed"


def _cpu_against_gpu(on: str | None) -> Lines:
    """Time a forward pass and a training step of each kind of network on each device, and compare their bits."""
    if on is None:
        found = [d.name for d in loom.devices() if d.refused is None and d.name != "interp"]
    else:
        found = list(dict.fromkeys(["cpu", on]))
    if len(found) == 1:
        why = "is here: no GPU to compare with (see loom devices)" if on is None else "is asked for: leave out --device"
        yield f"only {found[0]} {why}"
    for name, exercise in _EXERCISES.items():
        x, y = exercise.samples()
        digests: dict[str, str] = {}
        base = None
        for device in found:
            net = exercise.network(device)
            forward, step = _times(net, x, y)
            digests[device] = net.digest()
            base = base or (forward, step)
            ratio = "" if device == found[0] else f"  {base[0] / forward:.2f}x, {base[1] / step:.2f}x of {found[0]}"
            yield f"{name:<22}{device:<12}forward {forward * 1e3:8.3f} ms  step {step * 1e3:8.3f} ms{ratio}"
        same = "the same bits" if len(set(digests.values())) == 1 else f"DIFFERENT bits: {digests}"
        if len(found) > 1:
            yield f"{name:<22}{same} after 4 steps on {', '.join(found)}"


def _times(net: loom.Network, x: Any, y: Any) -> tuple[float, float]:
    """Return the least times of a forward pass and of a step, each compiled before."""
    net.forward(x)
    forward = min(_seconds_of(lambda: net.forward(x)) for _ in range(3))
    settings: dict[str, Any] = {"batch_size": len(x), "optimizer": "sgd", "learning_rate": 0.1, "progress": False}
    step = min(_seconds_of(lambda: net.train(x, y, **settings)) for _ in range(4))
    return forward, step


def _seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _serialization(on: str | None) -> Lines:
    """Save and load as text, as a file, as a bundle of several, and as the older generations do."""
    nets = {name: exercise.network(on) for name, exercise in _EXERCISES.items()}
    net = _SAVED.network(on)
    x, _ = _SAVED.samples(8)
    text = net.save(id="dense")
    yield f"as a text: {len(text):,} characters, {_away(loom.Network.load(text, on=on), net, x)}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        net.save(path, id="dense")
        yield f"as a file: {path.stat().st_size:,} bytes, {_away(loom.Network.load(path, on=on), net, x)}"
        loom.Network.save_all(nets, path)
        again = loom.Network.load_all(path, on=on)
        same = all(again[name].digest() == each.digest() for name, each in nets.items())
        weights = "the same" if same else "OTHER"
        yield f"{len(nets)} networks as one bundle: {path.stat().st_size:,} bytes, {weights} weights"
    for to in ("gen1", "gen2"):
        made = convert_model(text, to=to)
        yield f"as {to}: {len(made.data):,} bytes, {_away(loom.Network.load(made.data, on=on), net, x)}"


def _away(one: loom.Network, other: loom.Network, x: Any) -> str:
    return f"largest difference {float(np.abs(one.predict(x) - other.predict(x)).max()):.10f}"


OPTIONS = {
    1: MenuOption("The main job: primes, sums and maps, against the committed digests", _main_job),
    9: MenuOption("Dense neural network", _train("Dense")),
    10: MenuOption("Conv2D", _train("Conv2D")),
    11: MenuOption("Multi-head attention", _train("Multi-Head Attention")),
    12: MenuOption("RNN", _train("RNN")),
    13: MenuOption("LSTM", _train("LSTM")),
    14: MenuOption("CPU against GPU: times and bits of every kind of network", _cpu_against_gpu),
    15: MenuOption("Model serialization: texts, files, bundles, older formats", _serialization),
}
"""Choice -> what it does; numbers from 9 are those of the seeds' menu."""


def option_of(text: str, *, asked: bool = True) -> MenuOption:
    """Return the option of a choice; ArgumentError for what is none. ``asked``: one of the menu, that can be left."""
    number = int(text) if text.strip().isdecimal() else None
    if number not in OPTIONS:
        remedy = "Choose one of these, or 0 to leave" if asked else "Choose one of these"
        raise ArgumentError("loom demo --menu", "no such choice", expected=", ".join(map(str, OPTIONS)),
                            got=repr(text.strip()[:40]), remedy=remedy)  # fmt: skip
    return OPTIONS[number]
