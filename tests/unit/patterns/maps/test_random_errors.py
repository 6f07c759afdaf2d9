"""What ``loom.random`` refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import random
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError

WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], type[LoomError], str]] = [
    ("uniform", (-1,), {}, ShapeError,
     "[random.uniform, shape] unusable shape: expected lengths of at least 0, less than 2^32 elements in all, "
     "got -1. Check the lengths."),
    ("uniform", ((2, -3),), {}, ShapeError, "got (2, -3)"),
    ("uniform", ((2**16, 2**16),), {}, ShapeError, "less than 2^32 elements"),
    ("uniform", (2.5,), {}, DTypeError,
     "[random.uniform, shape] not a length: expected an int or a tuple of ints, got 2.5. Pass whole numbers."),
    ("bits", ("3",), {}, DTypeError, "[random.bits, shape] not a length"),
    ("bits", (True,), {}, DTypeError, "[random.bits, shape] not a length"),
    ("bits", (3,), {"seed": -1}, ArgumentError,
     "[random.bits, seed] out of range: expected 0 to 2^64 - 1, got -1. Take it modulo 2^64."),
    ("bits", (3,), {"seed": 2**64}, ArgumentError, "[random.bits, seed] out of range"),
    ("bits", (3,), {"seed": 1.0}, DTypeError,
     "[random.bits, seed] not a whole number: expected an int, got 1.0. Round it first."),
    ("normal", (3,), {"stream": 2**32}, ArgumentError,
     "[random.normal, stream] out of range: expected 0 to 2^32 - 1, got 4294967296. Take it modulo 2^32."),
    ("uniform", (3,), {"dtype": "int32"}, DTypeError,
     "[random.uniform] unsupported dtype: expected one of f32, f64, f16, bf16, got i32. "
     "Draw another dtype and convert."),
    ("bits", (3,), {"dtype": np.int32}, DTypeError, "expected one of u32, u64, got i32"),
    ("integers", (3, 0, 5), {"dtype": np.float32}, DTypeError,
     "expected one of i8, i16, i32, i64, u8, u16, u32, u64, got f32"),
    ("uniform", (3,), {"low": 2.0, "high": 2.0}, ArgumentError,
     "[random.uniform] no range: expected low < high, high - low finite in f32, got low=2.0, high=2.0. "
     "Pass the smaller one as low."),
    ("uniform", (3,), {"low": -3e38, "high": 3e38}, ArgumentError, "high - low finite in f32"),
    ("uniform", (3,), {"low": 1.0, "high": 1.0 + 2.0**-30}, ArgumentError, "low < high"),
    ("uniform", (3,), {"low": float("nan")}, ArgumentError,
     "[random.uniform, low] not finite: expected a finite f32, got nan. Pass an ordinary number."),
    ("uniform", (3,), {"high": 10**400}, ArgumentError, "[random.uniform, high] not finite"),
    ("uniform", (3,), {"high": "1"}, DTypeError,
     "[random.uniform, high] not a number: expected a float, got '1'. Pass one."),
    ("normal", (3,), {"std": -1.0}, ArgumentError,
     "[random.normal] negative std: expected at least 0, got -1.0. Pass its absolute value."),
    ("normal", (3,), {"mean": 1e39}, ArgumentError, "[random.normal, mean] not finite"),
    ("integers", (3, 5, 5), {}, ArgumentError,
     "[random.integers] no range: expected -9223372036854775808 <= low < high <= 9223372036854775808 for i64, "
     "got low=5, high=5. Pass the smaller one as low, or a wider dtype."),
    ("integers", (3, 0, 257), {"dtype": "uint8"}, ArgumentError, "0 <= low < high <= 256 for u8"),
    ("integers", (3, 0.5, 3), {}, DTypeError, "[random.integers, low] not a whole number"),
    ("bernoulli", (3, 1.5), {}, ArgumentError,
     "[random.bernoulli, p] not a probability: expected 0 to 1, got 1.5. Divide by the total."),
    ("dropout_mask", (3, -0.1), {}, ArgumentError, "[random.dropout_mask, rate] not a probability"),
    ("bernoulli", (3, float("nan")), {}, ArgumentError, "[random.bernoulli, p] not finite"),
    ("permutation", (-1,), {}, ArgumentError,
     "[random.permutation] n out of range: expected 0 to 2^32 - 1, got -1. Permute in parts."),
    ("permutation", ((2, 3),), {}, DTypeError, "[random.permutation, n] not a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "options", "error", "text"), WRONG)
def test_refusals(name: str, args: tuple[Any, ...], options: dict[str, Any], error: type[LoomError], text: str) -> None:
    with pytest.raises(error) as caught:
        getattr(random, name)(*args, **{"seed": 1, **options})
    assert text in str(caught.value)


def test_numpy_numbers_are_numbers() -> None:
    got = random.integers(np.int64(5), np.int32(0), np.uint8(10), seed=np.uint64(3), stream=np.int16(2))
    assert got.tolist() == random.integers(5, 0, 10, seed=3, stream=2).tolist()
    assert random.normal(4, seed=1, std=0).tolist() == [0.0] * 4
