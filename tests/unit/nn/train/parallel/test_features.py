"""What trainings have besides: of two micro-batches the sums are those of two batches that make one update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import Network, tensor
from loom.nn.train import SGD, Adam, History
from loom.nn.train.parallel import DeviceCrew
from loom.nn.train.plan import order_of_epoch

DRAW = np.random.default_rng(8)
X = DRAW.standard_normal((16, 6)).astype(np.float32)
Y = DRAW.standard_normal((16, 2)).astype(np.float32)
TOKENS = DRAW.integers(0, 9, (16, 5)).astype(np.int32)
NEXT = np.where(DRAW.random((16, 5)) < 0.3, -100, TOKENS)
DENSE = [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 2}]
LORA = [{"type": "dense", "output_size": 5, "activation": "tanh", "lora": {"rank": 2}},
        {"type": "dense", "output_size": 2, "frozen": True}]  # fmt: skip
TEXT = [
    {"type": "embedding", "vocab_size": 9, "embedding_dim": 6},
    {"type": "residual", "layers": [{"type": "multi_head_attention", "num_heads": 2, "causal": True}]},
    {"type": "dense", "output_size": 9},
]
SEVERAL = {
    "inputs": {"a": {"shape": [6]}, "b": {"shape": [2]}},
    "nodes": {
        "both": {"inputs": ["a", "b"], "type": "merge", "combine_mode": "concat"},
        "one": {"inputs": ["both"], "type": "dense", "output_size": 2},
        "two": {"inputs": ["both"], "type": "dense", "output_size": 3},
    },
    "outputs": ["one", "two"],
}


def network(layers: Any = DENSE, shape: tuple[int, ...] = (6,), dtype: str = "f32", **told: Any) -> Network:
    parts = layers if isinstance(layers, dict) else {"input": {"shape": list(shape)}, "layers": layers}
    if layers is TEXT:
        parts["input"]["dtype"] = "i32"
    return Network.from_json({"format": "loom/1", "seed": 4, "dtype": dtype, **parts, **told}, on="cpu")


CASES: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "clipped": (network, X, Y, {"clip_value": 0.05, "clip_norm": 0.06, "optimizer": SGD(momentum=0.9)}),
    "skipped": (network, X, Y, {"compute": "f16", "loss_scale": 2.0**18}),
    "bf16": (network, X, Y, {"compute": "bf16", "precision": "q12", "optimizer": Adam()}),
    "double": (lambda: network(dtype="f64"), X, Y, {"optimizer": Adam()}),
    "narrow": (lambda: network(dtype="bf16"), X, Y, {}),
    "adapted": (lambda: network(LORA), X, Y, {"optimizer": Adam()}),
    "several": (lambda: network(SEVERAL), [X, Y], [Y, X[:, :3]], {}),
    "tokens": (lambda: network(TEXT, (5,)), TOKENS, NEXT, {"loss": "next_token"}),
}


def trained(made: Any, x: Any, y: Any, settings: dict[str, Any], **told: Any) -> tuple[dict[str, Any], History]:
    net = made()
    history = net.train(x, y, **{"epochs": 2, "learning_rate": 0.05, "batch_size": 8, **settings, **told})
    return net.weights(), history


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(a.tobytes() == other[n].tobytes() for n, a in one.items()) and set(one) == set(other)


RARE = ("bf16", "double", "narrow", "adapted", "tokens", "several")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in RARE else n for n in CASES])
def test_two_micro_batches_are_two_batches_of_one_update(name: str) -> None:
    made, x, y, settings = CASES[name]
    halves, of_halves = trained(made, x, y, settings, batch_size=4, accumulate=2)
    alone, history = trained(made, x, y, settings, micro_batch=4)
    assert not same(alone, made().weights())
    assert same(alone, halves)
    crew, of_crew = trained(made, x, y, settings, micro_batch=4, devices=["cpu"] * 3)
    assert same(crew, alone)
    assert of_crew.loss == history.loss == pytest.approx(of_halves.loss, rel=1e-6)
    assert history.skipped == of_halves.skipped == of_crew.skipped
    if name == "skipped":
        assert 0 < sum(history.skipped) < 4


def test_batches_of_micro_batches_make_one_update_too() -> None:
    """Three micro-batches, two batches: the tree of each, then their sum, as written."""
    settings: dict[str, Any] = {"batch_size": 6, "accumulate": 2, "micro_batch": 2, "shuffle": False, "epochs": 1}
    alone, _ = trained(network, X[:12], Y[:12], settings)
    assert same(trained(network, X[:12], Y[:12], settings, devices=["cpu", "cpu"])[0], alone)
    start = network().weights()
    total = {n: np.zeros_like(w) for n, w in start.items()}
    for at in (0, 6):
        parts = [_gradients(start, slice(k, k + 2)) for k in range(at, at + 6, 2)]
        share = np.float32(1 / 3)
        root = {n: (parts[0][n] * share + parts[1][n] * share) + parts[2][n] * share for n in start}
        total = {n: total[n] + root[n] * np.float32(0.5) for n in start}
    for name, w in start.items():
        assert (w - np.float32(0.05) * total[name]).tobytes() == alone[name].tobytes(), name


def _gradients(weights: dict[str, Any], cut: slice) -> dict[str, Any]:
    a, b, c, d = here = [tensor.parameter(w) for w in weights.values()]
    loss = tensor.mse((tensor.array(X[cut]) @ a + b).tanh() @ c + d, tensor.array(Y[cut]))
    return {n: g.numpy() for n, g in zip(weights, tensor.grad(loss, here), strict=True)}


NORMED = [{"type": "dense", "output_size": 3}, {"type": "batch_norm"}, {"type": "dense", "output_size": 2}]


@pytest.mark.slow
def test_running_statistics_are_those_of_micro_batches_by_their_shares() -> None:
    """The state, in f64: the mean of what each of three micro-batches makes of the state at the start."""
    made, momentum = lambda: network(NORMED), 0.1
    settings: dict[str, Any] = {"batch_size": 8, "micro_batch": 3, "epochs": 1}
    alone, _ = trained(made, X[:8], Y[:8], settings)
    start = made().weights()
    rows = X[:8][order_of_epoch(8, 4, 0)].astype(np.float64)
    wanted = {"running_mean": np.zeros(3), "running_variance": np.zeros(3)}
    for cut, share in ((slice(0, 3), 3 / 8), (slice(3, 6), 3 / 8), (slice(6, 8), 2 / 8)):
        hidden = rows[cut] @ start["layers.0.weight"] + start["layers.0.bias"]
        wanted["running_mean"] += share * momentum * hidden.mean(0)
        wanted["running_variance"] += share * ((1 - momentum) + momentum * hidden.var(0))
    for name, value in wanted.items():
        np.testing.assert_allclose(alone[f"layers.1.{name}"], value, rtol=2e-5, atol=1e-6)
    assert same(trained(made, X[:8], Y[:8], settings, devices=["cpu"] * 2)[0], alone)


def test_dropout_leaves_out_the_same_elements_whatever_the_size() -> None:
    """Beside the training without micro-batches: rounding alone is another."""
    layers = [DENSE[0], {"type": "dropout", "rate": 0.4}, DENSE[1]]
    found = [trained(lambda: network(layers), X, Y, {}, micro_batch=m)[0] for m in (None, 1, 3, 4)]
    other = trained(lambda: network(layers, seed=5), X, Y, {"seed": 4})[0]
    for name, a in found[0].items():
        for b in found[1:]:
            np.testing.assert_allclose(a, b[name], rtol=1e-4, atol=1e-6)
        assert np.abs(a - other[name]).max() > 1e-3


@pytest.mark.slow
def test_samples_kept_on_the_device_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"micro_batch": 3, "batch_size": 7}
    fed, _ = trained(network, X, Y, settings)
    monkeypatch.setattr("loom.nn.train.programs._is_apart", lambda _where: True)
    assert same(trained(network, X, Y, settings)[0], fed)
    assert same(trained(network, X, Y, settings, devices=["cpu", "cpu"])[0], fed)


def test_a_crew_is_let_go_when_training_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[DeviceCrew] = []
    release = DeviceCrew.release
    monkeypatch.setattr(DeviceCrew, "release", lambda self: (released.append(self), release(self))[1])
    trained(network, X, Y, {"micro_batch": 4}, devices=["cpu", "cpu"])
    assert len(released) == 1
    assert released[0]._workers == []
