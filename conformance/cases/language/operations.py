"""Every pure operation on every type it accepts, straight from the table: a new row is covered at once.

One kernel per type holds all operations, each writing a buffer of its own, over every pair of edge values
and some thousand random bit patterns. Oracles besides the interpreter: Python's integers; doubles for f32
(a product is exact in them, and rounding twice is harmless for + - / and the root: Figueroa, "When is
double rounding innocuous?", SIGNUM 1995).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import adversarial, pairs
from conformance.writer import Writer
from loom.core.dtype import SCALARS, DType, bool_, f16, f32, lookup
from loom.ir.constants import constant_value
from loom.ir.ops import OPS, Accepts, Op, Result

__all__ = ["BY_OWN_RULE", "operations_on"]

Array = np.ndarray[Any, Any]

BY_OWN_RULE = {"select", "fma", "const", "convert", "bitcast", "vector", "extract"}
"""Pure operations whose operands are not all of one type; other modules have their cases."""


def operations_on(dtype: DType) -> list[Op]:
    """Return the pure operations that take operands of ``dtype``, all of one type."""
    return [op for op in OPS.values() if op.is_pure and op.name not in BY_OWN_RULE and op.accepts.allows(dtype)]


def _on_pairs(dtype: DType) -> Case:
    k = Writer(f"operations_{dtype}", (64, 1, 1))
    operations = operations_on(dtype)
    operands = [k.read(name, dtype) for name in "abc"[: max(op.arity for op in operations)]]
    outs = {op.name: k.buffer(f"out_{op.name}", bool_ if op.result is Result.BOOL else dtype) for op in operations}
    i = k.global_id()
    values = [memory[i] for memory in operands]
    for op in operations:
        outs[op.name][i] = k.op(op.name, *values[: op.arity])
    left, right = pairs(dtype)
    given = (left, right, np.roll(right, 17))[: len(operands)]
    results = [np.zeros(left.size, out.memory.dtype.numpy) for out in outs.values()]
    expected = {f"out_{op.name}": e for op in operations if (e := _oracle(op, dtype, *given)) is not None}
    groups = (-(-left.size // 64), 1, 1)
    return Case(k.finish(), (*given, *results), groups=groups, expected=expected)


for _dtype in SCALARS.values():
    if operations_on(_dtype):
        case(f"operations/{_dtype}")(partial(_on_pairs, _dtype))


# independent oracles


def _oracle(op: Op, dtype: DType, *given: Array) -> Array | None:
    """Return what ``op`` gives by another road, None where this module knows none."""
    if dtype.is_integer and op.name in _INTEGER:
        modulus = 1 << dtype.bits
        exact = np.frompyfunc(partial(_INTEGER[op.name], dtype.bits), op.arity, 1)
        operands = [x.astype(object) for x in given[: op.arity]]
        wrapped = np.asarray(exact(*operands) % modulus, dtype=object)
        return wrapped.astype(dtype.bits_numpy).view(dtype.numpy)
    with np.errstate(all="ignore"):
        if dtype == f32 and op.name in _IN_DOUBLE:
            wide = [x.astype(np.float64) for x in given[: op.arity]]
            return _IN_DOUBLE[op.name](*wide).astype(np.float32)
        if dtype.is_float and op.name in _FLOAT:
            exact = np.frompyfunc(_FLOAT[op.name], op.arity, 1)
            return exact(*(x.astype(np.float64) for x in given[: op.arity])).astype(dtype.numpy)
    return None


def _quotient(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _dot(bits: int, a: int, b: int, c: int, *, signed: bool = True) -> int:
    left, right = (x.to_bytes(4, "little", signed=True) for x in (a, b))
    step = bits // 8
    return c + sum(
        int.from_bytes(left[n : n + step], "little", signed=signed)
        * int.from_bytes(right[n : n + step], "little", signed=True)
        for n in range(0, 4, step)
    )


_INTEGER: dict[str, Callable[..., int]] = {
    "add": lambda _w, a, b: a + b,
    "sub": lambda _w, a, b: a - b,
    "mul": lambda _w, a, b: a * b,
    "idiv": lambda _w, a, b: _quotient(a, b),
    "irem": lambda _w, a, b: a if b == 0 else a - _quotient(a, b) * b,
    "mulhi": lambda w, a, b: a * b >> w,
    "neg": lambda _w, a: -a,
    "abs": lambda _w, a: abs(a),
    "shl": lambda w, a, b: a << b % w,
    "shr": lambda w, a, b: a >> b % w,
    "popcount": lambda w, a: bin(a % (1 << w)).count("1"),
    "clz": lambda w, a: w - (a % (1 << w)).bit_length(),
    "not": lambda _w, a: -1 - a,
    "dot4_i8": lambda _w, a, b, c: _dot(8, a, b, c),
    "dot4_u8i8": lambda _w, a, b, c: _dot(8, a, b, c, signed=False),
    "dot2_i16": lambda _w, a, b, c: _dot(16, a, b, c),
}

_IN_DOUBLE: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
}


def _extreme(a: float, b: float, *, largest: bool) -> float:
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return sorted((a, b), key=lambda x: (x, math.copysign(1, x)))[largest]


def _rounded(to_integer: Callable[[float], int], x: float) -> float:
    return math.copysign(to_integer(x), x) if math.isfinite(x) else x


_FLOAT: dict[str, Callable[..., float]] = {
    "min": partial(_extreme, largest=False),
    "max": partial(_extreme, largest=True),
    "floor": partial(_rounded, math.floor),
    "ceil": partial(_rounded, math.ceil),
    "trunc": partial(_rounded, math.trunc),
    "rint": partial(_rounded, round),
}


# fused where the product is exact


def _fused(source: DType) -> Case:
    """Sums that the product of two narrow numbers nearly cancels, or that it hardly reaches."""
    k = Writer(f"fma_{source}", (64, 1, 1))
    a, b, c, out = k.read("a", source), k.read("b", source), k.read("c", f32), k.buffer("out", f32)
    i = k.global_id()
    out[i] = k.op("fma", a[i].to(f32), b[i].to(f32), c[i])
    left, right = pairs(source)
    with np.errstate(all="ignore"):
        x, y = (v.astype(np.float64) for v in (left, right))
        beside = np.array([0, -0.0, 1, 2.0**-149, -(2.0**-20), 1e30, np.inf, 2.0**-24])[np.arange(left.size) % 8]
        third = (beside - x * y * (np.arange(left.size) % 3 - 1)).astype(np.float32)
        expected = ((x * y).astype(np.float32) + third).astype(np.float32)
    groups = (-(-left.size // 64), 1, 1)
    return Case(k.finish(), (left, right, third, np.zeros(left.size, np.float32)), groups=groups,
                expected={"out": expected})  # fmt: skip


for _dtype in (f16, lookup("i8"), lookup("u8")):
    case(f"operations/fma-{_dtype}")(partial(_fused, _dtype))


# constants as operands: what compilers like to simplify

_CONSTANTS = {
    "f32": [0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x40000000, 0x3F000000, 0x00000001, 0x7F800000, 0x7FC00000],
    "f64": [0, 1 << 63, 0x3FF << 52, 0x400 << 52, 1, 0x7FF << 52],
    "i32": [0, 1, 0xFFFFFFFF, 7, 10, 0x80000000, 64, 33],
    "u32": [0, 1, 0xFFFFFFFF, 7, 10, 0x80000000, 64, 33],
    "i8": [0, 1, 0xFF, 7, 0x80, 9],
    "u64": [0, 1, (1 << 64) - 1, 10, 1 << 63, 65],
}


def _with_constants(dtype: DType, *, on_left: bool) -> Case:
    side = "left" if on_left else "right"
    k = Writer(f"constant_{side}_{dtype}", (32, 1, 1))
    operations = [op for op in operations_on(dtype) if op.arity == 2 and op.accepts is not Accepts.COMPARABLE]
    operand = k.read("a", dtype)
    constants = [k.const(constant_value(bits, dtype), dtype) for bits in _CONSTANTS[dtype.name]]
    outs = []
    i = k.global_id()
    a = operand[i]
    for op in operations:
        for n, constant in enumerate(constants):
            out = k.buffer(f"{op.name}_{n}", bool_ if op.result is Result.BOOL else dtype)
            out[i] = k.op(op.name, *((constant, a) if on_left else (a, constant)))
            outs.append(out)
    left = adversarial(dtype)
    results = [np.zeros(left.size, out.memory.dtype.numpy) for out in outs]
    return Case(k.finish(), (left, *results), groups=(-(-left.size // 32), 1, 1))


for _name in _CONSTANTS:
    case(f"constant-left/{_name}", widths=(1, 8))(partial(_with_constants, lookup(_name), on_left=True))
    case(f"constant-right/{_name}", widths=(1, 8))(partial(_with_constants, lookup(_name), on_left=False))
