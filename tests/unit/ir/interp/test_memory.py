"""What kernels mean: ids, parameters, short vectors and memories, through ``interpret``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import DType, bf16, bool_, f32, u32
from loom.core.errors import ShapeError
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.text import parse_kernel

Array = np.ndarray[Any, Any]
INF, NAN = math.inf, math.nan
TINY = 2.0**-149


def array(values: Sequence[Any], dtype: DType) -> Array:
    return np.array(values, dtype.numpy)


def run(text: str, *buffers: Array, params: Sequence[Any] = (), groups: tuple[int, int, int] = (1, 1, 1)) -> list[str]:
    """Run a kernel written as text; return what it prints."""
    lines: list[str] = []
    interpret(parse_kernel(text), buffers, params, groups, output=lines.append)
    return lines


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


def test_bools_are_bytes_other_than_zero() -> None:
    """As compiled devices read them: a bool of another program may be any byte."""
    b = Builder("flags")
    x, y = b.buffer("x", bool_), b.buffer("y", bool_)
    i = b.emit("global_id", attr=0)
    b.emit("store", i, b.emit("load", i, memory=x), memory=y)
    found = np.zeros(4, np.bool_)
    interpret(b.finish(), [np.array([0, 1, 2, 255], np.uint8).view(np.bool_), found], [], (4, 1, 1))
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]
