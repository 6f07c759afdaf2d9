"""Literals: every operation of floats with numbers that stand in the kernel, on both sides, in every float type.

One buffer holds all results, so that no device is left out for having too few. Compilers fold, and take x * 0.0 for
0.0, x + 0.0 for x, a choice between 1.0 and -0.0 for one between 1.0 and 0.0. Oracle besides the interpreter: numpy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.cases.language.operations import operations_on
from conformance.running import Bits, Case, case
from conformance.writer import Array, Value, Writer
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, u32, u64
from loom.ir.ops import OPS, Result

_LANES = 32
_NUMPY: dict[str, Any] = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


def _literals(dtype: DType) -> list[float]:
    """Return zeros, ones, a half, two, infinities, NaN, subnormals, the least normals, the largest, and others."""
    info: Any = np.finfo(np.float32 if dtype.bits < 64 else np.float64)
    tiny, least, largest = float(info.smallest_subnormal), float(info.tiny), float(info.max)
    positive = [0.0, 1.0, 0.5, 2.0, np.inf, tiny, least - tiny, least, largest, 3.0, 0.1, 1.0 + float(info.eps)]
    return [np.nan, *positive, *(-v for v in positive)]


def _values(dtype: DType) -> Bits:
    """Return the literals as values of a type, bf16 as its bits."""
    literals = np.array(_literals(dtype))
    if dtype == bf16:
        return (literals.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    with np.errstate(over="ignore"):
        return literals.astype(dtype.numpy)


class _Rows:
    """Results of all values, one row after the other, in one buffer."""

    def __init__(self, k: Writer, out: Array, size: int) -> None:
        self.k, self.out, self.size, self.count, self.i = k, out, size, 0, k.global_id()

    def add(self, value: Value) -> None:
        """Write a row."""
        self.out[self.i + self.count * self.size] = value
        self.count += 1

    def case(self, values: Bits, dtype: DType, expected: Bits | None = None) -> Case:
        """Return the case of the kernel so far."""
        results = np.zeros(self.count * self.size, dtype.numpy)
        known = {} if expected is None else {"out": expected}
        return Case(self.k.finish(), (values, results), expected=known)


def _begin(name: str, source: DType, target: DType) -> tuple[Writer, Value, _Rows, Bits]:
    values = _values(source)
    k = Writer(f"literals_{name}_{source}", (values.size, 1, 1))
    x, out = k.read("x", source), k.buffer("out", target)
    rows = _Rows(k, out, values.size)
    loaded = x[rows.i]
    return k, loaded.to(f32) if source.storage_only else loaded, rows, values


def _on_both_sides(name: str, dtype: DType) -> Case:
    is_bool = OPS[name].result is Result.BOOL
    target = u32 if is_bool else dtype
    k, x, rows, values = _begin(name, dtype, target)
    expected = []
    for literal in _literals(dtype):
        known = k.const(literal, x.dtype)
        for pair in ((x, known), (known, x)):
            found = k.op(name, *pair)
            rows.add(found.to(u32) if is_bool else found.to(dtype) if dtype.storage_only else found)
        if name in _NUMPY and not dtype.storage_only:
            with np.errstate(all="ignore"):
                wide = dtype.numpy.type(literal)
                expected += [_NUMPY[name](values, wide), _NUMPY[name](wide, values)]
    return rows.case(values, target, np.concatenate(expected) if expected else None)


def _alone(dtype: DType) -> Case:
    """Operations of literals only, which a compiler works out, beside the value they are added to."""
    k, x, rows, values = _begin("alone", dtype, dtype)
    unary = [op.name for op in operations_on(dtype) if op.arity == 1]
    for literal in _literals(dtype):
        known = k.const(literal, dtype)
        for name in unary:
            rows.add(k.op(name, known))
        rows.add(x * (known + known))
        rows.add(x + known * known)
        rows.add(known.to(u32).to(dtype) * x)
    return rows.case(values, dtype)


def _choices(dtype: DType) -> Case:
    """Pairs of literals, chosen by a comparison with another literal; some by branches, some as integers."""
    k, x, rows, values = _begin("choices", dtype, dtype)
    word = u64 if x.dtype.bits == 64 else u32
    literals = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, np.inf, np.nan]
    bits = np.array(literals, x.dtype.numpy).view(word.numpy).tolist()
    for n, a in enumerate(literals):
        for m, b in enumerate(literals):
            chosen = k.select(x < literals[(n + m) % 3], k.const(a, x.dtype), k.const(b, x.dtype))
            if (n + m) % 3 == 1:
                whole = k.select(x < 0.0, k.const(bits[n], word), k.const(bits[m], word))
                chosen = whole.bits(x.dtype)
            if (n + m) % 3 == 2:
                kept = k.local(f"kept_{n}_{m}", x.dtype, b)
                with k.when(x < 0.0):
                    kept.set(a)
                chosen = kept.now
            rows.add(chosen.to(dtype) if dtype.storage_only else chosen)
    return rows.case(values, dtype)


def _one_choice(dtype: DType, one: float, zero: float) -> Case:
    """A kernel of nothing else: NVIDIA's driver chooses wrongly there, and rightly where there are many choices."""
    k, x, rows, values = _begin("choice", dtype, dtype)
    below = x < 0.0
    rows.add(k.select(below, k.const(one, dtype), k.const(zero, dtype)))
    rows.add(k.select(below, k.const(zero, dtype), k.const(one, dtype)))
    expected = np.concatenate([np.where(values < 0, one, zero), np.where(values < 0, zero, one)])
    return rows.case(values, dtype, expected.astype(dtype.numpy))


def _worked_out(dtype: DType) -> Case:
    """Zeros and ones that stand nowhere: of cleared bits, of memory that starts as zero, of counters, of bools."""
    k, x, rows, values = _begin("worked_out", dtype, dtype)
    word = u64 if dtype.bits == 64 else u32
    number, i = x.dtype, rows.i.to(word)
    held, shared = k.private("held", number, 2), k.shared("shared", number, 3)
    one = 0x3FF << 52 if number.bits == 64 else 0x3F800000
    zeros = [
        (i & 0).bits(number), (i ^ i).bits(number), (i * 0).to(number), k.const(0, u32).to(number), held[1],
        shared[7], k.const(False, bool_).to(number), ((i - i) << 31).bits(number), (i >> 31 >> 31 >> 2).bits(number),
    ]  # fmt: skip
    ones = [((i & 0) | one).bits(number), (i - i + 1).to(number)]
    for known in (*zeros, *ones):
        for name in ("add", "sub", "mul", "div"):
            rows.add(k.op(name, x, known))
            rows.add(k.op(name, known, x))
    for some in ones:
        for none in (*zeros[:3], -zeros[0]):
            rows.add(k.select(x < 0.0, some, none))
            rows.add(k.select(x < 0.0, none, -some))
    total = k.local("total", number, -0.0)
    with k.count(0, 3) as n:
        total.set(total.now + x * n.to(number))
    rows.add(total.now)
    return rows.case(values, dtype)


for _dtype in (f32, f64):
    for _op in operations_on(_dtype):
        if _op.arity == 2:
            case(f"literals/{_op.name}-{_dtype}", widths=(4,))(partial(_on_both_sides, _op.name, _dtype))
    case(f"literals/alone-{_dtype}", widths=(4,))(partial(_alone, _dtype))
    case(f"literals/worked-out-{_dtype}", widths=(4,))(partial(_worked_out, _dtype))
    for _one in (1.0, -1.0):
        for _zero in (0.0, -0.0):
            case(f"literals/choice-{_one}-{_zero}-{_dtype}", widths=(4,))(partial(_one_choice, _dtype, _one, _zero))
for _dtype in (f16, bf16):
    for _name in ("add", "sub", "mul", "div", "max"):
        case(f"literals/{_name}-{_dtype}", widths=(4,))(partial(_on_both_sides, _name, _dtype))
for _dtype in (f32, f64, f16):
    case(f"literals/choices-{_dtype}", widths=(4,))(partial(_choices, _dtype))
