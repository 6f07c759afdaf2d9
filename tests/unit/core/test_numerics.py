"""The numeric contract: canonical bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.numerics import NAN_BITS, Guarantee, canonical_bits

NANS = {
    np.float16: [0x7E00, 0xFE00, 0x7C01, 0x7FFF],
    np.float32: [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF],
    np.float64: [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0x7FFFFFFFFFFFFFFF],
}
QUIET = {np.float16: 0x7E00, np.float32: 0x7FC00000, np.float64: 0x7FF8000000000000}


@pytest.mark.parametrize("dtype", NANS, ids=lambda t: t.__name__)
def test_every_nan_becomes_the_one(dtype: Any) -> None:
    bits = np.array(NANS[dtype], f"u{np.dtype(dtype).itemsize}")
    assert canonical_bits(bits.view(dtype)).tolist() == [QUIET[dtype]] * 4
    assert NAN_BITS[np.dtype(dtype).itemsize * 8] == QUIET[dtype]


def test_all_other_bits_stay() -> None:
    values = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, 1e-45], np.float32)
    assert canonical_bits(values).tolist() == [0, 1 << 31, 0x3F800000, 0x7F800000, 0xFF800000, 1]


@pytest.mark.parametrize(
    ("array", "bits"),
    [
        (np.array([True, False]), [1, 0]),
        (np.array([-1, 5], np.int8), [255, 5]),
        (np.array([-1], np.int64), [2**64 - 1]),
        (np.zeros((0,), np.float32), []),
    ],
)
def test_integers_and_bools(array: np.ndarray[Any, Any], bits: list[int]) -> None:
    result = canonical_bits(array)
    assert result.dtype.kind == "u"
    assert result.tolist() == bits


def test_shape_is_kept_and_gaps_are_allowed() -> None:
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)
    result = canonical_bits(wide[:, ::2])
    assert result.shape == (3, 2)
    assert (result.view(np.float32) == wide[:, ::2]).all()
    assert canonical_bits(np.array([[True, False, True]])[:, ::2]).tolist() == [[1, 1]]


def test_the_input_is_left_alone() -> None:
    bits = np.array([0xFFFFFFFF], np.uint32)
    canonical_bits(bits.view(np.float32))
    assert bits[0] == 0xFFFFFFFF


def test_guarantees_are_ordered() -> None:
    assert Guarantee.FAST < Guarantee.RUN_TO_RUN < Guarantee.BIT_EXACT
