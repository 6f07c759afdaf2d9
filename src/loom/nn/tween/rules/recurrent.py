"""The rules of ``rnn`` and ``lstm``: token by token through the inputs' weights; the state's own weights stay.

Layer: nn. Source: the seeds' neural tweening. Invariant: no signal goes from token to token.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.tween.link import Handed, Link, Move, clip_finite, rows
from loom.nn.tween.rules.dense import through_slope
from loom.tensor import Tensor, matmul

__all__ = ["chain_lstm", "chain_rnn"]

_GATES = {"i": 0.6, "f": 0.8, "g": 0.6, "o": 1.0}
"""Gate of an lstm -> its share of a move."""


def _of_tokens(link: Link, signal: Tensor) -> Tensor:
    """Return the signal at every token: of a layer whose output is the last state, zeros at the others."""
    if signal.ndim == link.x.ndim:
        return signal
    last = tensor.expand_dims(signal, 1)
    return tensor.pad(last, [(0, 0), (link.x.shape[1] - 1, 0), (0, 0)])


def chain_rnn(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Down: clip(L W_ih / sqrt(hidden)); W_ih: clip(r (G tanh') x), b: clip(r G tanh')."""
    config = link.config
    before = _before(link, signal)
    pushed = tensor.clip(before * link.depth, -config.link_clip, config.link_clip)
    weight = link.matrix("weight_ih")
    down = clip_finite(matmul(pushed, weight) * (1 / math.sqrt(weight.shape[0])), config.link_clip)
    return Handed([down], _moves(link, before, rate, {"weight_ih": ("bias_h", 1.0)}, config.update_clip))


def chain_lstm(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Down: clip(scale sum of L W_ih of the gates / sqrt(hidden)); as rnn, each gate times its share, cut to .5."""
    config = link.config
    before = _before(link, signal)
    pushed = tensor.clip(before * link.depth, -config.link_clip, config.link_clip)
    total = link.matrix("weight_ih_i")
    for gate in "fgo":
        total = total + link.matrix(f"weight_ih_{gate}")
    down = matmul(pushed, total) * (config.lstm_gate_scale / math.sqrt(total.shape[0]))
    named = {f"weight_ih_{g}": (f"bias_{g}", share) for g, share in _GATES.items()}
    return Handed([clip_finite(down, config.link_clip)], _moves(link, before, rate, named, config.block_clip))


def _before(link: Link, signal: Tensor) -> Tensor:
    """Return G tanh' at every token."""
    found = through_slope(link, signal)
    assert found is not None
    return _of_tokens(link, found)


def _moves(
    link: Link, before: Tensor, rate: Tensor, named: dict[str, tuple[str, float]], bound: float
) -> dict[str, Move]:  # fmt: skip
    """Return the moves of the inputs' weights and biases: one product for all gates."""
    moves: dict[str, Move] = {}
    product = matmul(rows(before), rows(link.x), transpose_a=True)
    total = rows(before).sum(0)
    for weight, (bias, share) in named.items():
        if weight in link.weights:
            moves[weight] = Move(product * (link.speed(weight, rate) * share), bound)
        if bias in link.weights:
            moves[bias] = Move(total * (link.speed(bias, rate) * share), bound)
    return moves
