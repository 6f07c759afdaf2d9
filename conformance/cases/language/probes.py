"""The scalar probes of the numeric contract (docs/numerics.md, section 6), each in four settings.

A probe is an expression of operands loaded from a buffer, and the bits it must give: literals, so that
interpreter and devices are both judged. The settings: straight code; a loop whose bound the compiler does not
know; components of a short vector; and with every intermediate result passed through shared memory from
lane to lane, as in a reduction. The quotients and roots lie within 2^-24 of a unit of a midpoint (found by
inverting b modulo 2^25, and by search; their results are exact rational arithmetic's).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.writer import Value, Writer
from loom.core.dtype import DType, f32, f64, i32, lookup, u32

__all__ = ["PROBES"]

_LANES = 16
_TURNS = 3
Step = Callable[[Value], Value]
"""What happens to an intermediate result: nothing, or a way through memory."""


@dataclass(frozen=True)
class Probe:
    """``compute`` takes the step and the operands; ``bits`` is the pattern of its result of type ``result``."""

    hazard: str
    dtype: DType
    operands: tuple[int, ...]
    compute: Callable[..., Value]
    bits: int
    result: DType


PROBES: list[Probe] = []


def _probe(
    hazard: str, dtype: DType, operands: list[float] | list[int], compute: Callable[..., Value], result: float | int
) -> None:
    PROBES.append(Probe(hazard, dtype, tuple(_bits(x, dtype) for x in operands), compute, _bits(result, dtype), dtype))


def _bits(x: float | int, dtype: DType) -> int:
    """An int is a bit pattern, a float a value."""
    return x if isinstance(x, int) else int(dtype.numpy.type(x).view(dtype.bits_numpy))


def _binary(name: str) -> Callable[..., Value]:
    return lambda step, a, b: step(a.writer.op(name, a, b))


def _unary(name: str) -> Callable[..., Value]:
    return lambda step, a: step(a.writer.op(name, a))


def _fused(step: Step, a: Value, b: Value, c: Value) -> Value:
    return step(step(a * b) + c)


def _fused_minus(step: Step, a: Value, b: Value, c: Value) -> Value:
    return step(c - step(a * b))


def _two_products(step: Step, a: Value, b: Value, c: Value, d: Value) -> Value:
    return step(step(a * b) + step(c * d))


def _sum(step: Step, a: Value, b: Value, c: Value) -> Value:
    return step(step(a + b) + c)


def _difference(step: Step, a: Value, b: Value, c: Value) -> Value:
    return step(step(a + b) - c)


def _kept(step: Step, a: Value, b: Value) -> Value:
    return step(a.writer.select(a < b, a, b))


INF, NAN = float("inf"), float("nan")

for _t, _u in ((f32, 12), (f64, 27)):  # half the significand's bits
    e = 2.0**-_u
    _probe("contraction", _t, [1 + e, 1 + e, -(1 + 2 * e)], _fused, 0.0)
    _probe("contraction", _t, [1 + e, 1 + e, 1 + 2 * e], _fused_minus, 0.0)
    _probe("contraction", _t, [1 + e, 1 + e, -(1 + e), 1 + e], _two_products, 0.0)

_probe("reassociation", f32, [1.0, 2.0**-24, 2.0**-24], _sum, 1.0)
_probe("reassociation", f32, [2.0**24, 1.0, 2.0**24], _difference, 0.0)
_probe("reassociation", f64, [1.0, 2.0**-53, 2.0**-53], _sum, 1.0)
_probe("reassociation", f64, [2.0**53, 1.0, 2.0**53], _difference, 0.0)

for _a, _b, _q in [
    (0x4B478D35, 0x4B6CE141, 0x3F57A8A0), (0x4B39A954, 0x4B5187F5, 0x3F62D62E), (0x4B2C52B2, 0x4B416CEB, 0x3F64121F),
    (0x4B6BA15D, 0x4B416CEB, 0x3F9BEDE1), (0x3F800000, 0x40400000, 0x3EAAAAAB), (0x40000000, 0x40400000, 0x3F2AAAAB),
]:  # fmt: skip
    _probe("division", f32, [_a, _b], _binary("div"), _q)
for _a, _q in [
    (0x3F800001, 0x3F800000), (0x3FFC114A, 0x3FB39FA6), (0x3F800003, 0x3F800001), (0x3F925859, 0x3F88DD94),
    (0x407FFFFF, 0x3FFFFFFF), (0x407FFFFD, 0x3FFFFFFE), (0x406E9372, 0x3FF7226D), (0x40551DBF, 0x3FE99374),
]:  # fmt: skip
    _probe("root", f32, [_a], _unary("sqrt"), _q)

_probe("flush", f32, [2.0**-126, 0.5], _binary("mul"), 0x00400000)
_probe("flush", f32, [2.0**-149, 2.0**-149], _binary("add"), 0x00000002)
_probe("flush", f32, [2.0**-130, 2.0**10], _binary("mul"), 2.0**-120)
_probe("flush", f32, [2.0**-149, 1.0], _kept, 0x00000001)
_probe("flush", f32, [2.0**-126, 2.0**-127], _binary("sub"), 0x00400000)
_probe("flush", f32, [2.0**-148], _unary("sqrt"), 2.0**-74)
_probe("flush", f32, [2.0**-140, 2.0**-20], _binary("div"), 2.0**-120)
_probe("flush", f32, [-(2.0**-149), 2.0**-149], _binary("min"), 0x80000001)
_probe("flush", f64, [2.0**-1022, 0.5], _binary("mul"), 1 << 51)
_probe("flush", f64, [2.0**-1074, 2.0**-1074], _binary("add"), 2)
_probe("flush-timing", f32, [(1 + 2.0**-23) * 2.0**-60, (1 - 2.0**-23) * 2.0**-66], _binary("mul"), 0x00800000)

_probe("rounding-mode", f32, [1.0, 2.0**-24], _binary("add"), 1.0)
_probe("rounding-mode", f32, [1.0, 3 * 2.0**-24], _binary("add"), 1 + 2.0**-22)
_probe("rounding-mode", f32, [-1.0, -3 * 2.0**-24], _binary("add"), -(1 + 2.0**-22))
_probe("rounding-mode", f32, [3.4028234663852886e38, 2.0**102], _binary("add"), 3.4028234663852886e38)
_probe("rounding-mode", f32, [3.4028234663852886e38, 2.0**103], _binary("add"), INF)

_probe("signed-zero", f32, [-0.0, 0.0], _binary("add"), 0.0)
_probe("signed-zero", f32, [-0.0, 1.0], _binary("mul"), -0.0)
_probe("signed-zero", f32, [-1.0, 0.0], _binary("mul"), -0.0)
_probe("signed-zero", f32, [0.0, -0.0], _binary("min"), -0.0)
_probe("signed-zero", f32, [-0.0, 0.0], _binary("max"), 0.0)
_probe("signed-zero", f32, [0.0], lambda step, a: step(-a), -0.0)
_probe("signed-zero", f32, [0.0, 0.0], lambda step, a, b: step(a - step(b - a)), 0.0)
_probe("signed-zero", f32, [-0.25], _unary("rint"), -0.0)
_probe("nan", f32, [INF, INF], _binary("sub"), NAN)
_probe("nan", f32, [0.0, INF], _binary("mul"), NAN)
_probe("nan", f32, [NAN, 1.0], _binary("max"), NAN)
_probe("nan", f32, [1.0, NAN], _binary("min"), NAN)
_probe("nan", f32, [0.0, 0.0], _binary("div"), NAN)

_probe("integers", u32, [0xFFFFFFFF, 1], _binary("add"), 0)
_probe("integers", u32, [0x80000001, 0x80000001], _binary("mul"), 1)
_probe("integers", u32, [0xFFFFFFFF, 0xFFFFFFFF], _binary("mulhi"), 0xFFFFFFFE)
_probe("integers", i32, [0xFFFFFFFF, 1], _binary("mulhi"), 0xFFFFFFFF)
_probe("integers", i32, [0x80000000, 0xFFFFFFFF], _binary("idiv"), 0x80000000)
_probe("integers", i32, [0xFFFFFFF9, 0], _binary("irem"), 0xFFFFFFF9)
_probe("integers", u32, [1, 33], _binary("shl"), 2)
_probe("integers", i32, [0x80000000, 63], _binary("shr"), 0xFFFFFFFF)
_probe("integers", u32, [0], _unary("clz"), 32)
_probe("integers", lookup("u64"), [(1 << 64) - 1, (1 << 64) - 1], _binary("mulhi"), (1 << 64) - 2)

for _source, _x, _target, _y in [
    (i32, 16777219, f32, 0x4B800002), (u32, 0xFFFFFF80, f32, 0x4F800000), (u32, 0xFFFFFF7F, f32, 0x4F7FFFFF),
    (f32, 0x4F000000, i32, 0x7FFFFFFF), (f32, 0xCF000001, i32, 0x80000000), (f32, 0x7FC00000, i32, 0),
    (f32, 0x4F800000, u32, 0xFFFFFFFF), (f32, 0xBF800000, u32, 0), (f32, 0x7F800000, u32, 0xFFFFFFFF),
]:  # fmt: skip
    PROBES.append(
        Probe("conversion", _source, (_x,), lambda step, a, t=_target: step(a.to(t.vector(a.dtype.lanes))), _y, _target)
    )


# settings


def _operands(k: Writer, probe: Probe, memory: Any, first: Value) -> list[Value]:
    return [memory[first + n * _LANES] for n in range(len(probe.operands))]


def _straight(k: Writer, probe: Probe, memory: Any, out: Any) -> None:
    lane = k.global_id()
    out[lane] = probe.compute(lambda v: v, *_operands(k, probe, memory, lane))


def _in_loop(k: Writer, probe: Probe, memory: Any, out: Any, turns: Value) -> None:
    lane = k.global_id()
    last = k.local("last", probe.result, 0)
    with k.count(0, turns) as turn:
        zero = turn * 0  # the compiler does not see that the operands stay
        last.set(probe.compute(lambda v: v, *_operands(k, probe, memory, lane + zero)))
        out[lane + turn * _LANES] = last.now
    out[lane] = last.now


def _in_vector(k: Writer, probe: Probe, memory: Any, out: Any, lanes: int) -> None:
    lane = k.global_id()
    dtype = probe.dtype.vector(lanes)
    wide = [k.vector(dtype, *[v] * lanes) for v in _operands(k, probe, memory, lane)]
    result = probe.compute(lambda v: v, *wide)
    for n in range(lanes):
        out[lane + n * _LANES] = result.component(n)


def _through_shared(k: Writer, probe: Probe, memory: Any, out: Any, arrays: dict[DType, Any]) -> None:
    lane = k.local_id()

    def step(value: Value) -> Value:
        array = arrays[value.dtype]
        k.barrier()
        array[lane] = value
        k.barrier()
        return array[lane ^ 1]

    out[k.global_id()] = probe.compute(step, *_operands(k, probe, memory, k.global_id()))


def _kernel(setting: str, hazard: str) -> Case:
    k = Writer(f"probe_{setting}_{hazard}", (_LANES, 1, 1))
    probes = [p for p in PROBES if p.hazard == hazard]
    pairs = [(k.read(f"x{n}", p.dtype), k.buffer(f"out{n}", p.result)) for n, p in enumerate(probes)]
    turns = k.param("turns", u32)
    types = {t for p in probes for t in (p.dtype, p.result)}
    arrays = {t: k.shared(f"s_{t}", t, _LANES) for t in sorted(types, key=str)} if setting == "shared" else {}
    copies = {"loop": _TURNS, "vector": 4}.get(setting, 1)
    for n, (probe, (memory, out)) in enumerate(zip(probes, pairs, strict=True)):
        if setting == "straight":
            _straight(k, probe, memory, out)
        elif setting == "loop":
            _in_loop(k, probe, memory, out, turns)
        elif setting == "vector":
            _in_vector(k, probe, memory, out, 2 + n % 3)
        else:
            _through_shared(k, probe, memory, out, arrays)
    return _case(k, probes, copies, setting)


def _case(k: Writer, probes: list[Probe], copies: int, setting: str) -> Case:
    buffers, expected = [], {}
    for n, p in enumerate(probes):
        operands = np.repeat(np.array(p.operands, p.dtype.bits_numpy), _LANES)
        count = 2 + n % 3 if setting == "vector" else copies
        buffers += [operands.view(p.dtype.numpy), np.zeros(count * _LANES, p.result.numpy)]
        wanted = np.full(count * _LANES, p.bits, p.result.bits_numpy)
        expected[f"out{n}"] = wanted.view(p.result.numpy)
    return Case(k.finish(), tuple(buffers), (_TURNS,), expected=expected, modes=("trusted",))


for _hazard in dict.fromkeys(p.hazard for p in PROBES):
    for _setting in ("straight", "loop", "vector", "shared"):
        case(f"probe/{_hazard}-{_setting}", widths=(1, 4, 16))(partial(_kernel, _setting, _hazard))


@case("probe/dot-product")
def dot_product() -> Case:
    """acc = acc + a[k] * b[k], k ascending: two roundings a turn (numpy's float32, turn by turn)."""
    k = Writer("dot_product", (64, 1, 1))
    a, b, out = k.read("a", f32), k.read("b", f32), k.buffer("out", f32)
    lane = k.global_id()
    total = k.local("total", f32, 0.0)
    with k.count(0, 37) as turn:
        total.set(total.now + a[turn * 64 + lane] * b[turn * 64 + lane])
    out[lane] = total.now
    rng = np.random.default_rng(4)
    x, y = (rng.standard_normal((37, 64)).astype(np.float32) for _ in "ab")
    exact = np.zeros(64, np.float32)
    for n in range(37):
        exact = exact + x[n] * y[n]
    return Case(k.finish(), (x.ravel(), y.ravel(), np.zeros(64, np.float32)), expected={"out": exact}, modes=EVERY_MODE)


_PHILOX = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip
"""Counter, key, result: the known answers published with Random123 (philox4x32-10)."""


@case("probe/philox")
def philox() -> Case:
    """Ten rounds of Philox4x32 on the published counters and keys."""
    k = Writer("philox", (4, 1, 1))
    x, out = k.read("x", u32), k.buffer("out", u32)
    i = k.global_id()
    c = [k.local(f"c{n}", u32, x[i * 6 + n]) for n in range(4)]
    key = [k.local(f"k{n}", u32, x[i * 6 + 4 + n]) for n in range(2)]
    with k.count(0, 10):
        now = [v.now for v in c]
        c[0].set(k.op("mulhi", now[2], 0xCD9E8D57) ^ now[1] ^ key[0].now)
        c[1].set(now[2] * 0xCD9E8D57)
        c[2].set(k.op("mulhi", now[0], 0xD2511F53) ^ now[3] ^ key[1].now)
        c[3].set(now[0] * 0xD2511F53)
        key[0].set(key[0].now + 0x9E3779B9)
        key[1].set(key[1].now + 0xBB67AE85)
    for n in range(4):
        out[i * 4 + n] = c[n].now
    given = np.array([[*counter, *key] for counter, key, _ in _PHILOX], np.uint32).ravel()
    result = np.array([r for _, _, r in _PHILOX], np.uint32).ravel()
    return Case(k.finish(), (given, np.zeros(12, np.uint32)), expected={"out": result})
