"""``gpu_map``: the text of every refusal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_map
from loom.core.errors import ArgumentError, DTypeError, KernelError, KernelTypeError, LoomError, ShapeError

I32 = np.array([1, 2], np.int32)
F32 = np.array([1, 2], np.float32)
U8 = np.array([1, 2], np.uint8)
BOOL = np.array([True, False])
NOT_OPERATION = "[gpu_map] not an operation: expected a name or a Python function, got {}. {}"
UNFIT = "[gpu_map, argument 1] {} does not fit {}: expected {}, got {}. Convert first, or use a type that holds it."
I32_RANGE = "whole numbers from -2147483648 to 2147483647"
U8_RANGE = "whole numbers from 0 to 255"


def _add(x: Any, y: Any) -> Any:
    return x + y


REFUSED: dict[str, tuple[Callable[[], Any], type[LoomError], str]] = {
    "unknown name": (
        lambda: gpu_map(F32, "squrt"), ArgumentError,
        "[gpu_map] no operation is called 'squrt'. Did you mean 'sqrt' or 'rsqrt'?",
    ),
    "an operation that is no map": (
        lambda: gpu_map(F32, "load"), ArgumentError,
        "[gpu_map] no operation is called 'load'.",
    ),
    "a ufunc": (lambda: gpu_map(F32, np.sin), DTypeError, NOT_OPERATION.format("ufunc", "Pass 'sin'.")),
    "a builtin": (
        lambda: gpu_map(F32, abs), DTypeError, NOT_OPERATION.format("builtin_function_or_method", "Pass 'abs'.")
    ),
    "a partial": (
        lambda: gpu_map(F32, functools.partial(max, 1)), DTypeError,
        NOT_OPERATION.format("partial", "Pass a def or a lambda, such as lambda v: max(v)."),
    ),
    "no operation": (lambda: gpu_map(F32, 3), DTypeError, NOT_OPERATION.format("int", "Pass a def or a lambda.")),
    "too few operands": (
        lambda: gpu_map(I32, "add"), KernelTypeError,
        "[kernel 'map_add'] add takes 2 operands: expected 2, got 1. a + b; integers wrap.",
    ),
    "too many operands": (
        lambda: gpu_map(I32, "neg", 1, I32), KernelTypeError,
        "[kernel 'map_neg'] neg takes 1 operands: expected 1, got 3. -a; integers wrap.",
    ),
    "a root of integers, to write to an array": (
        lambda: gpu_map(I32, "sqrt", out=I32.copy()), KernelTypeError,
        "[kernel 'map_sqrt'] sqrt cannot take a i32: expected f32 or f64, got i32. Convert it first.",
    ),
    "the float beside one of 16 bits": (
        lambda: gpu_map(np.ones(2, np.float16), "nextafter", 2.0), DTypeError,
        "[nextafter] unsupported dtype: expected f32 or f64, got f16. Convert with astype.",
    ),
    "a sum of bools": (
        lambda: gpu_map(BOOL, "add", BOOL), DTypeError,
        "[gpu_map] unsupported dtype: expected an integer, f32 or f64, got bool. Convert with astype.",
    ),
    "other dtype": (
        lambda: gpu_map(I32, _add, F32), DTypeError,
        "[gpu_map, argument 1] operands of different types: expected int32, got float32. Convert one.",
    ),
    "integers that no type holds": (
        lambda: gpu_map(np.array([1]), "add", np.array([1], np.uint64)), DTypeError,
        "[gpu_map] no integer type holds all numbers of both: expected u64 alone, or signed integers, got i64 and u64. "
        "Convert one with astype, u64 to i64 for example.",
    ),
    "other shape": (
        lambda: gpu_map(F32, lambda x, a, y: x + a + y, 1, np.ones((2, 1), np.float32)), ShapeError,
        "[gpu_map, argument 2] operands of different shapes: expected (2,), got (2, 1). Match the shape of data.",
    ),
    "an array without dimensions beside one element": (
        lambda: gpu_map(np.ones(1), _add, np.array(1.0)), ShapeError,
        "[gpu_map, argument 1] operands of different shapes: expected (1,), got (). Match the shape of data.",
    ),
    "a list of other length": (
        lambda: gpu_map(F32, "add", [1, 2, 3]), ShapeError,
        "[gpu_map, argument 1] operands of different shapes: expected (2,), got (3,). Match the shape of data.",
    ),
    "a list of fractions for integers": (
        lambda: gpu_map(I32, "mul", [1, 1.5]), DTypeError, UNFIT.format("1.5", "i32", I32_RANGE, "1.5")
    ),
    "a list beyond the type": (
        lambda: gpu_map(U8, "add", [3, 256]), DTypeError, UNFIT.format("256", "u8", U8_RANGE, "256")
    ),
    "a list of negative numbers for unsigned": (
        lambda: gpu_map(U8, "add", [-1, 1]), DTypeError, UNFIT.format("-1", "u8", U8_RANGE, "-1")
    ),
    "a list with a NaN for integers": (
        lambda: gpu_map(I32, "add", [1.0, float("nan")]), DTypeError, UNFIT.format("nan", "i32", I32_RANGE, "nan")
    ),
    "a list of numbers for bools": (
        lambda: gpu_map(BOOL, "and", [2, 0]), DTypeError, UNFIT.format("2", "bool", "True or False, 1 or 0", "2")
    ),
    "nothing as operand": (
        lambda: gpu_map(I32, "add", None), DTypeError,
        "[gpu_map, argument 1] not numbers: expected bools, ints or floats, got NoneType. Pass numbers.",
    ),
    "a complex scalar": (
        lambda: gpu_map(F32, _add, np.complex64(1)), DTypeError,
        "[gpu_map, argument 1] unsupported dtype: expected one of bool, int8-64, uint8-64, float16, bfloat16, float32, "
        "float64 in native byte order, got complex64. Convert first, for example with array.astype(numpy.float32).",
    ),
    "a fraction for an integer": (
        lambda: gpu_map(I32, _add, 2.5), DTypeError,
        "[gpu_map, parameter 'a1'] does not fit i32: expected a whole number (int), got 2.5. Pass a value of type i32.",
    ),
    "a number beyond the type": (
        lambda: gpu_map(U8, _add, 300), ArgumentError,
        "[gpu_map, parameter 'a1'] does not fit u8: expected 0 to 255, got 300. Declare a wider type.",
    ),
    "a bool for an integer": (
        lambda: gpu_map(I32, _add, True), DTypeError,
        "[gpu_map, parameter 'a1'] does not fit i32: expected a whole number (int), got True. "
        "Pass a value of type i32.",
    ),
    "data that is no array": (
        lambda: gpu_map("text", "neg"), DTypeError,
        "[gpu_map] not numbers: expected bools, ints or floats, got <U4. Number texts first: "
        "numpy.unique(array, return_inverse=True) gives names and numbers.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, kind, text = REFUSED[name]
    with pytest.raises(LoomError) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value).startswith(text)
    assert name == "an operation that is no map" or str(caught.value) == text


IN_FUNCTIONS: dict[str, tuple[Any, Callable[..., Any], str]] = {
    "nothing": (F32, lambda x: None, "not a value: expected a number, got None. Return a number on every path"),
    "a pair": (F32, lambda x: (x, x), "the function must return one number: expected a number, got a tuple."),
    "a short vector": (
        F32, lambda x: loom.f32x2(x, x),
        "the function must return one number: expected a number, got f32x2. Return one.",
    ),
    "a text": (F32, lambda x: "a", "not a value: expected a number, got str."),
    "a fraction from integers": (I32, lambda x: 1.5, "a float constant meets an integer: expected i32, got 1.5."),
    "a bool from integers": (I32, lambda x: True, "constant of wrong kind: expected i32, got True."),
    "mixed types": (I32, lambda x: x + loom.f32(1), "add mixes types: expected operands of one type, got i32, f32."),
    "too many parameters": (F32, lambda x, y: x, "missing a required argument: 'y'): expected (x, y), got 1."),
    "an unknown name": (F32, lambda x: x + offst, "name 'offst' is not defined."),  # noqa: F821
}  # fmt: skip


@pytest.mark.parametrize("name", IN_FUNCTIONS)
def test_errors_in_functions_name_file_and_line(name: str) -> None:
    data, function, text = IN_FUNCTIONS[name]
    with pytest.raises(KernelError) as caught:
        gpu_map(data, function)
    line = function.__code__.co_firstlineno
    assert str(caught.value).startswith(f"[kernel 'map_lambda' at {__file__}:{line}] ")
    assert text in str(caught.value)
    assert gpu_map(data, lambda x: x).tolist() == [1, 2]  # nothing of it stays
