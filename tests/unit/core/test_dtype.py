"""Element types: lookups by name and from numpy, sizes and limits, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from loom.core import dtype as types
from loom.core.dtype import SCALARS, DType, complex_of, dtype_of, lookup, of_numpy
from loom.core.errors import DTypeError, KernelTypeError
from loom.ir.frontend.base.annotations import In

INTEGER_NAMES = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]


@pytest.mark.parametrize("name", [*SCALARS, "f32x2", "u8x4", "boolx3", "bf16x2"])
def test_one_object_per_type(name: str) -> None:
    found = lookup(name)
    assert found.name == str(found) == name
    assert repr(found) == f"loom.{name}"
    assert pickle.loads(pickle.dumps(found)) is copy.deepcopy(found) is found


@pytest.mark.parametrize("name", INTEGER_NAMES)
def test_integer_limits_are_those_of_numpy(name: str) -> None:
    info = np.iinfo(lookup(name).numpy)
    assert (lookup(name).minimum, lookup(name).maximum) == (info.min, info.max)


@pytest.mark.parametrize("given", [np.bool_, *(f"{k}{8 << n}" for k in ("int", "uint") for n in range(4)), "f2", "f8"])
def test_of_numpy_and_back(given: Any) -> None:
    found = of_numpy(given, "here")
    assert found.numpy == np.dtype(given)
    assert found.nbytes == np.dtype(given).itemsize


def test_kinds_and_sizes() -> None:
    assert (types.f32.is_float, types.i8.is_signed, types.u8.is_signed, types.bool_.is_bool) == (
        True,
        True,
        False,
        True,
    )
    assert (types.u64.is_integer, types.f64.is_integer, types.bool_.is_integer) == (True, False, False)
    assert [t.name for t in SCALARS.values() if t.storage_only] == ["f16", "bf16"]
    assert [types.f64.bits_numpy, types.bool_.bits_numpy] == [np.uint64, np.uint8]


def test_vectors() -> None:
    vector = types.u16.vector(3)
    assert (vector.name, vector.lanes, vector.nbytes, vector.is_vector) == ("u16x3", 3, 6, True)
    assert vector.scalar is types.u16
    assert vector.vector(1) is types.u16
    assert vector.vector(2) is lookup("u16x2")


def test_host_conversion_gives_numpy_scalars() -> None:
    assert types.u8(7).dtype == np.uint8
    with pytest.raises(DTypeError) as caught:
        types.bf16(1.0)
    assert str(caught.value) == "[loom.bf16] numpy has no bf16 scalar. Use float32, or ml_dtypes.bfloat16."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f23", "[loom.dtype] no dtype is called 'f23'. Did you mean"),
        ("float", "[loom.dtype] no dtype is called 'float'. Nearest names: "),
        ("f32x5", "[loom.dtype] no dtype is called 'f32x5'. Did you mean 'f32x"),
        (32, '[loom.dtype] not a name: expected a str, got 32. Write "f32".'),
        ([], "[loom.dtype] not a name: expected a str, got []."),
    ],
)
def test_unknown_names(name: Any, text: str) -> None:
    with pytest.raises(DTypeError) as caught:
        lookup(name)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("given", [">u4", "c8", "U3", object, "M8[s]", np.longdouble, np.dtype([("a", "u4")])])
def test_numpy_types_that_loom_lacks(given: Any) -> None:
    with pytest.raises(DTypeError) as caught:
        of_numpy(given, "loom.test")
    assert str(caught.value) == (
        "[loom.test] unsupported dtype: expected one of bool, int8-64, uint8-64, float16, bfloat16, float32, float64 "
        f"in native byte order, got {np.dtype(given)}. Convert first, for example with array.astype(numpy.float32)."
    )


@pytest.mark.parametrize("given", ["f23", 7, "f32,", ("f4", "x"), {"a": 1}])
def test_what_is_no_type_at_all(given: Any) -> None:
    with pytest.raises(DTypeError) as caught:
        of_numpy(given, "loom.test")
    assert str(caught.value).startswith(f"[loom.test] not a dtype: expected a Loom or numpy dtype, got {given!r}.")


def test_types_are_frozen() -> None:
    with pytest.raises(AttributeError):
        types.f32.bits = 16  # type: ignore[misc]
    assert isinstance(types.f32, DType)


@pytest.mark.parametrize(("name", "spelled", "part"), [("c64", "complex64", "f32"), ("c128", "complex128", "f64")])
def test_complex_types_are_of_arrays_and_not_of_kernels(name: str, spelled: str, part: str) -> None:
    found = lookup(name)
    assert found.is_complex
    assert found.part is lookup(part)
    assert found.numpy == np.dtype(spelled)
    assert found.nbytes == found.numpy.itemsize
    assert dtype_of(spelled, "x") is dtype_of(np.dtype(spelled), "x") is found
    assert pickle.loads(pickle.dumps(found)) is found
    assert [found.is_float, found.is_integer, found.is_bool, found.is_signed] == [False] * 4
    assert name not in SCALARS
    with pytest.raises(DTypeError, match="no vectors of complex numbers"):
        found.vector(2)
    with pytest.raises(DTypeError, match="unsupported dtype"):
        of_numpy(spelled, "a kernel")
    with pytest.raises(KernelTypeError, match=r"kernels have no complex numbers: expected .* Bind tensor.view_as_real"):
        In[found]


def test_the_complex_type_of_each_real_one() -> None:
    assert [complex_of(lookup(n)).name for n in ("f16", "bf16", "f32", "f64", "i8", "u64", "bool", "c64")] == [
        "c64", "c64", "c64", "c128", "c64", "c64", "c64", "c64",
    ]  # fmt: skip
