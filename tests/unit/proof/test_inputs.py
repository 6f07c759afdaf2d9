"""The proof's inputs: Philox's published answers, every exponent, the spread promised."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom.proof.inputs import every_exponent, numbers, words


def test_philox_known_answer() -> None:
    # Random123, kat_vectors: philox4x32 10, counter and key zero
    assert [hex(w) for w in words(4, 0)] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


def test_words_are_a_prefix_of_more_words_and_differ_by_seed() -> None:
    assert np.array_equal(words(5, 7), words(100, 7)[:5])
    assert not np.array_equal(words(100, 7), words(100, 8))
    assert not np.array_equal(words(100, 7), words(100, 7 + 2**32))
    assert abs(float(words(100_000, 3).mean()) / 2**32 - 0.5) < 0.005


@pytest.mark.parametrize(("dtype", "exponents"), [(loom.f32, 256), (loom.f64, 2048)])
def test_stratified_has_every_exponent_of_both_signs(dtype: loom.DType, exponents: int) -> None:
    x = every_exponent(65_536, dtype, 1)
    bits = x.view(dtype.bits_numpy)
    assert len(np.unique(bits >> dtype.bits_numpy.type(dtype.bits - exponents.bit_length()))) == 2 * exponents
    assert np.isnan(x).any()
    assert np.isinf(x).any()
    assert ((x == 0) & np.signbit(x)).any()
    assert ((x != 0) & (np.abs(x) < np.finfo(dtype.numpy).tiny)).any()


def test_numbers_are_spread_as_asked() -> None:
    for dtype, low, high in ((loom.f32, 2.0**-6, 2.0**6), (loom.f64, 2.0**-6, 2.0**6), (loom.f16, 2.0**-6, 2.0**6)):
        x = np.abs(numbers((100, 50), dtype, 5).astype(np.float64))
        assert x.shape == (100, 50)
        assert low <= x.min() < 2 * low
        assert high / 2 < x.max() < high
    assert set(numbers(100, loom.bool_, 1).tolist()) == {True, False}
    assert numbers(1000, loom.i8, 1).min() < -120
    bf = numbers(1000, loom.bf16, 5).astype(np.uint32) << 16
    assert np.abs(bf.view(np.float32)).min() >= 2.0**-6
