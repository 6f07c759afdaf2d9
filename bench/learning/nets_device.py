"""Training steps on a GPU (``--device vulkan``) beside PyTorch's on the same one, in f32 proper (TF32 off).

A step is forward, cross-entropy, backward and SGD: one program, launched several times and waited for once; PyTorch
does the same operation by operation and is synchronised once. Inputs stay on the device on both sides.
Weights and loss after two steps are compared with the CPU's bit for bit first: ``--expected FILE`` reads what the CPU
gave, and on the CPU writes it. ``--only WORD``: the rows that have it. ``--profile``: where a step's time goes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.learning.nets_works import Work, block, convnet, gpt, lenet, mlp
from bench.report import Bar, Family, Row, main, wanted_device
from loom import tensor
from loom.nn.train.losses import loss_of

RATE = 0.01
BLOCKS, CALLS = 5, 2
STEPS = 10
"""Steps of a call."""
_WARM_SECONDS = 0.5
_TOLD = 14
"""Kernels that a profile names."""

Array = np.ndarray[Any, Any]

WORKS = (
    mlp(4096, 1024), lenet(64), block(4096, 256, 512, 8, 4), gpt(4, 4096, 256, 512, 8, 8), convnet(64, 64),
)  # fmt: skip


def option(name: str) -> str | None:
    """Return the word after an option of the command line."""
    words = sys.argv[1:]
    return words[words.index(name) + 1] if name in words[:-1] else None


def titled(work: Work, precision: str) -> str:
    """Return what a row is called."""
    return f"{work.what}, training step, {precision or 'f32'}"


def run(family: Family) -> None:
    """Check and time every network on the device."""
    name, only, file = wanted_device(), option("--only") or "", option("--expected")
    wanted = [(w, p) for w in WORKS for p in w.precisions if only in titled(w, p)]
    if name == "cpu":
        family.notes.append("for a GPU: --device vulkan")
        if file is not None:
            known = {titled(w, p): expected_of(w, p, samples(w)) for w, p in wanted}
            Path(file).write_text(json.dumps(known, indent=1), encoding="utf-8")
        return
    known: dict[str, list[str]] = {} if file is None else json.loads(Path(file).read_text(encoding="utf-8"))
    for work, precision in wanted:
        family.rows.append(row_on(name, work, precision, known.get(titled(work, precision)), family))


def expected_of(work: Work, precision: str, data: tuple[Array, Array]) -> list[str]:
    """Return the bits of the loss after two steps, and the digest of the weights, as the CPU has them."""
    return Step(work, precision, data, "cpu").after(2)


def row_on(name: str, work: Work, precision: str, expected: list[str] | None, family: Family) -> Row:
    """Check and time one network on a device."""
    data = samples(work)
    step = Step(work, precision, data, name)
    expected = expected or expected_of(work, precision, data)
    found = step.after(2)
    assert found == expected, f"{titled(work, precision)}: wrong bits, {found} in place of {expected}"
    if "--profile" in sys.argv:
        family.notes.append(f"{titled(work, precision)}:\n{step.profile()}")
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
        share = dict(work.bars).get(precision)
        if share is not None:
            bars = (Bar(f"at least {share} of the speed of PyTorch in f32", share, speed, at_least=True),)
    return Row(f"{titled(work, precision)}, on {step.net.model.device.name}", measured, bars)


def samples(work: Work) -> tuple[Array, Array]:
    """Return inputs, and a class of each: of a language model, of each word."""
    rng, shape = np.random.default_rng(1), (work.batch, *work.shape)
    if work.words:
        return (*(rng.integers(0, work.words, shape).astype(np.int32) for _ in range(2)),)  # type: ignore[return-value]
    return rng.random(shape, np.float32) - np.float32(0.5), rng.integers(0, 10, work.batch).astype(np.int32)


class Step:
    """A network and its training step on a device, its inputs fed."""

    def __init__(self, work: Work, precision: str, data: tuple[Array, Array], name: str) -> None:
        kind = {"dtype": "i32"} if work.words else {}
        document: dict[str, Any] = {
            "format": "loom/1", "seed": 1, "input": {"shape": list(work.shape), **kind}, "layers": work.layers,
        }  # fmt: skip
        if precision:
            document["precision"] = precision
        self.net = loom.Network.from_json(document, on=name)
        model, (x, y) = self.net.model, (tensor.input(n, a.shape, a.dtype) for n, a in zip("xy", data, strict=True))
        loss = loss_of("cross_entropy")(model.apply(x, training=True), y)
        weights = list(model.parameters.values())
        moved = [(w, w - g * RATE) for w, g in zip(weights, tensor.grad(loss, weights), strict=True)]
        self.program = tensor.compile([loss], moved, on=name)
        self.program.feed(x=data[0], y=data[1])

    def after(self, steps: int) -> list[str]:
        """Make steps; return the bits of the loss of the last one and the digest of the weights."""
        for _ in range(steps):
            self.program.run()
        return [self.program.read()[0].tobytes().hex(), self.net.digest()]

    def profile(self) -> str:
        """Return the kernels that take most of a step, each timed by itself."""
        with loom.profile() as p:
            self.program.run()
        totals = sorted(p.totals(), key=lambda t: -t.total)
        whole = sum(t.total for t in totals)
        lines = [f"    {t.total:8.0f} us {t.count:4} x {t.kernel}" for t in totals[:_TOLD]]
        return "\n".join([f"    {whole:8.0f} us {sum(t.count for t in totals):4} dispatches", *lines])

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
