"""convert, bitcast and select between all types they accept; all of f16 and bf16, both ways; bool buffers.

Oracles besides the interpreter: Python's integers (wrapping and saturation), ``struct``'s half precision,
and for bf16 the definition: the nearer of the two neighbouring multiples of 2^16, ties to the even one.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.values import adversarial, random_bits, triples
from conformance.writer import Writer
from loom.core.dtype import SCALARS, DType, bf16, bool_, f16, f32, i8, i16, i32, i64, lookup, u32
from loom.ir.ops import OPS
from loom.ir.rules import TypeRule, infer

Array = np.ndarray[Any, Any]


def _targets(name: str, source: DType) -> list[DType]:
    """Return the types ``source`` may be converted or cast to, as the type rules say."""
    found = []
    for target in SCALARS.values():
        try:
            infer(OPS[name], [source], target, None)
        except TypeRule:
            continue
        found.append(target)
    return found


def _one_operation(name: str, source: DType, values: Array) -> Case:
    """Every target type of one operation from ``source``, in one kernel."""
    k = Writer(f"{name}_{source}", (64, 1, 1))
    operand = k.read("a", source)
    outs = {t: k.buffer(f"to_{t}", t) for t in _targets(name, source)}
    i = k.global_id()
    a = operand[i]
    for target, out in outs.items():
        out[i] = k.op(name, a, dtype=target)
    results = [np.zeros(values.size, t.numpy) for t in outs]
    expected = {}
    if name == "convert":
        expected = {f"to_{t}": e for t in outs if (e := _oracle(source, t, values)) is not None}
    return Case(k.finish(), (values, *results), groups=(-(-values.size // 64), 1, 1), expected=expected)


def _operands(source: DType) -> Array:
    if source.bits == 16 and source.is_float:
        return np.arange(1 << 16, dtype=np.uint16).view(source.numpy)
    return np.concatenate([adversarial(source), random_bits(source.numpy, 3000, seed=source.bits)])


for _dtype in SCALARS.values():
    case(f"convert/{_dtype}")(lambda t=_dtype: _one_operation("convert", t, _operands(t)))
    if _targets("bitcast", _dtype):
        case(f"bitcast/{_dtype}")(lambda t=_dtype: _one_operation("bitcast", t, _operands(t)))


def _oracle(source: DType, target: DType, values: Array) -> Array | None:
    if target.is_integer and (source.is_integer or source in (f32, lookup("f64"))):
        return np.array([_to_integer(target, x) for x in values.tolist()], target.numpy)
    if (source, target) == (f16, f32):
        return np.array(struct.unpack(f"<{values.size}e", values.tobytes()), np.float32)
    if (source, target) == (bf16, f32):
        return (values.astype(np.uint32) * np.uint32(1 << 16)).view(np.float32)
    if (source, target) == (f32, bf16):
        return np.array([_nearest_bf16(float(x)) for x in values], np.uint16)
    if (source, target) == (f32, f16):
        return np.array([_nearest_half(float(x)) for x in values], np.float16)
    return None


def _to_integer(target: DType, x: float) -> int:
    if isinstance(x, int):
        low = x % (1 << target.bits)
        return low - (1 << target.bits) if low > target.maximum else low
    if math.isnan(x):
        return 0
    return max(
        target.minimum, min(target.maximum, math.trunc(x) if math.isfinite(x) else int(1e30 * math.copysign(1, x)))
    )


def _nearest_half(x: float) -> float:
    try:
        return struct.unpack("<e", struct.pack("<e", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def _nearest_bf16(x: float) -> int:
    """Choose between the two neighbours by exact distance; beyond the largest lies infinity, at 2^128."""
    if math.isnan(x):
        return 0x7FC0
    sign = 0x8000 if math.copysign(1, x) < 0 else 0
    if math.isinf(x):
        return sign | 0x7F80
    below = struct.unpack("<I", struct.pack("<f", abs(x)))[0] >> 16
    low, high = (2.0**128 if n == 0x7F80 else _bf16_value(n) for n in (below, below + 1))
    down, up = abs(x) - low, high - abs(x)
    nearer = below if down < up or (down == up and below % 2 == 0) else below + 1
    return sign | nearer


def _bf16_value(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def _ties(step: int, low: int, high: int) -> Array:
    """Return f32 values at, just below and just above the midpoints of a coarser format."""
    middles = np.arange(low, high, step, dtype=np.int64) + step // 2
    bits = np.concatenate([middles + d for d in (-1, 0, 1)] + [middles - step // 2]).astype(np.uint32)
    return np.concatenate([bits, bits | np.uint32(1 << 31)]).view(np.float32)


@case("convert/f32-ties-of-f16")
def f16_ties() -> Case:
    """Every midpoint between two halves in some binades, subnormal ones included, and about the largest."""
    normal = [_ties(1 << 13, e << 23, (e << 23) + (1 << 20)) for e in (113, 127, 142)]
    subnormal = [_ties(1 << (13 + n), (113 - n) << 23, (114 - n) << 23) for n in (1, 5, 9, 10, 11)]
    values = np.concatenate([*normal, *subnormal])
    return _one_operation("convert", f32, values)


@case("convert/f32-ties-of-bf16")
def bf16_ties() -> Case:
    ranges = [(0, 1 << 21), (1 << 23, (1 << 23) + (1 << 20)), (0x3F800000, 0x3F900000), (0x7F700000, 0x7F7F0001)]
    return _one_operation("convert", f32, np.concatenate([_ties(1 << 16, low, high) for low, high in ranges]))


@case("select/all-types")
def select_all() -> Case:
    """Bits pass through select unchanged, in every type, f16, bf16 and bool included."""
    k = Writer("select_all", (64, 1, 1))
    types = list(SCALARS.values())
    condition = k.read("c", bool_)
    operands = [(k.read(f"a_{t}", t), k.read(f"b_{t}", t)) for t in types]
    outs = [k.buffer(f"out_{t}", t) for t in types]
    i = k.global_id()
    c = condition[i]
    for (a, b), out in zip(operands, outs, strict=True):
        out[i] = k.select(c, a[i], b[i])
    chosen = random_bits(np.dtype(np.bool_), 300, seed=3)
    arrays = [triples(t, 300, seed=n)[:2] for n, t in enumerate(types)]
    results = [np.zeros(300, t.numpy) for t in types]
    expected = {f"out_{t}": np.array([x if c else y for c, x, y in zip(chosen, a, b, strict=True)], t.numpy)
                for t, (a, b) in zip(types, arrays, strict=True)}  # fmt: skip
    flat = [x for pair in arrays for x in pair]
    return Case(k.finish(), (chosen, *flat, *results), groups=(5, 1, 1), expected=expected)


@case("select/constant-conditions")
def select_constants() -> Case:
    """Conditions and operands that are equal in all lanes, or constants."""
    k = Writer("select_constants", (32, 1, 1))
    x, out = k.read("x", f32), k.buffer("out", f32)
    flag = k.param("flag", bool_)
    i = k.global_id()
    v = x[i]
    out[i * 4] = k.select(flag, v, -0.0)
    out[i * 4 + 1] = k.select(k.const(True, bool_), v, 1.0)
    out[i * 4 + 2] = k.select(v > 0.0, k.const(2.0, f32), k.const(-2.0, f32))
    out[i * 4 + 3] = k.select(flag & (v < v), v, v + 1.0)  # noqa: PLR0124
    values = adversarial(f32)[:96]
    return Case(k.finish(), (values, np.zeros(384, np.float32)), (False,), groups=(3, 1, 1), modes=EVERY_MODE)


@case("bool/buffers")
def bool_buffers() -> Case:
    """A bool is one byte, 0 or 1, in buffers, shared and private memory, parameters and variables."""
    k = Writer("bool_buffers", (64, 1, 1))
    a, out, count = k.read("a", bool_), k.buffer("out", bool_), k.buffer("count", u32)
    flag, shared, private = k.param("flag", bool_), k.shared("s", bool_, 64), k.private("p", bool_, 3)
    i, lane = k.global_id(), k.local_id()
    seen = k.local("seen", bool_, a[i] ^ flag)
    shared[lane] = seen.now
    private[lane % 3] = seen.now
    k.barrier()
    with k.when(shared[63 - lane]):
        seen.set(~private[(lane + 1) % 3])
    out[i] = seen.now
    count[i] = seen.now.to(u32) + shared[lane].to(u32) * 2 + private[lane % 3].to(u32) * 4
    values = random_bits(np.dtype(np.bool_), 192, seed=8)
    return Case(k.finish(), (values, np.ones(192, np.bool_), np.zeros(192, np.uint32)), (True,), groups=(3, 1, 1))


@case("halves/memory")
def halves_in_memory() -> Case:
    """f16 and bf16 in buffers, shared and private arrays and variables; arithmetic in f32, as written."""
    k = Writer("halves_in_memory", (32, 1, 1))
    h, g, out, rest = k.read("h", f16), k.read("g", bf16), k.buffer("out", f16), k.buffer("rest", bf16)
    shared, private = k.shared("s", f16, 32), k.private("p", bf16, 2)
    i, lane = k.global_id(), k.local_id()
    shared[lane] = h[i]
    private[lane % 2] = g[i]
    k.barrier()
    kept = k.local("kept", f16, shared[31 - lane])
    total = kept.now.to(f32) * private[lane % 2].to(f32) + 1.0
    with k.when(total > 1.0):
        kept.set(total.to(f16))
    out[i] = kept.now
    rest[i] = k.select(total < 1.0, private[0], total.to(bf16))
    halves, others = random_bits(np.dtype(np.float16), 256, seed=1), random_bits(np.dtype(np.uint16), 256, seed=2)
    return Case(k.finish(), (halves, others, np.zeros(256, np.float16), np.zeros(256, np.uint16)), groups=(8, 1, 1))


@case("convert/widened-at-once")
def widened_at_once() -> Case:
    """What overflows in a narrow type has wrapped before it is widened: the least number stays negative."""
    k = Writer("widened_at_once", (32, 1, 1))
    narrow, signed = (i8, i16, i32), k.buffer("signed", i64)
    i = k.global_id()
    inputs = [k.read(f"x{n}", dtype) for n, dtype in enumerate(narrow)]
    for n, x in enumerate(inputs):
        v = x[i]
        for m, result in enumerate((k.op("abs", v), -v, v + v, v * v, v - 1, k.op("abs", v) << 1)):
            signed[i * 18 + (6 * n + m)] = result.to(i64)
    arrays, exact = [], []
    for dtype in narrow:
        lo, hi = dtype.minimum, dtype.maximum
        arrays.append(np.resize(np.array([lo, lo + 1, -1, 0, 1, hi - 1, hi, lo // 2], dtype.numpy), 32))
    for lane in range(32):
        for dtype, array in zip(narrow, arrays, strict=True):
            v = int(array[lane])
            for result in (abs(v), -v, v + v, v * v, v - 1, abs(v) * 2):
                exact.append((result - dtype.minimum) % (1 << dtype.bits) + dtype.minimum)
    expected = {"signed": np.array(exact, np.int64)}
    return Case(k.finish(), (np.zeros(576, np.int64), *arrays), expected=expected)
