"""Recurrent operators: RNN, GRU, LSTM, unrolled over time.

Layer: onnx. Invariant: a sequence shorter than the others keeps its last state, and gives zeros after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def _relu(x: Tensor) -> Tensor:
    return lt.maximum(x, 0)


def _affine(x: Tensor, a: float, b: float) -> Tensor:
    return x * a + b


def _threshold(x: Tensor, a: float) -> Tensor:
    return lt.where(x > a, x, lt.zeros_like(x))


def _tanh_scaled(x: Tensor, a: float, b: float) -> Tensor:
    return lt.tanh(x * b) * a


def _hard_sigmoid(x: Tensor, a: float, b: float) -> Tensor:
    return lt.clip(x * a + b, 0, 1)


_FUNCTIONS: dict[str, tuple[list[float], Callable[..., Tensor]]] = {
    "relu": ([], _relu), "tanh": ([], lt.tanh), "sigmoid": ([], lt.sigmoid), "affine": ([1.0, 0.0], _affine),
    "leakyrelu": ([0.01], lt.leaky_relu), "thresholdedrelu": ([1.0], _threshold),
    "scaledtanh": ([1.0, 1.0], _tanh_scaled), "hardsigmoid": ([0.2, 0.5], _hard_sigmoid), "elu": ([1.0], lt.elu),
    "softsign": ([], lt.softsign), "softplus": ([], lt.softplus),
}  # fmt: skip
"""Activations: what alpha (and beta) usually are, and the function of x and these."""


class _Direction:
    """The weights of one direction, and a step of it."""

    def __init__(self, call: NodeCall, at: int, size: int, functions: list[Callable[[Tensor], Tensor]]) -> None:
        self.kind, self.size, self.f = call.name, size, functions
        self.w, self.r = call.tensor(1)[at], call.tensor(2)[at]
        gates = _GATES[call.name]
        bias = call.maybe(3)
        zeros = lt.zeros((gates * size,), self.w.dtype)
        self.wb = zeros if bias is None else bias[at, : gates * size]
        self.rb = zeros if bias is None else bias[at, gates * size :]
        peep = call.maybe(7) if call.name == "LSTM" else None
        self.peep = None if peep is None else [peep[at, i * size : (i + 1) * size] for i in range(3)]
        self.after = call.flag("linear_before_reset") if call.name == "GRU" else False
        self.coupled = call.flag("input_forget") if call.name == "LSTM" else False
        bound = call.real("clip")
        self.bound: Callable[[Tensor], Tensor] = (lambda x: x) if not bound else (lambda x: lt.clip(x, -bound, bound))

    def part(self, x: Tensor, i: int) -> Tensor:
        return x[..., i * self.size : (i + 1) * self.size]

    def step(self, x: Tensor, h: Tensor, c: Any) -> tuple[Tensor, Any]:
        """Return the next states, of the products of x with the weights (and their bias) and the states."""
        f = self.f
        if self.kind == "RNN":
            return f[0](self.bound(x + lt.matmul(h, self.r, transpose_b=True) + self.rb)), None
        if self.kind == "GRU":
            return self._gru(x, h), None
        whole = x + lt.matmul(h, self.r, transpose_b=True) + self.rb
        i, o, g, n = (self.part(whole, k) for k in range(4))
        if self.peep is not None:
            i, g = i + self.peep[0] * c, g + self.peep[2] * c
        i = f[0](self.bound(i))
        g = 1 - i if self.coupled else f[0](self.bound(g))
        c = g * c + i * f[1](self.bound(n))
        o = o if self.peep is None else o + self.peep[1] * c
        return f[0](self.bound(o)) * f[2](c), c

    def _gru(self, x: Tensor, h: Tensor) -> Tensor:
        size, f = self.size, self.f
        early = lt.matmul(h, self.r[: 2 * size], transpose_b=True) + self.rb[: 2 * size]
        z, r = (f[0](self.bound(self.part(x, k) + self.part(early, k))) for k in range(2))
        last, bias = self.r[2 * size :], self.rb[2 * size :]
        if self.after:
            inner = r * (lt.matmul(h, last, transpose_b=True) + bias)
        else:
            inner = lt.matmul(r * h, last, transpose_b=True) + bias
        return (1 - z) * f[1](self.bound(self.part(x, 2) + inner)) + z * h


def _activations(call: NodeCall, directions: int) -> list[list[Callable[[Tensor], Tensor]]]:
    """Return the functions of each direction."""
    usual = _USUAL[call.name]
    names = call._attribute("activations", "STRINGS", None)  # pyright: ignore[reportPrivateUsage] - words
    words = [n.decode() for n in names] if names else usual * directions
    alphas, betas = list(call.reals("activation_alpha", [])), list(call.reals("activation_beta", []))
    if len(words) != len(usual) * directions or any(w.lower() not in _FUNCTIONS for w in words):
        raise call.refusal("activations", expected=f"{len(usual) * directions} of {', '.join(_FUNCTIONS)}", got=words)
    found: list[Callable[[Tensor], Tensor]] = []
    for word in words:
        usually, function = _FUNCTIONS[word.lower()]
        sources = [alphas, betas]
        numbers = [sources[i].pop(0) if sources[i] else number for i, number in enumerate(usually)]
        found.append(lambda x, f=function, n=numbers: f(x, *n))
    return [found[i : i + len(usual)] for i in range(0, len(found), len(usual))]


@operator("RNN", "GRU", "LSTM", since=7)
def _recurrent(call: NodeCall, x: Tensor) -> Made:
    size = call.integer("hidden_size", call.value(2).shape[-1])
    batch_first = call.flag("layout")
    x = lt.permute(x, (1, 0, 2)) if batch_first else x
    way = call.text("direction", "forward", ("forward", "reverse", "bidirectional"))
    count = 2 if way == "bidirectional" else 1
    if call.value(1).shape[0] != count or call.value(1).shape[1] != _GATES[call.name] * size:
        raise call.refusal("the weights do not fit", expected=(count, _GATES[call.name] * size),
                           got=call.value(1).shape)  # fmt: skip
    lengths = call.maybe(4)
    functions = _activations(call, count)
    results = [
        _run(call, _Direction(call, i, size, functions[i]), x, lengths, i, way == "reverse" or i == 1, batch_first)
        for i in range(count)
    ]
    y = lt.stack([r[0] for r in results], 1)  # (time, directions, batch, size)
    states = [lt.stack([r[k] for r in results], 0) for k in (1, 2) if k == 1 or call.name == "LSTM"]
    if batch_first:
        y, states = lt.permute(y, (2, 0, 1, 3)), [lt.permute(s, (1, 0, 2)) for s in states]
    return [y, *states]


def _run(
    call: NodeCall, step: _Direction, x: Tensor, lengths: Tensor | None, at: int, back: bool, batch_first: bool
) -> tuple[Tensor, Tensor, Any]:
    time, batch, _ = x.shape
    if not time:
        raise call.refusal("no steps", expected="at least 1", got=0)

    def start(i: int) -> Tensor:
        given = call.maybe(i)
        if given is None:
            return lt.zeros((batch, step.size), x.dtype)
        return given[:, at] if batch_first else given[at]

    h, c = start(5), start(6) if call.name == "LSTM" else None
    whole = lt.matmul(x, step.w, transpose_b=True) + step.wb
    found: list[Any] = [None] * time
    for t in reversed(range(time)) if back else range(time):
        next_h, next_c = step.step(whole[t], h, c)
        if lengths is None:
            h, c, found[t] = next_h, next_c, next_h
            continue
        here = lt.reshape(lengths > t, (-1, 1))
        found[t] = lt.where(here, next_h, lt.zeros_like(next_h))
        h = lt.where(here, next_h, h)
        c = None if c is None else lt.where(here, next_c, c)
    return lt.stack(found, 0), h, c
