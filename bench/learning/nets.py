"""Networks beside PyTorch on the CPU: training steps with SGD, a forward pass of one sample, whole ``fit`` steps; and
tween updates beside SGD steps, both loom's.

Both sides have the same weights, and their first losses must agree. A training step is forward, loss, backward and
update of one batch that lies ready; ``fit`` also picks the batch from shuffled data and reads the loss.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from bench.machine import use_threads

use_threads()  # torch reads the number of threads when it is imported

from bench.report import Bar, Family, Row, main  # noqa: E402

if find_spec("torch") is None:
    main("nets", lambda family: family.notes.append("nothing to compare with: pip install torch==2.13.0"))
    sys.exit()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from bench.harness import THREADS, Side, Timings, alternate  # noqa: E402
from loom import Network, tensor  # noqa: E402
from loom.nn.train.config import TrainConfig  # noqa: E402
from loom.nn.train.loop.trainer import Trainer  # noqa: E402
from loom.nn.train.losses import loss_of  # noqa: E402

RATE = 0.01
OVERHEAD_US = 30.0
TICK_US = 20.0
"""The most time of a tick of step mode: of four small dense layers, written, advanced and read."""
TWEEN_TIMES = 1.5
"""The most time of a tween update, in SGD steps."""
FIT_BATCHES = {"MLP 784-392-10": 32, "tiny 4-8-2": 256}
"""Batches of an epoch."""
FIT_EPOCHS = 4
"""Epochs of a call."""
CLASSES = 10

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """A network in both notations. ``speed``: that of the training step asked for, None if there is no bar."""

    name: str
    layers: tuple[dict[str, Any], ...]
    shape: tuple[int, ...]
    batch: int
    peer: Callable[[], nn.Module]
    speed: float | None
    calls: int
    classes: bool = True


def _dense(size: int, activation: str = "linear") -> dict[str, Any]:
    return {"type": "dense", "output_size": size, "activation": activation}


def _conv(filters: int, padding: int) -> dict[str, Any]:
    return {"type": "conv2d", "filters": filters, "kernel_size": 5, "padding": padding, "activation": "relu"}


_POOL = {"type": "max_pool", "pool_size": 2}


class _Attention(nn.Module):
    """Self-attention as most people write it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(width, width) for _ in range(4)])
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        split = (batch, length, self.heads, width // self.heads)
        q, k, v = (part(x).view(split).transpose(1, 2) for part in self.parts[:3])
        found = functional.scaled_dot_product_attention(q, k, v)
        return self.parts[3](found.transpose(1, 2).reshape(batch, length, width))


class _Lstm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(size, size, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def _mlp(sizes: tuple[int, ...]) -> Callable[[], nn.Module]:
    first, middle, last = sizes
    return lambda: nn.Sequential(nn.Linear(first, middle), nn.ReLU(), nn.Linear(middle, last))


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, CLASSES),
    )  # fmt: skip


MLP = Work("MLP 784-392-10", (_dense(392, "relu"), _dense(CLASSES)), (784,), 64, _mlp((784, 392, CLASSES)), 1.0, 25)
TINY = Work("tiny 4-8-2", (_dense(8, "relu"), _dense(2)), (4,), 8, _mlp((4, 8, 2)), None, 200, classes=False)
WORKS = (
    MLP,
    Work("LeNet 28 x 28", (
        _conv(6, 2), _POOL, _conv(16, 0), _POOL, {"type": "flatten"}, _dense(120, "relu"), _dense(84, "relu"),
        _dense(CLASSES),
    ), (1, 28, 28), 64, _lenet, 0.8, 9),
    Work("attention, sequence 256, width 512, 8 heads", ({"type": "multi_head_attention", "num_heads": 8},),
         (256, 512), 1, lambda: _Attention(512, 8), 0.7, 9, classes=False),
    Work("LSTM 128, sequence 64", ({"type": "lstm", "hidden_size": 128},), (64, 128), 32, lambda: _Lstm(128), 0.7, 5,
         classes=False),
    TINY,
)  # fmt: skip


def run(family: Family) -> None:
    """Measure every network's training step, then one sample forward and ``fit`` of the perceptrons."""
    torch.set_num_threads(THREADS)
    for work in WORKS:
        family.rows.append(_step_row(work))
    for work, speed in ((MLP, 2.0), (TINY, None)):
        family.rows.append(_forward_row(work, speed))
        family.rows.append(_fit_row(work))
    family.rows.append(_int8_row(MLP, 1.5))
    for batch in (MLP.batch, 1):
        family.rows.append(_tween_row(replace(MLP, batch=batch)))
    family.rows.append(_tick_row())
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")
    family.notes.append("int8 forward, from floats to floats, stands beside that of the network of f32 it was made of")
    family.notes.append(
        "a fit step is a share of whole epochs; torch shuffles, picks its batches and reads the loss too"
    )


class _Pair:
    """A network and its peer with the same weights, and samples."""

    def __init__(self, work: Work, batches: int = 1) -> None:
        rng, samples = np.random.default_rng(1), batches * work.batch
        spec = {"format": "loom/1", "input": {"shape": list(work.shape)}, "layers": list(work.layers)}
        self.work, self.net, self.peer = work, Network.from_json(spec, on="cpu"), work.peer()
        self.x = rng.random((samples, *work.shape), np.float32)
        out = self.net.forward(self.x[:1]).shape[1:]
        self.y = rng.integers(0, CLASSES, samples) if work.classes else rng.random((samples, *out), np.float32)
        self.peer_x, self.peer_y = torch.from_numpy(self.x), torch.from_numpy(self.y)
        for is_vector in (False, True):
            self._share(is_vector=is_vector)
        self.optimizer = torch.optim.SGD(self.peer.parameters(), RATE)

    def _share(self, *, is_vector: bool) -> None:
        """Give the peer's matrices or vectors the network's in order; an LSTM's gates lie as torch has them."""
        weights = {name: w for name, w in self.net.weights().items() if (w.ndim == 1) == is_vector}
        mine = [w.T if w.ndim == 2 and "weight_" not in name else w for name, w in weights.items()]
        for held in (p for p in self.peer.parameters() if (p.ndim == 1) == is_vector):
            parts: list[Array] = []
            while mine and sum(map(len, parts)) < len(held):
                parts.append(mine.pop(0))
            held.data = torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros_like(held)

    def program(self) -> tensor.TensorProgram:
        """Return the compiled training step."""
        model = self.net.model
        x = tensor.input("x", self.x.shape)
        y = tensor.input("y", self.y.shape, "i32" if self.work.classes else "f32")
        loss = loss_of("cross_entropy" if self.work.classes else "mse")(model.apply(x, training=True), y)
        weights = list(model.parameters.values())
        moves = zip(weights, tensor.grad(loss, weights), strict=True)
        return tensor.compile([loss], [(w, w - g * RATE) for w, g in moves], on="cpu")

    def peer_step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Train the peer with one batch; return its loss."""
        self.optimizer.zero_grad()
        out = self.peer(x)
        loss = functional.cross_entropy(out, y) if self.work.classes else functional.mse_loss(out, y)
        loss.backward()
        self.optimizer.step()
        return loss

    def peer_epoch(self) -> float:
        """Train the peer with all samples in another order; return the mean loss."""
        order, total = torch.randperm(len(self.peer_x)), 0.0
        for chosen in order.split(self.work.batch):
            total += self.peer_step(self.peer_x[chosen], self.peer_y[chosen]).item() * len(chosen)
        return total / len(order)


def _step_row(work: Work) -> Row:
    pair = _Pair(work)
    program, y = pair.program(), pair.y.astype(np.int32) if work.classes else pair.y
    program.run(x=pair.x, y=y)
    _check(work.name, float(program.read()[0]), pair.peer_step(pair.peer_x, pair.peer_y).item())
    sides = [
        Side("loom", lambda: program.run(x=pair.x, y=y)),
        Side("torch", lambda: pair.peer_step(pair.peer_x, pair.peer_y)),
    ]
    timings = alternate(sides, blocks=9, calls=work.calls)
    bars = [] if work.speed is None else [_speed_bar(timings, work.speed)]
    if work is TINY:
        bars = [Bar(f"at most {OVERHEAD_US:g} us", OVERHEAD_US, timings.median("loom") * 1e6)]
    return _row(f"{work.name}, training step, batch {work.batch}", timings, 1, bars)


def _forward_row(work: Work, speed: float | None) -> Row:
    pair = _Pair(work)
    x = pair.x[:1]

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return pair.peer(torch.from_numpy(x))

    _check(work.name, float(pair.net.model.forward(x)[0, 0]), float(forward()[0, 0]))
    timings = alternate(
        [Side("loom", lambda: pair.net.model.forward(x)), Side("torch", forward)], blocks=11, calls=1000
    )
    bars = [] if speed is None else [_speed_bar(timings, speed)]
    return _row(f"{work.name}, forward, batch 1", timings, 1, bars)


def _int8_row(work: Work, speed: float) -> Row:
    """Measure a forward pass in int8 beside the network of f32 that it was made of: samples in, outputs out."""
    pair = _Pair(work)
    small = pair.net.quantize("int8", calibration=pair.x)
    wanted, found = pair.net.forward(pair.x), small.forward(pair.x)
    assert np.abs(found - wanted).max() <= 0.05 * np.abs(wanted).max(), f"{work.name}: int8 is off"
    sides = [Side("int8", lambda: small.forward(pair.x)), Side("f32", lambda: pair.net.forward(pair.x))]
    timings = alternate(sides, blocks=11, calls=100)
    ratio = 1 / timings.median_of_ratios("int8", "f32")
    measured: dict[str, float | int | str] = {
        "int8_us": timings.median("int8") * 1e6, "f32_us": timings.median("f32") * 1e6, "speed": ratio,
        "runs": timings.runs("int8"),
    }  # fmt: skip
    bar = Bar(f"at least {speed} times the speed of f32", speed, ratio, at_least=True)
    return Row(f"{work.name}, forward in int8, batch {work.batch}", measured, (bar,))


def _tween_row(work: Work) -> Row:
    """Measure a tick and update of ``step_tween_chain`` beside an SGD step of the same network, both on loom."""
    pair, other = _Pair(work), _Pair(work)
    y = pair.y.astype(np.int32)
    state = other.net.tween(mode="step_tween_chain")
    tween = tensor.compile(*_listed(state.record(other.x, y)), on="cpu")
    program, rate = pair.program(), np.float32(RATE)
    sides = [
        Side("tween", lambda: tween.run(x0=other.x, y0=y, rate=rate)),
        Side("sgd", lambda: program.run(x=pair.x, y=y)),
    ]
    timings = alternate(sides, blocks=11, calls=work.calls if work.batch > 1 else 100)
    times = timings.median_of_ratios("tween", "sgd")
    measured: dict[str, float | int | str] = {
        "loom_us": timings.median("tween") * 1e6, "sgd_us": timings.median("sgd") * 1e6, "times": times,
        "runs": timings.runs("tween"),
    }  # fmt: skip
    return Row(f"{work.name}, step_tween_chain update, batch {work.batch}", measured,
               (Bar(f"at most {TWEEN_TIMES} SGD steps", TWEEN_TIMES, times),))  # fmt: skip


def _tick_row() -> Row:
    """Measure a tick of step mode, from input to output, beside the ordinary forward pass of the same network."""
    layers = [_dense(8, "tanh"), _dense(8, "tanh"), _dense(8, "tanh"), _dense(2)]
    net = Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}, on="cpu")
    state, x = net.step(), np.random.default_rng(1).random((1, 4), np.float32)

    def tick() -> Array:
        state.set_input(x)
        state.step_forward()
        return state.get_output()

    for _ in range(state.depth):
        found = tick()
    assert (found == net.forward(x)).all(), "a tick is off"
    timings = alternate([Side("tick", tick), Side("forward", lambda: net.forward(x))], blocks=11, calls=1000)
    tick_us = timings.median("tick") * 1e6
    measured: dict[str, float | int | str] = {
        "tick_us": tick_us, "forward_us": timings.median("forward") * 1e6, "runs": timings.runs("tick"),
    }  # fmt: skip
    return Row("dense 4-8-8-8-2, tick of step mode, batch 1", measured,
               (Bar(f"at most {TICK_US:g} us", TICK_US, tick_us),))  # fmt: skip


def _listed(recorded: tuple[dict[str, tensor.Tensor], Any]) -> tuple[list[tensor.Tensor], Any]:
    return list(recorded[0].values()), recorded[1]


def _fit_row(work: Work) -> Row:
    batches = FIT_BATCHES[work.name]
    pair, steps = _Pair(work, batches), batches * FIT_EPOCHS
    loss = "cross_entropy" if work.classes else "mse"
    config = TrainConfig(loss=loss, batch_size=work.batch, epochs=1, learning_rate=RATE)
    trainer = Trainer(pair.net.model, config)

    def fit() -> None:
        trainer.config = replace(config, epochs=trainer.epoch + FIT_EPOCHS)
        trainer.fit(pair.x, pair.y)

    def peer_fit() -> None:
        for _ in range(FIT_EPOCHS):
            pair.peer_epoch()

    timings = alternate([Side("loom", fit), Side("torch", peer_fit)], blocks=5, calls=2)
    _check(f"{work.name}, fit", trainer.history.loss[-1], pair.peer_epoch(), 0.05)
    bars = []
    if work is TINY:
        bars = [Bar(f"at most {OVERHEAD_US:g} us", OVERHEAD_US, timings.median("loom") / steps * 1e6)]
    return _row(f"{work.name}, fit, a step of batch {work.batch}", timings, steps, bars)


def _check(what: str, ours: float, theirs: float, relative: float = 1e-3) -> None:
    assert abs(ours - theirs) <= relative * max(abs(theirs), 0.1), f"{what}: {ours}, torch {theirs}"


def _speed_bar(timings: Timings, speed: float) -> Bar:
    value = 1 / timings.median_of_ratios("loom", "torch")
    return Bar(f"at least {speed} of the speed of torch", speed, value, at_least=True)


def _row(what: str, timings: Timings, steps: int, bars: list[Bar]) -> Row:
    measured: dict[str, float | int | str] = {
        "loom_us": timings.median("loom") / steps * 1e6,
        "torch_us": timings.median("torch") / steps * 1e6,
        "speed": 1 / timings.median_of_ratios("loom", "torch"),
        "runs": timings.runs("loom"),
    }
    return Row(what, measured, tuple(bars))


if __name__ == "__main__":
    main("nets", run)
