"""What kernels mean: divergence and loops, through ``interpret``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import DType, i32, i64, u8, u32, u64
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.text import parse_kernel

Array = np.ndarray[Any, Any]


def array(values: Sequence[Any], dtype: DType) -> Array:
    return np.array(values, dtype.numpy)


def run(text: str, *buffers: Array, params: Sequence[Any] = (), groups: tuple[int, int, int] = (1, 1, 1)) -> list[str]:
    """Run a kernel written as text; return what it prints."""
    lines: list[str] = []
    interpret(parse_kernel(text), buffers, params, groups, output=lines.append)
    return lines


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
