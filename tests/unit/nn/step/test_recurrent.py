"""Recurrent layers in step mode: a token a tick, the bits of the ordinary forward over the whole sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import LoomError
from loom.nn.step import generate, sample

TOKENS = 5


def network(layers: list[dict[str, Any]], shape: list[int], dtype: str = "f32", ids: str = "") -> loom.Network:
    given = {"shape": shape} | ({"dtype": ids} if ids else {})
    return loom.Network.from_json(
        {"format": "loom/1", "seed": 3, "dtype": dtype, "input": given, "layers": layers}, on="cpu"
    )


def shown(net: loom.Network, x: np.ndarray, **settings: Any) -> Any:
    """Return what the outputs show after each token's tick, then after those that empty the layers."""
    state, found = net.step(batch=len(x), **settings), []
    for t in range(x.shape[1] + state.depth - 1):
        if t < x.shape[1]:
            state.set_input(x[:, t])
        state.step_forward()
        found.append(state.get_output())
    return state, np.stack(found[state.depth - 1 :], 1)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_ticks_have_the_bits_of_the_sequence(kind: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, TOKENS, 3)).astype(np.float32)
    layers = [{"type": "dense", "output_size": 4, "activation": "tanh"}, {"type": kind, "hidden_size": 5},
              {"type": "dense", "output_size": 2}]  # fmt: skip
    net = network(layers, [TOKENS, 3])
    state, found = shown(net, x, gradient=None)
    assert found.tobytes() == net.forward(x).tobytes()
    assert sorted(state.tensors) == sorted(
        ["input", "layers.0", "layers.1", "layers.2", "layers.1.h", *(["layers.1.c"] if kind == "lstm" else [])]
    )


def test_tokens_of_ids_and_the_last_state() -> None:
    layers = [{"type": "embedding", "vocab_size": 7, "embedding_dim": 4}, {"type": "sequential", "layers": [
        {"type": "gru", "hidden_size": 5}, {"type": "lstm", "hidden_size": 3, "output": "last"}]},
        {"type": "dense", "output_size": 7}]  # fmt: skip
    net = network(layers, [TOKENS], ids="i32")
    x = np.random.default_rng(0).integers(0, 7, (3, TOKENS))
    _, found = shown(net, x, gradient=None)
    assert found.shape == (3, TOKENS, 7)
    assert found[:, -1].tobytes() == net.forward(x).tobytes()


@pytest.mark.parametrize("kind", ["lstm", *(pytest.param(k, marks=pytest.mark.slow) for k in ("rnn", "gru"))])
def test_gradient_through_time(kind: str) -> None:
    """With a horizon as long as the sequence, the gradient at its end is that of the ordinary training."""
    layers = [{"type": kind, "hidden_size": 3}, {"type": "dense", "output_size": 2, "activation": "tanh"}]
    net, rng = network(layers, [TOKENS, 2], "f64"), np.random.default_rng(1)
    x, g = rng.standard_normal((2, TOKENS, 2)), rng.standard_normal((2, 2))
    state, _ = shown(net, x, horizon=TOKENS + 1)
    state.step_backward(g)
    weights = net.weights()
    for name, found in state.gradients().items():
        at = tuple(n // 2 for n in found.shape)
        values = []
        for step in (1e-6, -1e-6):
            moved = {n: w.copy() for n, w in weights.items()}
            moved[name][at] += step
            net.load_weights(moved)
            values.append(float((net.forward(x)[:, -1] * g).sum()))
        assert abs(found[at] - (values[0] - values[1]) / 2e-6) < 1e-8, name
    net.load_weights(weights)


def test_what_mixes_tokens_is_refused() -> None:
    rnn = {"type": "rnn", "hidden_size": 4}
    for other, name in (
        ({"type": "multi_head_attention", "num_heads": 2}, "multi_head_attention"),
        ({"type": "flatten"}, "flatten"),
        ({"type": "conv1d", "filters": 4, "kernel_size": 1}, "conv1d"),
    ):
        net = network([rnn, other], [TOKENS, 4])
        with pytest.raises(LoomError, match=rf"layers\.1' \({name}\).*step mode"):
            net.step()
    with pytest.raises(LoomError, match="axis"):
        network([{"type": "parallel", "branches": [rnn, rnn], "combine_mode": "concat", "axis": 0}], [5, 4]).step()


def test_the_way_a_token_is_given_is_the_way_back() -> None:
    net = network([{"type": "rnn", "hidden_size": 4}], [TOKENS, 3])
    for shape, made in (((1, 1, 3), (1, 1, 4)), ((1, 3), (1, 4)), ((3,), (4,))):
        state = net.step()
        state.set_input(np.ones(shape))
        state.step_forward()
        assert state.get_output().shape == made
        assert state.step_backward(np.ones(made)).shape == shape


def text_network() -> loom.Network:
    layers = [{"type": "embedding", "vocab_size": 7, "embedding_dim": 4}, {"type": "lstm", "hidden_size": 6},
              {"type": "dense", "output_size": 7}]  # fmt: skip
    return network(layers, [TOKENS], ids="i32")


def test_tokens_pass_all_layers_at_once() -> None:
    net, x = text_network(), np.random.default_rng(0).integers(0, 7, (1, TOKENS))
    for gradient in (None, "true"):
        state = net.step(gradient=gradient)
        found = []
        for t in range(TOKENS):
            state.set_input(x[:, t])
            state.step_through()
            found.append(state.get_output())
        assert np.stack(found, 1).tobytes() == net.forward(x).tobytes()
        assert state.ticks == 3 * TOKENS


def test_what_is_drawn_goes_on() -> None:
    net = text_network()
    greedy = generate(net.step(gradient=None), [1, 2], 4, temperature=0)
    ids = [1, 2]
    for token in greedy:  # the ordinary forward of the whole sequence, padded behind
        x = np.array([[*ids[-TOKENS:], *[0] * (TOKENS - len(ids))]])
        if len(ids) <= TOKENS:
            assert token == net.forward(x)[0, len(ids) - 1].argmax()
        ids.append(int(token))
    drawn = [generate(net.step(gradient=None), [1, 2], 12, seed=s).tolist() for s in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]
    state = net.step(batch=2000, gradient=None)
    state.set_buffer("layers.2", np.tile(np.log([[1, 2, 3, 4, 5, 1, 4]]), (2000, 1, 1)).reshape(2000, 1, 7))
    chances = np.bincount(sample(state, seed=3).reshape(-1), minlength=7) / 2000
    assert np.abs(chances - np.array([1, 2, 3, 4, 5, 1, 4]) / 20).max() < 0.04
    for wrong in ([], [[1], [2]], 1):
        with pytest.raises(LoomError):
            generate(net.step(gradient=None), wrong, 1)
