"""Names that people guess: each against numpy, scipy or torch, on arrays of every kind."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import loom
from deferred import functions_of
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError

RNG = np.random.default_rng(11)
X = RNG.normal(size=(3, 7)).astype(np.float32) * 4
ODD = np.array([0.0, -0.0, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan], np.float32)


def test_statistics_and_transforms_are_those_of_the_modules() -> None:
    assert loom.gpu_median is loom.stats.median
    assert (loom.gpu_std, loom.gpu_var) == (loom.stats.std, loom.stats.variance)
    assert (loom.gpu_fft, loom.gpu_transpose, loom.gpu_filter) == (
        loom.signal.fft, loom.linalg.transpose, loom.data.filter,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "numpys"), [
    ("gpu_floor", np.floor), ("gpu_round", np.rint), ("gpu_square", np.square), ("gpu_sign", np.sign),
    ("gpu_relu", lambda x: np.maximum(x, 0)),
])  # fmt: skip
def test_maps_as_in_numpy(name: str, numpys: Any) -> None:
    for data in (X, ODD, ODD.astype(np.float64), np.zeros(0, np.float32)):
        found, wanted = getattr(loom, name)(data), numpys(data)
        assert found.dtype == data.dtype
        assert np.array_equal(found, wanted, equal_nan=True)
        assert np.array_equal(getattr(loom, name)(loom.array(data)).numpy(), wanted, equal_nan=True)
    assert getattr(loom, name)([0.5, 2.0]).tolist() == numpys(np.array([0.5, 2.0])).tolist()


def test_maps_of_integers() -> None:
    for kind in (np.int8, np.int64, np.uint8, np.uint32):
        data = np.array([0, 1, 7, 100], kind) if np.dtype(kind).kind == "u" else np.array([-100, -1, 0, 5], kind)
        assert np.array_equal(loom.gpu_sign(data), np.sign(data))
        assert np.array_equal(loom.gpu_square(data), np.square(data))
        assert np.array_equal(loom.gpu_relu(data), np.maximum(data, 0))
    a, b = (x.reshape(-1) for x in np.meshgrid(np.arange(-9, 10), [-4, -1, 1, 3, 8]))
    assert np.array_equal(loom.gpu_mod(a, b), np.mod(a, b))
    assert loom.gpu_mod([5, -5], 0).tolist() == [5, -5]
    assert loom.gpu_mod([-7.5, 7.5], 2.0).tolist() == [0.5, 1.5]
    assert np.array_equal(loom.gpu_cumsum(np.arange(1000)), np.cumsum(np.arange(1000)))


@pytest.mark.parametrize(
    "given", [(5,), (2, 9), (2, 9, 3), (9, 2, -3), (2, 2), (0.0, 1.0, 0.125), (1.0, -1.0, -0.3), (3.5,)]
)
def test_ranges_as_in_numpy(given: tuple[float, ...]) -> None:
    found, wanted = loom.gpu_range(*given), np.arange(*given)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.allclose(found, wanted, rtol=1e-15, atol=1e-15)
    assert found.dtype != np.int64 or np.array_equal(found, wanted)


@pytest.mark.parametrize("given", [(0, 1, 0), (0.0, np.inf), (np.nan,), ("a",), (0, 2**40), (None, 5), (True,)])
def test_ranges_that_are_none(given: Any) -> None:
    with pytest.raises(ArgumentError, match=r"\[gpu_range\]"):
        loom.gpu_range(*given)


# parts of networks

Q, K, V = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 6)))
KINDS = {
    "numpy": lambda x: x, "list": lambda x: x.tolist(), "array": loom.array,
    "torch": functions_of(torch).from_numpy, "tensor": tensor.array,
}  # fmt: skip


def close(found: Any, wanted: torch.Tensor) -> bool:
    return bool(np.allclose(np.asarray(found), wanted.numpy(), rtol=2e-5, atol=2e-6))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_networks_as_in_torch(kind: str) -> None:
    make, x, weight = KINDS[kind], torch.from_numpy(X), torch.linspace(0.5, 2, 7)
    results = [
        (loom.gpu_softmax(make(X)), torch.softmax(x, -1)),
        (loom.gpu_softmax(make(X), 0), torch.softmax(x, 0)),
        (loom.gpu_silu(make(X)), torch.nn.functional.silu(x)),
        (
            loom.gpu_rmsnorm(make(X), make(weight.numpy()), epsilon=1e-5),
            torch.nn.functional.rms_norm(x, (7,), weight, 1e-5),
        ),
        (loom.gpu_attention(*map(make, (Q, K, V))), torch.nn.functional.scaled_dot_product_attention(
            *map(torch.from_numpy, (Q, K, V)))),
    ]  # fmt: skip
    for found, wanted in results:
        assert close(found, wanted)
        assert type(found) is {"array": loom.Array, "tensor": tensor.Tensor}.get(kind, np.ndarray)


def test_causal_attention_and_fewer_keys_than_queries() -> None:
    square = [RNG.normal(size=(2, 4, 5, 8)).astype(np.float32) for _ in range(3)]
    wanted = torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, square), is_causal=True)
    assert close(loom.gpu_attention(*square, causal=True), wanted)
    last = loom.gpu_attention(square[0][:, :, -1:], *square[1:], causal=True)  # as with a cache of keys
    assert close(last, wanted[:, :, -1:])
    fewer = [Q, K[:, :2], V[:, :2]]
    wanted = torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, fewer), enable_gqa=True)
    assert close(loom.gpu_attention(*fewer), wanted)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("start", [0, 3])
def test_rope_turns_pairs_by_the_formula(interleaved: bool, start: int) -> None:
    x = RNG.normal(size=(2, 5, 6))
    pairs = [(2 * d, 2 * d + 1) if interleaved else (d, d + 3) for d in range(3)]
    wanted = np.empty_like(x)
    for t in range(5):
        for d, (i, j) in enumerate(pairs):
            angle = (t + start) * 500.0 ** (-d / 3)
            turned = (x[:, t, i] + 1j * x[:, t, j]) * np.exp(1j * angle)
            wanted[:, t, i], wanted[:, t, j] = turned.real, turned.imag
    for kind, bar in ((np.float64, 1e-14), (np.float32, 1e-6)):
        found = loom.gpu_rope(x.astype(kind), base=500.0, start=start, interleaved=interleaved)
        assert found.dtype == kind
        assert np.allclose(found, wanted, rtol=0, atol=10 * bar)


@pytest.mark.parametrize("name", ["silu", "gelu", "relu", "tanh", "sigmoid"])
def test_feed_forward(name: str) -> None:
    up, gate, down = (RNG.normal(size=shape).astype(np.float32) for shape in ((7, 9), (7, 9), (9, 7)))
    act = getattr(torch.nn.functional, name) if name != "tanh" else torch.tanh
    x, tu, tg, td = map(torch.from_numpy, (X, up, gate, down))
    assert close(loom.gpu_ffn(X, up, down, activation=name), act(x @ tu) @ td)
    assert close(loom.gpu_ffn(X, up, down, gate=gate, activation=name), (act(x @ tg) * (x @ tu)) @ td)


def test_the_same_bits_on_every_device() -> None:
    for name, given in {"gpu_attention": (Q, K, V), "gpu_rope": (Q,), "gpu_softmax": (X,), "gpu_rmsnorm": (X,)}.items():
        cpu = getattr(loom, name)(*given, on="cpu")
        assert np.array_equal(getattr(loom, name)(*given, on="interp"), cpu)


@pytest.mark.parametrize(("wrong", "error", "text"), [
    (
        lambda: loom.gpu_softmax([1, 2]), DTypeError,
        "[gpu_softmax] unsupported dtype: expected floats, got i64.",
    ),
    (
        lambda: loom.gpu_attention(Q, K.astype(np.float64), V), DTypeError,
        "[gpu_attention, k] unsupported dtype: expected f32, got f64.",
    ),
    (lambda: loom.gpu_attention(Q, K[:, :3], V[:, :3]), ShapeError, "[gpu_attention] the shapes do not go together"),
    (lambda: loom.gpu_attention(Q, K, V[:, :, :5]), ShapeError, "[gpu_attention] the shapes do not go together"),
    (lambda: loom.gpu_attention([1.0], [1.0], [1.0]), ShapeError, "[gpu_attention] the shapes do not go together"),
    (lambda: loom.gpu_rope(X), ShapeError, "[gpu_rope] no pairs: expected (.., tokens, an even size), got (3, 7)."),
    (lambda: loom.gpu_rope(Q, start=-1), ArgumentError, "[gpu_rope, start] out of range"),
    (lambda: loom.gpu_ffn(X, X, X, activation="swish2"), ArgumentError, "no activation is called 'swish2'"),
    (lambda: loom.gpu_silu("ab"), DTypeError, "[gpu_silu] not numbers"),
])  # fmt: skip
def test_what_is_refused(wrong: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        wrong()
