"""Other layers move as the text of the seeds says; references in plain numpy, one sample at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import loom
from loom.nn.tween import TweenConfig
from tests.unit.nn.tween.references import depth, slope

Arrays = dict[str, Any]
RATE = 0.3


def slowly(value: Any) -> Any:
    """Return a parameter of the long sweep."""
    return pytest.param(value, marks=pytest.mark.slow)


def moved(layer: dict[str, Any], shape: list[int]) -> tuple[Arrays, Arrays, Arrays, Any, float]:
    """Return weights before and after one ``tween_chain`` update of dense, the layer, flatten and dense; the input that
    the layer met, its output's signal, and D."""
    layers = [layer, {"type": "flatten"}, {"type": "dense", "output_size": 2}]
    net = loom.Network.from_json({"format": "loom/1", "seed": 9, "input": {"shape": shape}, "layers": layers})
    rng = np.random.default_rng(4)
    net.load_weights({n: a + 0.2 * rng.normal(size=a.shape).astype(np.float32) for n, a in net.weights().items()})
    before = {n: a.astype(np.float64) for n, a in net.weights().items()}
    x, target = rng.normal(size=shape).astype(np.float32), np.array([1.0, -2.0], np.float32)
    inside: dict[str, Any] = {}
    model = net.model
    taps: dict[str, Any] = {}
    model.apply_all(loom.tensor.array(x[None]), taps=taps)
    made = taps["layers.0"][1].numpy()[0].astype(np.float64)
    out = net.forward(x).astype(np.float64)
    pushed = np.clip(target - out, -10, 10)
    g = np.clip(before["layers.2.weight"] @ pushed / math.sqrt(2), -10, 10) * 1.2  # the flatten layer's D
    signal = np.clip(g, -10, 10).reshape(made.shape)
    net.tween(mode="tween_chain").step(x, target, RATE)
    inside |= {"x": x.astype(np.float64), "a": made, "g": signal}
    return before, {n: a.astype(np.float64) for n, a in net.weights().items()}, inside, net, depth(2)


def same(after: Arrays, before: Arrays, moves: Arrays) -> None:
    """See that the layer's weights moved so, and those not named not at all."""
    for name in (n for n in before if n.startswith("layers.0.")):
        key = name.removeprefix("layers.0.")
        expected = before[name] + moves.get(key, 0)
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=2e-6, err_msg=name)
        if key in moves:
            assert np.abs(after[name] - before[name]).max() > 1e-4, name


@pytest.mark.parametrize("kind", [slowly("conv1d"), slowly("conv2d")])
def test_conv(kind: str) -> None:
    layer = {"type": kind, "filters": 3, "kernel_size": 2, "padding": 1, "activation": "tanh"}
    before, after, seen, _, d = moved(layer, [2, 5] if kind == "conv1d" else [2, 4, 3])
    g, flat, r = seen["g"].reshape(3, -1).mean(1), seen["x"].ravel(), RATE * 0.1 * d
    shape = before["layers.0.weight"].shape
    taps = flat[np.arange(math.prod(shape[1:])) % flat.size]
    same(after, before, {"weight": (r * np.outer(g, taps)).reshape(shape), "bias": r * g})


@pytest.mark.parametrize("kind", [slowly("rnn"), "lstm"])
def test_recurrent(kind: str) -> None:
    before, after, seen, _, d = moved({"type": kind, "hidden_size": 3}, [4, 2])
    p, r = seen["g"] * slope("tanh", seen["a"]), RATE * 0.5 * d
    shares = {"h": 1.0} if kind == "rnn" else {"i": 0.6, "f": 0.8, "g": 0.6, "o": 1.0}
    cut = 1.0 if kind == "rnn" else 0.5
    moves = {}
    for gate, share in shares.items():
        moves["weight_ih" if kind == "rnn" else f"weight_ih_{gate}"] = np.clip(r * share * p.T @ seen["x"], -cut, cut)
        moves[f"bias_{gate}"] = np.clip(r * share * p.sum(0), -cut, cut)
    same(after, before, moves)


@pytest.mark.parametrize("kind", ["layer_norm", slowly("rms_norm")])
def test_norms(kind: str) -> None:
    before, after, seen, _, d = moved({"type": kind}, [3, 4])
    total = RATE * 0.1 * d * seen["g"].sum(0)
    same(after, before, {"gamma": total} | ({"beta": total} if kind == "layer_norm" else {}))


def test_swiglu() -> None:
    before, after, seen, _, d = moved({"type": "swiglu", "inner_size": 5}, [3])
    w = {n.removeprefix("layers.0."): a for n, a in before.items()}
    x, g, r = seen["x"], seen["g"], RATE * 0.2 * d
    gate, up = x @ w["gate_weight"] + w["gate_bias"], x @ w["up_weight"] + w["up_bias"]
    inner = gate / (1 + np.exp(-gate)) * up
    both = np.broadcast_to((r * 0.8 * g.mean() * x)[:, None], (3, 5))
    same(after, before, {
        "down_weight": np.clip(r * np.outer(inner, g), -0.5, 0.5), "down_bias": r * g, "gate_weight": both,
        "up_weight": both, "gate_bias": np.full(5, r * 0.5 * g.mean()), "up_bias": np.full(5, r * 0.5 * g.mean()),
    })  # fmt: skip


@pytest.mark.parametrize("kv_heads", [slowly(2), 1])
def test_attention(kv_heads: int) -> None:
    layer = {"type": "multi_head_attention", "num_heads": 2, "num_kv_heads": kv_heads}
    before, after, seen, _, d = moved(layer, [3, 4])
    w = {n.removeprefix("layers.0."): a for n, a in before.items()}
    x, g, r = seen["x"], seen["g"], RATE * 0.2 * d
    q = (x @ w["q_weight"] + w["q_bias"]).reshape(3, 2, 2)
    k, v = ((x @ w[f"{n}_weight"] + w[f"{n}_bias"]).reshape(3, kv_heads, 2) for n in "kv")
    joined = []
    for h in range(2):
        scores = q[:, h] @ k[:, h % kv_heads].T / math.sqrt(2)
        e = np.exp(scores - scores.max(1, keepdims=True))
        joined.append(e / e.sum(1, keepdims=True) @ v[:, h % kv_heads])
    heads = g @ w["o_weight"].T / math.sqrt(4)  # (tokens, heads size)
    shared = heads if kv_heads == 2 else heads.reshape(3, 2, 2).sum(1)

    def by_heads(of: Any) -> Any:
        found = np.zeros((4, of.shape[1]))
        for t in range(3):
            for h in range(of.shape[1] // 2):
                s = np.clip(0.1 * r * x[t, 2 * h : 2 * h + 2] @ of[t, 2 * h : 2 * h + 2], -0.5, 0.5)
                found[:, 2 * h : 2 * h + 2] += x[t][:, None] * s
        return found

    same(after, before, {
        "o_weight": np.clip(r * np.concatenate(joined, 1).T @ g, -0.5, 0.5), "o_bias": r * g.sum(0),
        "v_weight": np.clip(r * x.T @ shared, -0.5, 0.5), "v_bias": r * shared.sum(0), "q_weight": by_heads(heads),
        "k_weight": by_heads(shared),
    })  # fmt: skip


HANDED = {
    "conv1d": lambda w, g, a, d: _first(w["weight"].reshape(3, -1).T @ np.clip(
        g * slope("tanh", a) * d, -10, 10).mean(1) / math.sqrt(3), 8),
    "rnn": lambda w, g, a, d: np.clip(g * slope("tanh", a) * d, -10, 10) @ w["weight_ih"] / math.sqrt(3),
    "lstm": lambda w, g, a, d: np.clip(g * slope("tanh", a) * d, -10, 10) @ sum(
        w[f"weight_ih_{k}"] for k in "ifgo") * 0.25 / math.sqrt(3),
    "layer_norm": lambda w, g, a, d: g * w["gamma"] * d,
    "swiglu": lambda w, g, a, d: (np.clip(g * d, -10, 10) @ w["down_weight"].T / math.sqrt(g.shape[-1]))[..., :4],
    "multi_head_attention": lambda w, g, a, d: np.clip(g * d, -10, 10) @ w["o_weight"].T / 2 @ (
        w["v_weight"] + 0.3 * (w["q_weight"] + w["k_weight"])).T / 2,
}  # fmt: skip


def _first(values: Any, size: int) -> Any:
    return np.concatenate([values, np.zeros(size)])[:size].reshape(2, 4)


@pytest.mark.parametrize("kind", [k if k == "swiglu" else slowly(k) for k in HANDED])
def test_what_is_handed_down(kind: str) -> None:
    """A stitch layer below moves by the signal that the layer hands it."""
    more = {"conv1d": {"filters": 3, "kernel_size": 2, "activation": "tanh"}, "rnn": {"hidden_size": 3},
            "lstm": {"hidden_size": 3}, "swiglu": {"inner_size": 5},
            "multi_head_attention": {"num_heads": 1}}  # fmt: skip
    layers = [{"type": "stitch", "output_size": 4}, {"type": kind, **more.get(kind, {})}]
    net = loom.Network.from_json({"format": "loom/1", "seed": 5, "input": {"shape": [2, 3]}, "layers": layers})
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, 3)).astype(np.float32)
    before = {n: a.astype(np.float64) for n, a in net.weights().items()}
    a = net.forward(x).astype(np.float64)
    target = (a + rng.normal(size=a.shape)).astype(np.float32)
    w = {n.removeprefix("layers.1."): v for n, v in before.items()}
    signal = HANDED[kind](w, target - a, a, 1.0)
    net.tween(mode="tween_chain").step(x, target, 0.5)
    moved_by = net.weights()["layers.0.bias"] - before["layers.0.bias"]
    np.testing.assert_allclose(moved_by, np.clip(0.5 * 1.2 * signal.sum(0), -1, 1), rtol=2e-5, atol=1e-6)


EVERY = {
    "gru": ([3, 2], {"hidden_size": 4}), "batch_norm": ([3], {}), "residual": ([4], {"layers": [
        {"type": "dense", "output_size": 4, "activation": "gelu"}]}),
    "sequential": ([4], {"layers": [{"type": "dense", "output_size": 3, "activation": "mish"}, {"type": "softmax"}]}),
    "kmeans": ([4], {"num_clusters": 3}),
}  # fmt: skip


@pytest.mark.parametrize("kind", [k if k == "kmeans" else slowly(k) for k in EVERY])
def test_other_layers_move_along_their_gradient(kind: str) -> None:
    """The move of the last layer is rate times its gradient, through the velocity for matrices: finite differences."""
    shape, more = EVERY[kind]
    net = loom.Network.from_json(
        {"format": "loom/1", "dtype": "f64", "seed": 5, "input": {"shape": shape}, "layers": [{"type": kind, **more}]}
    )
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, *shape))
    target = net.predict(x) + 0.3 * rng.normal(size=net.predict(x).shape)
    before, state = net.weights(), net.tween(mode="normal", config=TweenConfig(loss="mse"))

    def half(name: str, at: Any, by: float) -> float:
        changed = {n: a.copy() for n, a in before.items()}
        changed[name][at] += by
        net.load_weights(changed)
        return state.step(x, target, 0.0) * target.size / 2 / 2  # half the squared error, the mean over samples

    names = [n for n in net.model.parameters if n in before]
    places = {n: tuple(rng.integers(0, s) for s in before[n].shape) for n in names}
    slopes = {n: (half(n, p, 1e-5) - half(n, p, -1e-5)) / 2e-5 for n, p in places.items()}
    net.load_weights(before)
    net.tween(mode="tween_chain").step(x, target, 0.01)
    after = net.weights()
    rates = {"gru": 0.5, "batch_norm": 0.1, "kmeans": 0.1}
    for name, at in places.items():
        share = 0.1 if before[name].ndim > 1 else 1.0
        expected = -0.01 * rates.get(kind, 1.0) * share * slopes[name]
        assert after[name][at] - before[name][at] == pytest.approx(expected, rel=1e-4, abs=1e-10), name
