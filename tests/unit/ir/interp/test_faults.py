"""What the interpreter reports: assertions, bounds, NaNs, races, reads of nothing; texts and attributes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.errors import AssertionFailed, KernelFault, NotANumber, OutOfBounds, RaceDetected
from loom.ir.interp import Options, interpret
from loom.ir.text import parse_kernel

Array = np.ndarray[Any, Any]


def run(
    text: str,
    *buffers: Array,
    options: Options,
    params: Sequence[Any] = (),
    groups: int = 1,
    lines: list[str] | None = None,
) -> None:
    kernel = parse_kernel(text, file="k.py")
    said = [] if lines is None else lines
    interpret(kernel, buffers, params, (groups, 1, 1), options=options, output=said.append)


def fault(kind: type[KernelFault], text: str, *buffers: Array, options: Options, groups: int = 1) -> Any:
    """Run a kernel that must end with a fault of exactly ``kind``; return the exception."""
    with pytest.raises(kind) as caught:
        run(text, *buffers, options=options, groups=groups)
    assert caught.type is kind
    return caught.value


def u32(count: int) -> Array:
    return np.zeros(count, np.uint32)


# assert

ASSERT = """kernel @k workgroup 8 1 1 {
  buffer x: f32 read_write
  param limit: u32
  %0 = global_id 0 : u32
  %1 = param limit : u32
  %2 = lt %0 %1 : bool
  %3 = load x %0 : f32
  print "lane " %0 ""
  assert %2 "x is " %3 " below " %1 "."
  store x %0 %3
}"""


def test_a_failed_assertion_names_kernel_line_lane_and_message() -> None:
    x, lines = np.full(16, 0.1, np.float32), []
    with pytest.raises(AssertionFailed) as caught:
        run(ASSERT, x, options=Options(), params=[13], groups=2, lines=lines)
    error: Any = caught.value
    assert str(error) == "[kernel 'k' at k.py:9] assertion failed in lane 13: x is 0.1 below 13."
    assert (error.lane, error.line, error.message) == (13, 9, "x is 0.1 below 13.")
    assert isinstance(error, AssertionError)
    assert lines == [f"lane {i}" for i in range(16)]  # what was printed before is not lost


def test_an_assertion_that_holds_says_nothing() -> None:
    run(ASSERT, np.zeros(16, np.float32), options=Options(), params=[16], groups=2)


def test_an_assertion_without_message() -> None:
    text = 'kernel @k workgroup 1 1 1 {\n%0 = const 0x0 : bool\nassert %0 ""\n}'
    error = fault(AssertionFailed, text, options=Options())
    assert str(error) == "[kernel 'k' at k.py:3] assertion failed in lane 0."


# bounds

OUTSIDE = """kernel @k workgroup 4 1 1 {
  buffer x: u32 read_write
  param off: i32
  %0 = global_id 0 : u32
  %1 = convert %0 : i32
  %2 = param off : i32
  %3 = add %1 %2 : i32
  %4 = const 0x2 : i32
  %5 = ge %1 %4 : bool
  if %5 {
    ACCESS
  }
}"""


@pytest.mark.parametrize(
    ("access", "what"),
    [
        ("%6 = load x %3 : u32", "load"),
        ("store x %3 %0", "store"),
        ("%6 = atomic_add x %3 %0 : u32", "atomic_add"),
    ],
)
def test_the_first_access_outside_is_reported(access: str, what: str) -> None:
    with pytest.raises(OutOfBounds) as caught:
        run(OUTSIDE.replace("ACCESS", access), u32(6), options=Options(bounds=True), params=[1], groups=2)
    error: Any = caught.value
    assert str(error) == (
        f"[kernel 'k' at k.py:11] {what} outside buffer 'x' in lane 5: expected an index from 0 to 5, got 6. "
        "Guard it, for example with: if i < len(x)."
    )
    assert (error.lane, error.line, error.memory, error.index, error.bound) == (5, 11, "x", 6, 6)
    assert isinstance(error, IndexError)


def test_a_negative_index_is_outside_and_inactive_lanes_are_not_asked() -> None:
    text = OUTSIDE.replace("ACCESS", "store x %3 %0")
    with pytest.raises(OutOfBounds, match="in lane 2: expected an index from 0 to 5, got -1"):
        run(text, u32(6), options=Options(bounds=True), params=[-3])
    run(text, u32(6), options=Options(bounds=True), params=[-2])


def test_bounds_of_an_empty_buffer_and_of_shared_memory() -> None:
    with pytest.raises(OutOfBounds, match="expected no access, it has no elements, got 2"):
        run(OUTSIDE.replace("ACCESS", "store x %3 %0"), u32(0), options=Options(bounds=True), params=[0])
    text = """kernel @k workgroup 4 1 1 {
      shared s: u32[3]
      %0 = local_id 0 : u32
      store s %0 %0
    }"""
    error = fault(OutOfBounds, text, options=Options(bounds=True), groups=2)
    assert (error.lane, error.memory, error.index, error.bound) == (3, "s", 3, 3)
    assert "store outside shared 's' in lane 3" in str(error)


# NaN

NAN = """kernel @k workgroup 4 1 1 {
  buffer x: f32 read_write
  %0 = global_id 0 : u32
  %1 = load x %0 : f32
  %2 = const 0x1 : u32
  %3 = gt %0 %2 : bool
  if %3 {
    %4 = OP : f32
    store x %0 %4
  }
}"""


@pytest.mark.parametrize(
    ("op", "x", "lane", "call"),
    [
        ("div %1 %1", [0, 0, 1, 0], 3, "div(0.0, 0.0)"),
        ("sub %1 %1", [math.inf, 0, math.inf, 0], 2, "sub(inf, inf)"),
        ("sqrt %1", [-1, -1, 2, -0.5], 3, "sqrt(-0.5)"),
    ],
)
def test_the_first_nan_is_reported_with_its_operands(op: str, x: list[float], lane: int, call: str) -> None:
    name = call.partition("(")[0]
    error = fault(NotANumber, NAN.replace("OP", op), np.array(x, np.float32), options=Options(nan=True))
    assert str(error) == (
        f"[kernel 'k' at k.py:8] {name} gives a NaN in lane {lane}: expected a number, got {call}. "
        "Look at its operands there with loom.debug(lane=...) and breakpoint()."
    )
    assert (error.lane, error.line, error.op) == (lane, 8, name)
    assert isinstance(error, ArithmeticError)


def test_a_nan_that_came_in_is_passed_on() -> None:
    x = np.array([0, 0, math.nan, math.nan], np.float32)
    run(NAN.replace("OP", "add %1 %1"), x, options=Options(nan=True))
    run(NAN.replace("OP", "min %1 %1"), x, options=Options(nan=True))
    run(NAN.replace("OP", "div %1 %1"), np.zeros(4, np.float32), options=Options())  # not asked for


# races


def racy(body: str, *, shared: int = 8) -> str:
    return f"""kernel @k workgroup 4 1 1 {{
buffer x: u32 read_write
shared s: u32[{shared}]
%0 = const 0x0 : u32
%1 = const 0x1 : u32
%2 = local_id 0 : u32
%3 = global_id 0 : u32
%4 = eq %2 %0 : bool
%5 = xor %2 %1 : u32
{body}
}}"""


RACES = [
    # body from line 10 on; groups; the whole text after [kernel 'k' at
    (
        "store x %0 %1", 1,
        "k.py:10] lane 0 stores to x[0], which lane 3 stored to at k.py:10 with no order between them. "
        "Give each lane its own elements, use atomics for all of them, or put a barrier between.",
    ),
    (
        "store x %2 %3", 2,
        "k.py:10] lane 0 stores to x[0], which lane 4 of another workgroup stored to at k.py:10 with no "
        "order between them. Give each lane its own elements, use atomics for all of them, or split the "
        "kernel in two dispatches.",
    ),
    ("store s %2 %3\n%6 = load s %5 : u32", 1,
     "k.py:11] lane 0 loads s[1], which lane 1 stored to at k.py:10"),
    ("%6 = load s %5 : u32\nstore s %2 %3", 2,
     "k.py:11] lane 0 stores to s[0], which lane 1 loaded at k.py:10"),
    ("%6 = load x %0 : u32\nif %4 {\nstore x %0 %2\n}", 1,
     "k.py:12] lane 0 stores to x[0], which lane 3 loaded"),
    ("%6 = atomic_add x %0 %1 : u32\n%7 = load x %0 : u32", 1, "lane 0 loads x[0], which lane 3 atomically"),
    ("%6 = load x %0 : u32\n%7 = atomic_add x %0 %1 : u32", 1,
     "lane 0 atomically updates x[0], which lane 3"),
    ("if %4 {\nstore x %0 %1\n}\n%6 = atomic_add x %0 %1 : u32", 1, "lane 1 atomically updates x[0], which"),
    ("store x %3 %1\nbarrier\n%6 = load x %5 : u32", 2, "lane 4 loads x[1], which lane 1 of another"),
    ("barrier\nstore s %2 %1\n%6 = load s %5 : u32", 1, "lane 0 loads s[1], which lane 1 stored to"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "groups", "text"), RACES)
def test_races(body: str, groups: int, text: str) -> None:
    error = fault(RaceDetected, racy(body), u32(8), options=Options(races=True), groups=groups)
    assert str(error).startswith("[kernel 'k' at ")
    assert text in str(error)
    assert error.memory in ("x", "s")
    assert error.lane != error.other_lane


ORDERED = [
    "store x %3 %1\n%6 = load x %3 : u32\nstore x %3 %6",
    "store s %2 %3\nbarrier\n%6 = load s %5 : u32\nbarrier\nstore s %2 %6",
    "%6 = load x %0 : u32\n%7 = load x %0 : u32",
    "%6 = atomic_add x %0 %1 : u32\n%7 = atomic_max x %0 %1 : u32",
    "store x %3 %1\nbarrier\n%6 = sub %3 %2 : u32\n%7 = add %6 %5 : u32\n%8 = load x %7 : u32",
    "if %4 {\nstore s %0 %1\n}\nbarrier\n%6 = load s %0 : u32\n%7 = load s %0 : u32",
    "store x %3 %1\nbarrier\n%6 = sub %3 %2 : u32\n%7 = add %6 %5 : u32\nstore x %7 %1\nbarrier\n%8 = load x %3 : u32",
]


@pytest.mark.parametrize("body", ORDERED)
def test_ordered_accesses_are_no_race(body: str) -> None:
    run(racy(body), u32(8), options=Options(races=True), groups=2)


def test_races_across_batches_are_found() -> None:
    body = "%6 = const 0xffff : u32\n%7 = and %3 %6 : u32\nstore x %7 %1"
    error = fault(RaceDetected, racy(body), u32(1 << 16), options=Options(races=True), groups=(1 << 14) + 1)
    assert (error.lane, error.other_lane, error.index) == (1 << 16, 0, 0)


def test_race_records_agree_with_a_plain_search() -> None:
    """Random kernels of four accesses: a race is reported exactly if some pair of accesses is one."""
    rng = np.random.default_rng(5)
    kinds = ("load", "store", "atomic")
    access = {
        "load": "%{} = load x %{} : u32",
        "store": "store x %{1} %0",
        "atomic": "%{} = atomic_or x %{} %0 : u32",
    }
    found = 0
    for _ in range(150):
        plan = [(kinds[rng.integers(3)], rng.integers(0, 250, 8), bool(rng.integers(2))) for _ in range(4)]
        body, steps = [], []
        epoch = 0
        for n, (kind, index, fence) in enumerate(plan):
            body.append(f"%{10 * n + 10} = load at{n} %0 : u32")
            body.append(access[kind].format(10 * n + 11, 10 * n + 10))
            steps += [(lane, lane // 4, epoch, kind, int(index[lane])) for lane in range(8)]
            if fence:
                body.append("barrier")
                epoch += 1
        races = any(
            a[0] != b[0] and a[4] == b[4] and (a[1] != b[1] or a[2] == b[2])
            and ("store" in (a[3], b[3]) or (a[3] != b[3] and "atomic" in (a[3], b[3])))
            for a in steps for b in steps
        )  # fmt: skip
        buffers = "\n".join(f"buffer at{n}: u32 read" for n in range(4))
        text = f"kernel @k workgroup 4 1 1 {{\nbuffer x: u32 read_write\n{buffers}\n%0 = global_id 0 : u32\n"
        text += "\n".join(body) + "\n}"
        arrays = [u32(250), *(p[1].astype(np.uint32) for p in plan)]
        try:
            run(text, *arrays, options=Options(races=True), groups=2)
            reported = False
        except RaceDetected:
            reported = True
        assert reported == races
        found += races
    assert 40 < found < 110


# memory never written


def test_reads_of_what_nothing_wrote() -> None:
    text = """kernel @k workgroup 4 1 1 {
      buffer out: u32 read_write
      shared s: u32[4]
      private p: u32[2]
      %0 = local_id 0 : u32
      %1 = const 0x1 : u32
      %2 = const 0x3 : u32
      %3 = lt %0 %2 : bool
      if %3 {
        store s %0 %0
        store p %1 %0
      }
      %4 = load MEMORY
      store out %0 %4
    }"""
    options = Options(uninitialized=True)
    error = fault(KernelFault, text.replace("MEMORY", "s %0 : u32"), u32(4), options=options)
    assert str(error) == (
        "[kernel 'k' at k.py:13] load of s[3] in lane 3, which nothing has written. "
        "Write it first, zero if zero is meant (shared memory starts as zero)."
    )
    assert (error.lane, error.line, error.memory, error.index) == (3, 13, "s", 3)
    error = fault(KernelFault, text.replace("MEMORY", "p %1 : u32"), u32(4), options=options)
    assert (error.lane, error.memory, error.index) == (3, "p", 1)
    run(text.replace("MEMORY", "s %1 : u32"), u32(4), options=options)
    run(text.replace("MEMORY", "s %0 : u32"), u32(4), options=Options())


def test_written_marks_do_not_leak_into_the_next_batch() -> None:
    text = """kernel @k workgroup 1 1 1 {
      buffer x: u32 read_write
      shared s: u32[1]
      %0 = const 0x0 : u32
      %1 = group_id 0 : u32
      %2 = const 0x10000 : u32
      %3 = lt %1 %2 : bool
      if %3 {
        store s %0 %1
      }
      %4 = load s %0 : u32
    }"""
    error = fault(KernelFault, text, u32(1), options=Options(uninitialized=True), groups=(1 << 16) + 1)
    assert error.lane == 1 << 16


WATCHES = Options(bounds=True), Options(nan=True), Options(races=True), Options(uninitialized=True)


@pytest.mark.parametrize("options", WATCHES)
def test_checks_change_no_bits(options: Options) -> None:
    text = """kernel @k workgroup 32 1 1 {
      buffer x: f32 read_write
      shared s: f32[32]
      %0 = global_id 0 : u32
      %1 = local_id 0 : u32
      %2 = load x %0 : f32
      %3 = mul %2 %2 : f32
      store s %1 %3
      barrier
      %4 = const 0x1f : u32
      %5 = sub %4 %1 : u32
      %6 = load s %5 : f32
      %7 = div %2 %6 : f32
      store x %0 %7
    }"""
    x = np.random.default_rng(1).normal(size=64).astype(np.float32)
    checked = x.copy()
    run(text, x, options=Options(), groups=2)
    run(text, checked, options=options, groups=2)
    assert x.tobytes() == checked.tobytes()
