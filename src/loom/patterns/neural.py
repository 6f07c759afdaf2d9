"""Parts of neural networks as one call over arrays: softmax, norms, feed-forward, rotary positions, attention.

Layer: patterns, over tensors. Data are what patterns take, and tensors; floats only, all of one dtype. The result is a
tensor if one was given, else a numpy array. Invariant: bits are those of the
same tensor operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag
from loom.patterns.operand_kinds import require_alike
from loom.patterns.tensor_rows import answer, row
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["gpu_attention", "gpu_ffn", "gpu_rmsnorm", "gpu_rope", "gpu_silu", "gpu_softmax"]

_ACTIVATIONS = ("silu", "gelu", "relu", "tanh", "sigmoid")


@row("softmax", complexes=True)
def gpu_softmax(data: Any, axis: int = -1, *, on: str | Device | None = None) -> Any:
    """Return e^(x - max) over its sum along an axis (J. S. Bridle, 1990).

    >>> gpu_softmax([[0.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """


@row("silu", complexes=True)
def gpu_silu(data: Any, *, on: str | Device | None = None) -> Any:
    """Return x sigmoid(x) of every element (S. Elfwing and others, 2017)."""


@row("rms_norm", 2, complexes=True)
def gpu_rmsnorm(data: Any, weight: Any = None, *, epsilon: float = 1e-6, on: str | Device | None = None) -> Any:
    """Return x / sqrt(mean(x^2) + epsilon) along the last axis, times ``weight`` of its length (B. Zhang, 2019)."""


def gpu_ffn(
    data: Any, up: Any, down: Any, *, gate: Any = None, activation: str = "silu", on: str | Device | None = None
) -> Any:
    """Return a feed-forward layer: activation(x up) down, or (activation(x gate) * (x up)) down with a ``gate``.

    ``data`` is (..., width), ``up`` and ``gate`` (width, hidden), ``down`` (hidden, width). ``activation`` is silu,
    gelu, relu, tanh or sigmoid. Source: N. Shazeer, "GLU variants improve transformer" (2020).
    """
    operands = [data, up, down] if gate is None else [data, up, down, gate]
    return answer("gpu_ffn", _ffn, operands, {"activation": activation, "on": on}, ("data", "up", "down", "gate"))


def _ffn(x: Tensor, up: Tensor, down: Tensor, gate: Tensor | None = None, *, activation: str) -> Tensor:
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ArgumentError(
            "gpu_ffn", f"no activation is called {activation!r}", expected=", ".join(_ACTIVATIONS), got=activation,
            remedy="Use one of them",
        )  # fmt: skip
    require_alike("gpu_ffn", {"data": x, "up": up, "down": down, **({} if gate is None else {"gate": gate})})
    act: Callable[[Tensor], Tensor] = getattr(tensor, activation)
    hidden = tensor.matmul(x, up)
    hidden = act(hidden) if gate is None else act(tensor.matmul(x, gate)) * hidden
    return tensor.matmul(hidden, down)


@row("rope", complexes=True)
def gpu_rope(
    data: Any, *, base: float = 10000.0, start: int = 0, interleaved: bool = False, on: str | Device | None = None
) -> Any:
    """Return (..., tokens, size) with pairs of components turned by each token's angle (J. Su and others, 2021).

    Token t, counted from ``start``, turns pair d by t base^(-2 d / size). Pairs are (d, d + size / 2), or
    (2 d, 2 d + 1) if they are ``interleaved``. ShapeError for an odd size.
    """


def _attention(x: Tensor, keys: Tensor, values: Tensor, *, causal: bool = False) -> Tensor:
    require_alike("gpu_attention", {"q": x, "k": keys, "v": values})
    shape = (*x.shape[:-1], *values.shape[-1:])
    x, keys, values = _align_heads(x, keys, values)
    scores = tensor.matmul(x, keys, transpose_b=True) * (1 / math.sqrt(max(1, x.shape[-1])))
    if flag(causal, "gpu_attention, causal"):
        tokens, others = scores.shape[-2:]
        at, before = tensor.arange(tokens, dtype="i32"), tensor.arange(others, dtype="i32")
        seen = tensor.expand_dims(at + (others - tokens), 1) >= before
        chances = tensor.where(seen, tensor.softmax(tensor.where(seen, scores, -math.inf)), 0)
    else:
        chances = tensor.softmax(scores)
    return tensor.reshape(tensor.matmul(chances, values), shape)


def _align_heads(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three with axes that go together; ShapeError if they cannot."""
    alike = k.shape[:-1] == v.shape[:-1] and q.shape[-1] == k.shape[-1] and min(q.ndim, k.ndim, v.ndim) > 1
    heads, kept = (x.shape[-3] if x.ndim > 2 else 1 for x in (q, k))
    if alike and q.shape[:-2] == k.shape[:-2]:
        return q, k, v
    if not alike or q.ndim != k.ndim or q.shape[:-3] != k.shape[:-3] or not kept or heads % kept:
        raise ShapeError(
            "gpu_attention", "the shapes do not go together",
            expected="q (..., tokens, size), k (..., others, size), v (..., others, width)",
            got=f"{q.shape}, {k.shape} and {v.shape}", remedy="Reshape them",
        )  # fmt: skip
    grouped = tensor.reshape(q, (*q.shape[:-3], kept, heads // kept, *q.shape[-2:]))
    return grouped, tensor.expand_dims(k, -3), tensor.expand_dims(v, -3)


@row(_attention, 3)
def gpu_attention(q: Any, k: Any, v: Any, *, causal: bool = False, on: str | Device | None = None) -> Any:
    """Return softmax(q k^T / sqrt(size)) v (A. Vaswani and others, 2017).

    ``q`` is (..., tokens, size), ``k`` (..., others, size), ``v`` (..., others, width), with the same leading axes; the
    last of those, heads, may be fewer in ``k`` and ``v``, each then serving as many of ``q`` (J. Ainslie, 2023).
    ``causal``: the last token sees all others, each before it one less; one that sees none gives zeros.

    >>> import numpy
    >>> gpu_attention(numpy.zeros((1, 2)), numpy.zeros((2, 2)), numpy.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 3.0]]
    """
