"""A training step has the same bits on every device, for any number of threads and any vector width."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.tensor import Tensor, TensorProgram

_STEPS = 5
_Made = tuple[TensorProgram, list[Tensor], dict[str, Any]]


def _perceptron(on: str) -> _Made:
    """Return a training step (SGD), its parameters, and a batch to feed."""
    rng = np.random.default_rng(5)
    sizes, batch = (20, 16, 10), 8
    h, target = tensor.input("x", (batch, sizes[0])), tensor.input("t", (batch,), "i32")
    parameters: list[Tensor] = []
    for n, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        w = tensor.parameter((rng.normal(size=(rows, columns)) / rows**0.5).astype(np.float32), on=on)
        parameters += [w, tensor.parameter(np.zeros(columns, np.float32), on=on)]
        h = h @ w + parameters[-1]
        h = h.relu() if n == 0 else h
    loss = tensor.cross_entropy(h, target)
    updates = [(p, p - g * 0.1) for p, g in zip(parameters, tensor.grad(loss, parameters), strict=True)]
    feed = {
        "x": rng.normal(size=(batch, sizes[0])).astype(np.float32),
        "t": rng.integers(0, sizes[-1], batch).astype(np.int32),
    }
    return tensor.compile([loss], updates, on=on), parameters, feed


def _transformer(on: str) -> _Made:
    """Return a training step (Adam) of one block with an embedding, its parameters and state, and a batch."""
    rng = np.random.default_rng(6)
    batch, length, width, heads, words = 2, 5, 8, 2, 11

    def weight(*shape: int) -> Tensor:
        return tensor.parameter((rng.normal(size=shape) * 0.3).astype(np.float32), on=on)

    def by_head(y: Tensor) -> Tensor:
        return y.reshape(batch, length, heads, width // heads).permute(0, 2, 1, 3)

    table, up, down, scale, shift = weight(words, width), weight(width, 16), weight(16, width), weight(8), weight(8)
    q, k, v, o = (weight(width, width) for _ in range(4))
    parameters = [table, q, k, v, o, up, down, scale, shift]
    tokens, target = tensor.input("x", (batch, length), "i32"), tensor.input("t", (batch, length), "i32")
    x = tensor.gather(table, tokens)
    h = tensor.layer_norm(x, scale, shift)
    scores = by_head(h @ q) @ by_head(h @ k).mT * (width // heads) ** -0.5
    causal = tensor.arange(length).reshape(length, 1) >= tensor.arange(length)
    mixed = tensor.softmax(tensor.where(causal, scores, -1e9)) @ by_head(h @ v)
    x = x + mixed.permute(0, 2, 1, 3).reshape(batch, length, width) @ o
    x = x + tensor.gelu(tensor.rms_norm(x) @ up) @ down
    loss = tensor.cross_entropy(x @ table.T, target)
    updates: list[tuple[Tensor, Tensor]] = []
    for p, g in zip(parameters, tensor.grad(loss, parameters), strict=True):
        m, s = (tensor.parameter(np.zeros(p.shape, np.float32), on=on) for _ in range(2))
        m_next, s_next = m * 0.9 + g * 0.1, s * 0.99 + g * g * 0.01
        updates += [(m, m_next), (s, s_next), (p, p - m_next / (s_next.sqrt() + 1e-8) * 0.01)]
    numbers = rng.integers(0, words, (2, batch, length)).astype(np.int32)
    return tensor.compile([loss], updates, on=on), [p for p, _ in updates], {"x": numbers[0], "t": numbers[1]}


def _convnet(on: str) -> _Made:
    """Return a training step (SGD) of a convolution, a pool and a product, its parameters, and a batch."""
    rng = np.random.default_rng(8)
    x, target = tensor.input("x", (3, 7, 6, 2)), tensor.input("t", (3,), "i32")
    shapes = [(3, 3, 2, 4), (4,), (12, 5)]
    parameters = [tensor.parameter((rng.normal(size=s) * 0.3).astype(np.float32), on=on) for s in shapes]
    kernel, bias, w = parameters
    h = (tensor.convolve(x, kernel, padding=1, dilation=(1, 2)) + bias).relu()  # 7 x 4
    h = tensor.concat([tensor.max_pool(h, 2), tensor.average_pool(h, 2, (2, 1))[:, :, :1]], 2)  # 3 x 3
    loss = tensor.cross_entropy(h.mean(2).reshape(3, -1) @ w, target)
    updates = [(p, p - g * 0.05) for p, g in zip(parameters, tensor.grad(loss, parameters), strict=True)]
    feed = {"x": rng.normal(size=(3, 7, 6, 2)).astype(np.float32), "t": np.array([4, 0, 2], np.int32)}
    return tensor.compile([loss], updates, on=on), parameters, feed


_NETWORKS = {"perceptron": _perceptron, "transformer": _transformer, "convnet": _convnet}


def _digest(parameters: Sequence[Tensor]) -> str:
    return hashlib.sha256(b"".join(p.numpy().tobytes() for p in parameters)).hexdigest()


def _trained(name: str, on: str) -> tuple[str, list[float]]:
    """Return the digest of the parameters after some steps, and the losses."""
    step, parameters, feed = _NETWORKS[name](on)
    losses = []
    for _ in range(_STEPS):
        step.run(**feed)
        losses.append(step.read()[0].item())
    return _digest(parameters), losses


@functools.cache
def _reference(name: str) -> tuple[str, list[float]]:
    return _trained(name, "interp")


@pytest.mark.parametrize(
    ("threads", "simd"),
    [("1", "8"), ("2", "1"), ("2", "8")],
)
@pytest.mark.parametrize("name", _NETWORKS)
@pytest.mark.needs("vectors")
def test_vectors_have_the_bits_of_the_interpreter(
    name: str, on: str, threads: str, simd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _reference(name)
    monkeypatch.setenv("LOOM_THREADS", threads)
    monkeypatch.setenv("LOOM_SIMD", simd)
    assert _trained(name, on) == wanted


@pytest.mark.needs("threads")
@pytest.mark.parametrize("name", _NETWORKS)
def test_threads_have_the_bits_of_the_interpreter(name: str, on: str) -> None:
    assert _trained(name, on) == _reference(name)


@pytest.mark.parametrize("name", _NETWORKS)
def test_training_lowers_the_loss(name: str) -> None:
    losses = _reference(name)[1]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] - losses[-1] > 0.02
