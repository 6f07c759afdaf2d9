"""What the interpreter prints, and the arguments it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import DType, bool_, f32, lookup, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.ir.interp import interpret
from loom.ir.message import format_value
from loom.ir.text import parse_kernel

Array = np.ndarray[Any, Any]
INF, NAN = math.inf, math.nan
TINY = 2.0**-149


def run(text: str, *buffers: Array, params: Sequence[Any] = (), groups: tuple[int, int, int] = (1, 1, 1)) -> list[str]:
    """Run a kernel written as text; return what it prints."""
    lines: list[str] = []
    interpret(parse_kernel(text), buffers, params, groups, output=lines.append)
    return lines


# print


def test_printed_lines_come_by_lane_then_by_program_order() -> None:
    text = """kernel @k workgroup 2 2 1 {
      param c: i64
      %0 = global_id 0 : u32
      %1 = global_id 1 : u32
      %2 = param c : i64
      %3 = const 0x3dcccccd : f32
      %4 = const 0x3fb999999999999a : f64
      %5 = lt %0 %1 : bool
      print "at " %0 "," %1 ""
      if %5 {
        print "" %2 " " %3 " " %4 " " %5 "."
      }
    }"""
    lines = run(text, params=[-5], groups=(2, 1, 1))
    assert lines[:5] == ["at 0,0", "at 1,0", "at 0,1", "-5 0.1 0.1 True.", "at 1,1"]
    assert lines[5:] == ["at 2,0", "at 3,0", "at 2,1", "at 3,1"]


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (np.float32(0.1), f32, "0.1"),
        (np.float32(16777216), f32, "16777216.0"),
        (np.float32(TINY), f32, "1e-45"),
        (np.float32(1e16), f32, "1e+16"),
        (np.float32(1e-4), f32, "0.0001"),
        (np.float32(1.5e-5), f32, "1.5e-05"),
        (np.float32(-0.0), f32, "-0.0"),
        (np.float64(0.1), lookup("f64"), "0.1"),
        (1e300, lookup("f64"), "1e+300"),
        (-INF, f32, "-inf"),
        (-NAN, f32, "nan"),
        (np.uint64(2**64 - 1), u64, "18446744073709551615"),
        (np.int8(-128), lookup("i8"), "-128"),
        (np.bool_(True), bool_, "True"),
        (0, bool_, "False"),
    ],
)
def test_values_are_written_shortest(value: Any, dtype: DType, text: str) -> None:
    assert format_value(value, dtype) == text


def test_doubles_are_written_as_python_writes_them() -> None:
    raw = np.random.default_rng(3).integers(0, 2**64, 3000, np.uint64).view(np.float64)
    near = np.random.default_rng(4).normal(size=3000) * 10.0 ** np.arange(-7.5, 22.5, 0.01)
    for value in (*raw.tolist(), *near.tolist(), 1e16, 9999999999999998.0, 1e-4, 9.999e-5, 0.0, -0.0):
        assert format_value(value, lookup("f64")) == repr(abs(value) if math.isnan(value) else value)


def test_singles_read_back_as_the_same_bits() -> None:
    raw = np.random.default_rng(5).integers(0, 2**32, 5000, np.uint32).view(np.float32)
    for value in raw[np.isfinite(raw)]:
        text = format_value(value, f32)
        assert np.float32(text).tobytes() == value.tobytes()
        assert len(text) <= 24


# arguments

TWICE = """kernel @twice workgroup 1 1 1 {
  buffer x: f32x2 read_write
  param n: u8
}"""


@pytest.mark.parametrize(
    ("buffers", "params", "groups", "error", "text"),
    [
        ([], [1], (1, 1, 1), ArgumentError, "wrong number of buffers: expected 1, got 0. Bind x."),
        (
            [np.zeros(2, np.float64)], [1], (1, 1, 1), DTypeError,
            "[kernel 'twice' buffer 'x'] wrong dtype: expected float32, got float64. Convert it first.",
        ),
        (
            [np.zeros(3, np.float32)], [1], (1, 1, 1), ShapeError,
            "[kernel 'twice' buffer 'x'] wrong layout: expected a contiguous 1-D array of a multiple of 2 "
            "components, got shape (3,), strides (4,). Use numpy.ravel, then copy back.",
        ),
        ([np.zeros((1, 2), np.float32)], [1], (1, 1, 1), ShapeError, "got shape (1, 2)"),
        ([np.zeros(2, np.float32)], [], (1, 1, 1), ArgumentError, "parameters: expected 1, got 0. Give n."),
        (
            [np.zeros(2, np.float32)], [256], (1, 1, 1), ArgumentError,
            "[kernel 'twice' parameter 'n'] 256 is outside 0 to 255: expected a value of u8, got 256. "
            "Give a number that fits exactly.",
        ),
        ([np.zeros(2, np.float32)], [1.5], (1, 1, 1), ArgumentError, "1.5 is not a whole number"),
        ([np.zeros(2, np.float32)], [NAN], (1, 1, 1), ArgumentError, "NaN"),
        (
            [np.zeros(2, np.float32)], [1], (1, -1, 1), ArgumentError,
            "[kernel 'twice'] unusable number of workgroups: expected three counts of at least 0, "
            "got (1, -1, 1). Give groups as (x, y, z).",
        ),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(
    buffers: list[Array], params: list[Any], groups: tuple[int, int, int], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        interpret(parse_kernel(TWICE), buffers, params, groups)
    assert text in str(caught.value)


def test_a_read_only_array_is_refused_where_the_kernel_writes() -> None:
    x = np.zeros(2, np.float32)
    x.flags.writeable = False
    with pytest.raises(ArgumentError, match="read-only"):
        interpret(parse_kernel(TWICE), [x], [1], (1, 1, 1))
