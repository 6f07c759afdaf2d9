"""Scales: what they promise, what they refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, LoomError, NotFinite
from loom.core.narrow import RULES, TYPES, NumericKind, StoredArray, store
from sweep import check_each

ml_dtypes = pytest.importorskip("ml_dtypes")

WHOLE = [t for t in TYPES if TYPES[t].kind in (NumericKind.SIGNED, NumericKind.UNSIGNED)]


def _weights(shape: tuple[int, ...] = (6, 11), dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(5).standard_normal(shape) * 0.3).astype(dtype)


@pytest.mark.parametrize("name", WHOLE)
def test_integers_are_half_a_scale_off_at_most(name: str) -> None:
    check_each(_is_half_a_scale_off_at_most, [name], ["auto", "row", "channel"], [False, True])


def _is_half_a_scale_off_at_most(name: str, rule: str, power: bool) -> None:
    x = _weights()
    stored = store(x, name, scales=rule, power_of_two=power)
    assert stored.scale is not None
    assert (np.abs(stored.decode() - x) <= stored.scale.astype(np.float64) * 0.5000001 + 2.0**-52).all()
    assert stored.scale.shape == {"auto": (), "row": (6, 1), "channel": (1, 11)}[rule]
    assert stored.scale.dtype == np.float32
    if power:
        assert (np.frexp(stored.scale)[0] == 0.5).all()


@pytest.mark.parametrize("name", TYPES)
def test_zeros_stay_zeros(name: str) -> None:
    for shape in ((3, 5), (4,), (), (0,), (2, 0)):
        for rule in RULES:
            if TYPES[name].kind is NumericKind.BINARY and rule == "none":
                continue  # a sign has no 0
            stored = store(np.zeros(shape, np.float32), name, scales=rule)
            found = stored.decode()
            assert found.shape == shape
            assert not found.any()
            assert not np.isnan(found).any()


@pytest.mark.parametrize("name", TYPES)
def test_one_number_and_odd_counts(name: str) -> None:
    assert store(np.float32(0.75), name).decode().shape == ()
    for count in (1, 3, 5, 7):
        x = _weights((count,))
        stored = store(x, name)
        assert len(stored.data) == -(-count * TYPES[name].bits // 8)
        assert stored.decode().shape == (count,)
        assert np.array_equal(store(np.append(x, np.float32(0)), name).codes()[:count], stored.codes())


@pytest.mark.parametrize("name", TYPES)
def test_tiny_and_huge_arrays_are_scaled(name: str) -> None:
    if TYPES[name].is_float and TYPES[name].bits > 8:
        return
    for size, dtype in ((1e-45, np.float32), (3.4e38, np.float32), (5e-324, np.float64), (1.7e308, np.float64)):
        x = np.array([size, -size, 0.0], dtype)
        for power in (False, True):
            found = store(x, name, power_of_two=power).decode()
            assert np.isfinite(found).all()
            assert (np.sign(found[:2]) == [1, -1]).all() or name in ("u2", "u4", "i2"), (name, size, found)


def test_signs_and_ternaries_have_the_least_squared_error() -> None:
    """No other scale of a fine grid does better."""
    x = _weights((64,), np.float64)
    for name in ("ternary", "binary"):
        stored = store(x, name)
        error = float(((stored.decode() - x) ** 2).sum())
        for scale in np.linspace(0.01, 1.2, 400):
            assert error <= float(((store(x, name, scales=scale).decode() - x) ** 2).sum()) * (1 + 1e-12)
    assert store(np.array([0.0, -0.0, -1, 3]), "binary").codes().tolist() == [1, 1, -1, 1]


def test_storage_of_any_type_in_any_other() -> None:
    """All pairs: what was stored is stored again, within what the second type can hold of it."""
    x = _weights((5, 8))
    for first in TYPES:
        once = store(x, first).decode().astype(np.float32)
        reach = float(np.abs(once).max())
        for second, kind in TYPES.items():
            twice = store(once, second)
            away = np.abs(twice.decode() - once)
            if kind.is_float:
                step = np.maximum(np.abs(once), reach / 6 if kind.bits == 4 else reach * 2.0**-20) * 2.0**-kind.digits
                assert (away <= step * 1.01 + (2.0**-25 if second == "f16" else 0)).all(), (first, second)
            elif second in WHOLE:
                assert twice.scale is not None
                assert (away <= float(twice.scale) * 0.5000001 + 2.0**-52).all(), (first, second)
            else:
                assert float((away**2).sum()) <= float((once**2).sum()) * (1 + 1e-12)
        again = store(once, first)
        if first not in ("i2", "u2", "u4", "u8", "u16", "u32", "u64"):
            assert np.allclose(again.decode(), once, rtol=1e-6, atol=0), first


def test_arrays_of_other_libraries_and_byte_orders() -> None:
    x = np.array([1.0, -0.5, 0.5, 3.0], np.float32)
    wanted = store(x, "i8").data
    assert store(x.astype(">f4"), "i8").data == wanted
    assert store(x[::-1][::-1], "i8").data == wanted
    for other in (
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float4_e2m1fn,
        np.float16,
    ):
        assert store(x.astype(other), "i8").data == wanted
    assert store(np.array([1, -1, 0], ml_dtypes.int4), "ternary", scales=1.0).codes().tolist() == [1, -1, 0]
    assert store(np.array([3, -2]), "i8", scales="none").codes().tolist() == [3, -2]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: store([1.0, np.nan], "i8"), NotFinite, "got 1 others, the first at (1,)"),
        (lambda: store([np.inf], "f8"), NotFinite, "an element is inf"),
        (lambda: store([1.0], "int3"), DTypeError, "int8"),
        (lambda: store([1.0], ml_dtypes.float8_e4m3), DTypeError, "float8_e4m3"),
        (lambda: store([1.0], None), DTypeError, "not a type of storage"),
        (lambda: store([1.0], 7), DTypeError, "not a type of storage"),
        (lambda: store([1.0], "f8_e4m4"), DTypeError, "f8_e4m3"),
        (lambda: store([1.0], np.complex64), DTypeError, "complex64"),
        (lambda: store([1.0], "i8", scales=0.0), ArgumentError, "expected finite numbers above 0, got 0.0"),
        (lambda: store([1.0], "i8", scales=np.inf), ArgumentError, "got inf"),
        (lambda: store([1.0], "i8", scales=-1), ArgumentError, "got -1.0"),
        (lambda: store([1.0], "i8", scales="chanel"), ArgumentError, "channel"),
        (lambda: store([1.0], "i8", scales=[1.0, 2.0]), ArgumentError, "does not fit"),
        (lambda: store([1.0], "i8", scales=1.0, power_of_two=True), ArgumentError, "no effect"),
        (lambda: store([1.0], "i8", power_of_two="yes"), LoomError, "power_of_two"),
        (lambda: store([[1.0]], "i8", scales="channel", channel=2), ArgumentError, "no such axis"),
        (lambda: store(["a"], "i8"), DTypeError, "store"),
        (lambda: store([2**60 + 1], "i64", scales="none"), DTypeError, "integers that f64 does not hold"),
        (lambda: StoredArray(TYPES["i4"], (3,), b"1", np.ones(())), ArgumentError, "expected 2 for 3 elements of i4"),
        (lambda: StoredArray(TYPES["i8"], (1,), b"1"), ArgumentError, "no numbers without a scale"),
        (lambda: StoredArray(TYPES["ternary"], (1,), b"\2", np.ones(())), ArgumentError, "none of -1, 0 and 1"),
    ],
)  # fmt: skip
def test_bad_input_is_told(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert text in str(found.value)


def test_stored_arrays_are_copied_whole() -> None:
    stored = store(_weights(), "u4", scales="row")
    again = pickle.loads(pickle.dumps(stored))
    assert again.dtype is stored.dtype
    assert np.array_equal(again.decode(), stored.decode())
