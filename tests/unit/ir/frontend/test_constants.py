"""Numbers of numpy captured from outside have a type, and follow the language's rules; floats out of range are refused.

Oracle: the same expression on a value loaded from memory, in the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import bool_, f32, f64, i8, i32, i64, u8, u32, u64
from loom.core.errors import KernelTypeError
from loom.flow.ir import ir_begin, ir_const, ir_entry

MANY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "floordiv": lambda x, y: x // y, "mod": lambda x, y: x % y, "shl": lambda x, y: x << y, "shr": lambda x, y: x >> y,
    "and": lambda x, y: x & y, "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y, "min": lambda x, y: min(x, y),
    "max": lambda x, y: max(x, y), "lt": lambda x, y: x < y, "ge": lambda x, y: x >= y, "eq": lambda x, y: x == y,
}  # fmt: skip
FLOATS = {"add", "sub", "mul", "min", "max", "lt", "ge", "eq"}
ONE: dict[str, Callable[[Any], Any]] = {"neg": lambda x: -x, "abs": lambda x: abs(x), "not": lambda x: ~x}


def numbers(dtype: Any) -> list[Any]:
    if dtype.is_float:
        return [dtype.numpy.type(v) for v in (0.0, -0.0, 1.5, -2.25, np.inf, np.nan, 5e-324 if dtype is f64 else 1e-45)]
    edges = [0, 1, 3, 9, dtype.minimum, dtype.maximum] + ([-1, -7] if dtype.is_signed else [])
    return [dtype.numpy.type(v) for v in edges]


def bits(values: np.ndarray[Any, Any]) -> list[Any]:
    return ["nan" if v != v else v.tobytes() for v in values]


@pytest.mark.parametrize("dtype", [u8, i8, u32, i32, u64, i64, f32, f64], ids=str)
def test_operators_are_those_of_values(dtype: Any) -> None:
    pairs = [(a, b) for a in numbers(dtype) for b in numbers(dtype)]
    left, right = (np.array(side, dtype.numpy) for side in zip(*pairs, strict=True))
    for name, operate in MANY.items():
        if dtype.is_float and name not in FLOATS:
            continue
        want = loom.gpu_map(left, operate, right, on="interp")
        got = [
            _captured(operate, a, b, dtype, bool(want.dtype == bool)) for a, b in pairs[:: 3 if dtype.bits > 8 else 1]
        ]
        assert bits(np.array(got)) == bits(want[:: 3 if dtype.bits > 8 else 1]), name


def _captured(operate: Any, a: Any, b: Any, dtype: Any, gives_bool: bool) -> Any:
    wanted = bool_ if gives_bool else dtype
    return loom.gpu_map(np.zeros(1, np.uint8), lambda _v: wanted(operate(a, b)), on="interp")[0]


@pytest.mark.parametrize("dtype", [u8, i8, i32, u64, f32, f64], ids=str)
def test_unary_operators_are_those_of_values(dtype: Any) -> None:
    values = numbers(dtype)
    for name, operate in ONE.items():
        if dtype.is_float and name == "not":
            continue
        want = loom.gpu_map(np.array(values, dtype.numpy), operate, on="interp")
        got = [_captured(lambda x, _y, f=operate: f(x), a, a, dtype, False) for a in values]
        assert bits(np.array(got)) == bits(want), name


def test_plain_numbers_beside_numpys() -> None:
    a, seven, half = np.uint8(200), np.int32(7), np.float16(1.5)
    zeros = np.zeros(1, np.int32)
    assert loom.gpu_map(zeros, lambda v: v + i32(a << 9)).tolist() == [144]
    assert loom.gpu_map(zeros, lambda v: v + i32(a + 100)).tolist() == [44]
    assert loom.gpu_map(zeros, lambda v: v + seven % 0).tolist() == [7]
    assert loom.gpu_map(zeros, lambda v: v + -seven // 2).tolist() == [-4]
    assert loom.gpu_map(zeros, lambda v: v + loom.idiv(seven, 0)).tolist() == [0]
    assert loom.gpu_map(zeros, lambda v: v + (1 if a > 100 else 2)).tolist() == [1]
    assert loom.gpu_map(np.zeros(1, np.float32), lambda v: v + (half + 0.5)).tolist() == [2.0]


def test_they_stay_constants() -> None:
    """What is computed from them may still decide which branch is compiled."""
    wide = np.int64(3)

    def chosen(v):
        if wide * 2 == 6:
            return v + 1
        return "no number"

    assert loom.gpu_map(np.zeros(1, np.float32), chosen).tolist() == [1.0]


def test_what_values_refuse_is_refused() -> None:
    seven = np.int32(7)
    with pytest.raises(KernelTypeError, match=r"a float constant meets an integer: expected i32, got 0\.5"):
        loom.gpu_map(np.zeros(1, np.float32), lambda v: v + seven * 0.5)
    with pytest.raises(KernelTypeError, match=r"/ divides floats: expected f32 or f64, got i32"):
        loom.gpu_map(np.zeros(1, np.float32), lambda v: v + seven / 2)
    assert loom.gpu_map(np.zeros(1, np.int32), lambda v: v + seven**2).tolist() == [49]
    with pytest.raises(KernelTypeError, match=r"\*\* of an integer takes a constant exponent"):
        loom.gpu_map(np.zeros(1, np.int32), lambda v: v + seven**-1)


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_powers_of_constants_are_those_of_values(dtype: Any) -> None:
    bases = np.array([2.0, 0.3, -1.5, 0.0, -0.0, np.inf, np.nan], dtype.numpy)
    for exponent in (-1, 0.5, -7, np.int32(-3), 100, dtype.numpy.type(0.25)):
        want = loom.gpu_map(bases, lambda v, n=exponent: v**n, on="interp")
        got = [_captured(lambda x, n: x**n, b, exponent, dtype, False) for b in bases]
        assert bits(np.array(got)) == bits(want), exponent


@pytest.mark.parametrize(
    ("function", "dtype", "told"),
    [
        (lambda v: v + 1e39, np.float32, r"1e\+39 is beyond the largest f32"),
        (lambda v: v + f32(-1e39), np.float32, r"-1e\+39 is beyond the largest f32"),
        (lambda v: v * 3.5e38, np.float32, r"3\.5e\+38 is beyond the largest f32"),
    ],
)
def test_floats_beyond_their_type(function: Any, dtype: Any, told: str) -> None:
    with pytest.raises(KernelTypeError, match=told) as caught:
        loom.gpu_map(np.zeros(1, dtype), function)
    assert "Choose a wider type, or write float('inf')" in str(caught.value)


def test_infinity_as_it_is_written_and_wider_types() -> None:
    """The remedies; and the largest number itself, with all that rounds to it."""
    infinity = float("inf")
    x = np.ones(1, np.float32)
    assert loom.gpu_map(x, lambda v: v * infinity).tolist() == [np.inf]
    assert loom.gpu_map(x, lambda v: v * -infinity).tolist() == [-np.inf]
    assert loom.gpu_map(x, lambda v: v * 3.4028235677973362e38).tolist() == [float(np.finfo(np.float32).max)]
    assert loom.gpu_map(np.ones(1), lambda v: v * 1e39).tolist() == [1e39]


def test_a_choice_between_numbers_that_only_f64_holds() -> None:
    x = np.arange(3.0)
    got = loom.gpu_map(x, lambda v: v * loom.select(v > 1, 1e300, -0.0))
    assert bits(got) == bits(np.array([-0.0, -0.0, 2e300]))
    with pytest.raises(KernelTypeError, match=r"1e\+300 is beyond the largest f32"):
        loom.gpu_map(x.astype(np.float32), lambda v: v * loom.select(v > 1, 1e300, -0.0))


def test_ir_const() -> None:
    body = ir_entry(ir_begin(workgroup=1))
    with pytest.raises(KernelTypeError, match=r"beyond the largest f32"):
        ir_const(body, 1e39)


OUTER = 1.0


def test_kernels_keep_outer_names_and_maps_follow_them(monkeypatch: pytest.MonkeyPatch) -> None:
    @loom.kernel(workgroup=1)
    def stores(o: loom.Out[f32]):
        o[0] = f32(OUTER)

    def adds(v):
        return v + OUTER

    x = np.zeros(1, np.float32)

    def both() -> list[float]:
        chain, out = loom.Chain("cpu"), np.zeros(1, np.float32)
        chain.dispatch(stores, [out], (), (1, 1, 1))
        chain.build().run()
        return [float(out[0]), float(loom.gpu_map(x, adds)[0])]

    assert both() == [1.0, 1.0]
    monkeypatch.setitem(globals(), "OUTER", 2.0)
    assert both() == [1.0, 2.0]
