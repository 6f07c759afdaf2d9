"""What every operation of the interpreter gives, case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import DType, lookup
from loom.ir.builder import Builder
from loom.ir.interp import HANDLERS, interpret
from loom.ir.kernel import Kernel
from loom.ir.ops import OPS

Array = np.ndarray[Any, Any]
INF, NAN = math.inf, math.nan
TINY = 2.0**-149


def array(values: Sequence[Any], dtype: DType) -> Array:
    return np.array(values, dtype.numpy)


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
    ("dot4_i8", "i32 i32 i32", "i32", [[-1, 0x7F80_0102], [-1, 0x0203_0405], [7, -5]], [11, 2 * 127 - 3 * 128 + 9]),
    ("dot4_u8i8", "i32 i32 i32", "i32", [[-1, -1], [-1, 0x7F80_0102], [0, 2**31 - 1]], [-1020, 509 - 2**31]),
    ("dot2_i16", "i32 i32 i32", "i32", [[-0x7FFF_8000, 3], [-0x7FFF_8000, 5], [0, 1]], [-(2**31), 16]),
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
    "index", "load", "store", "get", "set", "barrier", "near_barrier", "print", "assert", "within", "breakpoint",
    "fma", "tile_product", "wide_product", "fetch", "fetched", "release",
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
