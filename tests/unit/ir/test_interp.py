"""What kernels mean: every operation, divergence, memories, atomics, ids, through ``interpret``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import DType, bf16, bool_, f32, i32, i64, lookup, u8, u32, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.ir.builder import Builder
from loom.ir.interp import HANDLERS, interpret
from loom.ir.kernel import Kernel
from loom.ir.message import format_value
from loom.ir.ops import OPS
from loom.ir.text import parse_kernel

Array = np.ndarray[Any, Any]
INF, NAN = math.inf, math.nan


def array(values: Sequence[Any], dtype: DType) -> Array:
    return np.array(values, dtype.numpy)


def run(text: str, *buffers: Array, params: Sequence[Any] = (), groups: tuple[int, int, int] = (1, 1, 1)) -> list[str]:
    """Run a kernel written as text; return what it prints."""
    lines: list[str] = []
    interpret(parse_kernel(text), buffers, params, groups, output=lines.append)
    return lines


def elementwise(name: str, inputs: Sequence[DType], result: DType, lanes: int = 1) -> Kernel:
    """out[i] = name(in0[i], in1[i], ...)."""
    b = Builder(name, workgroup=(lanes, 1, 1))
    ins = [b.buffer(f"in{n}", dtype) for n, dtype in enumerate(inputs)]
    out = b.buffer("out", result)
    i = b.emit("global_id", attr=0)
    args = [b.emit("load", i, memory=m) for m in ins]
    named = result if name in ("convert", "bitcast") else None
    b.emit("store", i, b.emit(name, *args, dtype=named), memory=out)
    return b.finish()


# (operation, operand types, result type, operands, results)
TINY = 2.0**-149
CASES: list[tuple[str, str, str, list[list[Any]], list[Any]]] = [
    ("add", "u8 u8", "u8", [[250, 1], [10, 2]], [4, 3]),
    ("add", "i64 i64", "i64", [[2**63 - 1], [1]], [-(2**63)]),
    ("add", "f32 f32", "f32", [[TINY, 2.0**24, -0.0], [TINY, 1, -0.0]], [2 * TINY, 2.0**24, -0.0]),
    ("sub", "u64 u64", "u64", [[0, 2**63], [1, 1]], [2**64 - 1, 2**63 - 1]),
    ("sub", "f64 f64", "f64", [[1.0, 0.0], [1.0, -0.0]], [0.0, 0.0]),
    ("mul", "i32 i32", "i32", [[65536, -3], [65536, 7]], [0, -21]),
    ("mul", "f32 f32", "f32", [[2.0**-126, TINY, -0.0], [0.5, 0.5, 1]], [2.0**-127, 0.0, -0.0]),
    ("div", "f32 f32", "f32", [[1, -1, 2.0**-126], [0, 0, 2]], [INF, -INF, 2.0**-127]),
    ("div", "f32 f32", "f32", [[1, 2], [3, 3]], [0.3333333432674408, 0.6666666865348816]),
    ("div", "f64 f64", "f64", [[0.0, 1.0], [0.0, 3.0]], [NAN, 1 / 3]),
    ("idiv", "i32 i32", "i32", [[7, -7, -(2**31), 9], [-2, 2, -1, 0]], [-3, -3, -(2**31), 0]),
    ("idiv", "u64 u64", "u64", [[2**64 - 1, 5], [10, 0]], [1844674407370955161, 0]),
    ("irem", "i64 i64", "i64", [[7, -7, -(2**63), 9], [-2, 2, -1, 0]], [1, -1, 0, 9]),
    ("irem", "u8 u8", "u8", [[200, 77], [7, 0]], [4, 77]),
    ("mulhi", "u32 u32", "u32", [[2**32 - 1, 2], [2**32 - 1, 3]], [2**32 - 2, 0]),
    ("mulhi", "i64 i64", "i64", [[-1, 2**62, -(2**63)], [1, 4, -(2**63)]], [-1, 1, 2**62]),
    ("mulhi", "u64 u64", "u64", [[2**64 - 1], [2**64 - 1]], [2**64 - 2]),
    ("neg", "i8", "i8", [[-128, 5]], [-128, -5]),
    ("neg", "f32", "f32", [[0.0, -TINY]], [-0.0, TINY]),
    ("abs", "i32", "i32", [[-(2**31), -5, 5]], [-(2**31), 5, 5]),
    ("abs", "f64", "f64", [[-0.0, -INF]], [0.0, INF]),
    ("min", "f32 f32", "f32", [[0.0, -0.0, NAN, 1], [-0.0, 0.0, 1, NAN]], [-0.0, -0.0, NAN, NAN]),
    ("max", "f32 f32", "f32", [[0.0, -0.0, NAN, 1], [-0.0, 0.0, 1, NAN]], [0.0, 0.0, NAN, NAN]),
    ("min", "i8 i8", "i8", [[-1, 3], [1, 2]], [-1, 2]),
    ("max", "u8 u8", "u8", [[255, 3], [1, 2]], [255, 3]),
    ("floor", "f32", "f32", [[-0.5, 1.5, -0.0]], [-1, 1, -0.0]),
    ("ceil", "f32", "f32", [[-0.5, 1.5, TINY]], [-0.0, 2, 1]),
    ("rint", "f32", "f32", [[0.5, 1.5, 2.5, -0.5]], [0.0, 2, 2, -0.0]),
    ("trunc", "f64", "f64", [[-1.7, 1.7, -0.3]], [-1, 1, -0.0]),
    ("sqrt", "f32", "f32", [[4, 2.0**-148, -0.0, -1]], [2, 2.0**-74, -0.0, NAN]),
    ("and", "u8 u8", "u8", [[0b1100], [0b1010]], [0b1000]),
    ("or", "bool bool", "bool", [[True, False], [False, False]], [True, False]),
    ("xor", "i64 i64", "i64", [[-1], [1]], [-2]),
    ("not", "bool", "bool", [[True, False]], [False, True]),
    ("not", "u32", "u32", [[0]], [2**32 - 1]),
    ("shl", "u32 u32", "u32", [[1, 1, 3], [31, 33, 32]], [2**31, 2, 3]),
    ("shl", "i8 i8", "i8", [[1, 1], [7, -1]], [-128, -128]),
    ("shr", "i32 i32", "i32", [[-8, -8, 8], [1, 33, -31]], [-4, -4, 4]),
    ("shr", "u64 u64", "u64", [[2**63, 2**63], [63, 64]], [1, 2**63]),
    ("popcount", "u64", "u64", [[2**64 - 1, 5]], [64, 2]),
    ("clz", "i32", "i32", [[0, 1, -1]], [32, 31, 0]),
    ("eq", "f32 f32", "bool", [[0.0, NAN], [-0.0, NAN]], [True, False]),
    ("eq", "bool bool", "bool", [[True, True], [True, False]], [True, False]),
    ("ne", "f32 f32", "bool", [[NAN, 1], [NAN, 1]], [True, False]),
    ("lt", "u64 u64", "bool", [[2**63, 1], [1, 2**63]], [False, True]),
    ("le", "i8 i8", "bool", [[-1, 1], [-1, -1]], [True, False]),
    ("gt", "f64 f64", "bool", [[NAN, 1], [1, 0]], [False, True]),
    ("ge", "i64 i64", "bool", [[-(2**63), 0], [2**63 - 1, 0]], [False, True]),
    ("select", "bool f32 f32", "f32", [[True, False], [-0.0, 1], [2, TINY]], [-0.0, TINY]),
    ("convert", "f32", "u8", [[300, -1, NAN, 2.9]], [255, 0, 0, 2]),
    ("convert", "f64", "i64", [[1e300, -1e300, -2.5]], [2**63 - 1, -(2**63), -2]),
    ("convert", "f32", "u64", [[2.0**63, 2.0**64, -0.5]], [2**63, 2**64 - 1, 0]),
    ("convert", "i64", "f32", [[16777217, 16777219]], [16777216, 16777220]),
    ("convert", "u64", "f32", [[2**64 - 1, 2**40 + 1]], [2.0**64, 2.0**40]),
    ("convert", "i32", "u8", [[-1, 257]], [255, 1]),
    ("convert", "f32", "bf16", [[1.0, NAN, TINY]], [0x3F80, 0x7FC0, 0]),
    ("convert", "bf16", "f32", [[0x3F80, 0x0001]], [1.0, 2.0**-133]),
    ("convert", "f32", "f16", [[1.0, 65520.0, 2.0**-25]], [1.0, INF, 0.0]),
    ("convert", "f16", "f32", [[2.0**-24, -0.0]], [2.0**-24, -0.0]),
    ("convert", "f32", "bool", [[0.0, -0.0, NAN]], [False, False, True]),
    ("bitcast", "f32", "u32", [[-0.0, 1.0, TINY]], [0x80000000, 0x3F800000, 1]),
    ("bitcast", "u64", "f64", [[0x3FF0000000000000]], [1.0]),
]  # fmt: skip

ELSEWHERE = {
    "const", "vector", "extract", "global_id", "local_id", "group_id", "num_groups", "param", "length",
    "index", "load", "store", "get", "set", "barrier", "print", "assert", "breakpoint",
    *(name for name in OPS if name.startswith("atomic_")),
}  # fmt: skip
"""Operations whose meaning other tests (here, in test_interp_faults, in test_debugger) fix."""


def same(got: Array, expected: Array) -> bool:
    """Equal bits, any NaN equal to any NaN."""
    if got.dtype.kind == "f":
        both = np.isnan(got) & np.isnan(expected)
        got, expected = (np.where(both, 0, a).astype(a.dtype) for a in (got, expected))
    return got.dtype == expected.dtype and got.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("name", "inputs", "result", "operands", "expected"), CASES)
def test_operation(name: str, inputs: str, result: str, operands: list[list[Any]], expected: list[Any]) -> None:
    types, to = [lookup(t) for t in inputs.split()], lookup(result)
    out = np.zeros(len(expected), to.numpy)
    buffers = [array(v, t) for v, t in zip(operands, types, strict=True)]
    interpret(elementwise(name, types, to, len(expected)), [*buffers, out], [], (1, 1, 1))
    assert same(out, array(expected, to)), (out, expected)


def test_every_operation_has_a_handler_and_a_case() -> None:
    assert set(HANDLERS) | {"index"} == set(OPS)  # a loop computes its index
    assert {case[0] for case in CASES} | ELSEWHERE == set(OPS)


# who and where


def test_ids_in_three_dimensions() -> None:
    b = Builder("ids", workgroup=(2, 3, 2))
    out = [b.buffer(f"out{n}", u32) for n in range(12)]
    lane = b.emit("const", attr=0, dtype=u32)
    for dimension in (2, 1, 0):  # a flat number for the lane: groups are 3 x 2 x 2 of 2 x 3 x 2 lanes
        size = b.const((6, 6, 4)[dimension], u32)
        lane = b.emit("add", b.emit("mul", lane, size), b.emit("global_id", attr=dimension))
    names = ("global_id", "local_id", "group_id", "num_groups")
    for n, memory in enumerate(out):
        b.emit("store", lane, b.emit(names[n // 3], attr=n % 3), memory=memory)
    arrays = [np.zeros(6 * 6 * 4, np.uint32) for _ in out]
    interpret(b.finish(), arrays, [], (3, 2, 2))
    z, y, x = np.meshgrid(np.arange(4), np.arange(6), np.arange(6), indexing="ij")
    expected = [x, y, z, x % 2, y % 3, z % 2, x // 2, y // 3, z // 2, x * 0 + 3, x * 0 + 2, x * 0 + 2]
    for got, want in zip(arrays, expected, strict=True):
        assert got.tolist() == want.ravel().tolist()


def test_parameters_and_lengths() -> None:
    text = """kernel @p workgroup 1 1 1 {
      buffer x: f32x2 read_write
      buffer out: u64 read_write
      buffer flags: bool read_write
      param big: u64
      param third: f32
      param flag: bool
      %0 = const 0x0 : u32
      %1 = param big : u64
      store out %0 %1
      %2 = length x : u32
      %3 = convert %2 : u64
      %4 = const 0x1 : u32
      store out %4 %3
      %5 = param third : f32
      %6 = bitcast %5 : u32
      %7 = convert %6 : u64
      %8 = const 0x2 : u32
      store out %8 %7
      %9 = param flag : bool
      store flags %0 %9
    }"""
    out, flags = np.zeros(3, np.uint64), np.zeros(1, np.bool_)
    run(text, np.zeros(10, np.float32), out, flags, params=[2**64 - 1, 1 / 3, True])
    assert out.tolist() == [2**64 - 1, 5, 0x3EAAAAAB]
    assert flags.tolist() == [True]


def test_no_groups_run_nothing() -> None:
    x = np.array([1], np.uint32)
    run("kernel @k workgroup 1 1 1 {\nbuffer x: u32 read_write\n%0 = const 0x0 : u32\nstore x %0 %0\n}", x,
        groups=(0, 1, 1))  # fmt: skip
    assert x.tolist() == [1]


# short vectors


def test_short_vectors() -> None:
    text = """kernel @v workgroup 2 1 1 {
      buffer x: f32x3 read_write
      buffer s: f32 read_write
      buffer m: boolx3 read_write
      %0 = global_id 0 : u32
      %1 = load x %0 : f32x3
      %2 = add %1 %1 : f32x3
      %3 = extract 2 %2 : f32
      store s %0 %3
      %4 = const 0x3f800000 : f32
      %5 = vector %3 %4 %3 : f32x3
      %6 = lt %1 %5 : boolx3
      store m %0 %6
      %7 = select %6 %1 %5 : f32x3
      store x %0 %7
    }"""
    x, s, m = np.array([1, 2, 3, -4, 0, -6], np.float32), np.zeros(2, np.float32), np.zeros(6, np.bool_)
    run(text, x, s, m)
    assert s.tolist() == [6, -12]
    assert m.tolist() == [True, False, True, False, True, False]
    assert x.tolist() == [1, 1, 3, -12, 0, -12]


def test_vectors_in_variables_and_private_memory_under_divergence() -> None:
    text = """kernel @v workgroup 4 1 1 {
      buffer out: u8x4 read_write
      private p: u8x4[2]
      var v: u8x4
      %0 = global_id 0 : u32
      %1 = convert %0 : u8
      %2 = vector %1 %1 %1 %1 : u8x4
      set v %2
      %3 = const 0x2 : u32
      %4 = lt %0 %3 : bool
      %5 = const 0x1 : u32
      if %4 {
        %6 = add %2 %2 : u8x4
        set v %6
        store p %5 %2
      }
      %7 = get v : u8x4
      %8 = load p %5 : u8x4
      %9 = sub %7 %8 : u8x4
      store out %0 %9
    }"""
    out = np.zeros(16, np.uint8)
    run(text, out)
    assert out.reshape(4, 4).tolist() == [[0] * 4, [1] * 4, [2] * 4, [3] * 4]


# memory


def test_outside_loads_give_zero_and_outside_stores_vanish() -> None:
    text = """kernel @k workgroup 6 1 1 {
      buffer at: i32 read
      buffer x: f32 read_write
      buffer out: f32 read_write
      %0 = global_id 0 : u32
      %1 = load at %0 : i32
      %2 = load x %1 : f32
      store out %0 %2
      %3 = const 0x40000000 : f32
      store x %1 %3
    }"""
    at = np.array([-1, 3, 2, 0, -(2**31), 2**31 - 1], np.int32)
    x, out = np.array([10, 11, 12], np.float32), np.full(6, 99, np.float32)
    run(text, at, x, out)
    assert out.tolist() == [0, 0, 12, 10, 0, 0]
    assert x.tolist() == [2, 11, 2]


def test_u64_indices_do_not_wrap_into_the_buffer() -> None:
    text = """kernel @k workgroup 3 1 1 {
      buffer at: u64 read
      buffer x: u32 read_write
      %0 = global_id 0 : u32
      %1 = load at %0 : u64
      %2 = load x %1 : u32
      %3 = const 0x64 : u32
      %4 = add %2 %3 : u32
      store x %1 %4
    }"""
    x = np.array([1, 2], np.uint32)
    run(text, np.array([2**64 - 1, 2**32, 1], np.uint64), x)
    assert x.tolist() == [1, 102]


def test_an_empty_buffer_reads_as_zero() -> None:
    text = """kernel @k workgroup 2 1 1 {
      buffer x: f32x2 read_write
      buffer out: f32 read_write
      %0 = global_id 0 : u32
      %1 = load x %0 : f32x2
      store x %0 %1
      %2 = extract 1 %1 : f32
      store out %0 %2
    }"""
    out = np.full(2, 7, np.float32)
    run(text, np.zeros(0, np.float32), out)
    assert out.tolist() == [0, 0]


def test_the_highest_lane_wins_a_store() -> None:
    text = """kernel @k workgroup 64 1 1 {
      buffer x: u32 read_write
      %0 = global_id 0 : u32
      %1 = const 0x3 : u32
      %2 = and %0 %1 : u32
      store x %2 %0
    }"""
    x = np.zeros(4, np.uint32)
    run(text, x, groups=(2, 1, 1))
    assert x.tolist() == [124, 125, 126, 127]


def test_a_strided_view_is_refused_and_shared_memory_reversed_across_a_barrier() -> None:
    text = """kernel @reverse workgroup 8 1 1 {
      buffer x: u32 read_write
      shared s: u32[8]
      %0 = global_id 0 : u32
      %1 = local_id 0 : u32
      %2 = load x %0 : u32
      store s %1 %2
      barrier
      %3 = const 0x7 : u32
      %4 = sub %3 %1 : u32
      %5 = load s %4 : u32
      store x %0 %5
    }"""
    x = np.arange(8 * 300, dtype=np.uint32)
    run(text, x, groups=(300, 1, 1))
    assert x.tolist() == np.arange(2400).reshape(300, 8)[:, ::-1].ravel().tolist()
    with pytest.raises(ShapeError, match="contiguous"):
        run(text, np.zeros(16, np.uint32)[::2])


def test_shared_and_private_memory_start_as_zero_in_every_group() -> None:
    text = """kernel @k workgroup 4 1 1 {
      buffer out: u32 read_write
      shared s: u32[4]
      private p: u32[3]
      %0 = global_id 0 : u32
      %1 = local_id 0 : u32
      %2 = load s %1 : u32
      %3 = load p %1 : u32
      %4 = add %2 %3 : u32
      store out %0 %4
      %5 = const 0x9 : u32
      store s %1 %5
      store p %1 %5
    }"""
    out = np.full(4 * 40000, 7, np.uint32)
    run(text, out, groups=(40000, 1, 1))
    assert not out.any()


def test_private_arrays_belong_to_their_lane() -> None:
    text = """kernel @k workgroup 3 1 1 {
      buffer out: u32 read_write
      private p: u32[4]
      %0 = global_id 0 : u32
      %1 = const 0x0 : u32
      %2 = const 0x4 : u32
      %3 = const 0x1 : u32
      for %4 = %1 to %2 step %3 : u32 {
        %5 = mul %4 %0 : u32
        store p %4 %5
      }
      %6 = const 0x3 : u32
      %7 = load p %6 : u32
      %8 = load p %2 : u32
      %9 = add %7 %8 : u32
      store out %0 %9
    }"""
    out = np.zeros(3, np.uint32)
    run(text, out)
    assert out.tolist() == [0, 3, 6]


def test_stored_bits_are_kept() -> None:
    text = """kernel @copy workgroup 4 1 1 {
      buffer x: f32 read
      buffer out: f32 read_write
      %0 = global_id 0 : u32
      %1 = load x %0 : f32
      store out %0 %1
    }"""
    bits = np.array([0x7F800001, 0xFFC12345, 1, 0x80000000], np.uint32)
    out = np.zeros(4, np.float32)
    run(text, bits.view(np.float32), out)
    assert out.view(np.uint32).tolist() == bits.tolist()


# divergence


def test_nested_branches() -> None:
    text = """kernel @k workgroup 8 1 1 {
      buffer out: u32 read_write
      var v: u32
      %0 = global_id 0 : u32
      %1 = const 0x1 : u32
      %2 = const 0x2 : u32
      %3 = const 0x4 : u32
      %4 = const 0x0 : u32
      set v %4
      %5 = and %0 %1 : u32
      %6 = ne %5 %4 : bool
      if %6 {
        %7 = and %0 %2 : u32
        %8 = ne %7 %4 : bool
        if %8 {
          set v %2
        } else {
          set v %3
        }
      } else {
        %9 = lt %0 %3 : bool
        if %9 {
          set v %1
        }
      }
      %10 = get v : u32
      store out %0 %10
    }"""
    out = np.full(8, 99, np.uint32)
    run(text, out)
    assert out.tolist() == [1, 4, 1, 2, 0, 4, 0, 2]


LOOP = """kernel @k workgroup 8 1 1 {{
  buffer out: u32 read_write
  var v: u32
  %0 = global_id 0 : u32
  %1 = const 0x0 : u32
  %2 = const 0x1 : u32
  %3 = const 0x5 : u32
  %4 = const 0x2 : u32
  set v %1
  for %5 = %1 to {stop} step %2 : u32 {{
    {body}
    %90 = get v : u32
    %91 = add %90 %2 : u32
    set v %91
  }}
  %92 = get v : u32
  store out %0 %92
}}"""


@pytest.mark.parametrize(
    ("stop", "body", "expected"),
    [
        ("%3", "", [5] * 8),
        ("%0", "", list(range(8))),
        ("%3", "%6 = eq %5 %0 : bool\nif %6 {\nbreak\n}", [0, 1, 2, 3, 4, 5, 5, 5]),
        ("%3", "%6 = eq %5 %0 : bool\nif %6 {\ncontinue\n}", [4, 4, 4, 4, 4, 5, 5, 5]),
        ("%3", "%6 = eq %5 %0 : bool\nif %6 {\nreturn\n}", [77, 77, 77, 77, 77, 5, 5, 5]),
        ("%3", "%6 = lt %0 %4 : bool\nif %6 {\nbreak\n} else {\ncontinue\n}", [0] * 8),
        ("%0", "%6 = lt %5 %4 : bool\nif %6 {\ncontinue\n}", [0, 0, 0, 1, 2, 3, 4, 5]),
    ],
    ids=["uniform", "own trip count", "break", "continue", "return", "all leave", "continue then go on"],
)
def test_loops(stop: str, body: str, expected: list[int]) -> None:
    out = np.full(8, 77, np.uint32)
    run(LOOP.format(stop=stop, body=body), out)
    assert out.tolist() == expected


def test_break_leaves_only_the_inner_loop_and_return_leaves_both() -> None:
    text = """kernel @k workgroup 4 1 1 {
      buffer out: u32 read_write
      var v: u32
      %0 = global_id 0 : u32
      %1 = const 0x0 : u32
      %2 = const 0x1 : u32
      %3 = const 0x3 : u32
      set v %1
      for %4 = %1 to %3 step %2 : u32 {
        for %5 = %1 to %3 step %2 : u32 {
          %6 = eq %5 %0 : bool
          if %6 {
            break
          }
          %7 = get v : u32
          %8 = add %7 %2 : u32
          set v %8
        }
        %9 = eq %0 %3 : bool
        %10 = eq %4 %2 : bool
        %11 = and %9 %10 : bool
        if %11 {
          return
        }
        %12 = get v : u32
        store out %0 %12
      }
    }"""
    out = np.full(4, 77, np.uint32)
    run(text, out)
    assert out.tolist() == [0, 3, 6, 3]


def test_while_loops_end_lane_by_lane() -> None:
    text = """kernel @collatz workgroup 16 1 1 {
      buffer out: u32 read_write
      var n: u32
      var steps: u32
      %0 = global_id 0 : u32
      %1 = const 0x1 : u32
      %2 = const 0x0 : u32
      %3 = const 0x3 : u32
      %4 = add %0 %1 : u32
      set n %4
      set steps %2
      while {
        %5 = get n : u32
        %6 = ne %5 %1 : bool
      } test %6 {
        %7 = and %5 %1 : u32
        %8 = eq %7 %2 : bool
        if %8 {
          %9 = shr %5 %1 : u32
          set n %9
        } else {
          %10 = mul %5 %3 : u32
          %11 = add %10 %1 : u32
          set n %11
        }
        %12 = get steps : u32
        %13 = add %12 %1 : u32
        set steps %13
      }
      %14 = get steps : u32
      store out %0 %14
    }"""
    out = np.zeros(16, np.uint32)
    run(text, out)
    assert out.tolist() == [0, 1, 7, 2, 5, 8, 16, 3, 19, 6, 14, 9, 9, 17, 17, 4]  # OEIS A006577


def test_break_and_continue_in_a_while() -> None:
    text = """kernel @k workgroup 6 1 1 {
      buffer out: u32 read_write
      var n: u32
      var sum: u32
      %0 = global_id 0 : u32
      %1 = const 0x1 : u32
      %2 = const 0x0 : u32
      set n %2
      set sum %2
      while {
        %3 = const 0x1 : bool
      } test %3 {
        %4 = get n : u32
        %5 = add %4 %1 : u32
        set n %5
        %6 = gt %5 %0 : bool
        if %6 {
          break
        }
        %7 = and %5 %1 : u32
        %8 = eq %7 %1 : bool
        if %8 {
          continue
        }
        %9 = get sum : u32
        %10 = add %9 %5 : u32
        set sum %10
      }
      %11 = get sum : u32
      store out %0 %11
    }"""
    out = np.zeros(6, np.uint32)
    run(text, out)
    assert out.tolist() == [0, 0, 2, 2, 6, 6]


def test_a_value_read_from_a_variable_keeps_its_bits() -> None:
    text = """kernel @swap workgroup 1 1 1 {
      buffer out: u32 read_write
      var a: u32
      var b: u32
      %0 = const 0x0 : u32
      %1 = const 0x1 : u32
      set a %0
      set b %1
      %2 = get a : u32
      %3 = get b : u32
      set a %3
      set b %2
      %4 = get a : u32
      %5 = get b : u32
      store out %0 %4
      store out %1 %5
    }"""
    out = np.full(2, 9, np.uint32)
    run(text, out)
    assert out.tolist() == [1, 0]


def test_inactive_lanes_touch_nothing() -> None:
    text = """kernel @k workgroup 4 1 1 {
      buffer x: u32 read_write
      %0 = global_id 0 : u32
      %1 = const 0x1 : u32
      %2 = const 0x5 : u32
      %3 = eq %0 %1 : bool
      if %3 {
        store x %0 %2
        %4 = atomic_add x %0 %2 : u32
        print "lane " %0 ""
        assert %3 "never"
      }
    }"""
    x = np.zeros(4, np.uint32)
    assert run(text, x) == ["lane 1"]
    assert x.tolist() == [0, 10, 0, 0]


# counted loops, exactly

RANGES: list[tuple[DType, int, int, int, bool]] = [
    (u32, 0, 7, 3, False),
    (u32, 5, 5, 1, False),
    (u32, 6, 5, 1, False),
    (u32, 0, 3, 0, False),
    (u32, 2**32 - 5, 2**32 - 1, 3, False),
    (u8, 250, 255, 2, False),
    (u64, 2**64 - 3, 2**64 - 1, 1, False),
    (u64, 0, 2**64 - 1, 2**63, False),
    (i32, -(2**31), 2**31 - 1, 2**30, False),
    (i32, 5, -6, -3, True),
    (i32, 5, 5, -1, True),
    (i32, 5, 4, 0, True),
    (i32, 2**31 - 1, -(2**31), -(2**31), True),
    (i64, 2**63 - 1, -(2**63), -(2**62), True),
    (i64, -(2**63) + 2, -(2**63), -1, True),
    (i64, -(2**63), 2**63 - 1, 2**63 - 1, False),
]


@pytest.mark.parametrize(("dtype", "start", "stop", "step", "down"), RANGES)
def test_counters_follow_range_and_never_wrap(dtype: DType, start: int, stop: int, step: int, down: bool) -> None:
    b = Builder("count", workgroup=(2, 1, 1))
    out, position = b.buffer("out", dtype), b.variable("position", u32)
    bounds = [b.buffer(name, dtype) for name in ("start", "stop", "step")]
    lane, one = b.emit("global_id", attr=0), b.const(1, u32)
    values = [b.emit("load", lane, memory=m) for m in bounds]
    b.emit("set", b.const(0, u32), attr=position)
    loop = b.for_(*values, down=down)
    with b.into(loop.body):
        at = b.emit("get", attr=position)
        first = b.if_(b.emit("eq", lane, b.const(0, u32)))
        with b.into(first.then):
            b.emit("store", at, loop.index, memory=out)
        b.emit("set", b.emit("add", at, one), attr=position)
    count = b.buffer("count", u32)
    b.emit("store", lane, b.emit("get", attr=position), memory=count)
    expected = list(range(start, stop, step)) if step else []
    got, turns = np.zeros(16, dtype.numpy), np.zeros(2, np.uint32)
    other = -1 if down else 0  # the second lane runs nothing, or once
    rows = [start, 1], [stop, other + 1], [step, -1 if down else 1]
    given = [array(row, dtype) for row in rows]
    interpret(b.finish(), [got, *given, turns], [], (1, 1, 1))
    assert turns.tolist() == [len(expected), 1 if down else 0]
    assert got[: len(expected)].tolist() == expected


@pytest.mark.parametrize(("step", "down"), [(-1, False), (1, True)])
def test_a_step_away_from_the_stop_runs_nothing(step: int, down: bool) -> None:
    b = Builder("away", workgroup=(1, 1, 1))
    out = b.buffer("out", i32)
    zero = b.const(0, i32)
    loop = b.for_(zero, b.const(-5 if down else 5, i32), b.const(step, i32), down=down)
    with b.into(loop.body):
        b.emit("store", zero, b.const(1, i32), memory=out)
    x = np.zeros(1, np.int32)
    interpret(b.finish(), [x], [], (1, 1, 1))
    assert x.tolist() == [0]


# atomics


def atomic_kernel(name: str, dtype: DType, lanes: int, *, keep: bool = True) -> Kernel:
    """old[lane] = atomic(x, at[lane], operands[lane]...)."""
    b = Builder(name, workgroup=(lanes, 1, 1))
    x, at = b.buffer("x", dtype), b.buffer("at", i32)
    values = [b.buffer(f"v{n}", dtype) for n in range(OPS[name].arity - 1)]
    old = b.buffer("old", dtype)
    i = b.emit("global_id", attr=0)
    operands = [b.emit("load", i, memory=m) for m in values]
    found = b.emit(name, b.emit("load", i, memory=at), *operands, memory=x)
    if keep:
        b.emit("store", i, found, memory=old)
    return b.finish()


TOP, LOW = 2**63 - 1, -(2**63)
ATOMICS: list[tuple[str, DType, list[int], list[list[int]], list[int], list[int]]] = [
    # operation, type, x before, operands of lanes 0 to 4 at indices 0 1 0 9 0, x after, old values
    ("atomic_add", u32, [10, 20], [[1, 2, 2**32 - 5, 4, 5]], [11, 22], [10, 20, 11, 0, 6]),
    ("atomic_add", i64, [TOP, 0], [[1, 2, 3, 4, 5]], [LOW + 8, 2], [TOP, 0, LOW, 0, LOW + 3]),
    ("atomic_and", u32, [0b1111, 7], [[0b1110, 1, 0b0111, 0, 0b1101]], [0b0100, 1], [15, 7, 14, 0, 6]),
    ("atomic_or", u64, [0, 2**63], [[1, 1, 2, 9, 8]], [11, 2**63 + 1], [0, 2**63, 1, 0, 3]),
    ("atomic_xor", i32, [0, 1], [[5, 1, -1, 9, 3]], [-7, 0], [0, 1, 5, 0, -6]),
    ("atomic_min", i32, [5, 0], [[7, -1, -3, -99, 2]], [-3, -1], [5, 0, 5, 0, -3]),
    ("atomic_max", u64, [5, 0], [[7, 2**63, 6, 2**64 - 1, 9]], [9, 2**63], [5, 0, 7, 0, 7]),
    ("atomic_exchange", u32, [100, 200], [[1, 2, 3, 4, 5]], [5, 2], [100, 200, 1, 0, 3]),
    ("atomic_compare_exchange", u32, [1, 2], [[1, 9, 3, 2, 3], [3, 8, 4, 8, 7]], [4, 2], [1, 2, 3, 0, 4]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "before", "operands", "after", "old"), ATOMICS)
def test_atomics_act_in_lane_order(
    name: str, dtype: DType, before: list[int], operands: list[list[int]], after: list[int], old: list[int]
) -> None:
    at = np.array([0, 1, 0, 9, 0], np.int32)
    values = [array(v, dtype) for v in operands]
    x, found = array(before, dtype), np.zeros(5, dtype.numpy)
    interpret(atomic_kernel(name, dtype, 5), [x, at, *values, found], [], (1, 1, 1))
    assert x.tolist() == after
    assert found.tolist() == old
    x = array(before, dtype)
    interpret(atomic_kernel(name, dtype, 5, keep=False), [x, at, *values, found], [], (1, 1, 1))
    assert x.tolist() == after


def test_every_atomic_is_tested() -> None:
    assert {case[0] for case in ATOMICS} == {name for name in OPS if name.startswith("atomic_")}


def test_a_shared_counter_hands_out_every_number_once() -> None:
    text = """kernel @count workgroup 64 1 1 {
      buffer ticket: u32 read_write
      buffer out: u32 read_write
      shared s: u32[1]
      %0 = const 0x0 : u32
      %1 = const 0x1 : u32
      %2 = global_id 0 : u32
      %3 = atomic_add s %0 %1 : u32
      store ticket %2 %3
      %4 = atomic_add out %0 %1 : u32
    }"""
    ticket, out = np.zeros(640, np.uint32), np.zeros(1, np.uint32)
    run(text, ticket, out, groups=(10, 1, 1))
    assert ticket.tolist() == list(range(64)) * 10
    assert out.tolist() == [640]


def test_groups_that_wait_for_earlier_groups_come_through() -> None:
    text = """kernel @chain workgroup 1 1 1 {
      buffer flag: u32 read_write
      buffer sum: u32 read_write
      var seen: u32
      %0 = group_id 0 : u32
      %1 = const 0x0 : u32
      %2 = const 0x1 : u32
      set seen %1
      %3 = gt %0 %1 : bool
      %4 = sub %0 %2 : u32
      if %3 {
        while {
          %5 = atomic_add flag %4 %1 : u32
          set seen %5
          %6 = eq %5 %1 : bool
        } test %6 {
        }
      }
      %7 = get seen : u32
      %8 = add %7 %2 : u32
      %9 = atomic_exchange flag %0 %8 : u32
    }"""
    flag = np.zeros(50, np.uint32)
    run(text, flag, np.zeros(1, np.uint32), groups=(50, 1, 1))
    assert flag.tolist() == list(range(1, 51))


# batches


def test_a_dispatch_larger_than_a_batch() -> None:
    text = """kernel @k workgroup 256 1 1 {
      buffer out: u32 read_write
      buffer count: u32 read_write
      %0 = global_id 0 : u32
      %1 = group_id 0 : u32
      %2 = mul %0 %1 : u32
      store out %0 %2
      %3 = const 0x0 : u32
      %4 = atomic_max count %3 %0 : u32
    }"""
    groups = 700
    out, count = np.zeros(256 * groups, np.uint32), np.zeros(1, np.uint32)
    run(text, out, count, groups=(groups, 1, 1))
    i = np.arange(256 * groups)
    assert out.tolist() == (i * (i // 256) % 2**32).tolist()
    assert count[0] == 256 * groups - 1


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


def test_half_and_bool_buffers_are_copied_exactly() -> None:
    cases = (bf16, [0x7F81, 0x8000, 0x0001]), (bool_, [True, False, True]), (f32, [NAN, -0.0, TINY])
    for dtype, values in cases:
        b = Builder("copy", workgroup=(3, 1, 1))
        x, y = b.buffer("x", dtype), b.buffer("y", dtype)
        i = b.emit("global_id", attr=0)
        b.emit("store", i, b.emit("load", i, memory=x), memory=y)
        given, got = array(values, dtype), np.zeros(3, dtype.numpy)
        interpret(b.finish(), [given, got], [], (1, 1, 1))
        assert got.tobytes() == given.tobytes()
