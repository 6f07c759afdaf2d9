"""Recurrent operators, unrolled over time: LSTM, GRU, RNN, and their cells.

Layer: pytorch. Source: the docstrings of ``torch.nn`` (RNN, LSTM, GRU). Invariant: a layer's products with the inputs
are one product of all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom import tensor as lt
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_State = tuple[Tensor, Tensor | None]
_Step = Callable[[Tensor, Tensor, _State], _State]


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found = lt.matmul(x, weight, transpose_b=True)
    return found if bias is None else found + bias


def _lstm(given: Tensor, inner: Tensor, state: _State) -> _State:
    i, f, g, o = lt.split(given + inner, 4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh() if state[1] is not None else i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(given: Tensor, inner: Tensor, state: _State) -> _State:
    (r, z, n), (hr, hz, hn) = lt.split(given, 3, -1), lt.split(inner, 3, -1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return n + z * (state[0] - n), None


def _tanh(given: Tensor, inner: Tensor, state: _State) -> _State:
    del state
    return (given + inner).tanh(), None


def _relu(given: Tensor, inner: Tensor, state: _State) -> _State:
    del state
    return (given + inner).relu(), None


_STEPS: dict[str, _Step] = {"lstm": _lstm, "gru": _gru, "rnn_tanh": _tanh, "rnn_relu": _relu}


@operator("lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input")
def _recurrent(call: OpCall, x: Tensor) -> Made:
    weights = call.tensors("params")
    is_lstm = call.base == "lstm"
    first = call.tensors("hx") if is_lstm else [call.tensor("hx")]
    layers, ways = call.integer("num_layers"), 2 if call.flag("bidirectional") else 1
    rate, training = call.real("dropout"), call.flag("train")
    batch_first, biased = call.flag("batch_first"), call.flag("has_biases")
    x = lt.transpose(x, 0, 1) if batch_first else x
    count = len(weights) // (layers * ways)  # with a projection of the states, which stands last, if it is odd
    assert count in ((4, 5) if biased else (2, 3)), count
    ends: list[list[Tensor]] = [[] for _ in first]
    for layer in range(layers):
        made: list[Tensor] = []
        for way in range(ways):
            at = layer * ways + way
            own = weights[at * count : (at + 1) * count]
            state = first[0][at], first[1][at] if is_lstm else None
            every, last = _unroll(_STEPS[call.base], x, own, state, backwards=way == 1)
            made.append(every)
            for end, value in zip(ends, last, strict=False):
                end.append(value)  # type: ignore[arg-type]
        x = made[0] if ways == 1 else lt.concat(made, -1)
        if rate and training and layer + 1 < layers:
            x = call.drop(x, rate)[0]
    states = [lt.stack(end, 0) for end in ends]
    return [lt.transpose(x, 0, 1) if batch_first else x, *states]


def _unroll(
    step: _Step, x: Tensor, weights: Sequence[Tensor], state: _State, *, backwards: bool
) -> tuple[Tensor, tuple[Any, ...]]:
    """Return the states of all steps, in the order of time, and the last."""
    bias, inner_bias = (weights[2], weights[3]) if len(weights) >= 4 else (None, None)
    projection = weights[-1] if len(weights) % 2 else None
    given = _product(x, weights[0], bias)
    found: list[Any] = [None] * x.shape[0]
    for t in reversed(range(x.shape[0])) if backwards else range(x.shape[0]):
        state = step(given[t], _product(state[0], weights[1], inner_bias), state)
        if projection is not None:
            state = _product(state[0], projection, None), state[1]
        found[t] = state[0]
    return lt.stack(found, 0), state


@operator("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def _cell(call: OpCall, x: Tensor) -> Made:
    is_lstm = call.base == "lstm_cell"
    state: list[Any] = call.tensors("hx") if is_lstm else [call.tensor("hx"), None]
    given = _product(x, call.tensor("w_ih"), call.maybe("b_ih"))
    inner = _product(state[0], call.tensor("w_hh"), call.maybe("b_hh"))
    found = _STEPS[call.base.removesuffix("_cell")](given, inner, (state[0], state[1]))
    return list(found) if is_lstm else found[0]
