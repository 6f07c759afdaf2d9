"""Training steps on a GPU (``--device vulkan``) beside PyTorch's on the same one, in f32 proper (TF32 off).

A step is forward, cross-entropy, backward and SGD: one program, launched several times and waited for once; PyTorch
does the same operation by operation and is synchronised once. Inputs stay on the device on both sides.
Weights and loss after two steps are compared with the CPU's bit for bit first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main, wanted_device
from loom import tensor
from loom.nn.train.losses import loss_of

SPEED = 0.4
RATE = 0.01
BLOCKS, CALLS = 5, 2
STEPS = 10
"""Steps of a call."""
_WARM_SECONDS = 0.5

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """A network, given as its document's layers and as PyTorch's modules; a bar is held against PyTorch if judged."""

    what: str
    shape: tuple[int, ...]
    batch: int
    layers: list[dict[str, Any]]
    modules: Callable[[Any], Any]
    judged: bool = False
    words: int = 0
    """If not 0, inputs are numbers below it."""


def _dense(size: int, activation: str = "linear") -> dict[str, Any]:
    return {"type": "dense", "output_size": size, "activation": activation}


def mlp(width: int, batch: int, *, judged: bool = False) -> Work:
    """Return the perceptron width-width-width-10."""

    def modules(nn: Any) -> Any:
        return nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )

    layers = [_dense(width, "relu"), _dense(width, "relu"), _dense(10)]
    return Work(f"MLP {width}-{width}-{width}-10, batch {batch}", (width,), batch, layers, modules, judged)


def lenet(batch: int) -> Work:
    """Return LeCun's network of images of 28 by 28, with relu and the largest of four."""

    def convolution(filters: int, padding: int) -> dict[str, Any]:
        return {"type": "conv2d", "filters": filters, "kernel_size": 5, "padding": padding, "activation": "relu"}

    def modules(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip

    pool = {"type": "max_pool", "pool_size": 2}
    layers = [convolution(6, 2), pool, convolution(16, 0), pool, {"type": "flatten"}]
    layers += [_dense(120, "relu"), _dense(84, "relu"), _dense(10)]
    return Work(f"LeNet 28 x 28, batch {batch}", (1, 28, 28), batch, layers, modules)


def block(words: int, tokens: int, width: int, heads: int, batch: int) -> Work:
    """Return a language model of one block: embedding, attention and a perceptron, each with a norm, and a head."""

    def residual(*layers: dict[str, Any]) -> dict[str, Any]:
        return {"type": "residual", "layers": [{"type": "layer_norm"}, *layers]}

    attention = {"type": "multi_head_attention", "num_heads": heads, "causal": True}
    layers = [
        {"type": "embedding", "vocab_size": words, "embedding_dim": width}, residual(attention),
        residual(_dense(4 * width, "gelu_tanh"), _dense(width)), _dense(words),
    ]  # fmt: skip
    what = f"block of {tokens} x {width}, {heads} heads, {words} words, batch {batch}"
    return Work(what, (tokens,), batch, layers, lambda nn: _torch_block(nn, words, width, heads), words=words)


def _torch_block(nn: Any, words: int, width: int, heads: int) -> Any:
    functional = import_module("torch.nn.functional")

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            parts = self.inward(x).reshape(*x.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(*parts, is_causal=True)
            return self.outward(found.transpose(1, 2).reshape(x.shape))

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self, *inner: Any) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.LayerNorm(width), *inner)

        def forward(self, x: Any) -> Any:
            return x + self.inner(x)

    feed = Residual(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
    return nn.Sequential(nn.Embedding(words, width), Residual(Attention()), feed, nn.Linear(width, words))


WORKS = (mlp(4096, 1024, judged=True), lenet(64), block(4096, 256, 512, 8, 4))


def run(family: Family) -> None:
    """Check and time every network on the device."""
    name = wanted_device()
    if name == "cpu":
        family.notes.append("for a GPU: --device vulkan")
        return
    family.rows.extend(row_on(name, work) for work in WORKS)


def row_on(name: str, work: Work) -> Row:
    """Check and time one network on a device."""
    data = samples(work)
    step = Step(work, data, name)
    expected = Step(work, data, "cpu").after(2)
    assert step.after(2) == expected, f"{work.what}: wrong bits"
    sides = [Side("loom", step.call)]
    peer = _peer(work, data)
    if peer is not None:
        sides.append(Side("torch", peer))
    for side in sides:
        _warm(side.call)
    timings = alternate(sides, blocks=BLOCKS, calls=CALLS)
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) / STEPS * 1e3 for n in timings.blocks}
    measured |= {"dispatches": step.program.dispatches, "digest": expected[1][:12]}
    bars: tuple[Bar, ...] = ()
    if peer is not None:
        speed = measured["speed_to_torch"] = 1 / timings.median_of_ratios("loom", "torch")
        bars = (Bar(f"at least {SPEED} of the speed of PyTorch", SPEED, speed, at_least=True),) if work.judged else ()
    return Row(f"{work.what}, training step, f32, on {step.net.model.device.name}", measured, bars)


def samples(work: Work) -> tuple[Array, Array]:
    """Return inputs, and a class of each: of a language model, of each word."""
    rng, shape = np.random.default_rng(1), (work.batch, *work.shape)
    if work.words:
        return (*(rng.integers(0, work.words, shape).astype(np.int32) for _ in range(2)),)  # type: ignore[return-value]
    return rng.random(shape, np.float32) - np.float32(0.5), rng.integers(0, 10, work.batch).astype(np.int32)


class Step:
    """A network and its training step on a device, its inputs fed."""

    def __init__(self, work: Work, data: tuple[Array, Array], name: str) -> None:
        kind = {"dtype": "i32"} if work.words else {}
        document = {"format": "loom/1", "seed": 1, "input": {"shape": list(work.shape), **kind}, "layers": work.layers}
        self.net = loom.Network.from_json(document, on=name)
        model, (x, y) = self.net.model, (tensor.input(n, a.shape, a.dtype) for n, a in zip("xy", data, strict=True))
        loss = loss_of("cross_entropy")(model.apply(x, training=True), y)
        weights = list(model.parameters.values())
        moved = [(w, w - g * RATE) for w, g in zip(weights, tensor.grad(loss, weights), strict=True)]
        self.program = tensor.compile([loss], moved, on=name)
        self.program.feed(x=data[0], y=data[1])

    def after(self, steps: int) -> tuple[bytes, str]:
        """Make steps; return the bits of the loss of the last one and the digest of the weights."""
        for _ in range(steps):
            self.program.run()
        return self.program.read()[0].tobytes(), self.net.digest()

    def call(self) -> None:
        """Make ``STEPS`` steps."""
        for _ in range(STEPS - 1):
            self.program.launch()
        self.program.launch().wait()


def _warm(call: Callable[[], Any]) -> None:
    until = time.perf_counter() + _WARM_SECONDS
    while time.perf_counter() < until:
        call()


def _peer(work: Work, data: tuple[Array, Array]) -> Callable[[], Any] | None:
    """Return PyTorch's way, on its own copies; None without torch or a CUDA device."""
    try:
        torch = import_module("torch")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    x, y = (torch.from_numpy(a).cuda() for a in data)
    network = work.modules(torch.nn).cuda()
    optimizer, loss_of_batch = torch.optim.SGD(network.parameters(), lr=RATE), torch.nn.CrossEntropyLoss()

    def call() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            output = network(x)
            loss_of_batch(output.reshape(-1, output.shape[-1]), y.reshape(-1).long()).backward()
            optimizer.step()
        torch.cuda.synchronize()

    return call


if __name__ == "__main__":
    main("nets_device", run)
