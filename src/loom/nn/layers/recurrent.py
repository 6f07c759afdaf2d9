"""``rnn``, ``lstm`` and ``gru``: a state carried from token to token, zero before the first.

Layer: nn. The inputs' share of all gates and tokens is one product, the state's share one per token. Backwards, a token
takes one product and one kernel, and weights and biases are reduced over all samples and tokens at once (k of these
products: the sample, then the token). First weights: even within +-sqrt(1 / hidden); biases 0, that of the lstm's
forget gate 1 (Jozefowicz and others 2015). Invariant: each gate is ``(x W_ih + b) + h W_hh``.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom import tensor
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Shape
from loom.nn.spec.layers.recurrent import GRU, LSTM, RNN, States
from loom.tensor import Tensor

__all__: list[str] = []

Parts = Sequence[Tensor]
"""Gates, each (batch, hidden)."""


@dataclass(frozen=True)
class _Cell:
    """What one token does.

    ``step(share, product, h, carried)`` gives h, what else is carried on, and what the derivative needs, of the inputs'
    share of the gates, the state's (None at the first token), and the state before. ``back(saved, before, g, carried)``
    gives the gradients of share, of the product and of what else was carried, and that of the state before but for its
    product, of what was saved at this token and the one before (None at the first), and the gradients of h and of what
    else was carried (None after the last). ``carries_level``: something else is carried, from token to token.
    """

    gates: int
    step: Callable[[Parts, Parts | None, Tensor | None, Tensor | None], tuple[Tensor, Tensor | None, Parts]]
    back: Callable[..., tuple[Parts, Parts, Tensor | None, Tensor | None]]
    carries_level: bool = False


def _init(config: Any, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    reach = math.sqrt(1 / config.hidden_size)
    made = {name: key.spread(name, s, reach) if len(s) == 2 else zeros(s) for name, s in shapes.items()}
    if isinstance(config, LSTM):
        made["bias_f"] = np.ones(shapes["bias_f"], np.float32)
    return made


def _unroll(cell: _Cell, config: RNN | LSTM | GRU, given: Tensor, biases: Sequence[Tensor], inner: Sequence[Tensor],
              inside: Tensor | None = None) -> Tensor:  # fmt: skip
    """Return the states of all tokens, or the last, of ``given``, the inputs' products (batch, tokens, gates).

    ``biases`` and ``inner``, the state's weights: one for each gate. ``inside``: what ``step`` adds to the last gate of
    the state's product.
    """
    bias = tensor.concat(biases, 0)
    shares = given + bias  # stands for its gradient: a token adds its own
    columns = tensor.concat([w.T for w in inner], 1)
    outputs: list[Tensor] = []
    saved: list[Tensor] = []
    product = h = carried = None
    for t in range(given.shape[1]):
        if h is not None:
            product = tensor.split(tensor.matmul(h, columns), cell.gates, 1)
        here = tensor.split(given[:, t], cell.gates, 1)
        share = [x + b for x, b in zip(here, tensor.split(bias, cell.gates), strict=True)]
        h, carried, kept = cell.step(share, product, h, carried)
        outputs.append(h)
        saved += kept
    every, held = tensor.stack(outputs, 1), tensor.stack(saved, 0)
    is_last, has_inside = config.output is States.LAST, inside is not None

    def vjp(node: Tensor, g: Tensor) -> list[Tensor | None]:
        reached = [None] * (len(outputs) - 1) + [g] if is_last else [g[:, t] for t in range(len(outputs))]
        _, weights, states, kept, *_ = node.inputs
        found = _backwards(cell, weights, states, kept, reached)
        return [found[0], found[1], None, None, *([found[2]] if has_inside else [])]

    sources = [shares, tensor.concat(inner, 0), every, held, *([] if inside is None else [inside])]
    return tensor.routed(outputs[-1] if is_last else every, sources, vjp)


def _advance(cell: _Cell, config: RNN | LSTM | GRU, given: Tensor, biases: Sequence[Tensor], inner: Sequence[Tensor],
             context: Context) -> Tensor:  # fmt: skip
    """Return the state after one token of a sequence that goes on from pass to pass; arguments as in ``_unroll``."""
    if given.shape[1] != 1:
        raise ShapeError(f"loom.nn, layer {context.name!r}", f"step mode gives an {config.kind} one token at a time",
                         expected="1 token", got=f"{given.shape[1]} tokens", remedy="Declare an input of one token",
                         )  # fmt: skip
    shape = (given.shape[0], config.hidden_size)
    before, level = context.carry("h", shape), context.carry("c", shape) if cell.carries_level else None
    product = tensor.split(tensor.matmul(before, tensor.concat([w.T for w in inner], 1)), cell.gates, 1)
    here = tensor.split(given[:, 0], cell.gates, 1)
    h, carried, _ = cell.step([x + b for x, b in zip(here, biases, strict=True)], product, before, level)
    context.keep("h", h)
    if carried is not None:
        context.keep("c", carried)
    return h if config.output is States.LAST else tensor.expand_dims(h, 1)


def _run(cell: _Cell, config: RNN | LSTM | GRU, given: Tensor, biases: Sequence[Tensor], inner: Sequence[Tensor],
         context: Context, inside: Tensor | None = None) -> Tensor:  # fmt: skip
    """Record a whole sequence, or, where passes carry state, its next token."""
    if context.record.carried is not None:
        return _advance(cell, config, given, biases, inner, context)
    return _unroll(cell, config, given, biases, inner, inside)


def _backwards(cell: _Cell, inner: Tensor, every: Tensor, held: Tensor, reached: Sequence[Tensor | None]) -> Any:
    """Return the gradients of the shares, the inner weights and the bias in the last gate of the state's product.

    ``reached``: the gradient of each token's state, where it is an output.
    """
    tokens, (batch, _, hidden) = len(reached), every.shape
    count = held.shape[0] // tokens
    saved = [[held[t * count + i] for i in range(count)] for t in range(tokens)]
    shares: list[Parts] = []
    products: list[Parts] = []
    direct = carried = None
    for t in reversed(range(tokens)):
        through = tensor.matmul(tensor.concat(products[-1], 1), inner) if products else None
        g = functools.reduce(operator.add, [x for x in (direct, through, reached[t]) if x is not None])
        share, product, direct, carried = cell.back(saved[t], saved[t - 1] if t else None, g, carried)
        shares.append(share)
        products.append(product)
    by_gate = [
        tensor.reshape(tensor.stack([x for parts in reversed(found) for x in parts], 1), (batch, tokens, -1))
        for found in (shares, products)
    ]
    later = tensor.reshape(by_gate[1][:, 1:], (-1, len(inner)))
    before = tensor.reshape(every[:, :-1], (-1, hidden))
    weights = tensor.matmul(later, before, transpose_a=True) if tokens > 1 else None
    return by_gate[0], weights, by_gate[1][:, :, -hidden:].sum((0, 1))


def _smooth(y: Tensor, g: Tensor) -> Tensor:
    """Return the gradient of x, y being sigmoid(x)."""
    return g * (y * (1 - y))


def _tangent(y: Tensor, g: Tensor) -> Tensor:
    """Return the gradient of x, y being tanh(x)."""
    return g * (1 - y * y)


def _total(share: Parts, product: Parts | None) -> Parts:
    return share if product is None else [x + h for x, h in zip(share, product, strict=True)]


def _rnn_step(share: Parts, product: Parts | None, _h: Any, _carried: Any) -> tuple[Tensor, None, Parts]:
    h = _total(share, product)[0].tanh()
    return h, None, [h]


def _rnn_back(saved: Parts, _before: Any, g: Tensor, _carried: Any) -> tuple[Parts, Parts, None, None]:
    share = [_tangent(saved[0], g)]
    return share, share, None, None


@layer(RNN, _init)
def apply_rnn(config: RNN, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: J. Elman, "Finding structure in time" (1990)."""
    given = tensor.matmul(x, weights["weight_ih"], transpose_b=True)
    cell = _Cell(1, _rnn_step, _rnn_back)
    return _run(cell, config, given, [weights["bias_h"]], [weights["weight_hh"]], context)


def _lstm_step(share: Parts, product: Parts | None, _h: Any, c: Tensor | None) -> tuple[Tensor, Tensor, Parts]:
    i, f, g, o = _total(share, product)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    held: Tensor = i * g if c is None else f * c + i * g
    level = held.tanh()
    return o * level, held, [i, f, g, o, held, level]


def _lstm_back(
    saved: Parts, before: Parts | None, g_h: Tensor, g_c: Tensor | None
) -> tuple[Parts, Parts, None, Tensor]:
    i, f, g, o, _, level = saved
    here = _tangent(level, g_h * o)
    total = here if g_c is None else g_c + here
    forget = tensor.zeros(f.shape, f.dtype) if before is None else _smooth(f, total * before[4])
    share = [_smooth(i, total * g), forget, _tangent(g, total * i), _smooth(o, g_h * level)]
    return share, share, None, total * f


@layer(LSTM, _init)
def apply_lstm(config: LSTM, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: S. Hochreiter and J. Schmidhuber (1997); F. Gers and others (2000)."""
    outer, biases, inner = ([weights[f"{name}_{g}"] for g in "ifgo"] for name in ("weight_ih", "bias", "weight_hh"))
    given = tensor.matmul(x, tensor.concat(outer, 0), transpose_b=True)
    return _run(_Cell(4, _lstm_step, _lstm_back, carries_level=True), config, given, biases, inner, context)


def _gru_step(bias: Tensor) -> Callable[..., tuple[Tensor, None, Parts]]:
    def step(share: Parts, product: Parts | None, h: Tensor | None, _carried: Any) -> tuple[Tensor, None, Parts]:
        r, z = (x.sigmoid() for x in _total(share[:2], product and product[:2]))
        inside = tensor.broadcast_to(bias, r.shape) if product is None else product[2] + bias
        n = (share[2] + r * inside).tanh()
        new = (1 - z) * n if h is None else (1 - z) * n + z * h
        return new, None, [r, z, n, inside, new]

    return step


def _gru_back(saved: Parts, before: Parts | None, g: Tensor, _carried: Any) -> tuple[Parts, Parts, Tensor, None]:
    r, z, n, inside, _ = saved
    g_n = _tangent(n, g * (1 - z))
    g_z = -(g * n) if before is None else g * before[4] + -(g * n)
    gates = [_smooth(r, g_n * inside), _smooth(z, g_z)]
    return [*gates, g_n], [*gates, g_n * r], g * z, None


@layer(GRU, _init)
def apply_gru(config: GRU, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: K. Cho and others (2014), the reset gate after the product."""
    outer, biases, inner = ([weights[f"{name}_{g}"] for g in "rzn"] for name in ("weight_ih", "bias", "weight_hh"))
    given, inside = tensor.matmul(x, tensor.concat(outer, 0), transpose_b=True), weights["bias_hn"]
    return _run(_Cell(3, _gru_step(inside), _gru_back), config, given, biases, inner, context, inside)
