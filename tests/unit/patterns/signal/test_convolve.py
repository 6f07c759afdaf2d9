"""Convolution, correlation and filters: whole numbers exactly as numpy, floats in the order that is documented.

Tolerances: a convolution by transforms errs relative to the product of the norms, by less than 4 eps.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.signal

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError
from loom.patterns.signal import convolve, correlate, ema, fir_filter
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]

SIZES = (
    (1, 1),
    (5, 1),
    (1, 5),
    (7, 3),
    (7, 4),
    (8, 4),
    (3, 7),
    (4, 7),
    (4, 8),
    (5, 5),
    (300, 256),
    (257, 1000),
    (255, 600),
)
MODES = ("full", "same", "valid")


def whole_numbers(size: int, dtype: str) -> Array:
    return np.random.default_rng(size).integers(-60, 60, size).astype(dtype)


def normal(shape: Any, dtype: str, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *np.atleast_1d(shape)]).normal(size=shape).astype(dtype)


def sliding_sums(x: Array, taps: Array) -> Array:
    """Sums of x[i + k] taps[k] in the canonical order, from the document: blocks of 128, chunks of 4096, a tree."""
    count = x.size - taps.size + 1
    parts = []
    for chunk in range(0, taps.size, 4096):
        total = np.zeros(count, x.dtype)
        for block in range(chunk, min(chunk + 4096, taps.size), 128):
            part = np.zeros(count, x.dtype)
            for k in range(block, min(block + 128, chunk + 4096, taps.size)):
                part = part + x[k : k + count] * taps[k]
            total = total + part
        parts.append(total)
    while len(parts) > 1:
        pairs = itertools.zip_longest(parts[::2], parts[1::2])
        parts = [a if b is None else a + b for a, b in pairs]
    return parts[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_whole_numbers_are_exact(dtype: str, mode: Any) -> None:
    for m, n in SIZES:
        a, v = whole_numbers(m, dtype), whole_numbers(n, dtype)
        for ours, theirs in ((convolve, np.convolve), (correlate, np.correlate)):
            found = ours(a, v, mode, method="direct")
            assert same_bits(found, theirs(a, v, mode) + a.dtype.type(0)), (m, n)


def test_integers_wrap() -> None:
    a = np.array([2**30, 3], np.int32)
    assert convolve(a, np.array([4, 1], np.int32)).tolist() == [0, 2**30 + 12, 3]
    assert convolve(np.array([2**31], np.uint32), np.array([2], np.uint32)).tolist() == [0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n"), [(5, 3), (400, 1), (300, 129), (700, 300), (300, 700)])
def test_direct_sums_are_in_the_canonical_order(m: int, n: int, dtype: str) -> None:
    a, v = normal(m, dtype), normal(n, dtype, 1)
    long, short = (a, v) if m >= n else (v, a)
    padded = np.concatenate([np.zeros(short.size - 1, dtype), long, np.zeros(short.size - 1, dtype)])
    assert same_bits(convolve(a, v, method="direct"), sliding_sums(padded, short[::-1]))
    assert same_bits(convolve(a, v, "valid", method="direct"), sliding_sums(long, short[::-1]))


def test_taps_of_several_chunks_are_joined_by_the_tree() -> None:
    a, v = normal(9200, "float32"), normal(9000, "float32", 1)
    assert same_bits(convolve(a, v, "valid", method="direct"), sliding_sums(a, v[::-1]))


@pytest.mark.parametrize("what", ["direct", "chunks", "fft", "filter", "ema"])
def test_the_same_bits_everywhere(place: str, what: str) -> None:
    assert same_bits(run(what, place), run(what, "interp") if place != "interp" else run(what, "cpu"))


def run(what: str, on: str) -> Array:
    if what == "filter":
        return fir_filter(normal((2, 300), "float32"), normal(9, "float32", 1), on=on)
    if what == "ema":
        return ema(normal((3, 40, 2), "float32"), 0.3, axis=1, on=on)
    m, n = {"direct": (530, 140), "chunks": (4100, 4099), "fft": (60, 40)}[what]
    method = "fft" if what == "fft" else "direct"
    return convolve(normal(m, "float32"), normal(n, "float32", 1), "valid", method=method, on=on)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions_by_transforms(dtype: str) -> None:
    for (m, n), mode in itertools.product([(7, 4), (600, 513), (513, 3000)], MODES):
        a, v = normal(m, dtype), normal(n, dtype, 1)
        bound = 4 * np.finfo(dtype).eps * np.linalg.norm(a.astype(float)) * np.linalg.norm(v.astype(float))
        for ours, theirs in ((convolve, np.convolve), (correlate, np.correlate)):
            found, expected = ours(a, v, mode, method="fft"), theirs(a.astype(float), v.astype(float), mode)
            assert found.shape == expected.shape
            assert abs(found - expected).max() <= bound


def test_auto_looks_at_the_lengths_alone() -> None:
    a = normal(2000, "float32")
    for n, method in ((512, "direct"), (513, "fft")):
        v = normal(n, "float32", 1)
        assert same_bits(convolve(a, v), convolve(a, v, method=method))
        assert same_bits(convolve(v, a), convolve(v, a, method=method))
    assert convolve(np.ones(600, np.int32), np.ones(600, np.int32)).max() == 600


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_537])
def test_filters_are_scipys(size: int) -> None:
    x, taps = normal((2, size), "float64"), normal(17, "float64", 1)
    found = fir_filter(x, taps)
    assert found.shape == x.shape
    if size:
        assert abs(found - scipy.signal.lfilter(taps, 1, x)).max() < 1e-14 * 17
        assert same_bits(found[1], convolve(x[1], taps, method="direct")[:size]) or size < 17


def test_a_million() -> None:
    x, taps = normal(10**6, "float32"), normal(5, "float32", 1)
    padded = np.concatenate([np.zeros(4, np.float32), x])
    assert same_bits(fir_filter(x, taps), sliding_sums(padded, taps[::-1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
def test_moving_averages_are_the_recurrence(dtype: str, alpha: float) -> None:
    kind = np.dtype(dtype).type
    a, b = kind(alpha), kind(1.0 - alpha)
    x = normal((2, 70, 3), dtype)
    expected = x.copy()
    for i in range(1, 70):
        expected[:, i] = a * x[:, i] + b * expected[:, i - 1]
    assert same_bits(ema(x, alpha, axis=1), expected)
    assert same_bits(ema(x.swapaxes(1, 2), alpha), np.ascontiguousarray(expected.swapaxes(1, 2)))
    assert same_bits(ema(x, alpha, axis=None).reshape(-1), ema(x.reshape(-1), alpha))
    assert ema(np.zeros((3, 0), dtype), alpha).shape == (3, 0)
    assert ema(np.ones(1, dtype), alpha).tolist() == [1]


def test_results_stay_on_the_device() -> None:
    a, v = loom.array(normal(20, "float32")), normal(3, "float32", 1)
    assert isinstance(convolve(a, v), loom.Array)
    assert isinstance(fir_filter(a, v), loom.Array)
    assert same_bits(ema(a, 0.5).numpy(), ema(a.numpy(), 0.5))


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[signal.convolve, mode\] 'ful' is not known. Did you mean 'full'"):
        convolve([1], [1], "ful")
    with pytest.raises(ArgumentError, match=r"\[signal.correlate, method\] 'ftf' is not known. Did you mean 'fft'"):
        correlate([1], [1], method="ftf")
    with pytest.raises(EmptyError, match=r"\[signal.convolve, a\] no elements: expected at least 1, got 0"):
        convolve([], [1.0])
    with pytest.raises(EmptyError, match=r"\[signal.fir_filter, taps\] no elements"):
        fir_filter([1.0], [])
    with pytest.raises(DTypeError, match=r"\[signal.convolve, v\] operands of different types: expected f32, got f64"):
        convolve(np.ones(3, np.float32), np.ones(3))
    with pytest.raises(DTypeError, match=r"\[signal.convolve, method\] fft takes floats"):
        convolve([1, 2], [1, 2], method="fft")
    with pytest.raises(ShapeError, match=r"\[signal.convolve, a\] wrong number of dimensions: expected 1, got 2"):
        convolve([[1]], [1])
    with pytest.raises(ArgumentError, match=r"\[signal.ema, alpha\] out of range: expected 0 to 1, got 1.5"):
        ema([1.0], 1.5)
    with pytest.raises(ArgumentError, match=r"\[signal.ema, alpha\] out of range: expected 0 to 1, got '0.5'"):
        ema([1.0], "0.5")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"\[signal.ema, axis\] there is no such axis: expected -1 to 0, got 1"):
        ema([1.0], 0.5, axis=1)
