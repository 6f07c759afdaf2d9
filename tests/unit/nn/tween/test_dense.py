"""Dense chains move as the text of the seeds says, in every tween mode; its numpy reference is written apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from tests.unit.nn.tween.references import DenseNet, budget, clamp

ENDINGS = ["tanh", "sigmoid", "relu", "scaled_relu", "leaky_relu", "softplus", "linear"]


def chain_of(names: list[str], **more: Any) -> loom.Network:
    """Return a dense network 5-4-...-3 whose layers end so."""
    sizes = [4] * (len(names) - 1) + [3]
    layers = [{"type": "dense", "output_size": n, "activation": a} for n, a in zip(sizes, names, strict=True)]
    return loom.Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [5]}, "layers": layers, **more})


def close(net: loom.Network, reference: DenseNet) -> None:
    """See that all weights agree to 1e-5."""
    found = net.weights()
    for i in range(len(reference.w)):
        np.testing.assert_allclose(found[f"layers.{i}.weight"], reference.w[i], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[f"layers.{i}.bias"], reference.b[i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["tween", pytest.param("tween_chain", marks=pytest.mark.slow), pytest.param(
    "step_tween", marks=pytest.mark.slow), "step_tween_chain"])  # fmt: skip
def test_updates_are_those_of_the_text(mode: str) -> None:
    net = chain_of(ENDINGS)
    reference = DenseNet.of(net.weights(), ENDINGS)
    state, rng = net.tween(mode=mode), np.random.default_rng(2)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    classes = np.array([0, 2, 1])
    buffers = [[np.zeros_like(b) for b in reference.b] for _ in x]
    for _ in range(4):
        several, losses = [], []
        for k in range(3):
            if mode.startswith("step"):
                read, buffers[k] = reference.tick(x[k].astype(np.float64), buffers[k])
                made = buffers[k]
            else:
                every = reference.forward(x[k].astype(np.float64))
                read, made = every[:-1], every[1:]
            target = np.eye(3)[classes[k]]
            losses.append(((target - made[-1]) ** 2).sum())
            rule = reference.chain if mode.endswith("chain") else reference.gaps
            several.append(rule(read, made, target, 0.7))
        reference.apply(several, 1.0 if mode.endswith("chain") else np.inf)
        assert state.step(x, classes, 0.7) == pytest.approx(np.mean(losses), rel=1e-5)
        close(net, reference)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_chains_move_so_for_many_steps(seed: int) -> None:
    """Any endings, 1 to 13 layers, batches, classes or numbers, rates: in f64 the reference's own numbers."""
    rng = np.random.default_rng(seed)
    names = [str(rng.choice(ENDINGS)) for _ in range(int(rng.choice([1, 2, 3, 13])))]
    mode, count = ("tween", "tween_chain")[seed % 2], int(rng.integers(1, 5))
    net = chain_of(names, dtype="f64")
    net.load_weights({n: a + 0.3 * rng.normal(size=a.shape) for n, a in net.weights().items()})
    reference, state = DenseNet.of(net.weights(), names), net.tween(mode=mode)
    rule = reference.chain if seed % 2 else reference.gaps
    for step in range(8):
        x, rate = rng.normal(size=(count, 5)), float(rng.choice([0.01, 0.5, 3.0]))
        given: Any = rng.integers(0, 3, count) if step % 2 else 3 * rng.normal(size=(count, 3))
        wanted = np.eye(3)[given] if step % 2 else given
        passes = [reference.forward(a) for a in x]
        moves = [rule(p[:-1], p[1:], t, rate) for p, t in zip(passes, wanted, strict=True)]
        loss = np.mean([((t - p[-1]) ** 2).sum() for p, t in zip(passes, wanted, strict=True)])
        reference.apply(moves, 1.0 if seed % 2 else np.inf)
        assert state.step(x, given, rate) == pytest.approx(loss, rel=1e-9)
        for i, (w, b) in enumerate(zip(reference.w, reference.b, strict=True)):
            np.testing.assert_allclose(net.weights()[f"layers.{i}.weight"], w, rtol=1e-8, atol=1e-11)
            np.testing.assert_allclose(net.weights()[f"layers.{i}.bias"], b, rtol=1e-8, atol=1e-11)


def test_the_loss_and_budgets_are_of_the_pass_before() -> None:
    net = chain_of(["tanh", "linear"])
    reference = DenseNet.of(net.weights(), ["tanh", "linear"])
    x, target = np.linspace(-1, 1, 5, dtype=np.float32), np.array([0.5, -1, 2], np.float32)
    made = reference.forward(x.astype(np.float64))
    state = net.tween(mode="tween_chain")
    loss = state.step(x, target, 0.1, watch=True)
    assert loss == pytest.approx(((target - made[2]) ** 2).sum(), rel=1e-5)
    handed = np.clip(reference.w[1] @ (target - made[2]) / np.sqrt(3), -10, 10)
    aim = clamp("tanh", made[1] + 0.1 * handed)
    assert state.report is not None
    first, last = state.report.links
    assert first.budget == pytest.approx(budget(made[1], aim), rel=1e-5)
    assert last.budget == pytest.approx(budget(made[2], target), rel=1e-5)
    assert first.gap == pytest.approx(((aim - made[1]) ** 2).mean(), rel=1e-3)
    assert last.barrier == pytest.approx(first.budget * last.budget)
    assert state.report.depth_barrier == last.barrier
