"""Operators and functions of tensors beside the same words in kernels and patterns: one question, one answer.

The oracle of integers is ``docs/numerics.md``, section 1; that of histograms numpy, whose rules both doors promise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError

_INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // b,
    "%": lambda a, b: a % b, "<<": lambda a, b: a << b, ">>": lambda a, b: a >> b, "&": lambda a, b: a & b,
    "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "<": lambda a, b: a < b, "divmod": lambda a, b: divmod(a, b)[1],
}  # fmt: skip


def _pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of numbers at which integers turn: ends, zero, and counts of bits about the width."""
    limits = np.iinfo(dtype)
    values = [0, 1, 2, 3, 7, limits.bits - 1, limits.bits, limits.bits + 1, limits.max - 1, limits.max]
    values += [-1, -2, -3, -7, limits.min, limits.min + 1] if limits.min else []
    first, second = zip(*itertools.product(values, values), strict=True)
    return np.array(first, dtype), np.array(second, dtype)


@pytest.mark.parametrize("dtype", _INTEGERS)
def test_operators_of_integers_are_those_of_kernels(dtype: str) -> None:
    a, b = _pairs(dtype)
    x, y = tensor.array(a, on="cpu"), tensor.array(b, on="cpu")
    for name, operator in _OPERATORS.items():
        inside, outside = loom.gpu_map(a, operator, b, on="cpu"), operator(x, y).numpy()
        assert inside.dtype == outside.dtype, name
        assert np.array_equal(inside, outside), name


def test_integers_by_zero_and_shifts_by_the_width_are_what_the_contract_says() -> None:
    seven = tensor.array(np.array([7, -7], np.int32))
    assert (seven % 0).tolist() == [7, -7]
    assert (seven // 0).tolist() == [0, 0]
    assert (seven << tensor.array(np.array([33, 32], np.int32))).tolist() == [14, -7]
    assert (seven >> tensor.array(np.array([33, 32], np.int32))).tolist() == [3, -7]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "?"])
def test_products_have_the_order_of_sums(dtype: str) -> None:
    rng = np.random.default_rng(5)
    for n in (0, 1, 10, 63, 64, 65, 4096, 5000):
        x = (rng.integers(0, 3, n) if dtype in ("i4", "u1", "?") else 1 + rng.standard_normal(n) / 8).astype(dtype)
        found, expected = tensor.prod(tensor.array(x, on="cpu")).numpy(), loom.gpu_product(x, on="cpu")
        assert found.tobytes() == np.asarray(expected, found.dtype).tobytes(), n


def test_gradients_of_products_stand_zeros() -> None:
    x = tensor.parameter(np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]], np.float32))
    (found,) = tensor.grad(tensor.prod(x, axis=1).sum(), [x])
    assert found.tolist() == [[0, 6, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "i8", "u8"])
def test_both_histograms_are_those_of_numpy(dtype: str) -> None:
    rng = np.random.default_rng(6)
    for bins, limits in ((20, None), (7, None), (13, (0.1, 0.93)), (np.linspace(0, 1, 9), None)):
        for _ in range(5):
            drawn = np.round(rng.uniform(0, 1, 300), 2) if dtype[0] == "f" else rng.integers(0, 200, 300)
            x = drawn.astype(dtype)
            expected = np.histogram(x, bins, limits)
            pattern = loom.stats.histogram(x, bins, limits, on="cpu")
            array = [part.numpy() for part in tensor.histogram(tensor.array(x, on="cpu"), bins, limits)]
            for found in (pattern, array):
                assert found[0].tolist() == expected[0].tolist()
                assert found[1].tolist() == expected[1].astype(found[1].dtype).tolist()
            assert pattern[1].dtype == array[1].dtype


def test_edges_of_f32_are_computed_in_f32() -> None:
    x = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1], np.float32)
    expected = np.histogram(x, 10)
    for found in (loom.stats.histogram(x, 10), tensor.histogram(tensor.array(x), 10)):
        assert np.asarray(found[0]).tolist() == expected[0].tolist() == [1, 1, 0, 1, 1, 0, 1, 1, 1, 1]
        assert np.asarray(found[1]).tobytes() == expected[1].tobytes()


def test_neighbours_beyond_24_bits_stay_apart_in_a_histogram() -> None:
    x = np.array([16777216, 16777217], np.int32)
    assert tensor.histogram(tensor.array(x), 2)[0].tolist() == [1, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_histogram_of_what_has_no_extremes_is_refused_at_both_doors(bad: float) -> None:
    x = np.array([1.0, bad], np.float32)
    for call in (lambda: loom.stats.histogram(x), lambda: tensor.histogram(tensor.array(x))):
        with pytest.raises(ArgumentError, match=r"cannot be cut into bins.*Pass range=\(lowest, highest\)"):
            call()
    assert tensor.histogram(tensor.array(x), 2, (0, 2))[0].tolist() == [0, 1]


def test_spectra_of_integers_are_exact_where_f64_is() -> None:
    x = np.array([2**24 + 1, 1, 0, 0], np.int32)
    assert tensor.fft.fft(tensor.array(x)).tolist() == loom.signal.fft(x).tolist() == np.fft.fft(x).tolist()


def test_products_of_small_integers_are_wide_at_every_door() -> None:
    rng = np.random.default_rng(7)
    for dtype, wide in (("i1", "i4"), ("u1", "i4"), ("i2", "i4"), ("u2", "u4"), ("i4", "i4")):
        limits = np.iinfo(dtype)
        a, b = (rng.integers(limits.min, limits.max, shape, dtype=dtype) for shape in ((3, 9), (9, 2)))
        x, y = tensor.array(a, on="cpu"), tensor.array(b, on="cpu")
        expected = (a.astype("i8") @ b.astype("i8")).astype(wide)
        for found in (x @ y, tensor.linalg.matmul(x, y), tensor.tensordot(x, y, axes=1), tensor.einsum("ik,kj", x, y)):
            assert found.numpy().dtype == expected.dtype
            assert np.array_equal(found.numpy(), expected)
        assert np.array_equal(loom.gpu_matmul(a, b, on="cpu"), expected)
        assert tensor.matmul(x, y, out_dtype=x.dtype).numpy().tolist() == expected.astype(dtype).tolist()
        line, other = tensor.vecdot(x[0], y[:, 0]), loom.linalg.dot(a[0], b[:, 0], on="cpu")
        assert (line.item(), line.numpy().dtype) == (other, np.asarray(other).dtype)
