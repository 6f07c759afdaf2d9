"""Convolutions of planes and their gradients: bits of the products of copied windows, however much is packed at a time.

Oracle: the order of docs/numerics.md, section 2, in numpy (``canonical_matmul``, ``order_free_product``).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.numerics import canonical_bits
from loom.schedules.products import viewed, windows
from loom.tensor.arrays import convolution
from loom.tensor.arrays.convolution import convolve_planes
from loom.tensor.ops import correlating
from unit.patterns.linalg.matmul_order import canonical_matmul
from unit.patterns.linalg.order_free import order_free_product

CASES: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    ((3, 5, 7, 9), (6, 5, 3, 3), (1, 1), (1, 1)),
    ((2, 4, 11, 10), (9, 4, 3, 2), (2, 1), (0, 1)),
    ((2, 3, 8, 13), (5, 3, 2, 5), (1, 3), (1, 2)),
    ((3, 6, 29), (7, 6, 5), (2,), (2,)),
    ((1, 33, 5, 40), (3, 33, 3, 3), (1, 1), (1, 1)),  # a row longer than a vector, k of three blocks
]


def sample(*shape: int) -> Any:
    rng = np.random.default_rng(shape)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 6, shape)).astype(np.float32)


def columns_of(x: Any, window: Any, steps: Any, around: Any) -> Any:
    """Copy all windows: (window, channels, batch, places)."""
    d = len(window)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)])
    seen = np.lib.stride_tricks.sliding_window_view(x, window, tuple(range(2, d + 2)))
    seen = seen[(slice(None), slice(None), *(slice(None, None, s) for s in steps))]
    return np.ascontiguousarray(seen.transpose(*range(d + 2, 2 * d + 2), 1, 0, *range(2, d + 2)))


def expected(x: Any, w: Any, g: Any, steps: Any, around: Any, multiply: Any) -> tuple[Any, Any, Any]:
    """Multiply in the canonical order; add the places of windows in turn."""
    filters, channels, *window = w.shape
    d, matrix = len(window), np.moveaxis(w, 1, -1).reshape(filters, -1)
    columns = columns_of(x, window, steps, around)
    k = matrix.shape[1]
    made = multiply(matrix, columns.reshape(k, -1)).reshape(g.shape)
    by_weight = multiply(g.reshape(filters, -1), np.ascontiguousarray(columns.reshape(k, -1).T))
    by_weight = np.moveaxis(by_weight.reshape(filters, *window, channels), -1, 1)
    parts = multiply(np.ascontiguousarray(matrix.T), g.reshape(filters, -1)).reshape(columns.shape)
    whole = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)])
    total: Any = None
    for at in np.ndindex(*window):
        there = np.zeros_like(whole)
        put = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(at, columns.shape[d + 2 :], steps, strict=True))
        there[(slice(None), slice(None), *put)] = np.moveaxis(parts[at], 0, 1)
        total = there if total is None else total + there
    inner = tuple(slice(p, p + n) for p, n in zip(around, x.shape[2:], strict=True))
    return made, total[(slice(None), slice(None), *inner)], by_weight


def found(x: Any, w: Any, g: Any, steps: Any, around: Any, on: str, precision: str = "") -> list[Any]:
    with loom.precision(precision) if precision else nullcontext():
        held, weight = tensor.parameter(x, on=on), tensor.parameter(w, on=on)
        made = convolve_planes(held, weight, steps, around)
        return [t.numpy() for t in (made, *tensor.grad(made, [held, weight], seed=tensor.array(g, on=on)))]


def gradient_for(case: Any) -> Any:
    x, w, steps, around = case
    places = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(x[2:], around, w[2:], steps, strict=True)]
    return sample(w[0], x[0], *places)


@pytest.mark.parametrize("case", CASES)
def test_bits_of_copied_windows(case: Any, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little packed at a time: several stretches of columns and of images."""
    for name, value in (("_WORTH_TABLES", 0), ("_LEAST_SUMMED", 0)):
        monkeypatch.setattr(correlating, name, value)
    monkeypatch.setattr(viewed, "_PACKED_NBYTES", 1 << 14)
    monkeypatch.setattr(windows, "_COLUMNS_NBYTES", 1 << 14)
    monkeypatch.setattr(windows, "_COLUMNS_NBYTES_THREADS", 1 << 14)
    shape, window, steps, around = case
    x, w, g = sample(*shape), sample(*window), gradient_for(case)
    for a, b in zip(found(x, w, g, steps, around, on), expected(x, w, g, steps, around, canonical_matmul), strict=True):
        assert np.array_equal(canonical_bits(a), canonical_bits(b))


@pytest.mark.parametrize("precision", ["q12", *(pytest.param(n, marks=pytest.mark.slow) for n in ("q8", "q24"))])
def test_bits_of_whole_numbers(precision: str, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlating, "_WORTH_TABLES", 0)
    monkeypatch.setattr(correlating, "_LEAST_SUMMED", 0)
    monkeypatch.setattr(viewed, "_PACKED_NBYTES", 1 << 14)
    for case in (CASES[0], CASES[3]):
        shape, window, steps, around = case
        x, w, g = sample(*shape), sample(*window), gradient_for(case)
        wanted = expected(x, w, g, steps, around, lambda a, b: order_free_product(a, b, precision))
        for a, b in zip(found(x, w, g, steps, around, on, precision), wanted, strict=True):
            assert np.array_equal(canonical_bits(a), canonical_bits(b))


def test_a_gradient_of_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over more than 4096 places: chunks packed apart and joined."""
    x, w = sample(3, 8, 60, 50), sample(4, 8, 3, 3)
    g = sample(4, 3, 60, 50)
    wanted = expected(x, w, g, (1, 1), (1, 1), canonical_matmul)
    for nbytes in (1 << 14, 1 << 21, 1 << 26):
        monkeypatch.setattr(viewed, "_PACKED_NBYTES", nbytes)
        for a, b in zip(found(x, w, g, (1, 1), (1, 1), "cpu"), wanted, strict=True):
            assert np.array_equal(canonical_bits(a), canonical_bits(b))


@pytest.mark.parametrize("dtype", ["f16", pytest.param("f64", marks=pytest.mark.slow)])
def test_other_types_are_those_of_copies(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for limit in (0, 1 << 60):
        monkeypatch.setattr(correlating, "_WORTH_TABLES", limit)
        if limit:
            monkeypatch.setattr(convolution, "takes_windows", lambda *_: False)
        x, w = (tensor.parameter(sample(*s), dtype, on="cpu") for s in ((2, 3, 9, 8), (4, 3, 3, 3)))
        y = convolve_planes(x, w, (1, 1), (1, 1))
        made.append([t.numpy() for t in (y, *tensor.grad((y * y).sum(), [x, w]))])
    for a, b in zip(*made, strict=True):
        assert np.array_equal(canonical_bits(a), canonical_bits(b))


def test_second_derivatives_are_those_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for copied in (False, True):
        monkeypatch.setattr(correlating, "_WORTH_TABLES", 1 << 60 if copied else 0)
        if copied:
            monkeypatch.setattr(convolution, "takes_windows", lambda *_: False)
        x, w = tensor.parameter(sample(2, 3, 6, 5)), tensor.parameter(sample(4, 3, 3, 2))
        y = convolve_planes(x, w, (1, 2), (1, 0))
        first = tensor.grad((y * y * y).sum(), [x, w])
        made.append([t.numpy() for t in tensor.grad(sum((f * f).sum() for f in first), [x, w])])
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * np.abs(b).max())


def test_memory_does_not_grow_with_the_window() -> None:
    """Neither pass makes the copies of all windows, 9 times the image."""
    x, w = tensor.parameter(sample(8, 32, 64, 64)), tensor.parameter(sample(32, 32, 3, 3))
    y = convolve_planes(x, w, (1, 1), (1, 1))
    gradients = tensor.grad(y.sum(), [x, w])
    program = tensor.compile([y, *gradients])
    assert program.peak_nbytes < 7 * x.nbytes  # result, padded image, gradient and its seed; 2 + 8 MB packed
    program.free()
