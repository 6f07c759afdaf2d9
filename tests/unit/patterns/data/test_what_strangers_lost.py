"""Wrong answers that strangers got without a word, each once: NaNs lost, numbers rounded to be found, levels, NULs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import loom
from loom import data, signal, stats
from loom.core.errors import ArgumentError, DTypeError

NAN = math.nan


def test_no_number_is_rounded_to_be_found() -> None:
    assert data.is_in([1, 2], [1.5, 2.0]).tolist() == [False, True]
    assert data.is_in(np.array([44, 1], np.int8), [300, 1]).tolist() == [False, True]
    assert data.is_in(np.array([255], np.uint8), [-1]).tolist() == [False]
    assert data.is_in([2**53], [float(2**53), NAN]).tolist() == [True]
    assert data.is_in([2**53 + 1], [float(2**53)]).tolist() == [False]
    assert data.is_in([True, False], [2, 1]).tolist() == [True, False]
    assert data.is_in(np.array([0.1], np.float32), [0.1]).tolist() == [False]
    assert data.is_in(["a", "b", ""], ["b", "c"]).tolist() == [False, True, False]
    with pytest.raises(DTypeError, match="not all of it is text"):
        data.is_in(["a"], [1])


def test_a_nan_is_not_lost() -> None:
    strength = data.rsi([1.0, 2.0, NAN, 3.0])
    assert strength[0] == 100
    assert np.isnan(strength[1:]).all()
    assert all(math.isnan(side) for side in stats.linregress([1.0, 2.0, NAN], [1.0, 2.0, 3.0]))
    assert math.isnan(stats.linregress([1.0, 2.0, 4.0], [3.0, 3.0, 3.0]).r)
    assert math.isnan(stats.spearman([1.0, NAN, 3.0], [1.0, 2.0, 3.0]))
    assert math.isnan(stats.trim_mean([1.0, 2.0, 3.0, NAN], 0.25))
    assert np.isnan(data.drawdown([0.0, 1.0, 0.5])).tolist() == [True, False, False]
    assert np.isnan(data.drawdown([-1.0, -2.0])).all()


def test_a_nan_leaves_a_filter_without_feedback() -> None:
    found = signal.lfilter([0.5, 0.5], [1.0], [1.0, NAN, 1.0, 1.0])
    assert np.isnan(found).tolist() == [False, True, True, False]
    assert found[3] == 1


@pytest.mark.parametrize("of", [np.asarray, loom.array])
def test_what_does_not_vary_has_no_score(of: object) -> None:
    level, line = of(np.full(100, 0.1)), of(np.arange(100.0))  # type: ignore[operator]
    assert np.isnan(np.asarray(stats.zscore(level))).all()
    assert np.isnan(np.asarray(stats.correlation(level, line)))
    assert np.isnan(np.asarray(stats.skew(level)))
    assert np.isnan(np.asarray(stats.kurtosis(level)))
    assert np.isnan(np.asarray(stats.autocorrelation(level, 2))).all()
    both = np.asarray(stats.correlation(of(np.stack([np.full(100, 0.1), np.arange(100.0)]))))  # type: ignore[operator]
    assert np.isnan(both).tolist() == [[True, True], [True, False]]
    assert math.isinf(data.sharpe(np.full(100, 0.1)))


def test_texts_are_not_shortened() -> None:
    with pytest.raises(DTypeError, match="a text ends in a NUL"):
        data.group_by(["a", "a\0"])


def test_what_would_have_no_effect_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the bins have edges of their own"):
        stats.histogram([1.0], [0.0, 1.0], (5, 9))
    with pytest.raises(DTypeError, match="kernels have no complex numbers"):
        loom.gpu_cast([1.0], "complex64")
    with pytest.raises(DTypeError, match="not a whole number"):
        data.rolling([1.0], True)
    with pytest.raises(ArgumentError, match=r"rate.*out of range"):
        signal.butter(2, 0.5, rate=0)
    with pytest.raises(ArgumentError, match=r"delta.*out of range"):
        signal.savgol_filter(np.arange(9.0), 5, 2, 1, delta=0)


def test_every_number_is_taken() -> None:
    assert data.shift(np.array([1, 2]), 1, fill=0).tolist() == [0, 1]
    assert data.cut([1, 2], [0, 1, 2]).tolist() == [0, 1]
    assert data.rolling([1, 2, 4], 2).var().tolist() == [0.25, 1.0]
    assert data.rolling(np.array([1, 3, 2], np.float16), 3).median().dtype == np.float16
    assert stats.median([[1, 5], [3, 1]], 0).tolist() == [2, 3]
    assert stats.mode([True, False, True])
    assert stats.iqr(loom.array([1.0, 2.0, 3.0], dtype="bf16")).dtype == loom.bf16
    assert stats.autocorrelation([1, -1, 1, -1], np.int64(1)).tolist() == [1, -0.75]
    assert data.black_scholes(np.float32(100), 100.0, 1.0, 0.05, 0.2).price.dtype == np.float32
