"""Recurrent layers: their derivatives beside those of plain records, and what a token costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.nn.spec import parse
from loom.nn.weights.model import Model
from loom.tensor import Tensor

_HIDDEN, _INPUTS, _BATCH = 5, 3, 2
_GATES = {"rnn": "", "lstm": "ifgo", "gru": "rzn"}


def _model(kind: str, tokens: int, output: str = "sequence") -> Model:
    layer = {"type": kind, "hidden_size": _HIDDEN, "output": output}
    return Model(parse({"format": "loom/1", "input": {"shape": [tokens, _INPUTS]}, "layers": [layer]}), "interp")


def _weights(model: Model, kind: str) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return the inputs' weights, the biases and the state's weights, by gates."""
    held = {name.removeprefix("layers.0."): w for name, w in model.parameters.items()}
    if kind == "rnn":
        return [held["weight_ih"]], [held["bias_h"]], [held["weight_hh"]]
    return tuple([held[f"{name}_{g}"] for g in _GATES[kind]] for name in ("weight_ih", "bias", "weight_hh"))  # type: ignore[return-value]


def _plain(model: Model, kind: str, x: Tensor) -> list[Tensor]:
    """Return the states of all tokens, as the formulas have them; their derivatives are those of the record."""
    gates = max(1, len(_GATES[kind]))
    outer, biases, inner = (tensor.concat(parts, 0) for parts in _weights(model, kind))
    outputs: list[Tensor] = []
    h = c = None
    for t in range(x.shape[1]):
        share = tensor.split(tensor.matmul(x[:, t], outer, transpose_b=True) + biases, gates, 1)
        product = None if h is None else tensor.split(tensor.matmul(h, inner, transpose_b=True), gates, 1)
        total = share if product is None else [a + b for a, b in zip(share, product, strict=True)]
        if kind == "rnn":
            h = total[0].tanh()
        elif kind == "lstm":
            i, f, g, o = total
            new = i.sigmoid() * g.tanh()
            c = new if c is None else f.sigmoid() * c + new
            h = o.sigmoid() * c.tanh()
        else:
            r, z = total[0].sigmoid(), total[1].sigmoid()
            inside = model.parameters["layers.0.bias_hn"] + (0 if product is None else product[2])
            n = (share[2] + r * inside).tanh()
            h = (1 - z) * n if h is None else (1 - z) * n + z * h
        outputs.append(h)
    return outputs


@pytest.mark.parametrize("output", ["sequence", "last"])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_states_and_the_inputs_gradient_have_the_bits_of_the_plain_record(kind: str, output: str) -> None:
    model = _model(kind, 3, output)
    fed = tensor.input("x", (_BATCH, 3, _INPUTS))
    x = fed * 1.0
    every = _plain(model, kind, x)
    states = [model.apply(x, training=True), every[-1] if output == "last" else tensor.stack(every, 1)]
    gradients = [tensor.grad((y * y * y).sum(), [x])[0] for y in states]
    program = tensor.compile([*states, *gradients])
    program.run(x=np.random.default_rng(3).normal(size=fed.shape).astype(np.float32))
    y, y_plain, g, g_plain = program.read()
    assert y.view(np.uint32).tolist() == y_plain.view(np.uint32).tolist()
    assert (g + 0.0).view(np.uint32).tolist() == (g_plain + 0.0).view(np.uint32).tolist()
    assert np.abs(g).min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_gradients_of_gradients_are_those_of_the_plain_record(kind: str) -> None:
    model = _model(kind, 2)
    x = tensor.parameter(np.random.default_rng(4).normal(size=(_BATCH, 2, _INPUTS)).astype(np.float32), on="interp")
    wanted = [x, *model.parameters.values()]

    def second(y: Tensor) -> list[Tensor]:
        firsts = tensor.grad((y * y * y).sum(), wanted)
        return tensor.grad(sum(((g * g).sum() for g in firsts), start=(x * 0).sum()), wanted)

    program = tensor.compile([*second(model.apply(x, training=True)), *second(tensor.stack(_plain(model, kind, x), 1))])
    program.run()
    found = program.read()
    for one, other in zip(found[: len(wanted)], found[len(wanted) :], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_token_takes_two_products_and_two_kernels(kind: str) -> None:
    def dispatches(tokens: int) -> int:
        model = _model(kind, tokens)
        y = model.apply(tensor.input("x", (_BATCH, tokens, _INPUTS)), training=True)
        parameters: list[Any] = list(model.parameters.values())
        return tensor.compile(tensor.grad((y * y).sum(), parameters)).dispatches

    assert dispatches(6) - dispatches(5) == 4
