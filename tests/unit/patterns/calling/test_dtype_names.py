"""Types by name mean the same everywhere, and what is asked for is given; numbers beside halves are halves."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import loom
from loom import signal, tensor
from loom.core.errors import ArgumentError, DTypeError


def _random_bits(dtype: Any) -> Any:
    return loom.random.bits(2, seed=1, dtype=dtype)


@pytest.mark.parametrize(("given", "kind"), [("i8", "int8"), ("u8", "uint8"), ("int64", "int64"), (np.int16, "int16"),
                                             ("f16", "float16"), ("float64", "float64"), (loom.f32, "float32"),
                                             ("bool", "bool")])  # fmt: skip
def test_a_name_of_a_type_means_the_same_everywhere(given: Any, kind: str) -> None:
    ones = np.ones(3)
    assert loom.gpu_cast(ones, given).dtype == kind
    assert loom.array(ones, dtype=given).numpy().dtype == kind
    assert loom.array([1, 1, 1], dtype=given).numpy().dtype == kind
    assert tensor.array(ones, given).numpy().dtype == kind


def test_numbers_drawn_at_random_have_the_type_named() -> None:
    assert loom.random.integers(3, 0, 100, seed=1, dtype="u8").dtype == np.uint8  # numpy's u8 has 8 bytes
    assert loom.random.integers(3, 0, 100, seed=1, dtype="i32").dtype == np.int32
    assert loom.random.uniform(3, seed=1, dtype="f16").dtype == np.float16  # numpy's f16 has 16 bytes
    assert loom.random.normal(3, seed=1, dtype="f64").dtype == np.float64
    assert _random_bits("u64").tolist() == _random_bits("uint64").tolist()
    with pytest.raises(DTypeError, match="unsupported dtype: expected one of u32, u64, got u8"):
        _random_bits("u8")


@pytest.mark.parametrize("name", ["f4", "<f8", "float", "i4"])
def test_names_that_numpy_alone_gives_are_refused(name: str) -> None:
    for ask in (lambda: loom.gpu_cast([1.0], name), lambda: loom.array([1.0], dtype=name),
                lambda: loom.random.uniform(2, seed=1, dtype=name), lambda: signal.hann(3, dtype=name)):  # fmt: skip
        with pytest.raises(DTypeError, match=f"no dtype is called {name!r}"):
            ask()


def test_windows_take_names_of_types() -> None:
    assert signal.hann(4, dtype="f64").tolist() == signal.hann(4, dtype=loom.f64).tolist()
    assert signal.firwin(3, 0.5, dtype="float64").dtype == np.float64


def test_an_array_is_converted_to_the_type_asked_for() -> None:
    given = [np.array([1.0, 2.0]), loom.array([1.0, 2.0]), tensor.array([1.0, 2.0]), [1, 2], range(1, 3), (1.0, 2.0)]
    for data in given:
        for kind in (loom.u8, loom.i64, loom.f16, loom.f32, loom.f64):
            made = loom.array(data, dtype=kind)
            assert made.dtype == kind
            assert made.numpy().dtype == kind.numpy
            assert made.tolist() == [1, 2]
        half = loom.array(data, dtype=loom.bf16)
        assert half.dtype == loom.bf16
        assert half.numpy().dtype == ml_dtypes.bfloat16
        assert half.tolist() == [1.0, 2.0]
    assert loom.array(np.array([0.1]), dtype=loom.f32).item() == np.float32(0.1)
    assert loom.array(half, dtype=loom.f64).tolist() == [1.0, 2.0]


def test_an_array_that_a_type_lacks_is_refused() -> None:
    for data in (np.array([1.5]), loom.array([1.5])):
        with pytest.raises(DTypeError, match=r"\[tensor.array\] 1.5 does not fit i32"):
            loom.array(data, dtype=loom.i32)
    with pytest.raises(DTypeError, match="does not fit f16"):
        loom.array(np.array([1e5]), dtype="f16")


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("device", ["cpu", "interp"])
def test_a_number_beside_halves_is_a_half(kind: Any, device: str) -> None:
    """As in numpy and in tensors; before, 0.1 stayed a float32 and 1e-9 was no zero."""
    x = np.array([1.5, np.inf, 1.0, 3.0, 7.0, -0.0, 2.0**-14], kind)
    for number in (0.1, 1 / 3, 1e-9, -0.0, 3e-8, np.float64(0.7), 3):
        with np.errstate(invalid="ignore"):
            wanted = (x.astype(np.float32) * np.float32(kind(number))).astype(kind)
        for got in (
            loom.gpu_mul(x, number, on=device),
            loom.gpu_map(x, lambda v, k: v * k, number, on=device),
            loom.gpu_mul(loom.array(x, on=device), number).numpy(),
            (tensor.array(x, on=device) * float(number)).numpy(),
        ):
            both_nan = np.isnan(got.astype("f4")) & np.isnan(wanted.astype("f4"))
            assert (both_nan | (got.view(np.uint16) == wanted.view(np.uint16))).all(), number


def test_a_number_that_halves_lack_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"\[gpu_add, argument 1\] 65520 does not fit f16: expected at most 65504.0"):
        loom.gpu_add(np.ones(2, np.float16), 65520)
    with pytest.raises(DTypeError, match="does not fit bf16"):
        loom.gpu_clip(np.ones(2, ml_dtypes.bfloat16), -3.4e38, 3.4e38)
    assert loom.gpu_minimum(np.ones(2, np.float16), np.inf).tolist() == [1.0, 1.0]


def test_a_range_of_small_integers_does_not_wrap() -> None:
    assert loom.gpu_range(np.int8(-100), np.int8(100), np.int8(50)).tolist() == [-100, -50, 0, 50]
    assert loom.gpu_range(np.uint8(3), np.uint8(0), -1).tolist() == [3, 2, 1]
    with pytest.raises(ArgumentError, match="unusable bounds"):
        loom.gpu_range(2**63, 2**63 + 2)
    assert loom.gpu_range(float(2**63), float(2**63 + 4096)).tolist() == (2.0**63 + np.arange(4096.0)).tolist()
