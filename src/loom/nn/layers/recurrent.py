"""``rnn``, ``lstm`` and ``gru``: a state carried from token to token, zero before the first.

Layer: nn. The inputs' share of all gates and tokens is one product, the state's share one per token. First weights:
even within +-sqrt(1 / hidden); biases 0, that of the lstm's forget gate 1 (Jozefowicz and others 2015). Invariant: each
gate is ``(x W_ih + b) + h W_hh``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom import tensor
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import GRU, LSTM, RNN, Shape, States
from loom.tensor import Tensor

__all__: list[str] = []

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""Inputs' share of a token, state (None before the first) -> output, state."""


def _init(config: Any, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    reach = math.sqrt(1 / config.hidden_size)
    made = {name: key.spread(name, s, reach) if len(s) == 2 else zeros(s) for name, s in shapes.items()}
    if isinstance(config, LSTM):
        made["bias_f"] = np.ones(shapes["bias_f"], np.float32)
    return made


def _joined(weights: Weights, name: str, gates: str) -> Tensor:
    return tensor.concat([weights[f"{name}_{g}"] for g in gates], 0)


def _unrolled(config: RNN | LSTM | GRU, shares: Tensor, step: Step, inner: Tensor | None = None) -> Tensor:
    """Return the states of all tokens, or the last, of the inputs' shares (batch, tokens, gates).

    ``inner``: weights whose product with the state ``step`` adds to the share by ``_carried``. Their gradient is taken
    here, as one product over all tokens: that of the share is that of the product.
    """
    outputs: list[Tensor] = []
    state = None
    if inner is not None:
        shares = tensor.routed(shares, [shares, inner], lambda _node, g: [g, _inner_gradient(g, outputs)])
    for t in range(shares.shape[1]):
        output, state = step(shares[:, t], state)
        outputs.append(output)
    return outputs[-1] if config.output is States.LAST else tensor.stack(outputs, 1)


def _inner_gradient(g: Tensor, outputs: Sequence[Tensor]) -> Tensor | None:
    if len(outputs) == 1:
        return None
    before = tensor.stack(outputs[:-1], 1)
    later = tensor.reshape(g[:, 1:], (-1, g.shape[2]))
    return tensor.matmul(later, tensor.reshape(before, (-1, before.shape[2])), transpose_a=True)


def _carried(h: Tensor, inner: Tensor) -> Tensor:
    """Return the state's share, whose gradient goes to the state alone."""
    product = tensor.matmul(h, inner, transpose_b=True)
    return tensor.routed(product, [h], lambda _node, g: [tensor.matmul(g, inner)])


def _parts(x: Tensor, count: int) -> Sequence[Tensor]:
    return tensor.split(x, count, 1)


@layer(RNN, _init)
def apply_rnn(config: RNN, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: J. Elman, "Finding structure in time" (1990)."""
    del context
    shares = tensor.matmul(x, weights["weight_ih"], transpose_b=True) + weights["bias_h"]

    def step(share: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        total = share if h is None else share + _carried(h, weights["weight_hh"])
        new = total.tanh()
        return new, new

    return _unrolled(config, shares, step, weights["weight_hh"])


@layer(LSTM, _init)
def apply_lstm(config: LSTM, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: S. Hochreiter and J. Schmidhuber (1997); F. Gers and others (2000)."""
    del context
    inner, outer = _joined(weights, "weight_hh", "ifgo"), _joined(weights, "weight_ih", "ifgo")
    shares = tensor.matmul(x, outer, transpose_b=True) + _joined(weights, "bias", "ifgo")

    def step(share: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        total = share if state is None else share + _carried(state[0], inner)
        i, f, g, o = _parts(total, 4)
        new = i.sigmoid() * g.tanh()
        c = new if state is None else f.sigmoid() * state[1] + new
        h = o.sigmoid() * c.tanh()
        return h, (h, c)

    return _unrolled(config, shares, step, inner)


@layer(GRU, _init)
def apply_gru(config: GRU, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: K. Cho and others (2014), the reset gate after the product."""
    del context
    inner, outer = _joined(weights, "weight_hh", "rzn"), _joined(weights, "weight_ih", "rzn")
    shares = tensor.matmul(x, outer, transpose_b=True) + _joined(weights, "bias", "rzn")

    def step(share: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        x_r, x_z, x_n = _parts(share, 3)
        if h is None:
            z, kept = x_z.sigmoid(), None
            n = (x_n + x_r.sigmoid() * weights["bias_hn"]).tanh()
        else:
            h_r, h_z, h_n = _parts(tensor.matmul(h, inner, transpose_b=True), 3)
            z = (x_z + h_z).sigmoid()
            n = (x_n + (x_r + h_r).sigmoid() * (h_n + weights["bias_hn"])).tanh()
            kept = z * h
        new = (1 - z) * n if kept is None else (1 - z) * n + kept
        return new, new

    return _unrolled(config, shares, step)
