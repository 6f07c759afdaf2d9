"""What kernels mean: atomics, and dispatches cut in batches, through ``interpret``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import DType, i32, i64, u32, u64
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.kernel import Kernel
from loom.ir.ops import OPS
from loom.ir.text import parse_kernel

Array = np.ndarray[Any, Any]


def array(values: Sequence[Any], dtype: DType) -> Array:
    return np.array(values, dtype.numpy)


def run(text: str, *buffers: Array, params: Sequence[Any] = (), groups: tuple[int, int, int] = (1, 1, 1)) -> list[str]:
    """Run a kernel written as text; return what it prints."""
    lines: list[str] = []
    interpret(parse_kernel(text), buffers, params, groups, output=lines.append)
    return lines


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
