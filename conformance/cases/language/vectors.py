"""Short vectors: arithmetic by component, buffers of them, components, variables, shared and private arrays.

Oracle besides the interpreter: numpy on arrays of shape (elements, components).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.values import random_bits, triples
from conformance.writer import Writer
from loom.core.dtype import DType, bool_, f16, f32, f64, i16, i32, i64, lookup, u8, u32

Array = np.ndarray[Any, Any]
_COUNT = 200


def _arithmetic(dtype: DType) -> Case:
    """out = a * b + c and more, by component; the group is not a multiple of the buffer's length."""
    k = Writer(f"arithmetic_{dtype}", (48, 1, 1))
    a, b, c = (k.read(n, dtype) for n in "abc")
    out, less = k.buffer("out", dtype), k.buffer("less", bool_.vector(dtype.lanes))
    low = k.buffer("low", dtype)
    i = k.global_id()
    x, y, z = a[i], b[i], c[i]
    out[i] = x * y + z
    less[i] = x < y
    low[i] = k.select(x <= z, k.op("min", x, y), k.op("max", y, z))
    size = _COUNT * dtype.lanes
    operands = triples(dtype.scalar, size, seed=dtype.lanes + dtype.bits)
    with np.errstate(all="ignore"):
        exact = operands[0] * operands[1] + operands[2]
    results = [np.zeros(size, dtype.numpy), np.zeros(size, np.bool_), np.zeros(size, dtype.numpy)]
    expected = {"out": exact, "less": operands[0] < operands[1]}
    return Case(k.finish(), (*operands, *results), groups=(5, 1, 1), expected=expected)


for _name in ("f32x2", "f32x3", "f32x4", "f64x3", "i32x4", "u8x4", "i16x3", "u64x2"):
    case(f"vectors/arithmetic-{_name}")(partial(_arithmetic, lookup(_name)))


def _reversed_components(dtype: DType) -> Case:
    """Take vectors apart and put them together the other way round; store components to plain buffers."""
    k = Writer(f"reversed_{dtype}", (32, 1, 1))
    a, out, parts = k.read("a", dtype), k.buffer("out", dtype), k.buffer("parts", dtype.scalar)
    i = k.global_id()
    x = a[i]
    components = [x.component(n) for n in range(dtype.lanes)]
    out[i] = k.vector(dtype, *reversed(components))
    for n, component in enumerate(components):
        parts[i * dtype.lanes + n] = component
    size = 96 * dtype.lanes
    values = random_bits(dtype.numpy, size, seed=dtype.bits)
    turned = values.reshape(-1, dtype.lanes)[:, ::-1].ravel()
    results = [np.zeros(size, dtype.numpy), np.zeros(size, dtype.numpy)]
    expected = {"out": turned, "parts": values}
    return Case(k.finish(), (values, *results), groups=(3, 1, 1), expected=expected, modes=EVERY_MODE)


for _name in ("f32x2", "f32x3", "f32x4", "boolx3", "f16x4", "bf16x2", "i64x3", "u8x3"):
    case(f"vectors/components-{_name}")(partial(_reversed_components, lookup(_name)))


@case("vectors/variables")
def variables() -> Case:
    """Vector variables across divergent branches, a loop and a barrier; shared and private vector arrays."""
    k = Writer("vector_variables", (32, 1, 1))
    v3 = f32.vector(3)
    a, out = k.read("a", v3), k.buffer("out", v3)
    shared, private = k.shared("s", v3, 32), k.private("p", v3, 4)
    i, lane = k.global_id(), k.local_id()
    total = k.local("total", v3, a[i])
    with k.when(lane % 3 == 0):
        total.set(total.now + a[i + 1])
    with k.otherwise():
        total.set(-total.now)
    with k.count(0, lane % 5) as turn:
        private[turn] = total.now
        total.set(total.now * a[i + turn])
    shared[lane] = total.now + private[lane % 4]
    k.barrier()
    out[i] = total.now + shared[31 - lane]
    rng = np.random.default_rng(9)
    values = rng.standard_normal(3 * 96).astype(np.float32)
    return Case(k.finish(), (values, np.zeros(3 * 96, np.float32)), groups=(3, 1, 1))


@case("vectors/conversions")
def conversions() -> Case:
    """convert and bitcast by component, through f16 and integers."""
    k = Writer("vector_conversions", (64, 1, 1))
    a = k.read("a", f32.vector(4))
    whole, bits, half = (
        k.buffer("whole", i16.vector(4)),
        k.buffer("bits", u32.vector(4)),
        k.buffer("half", f16.vector(4)),
    )
    wide = k.buffer("wide", f64.vector(4))
    i = k.global_id()
    x = a[i]
    whole[i], bits[i], half[i] = x.to(i16.vector(4)), x.bits(u32.vector(4)), x.to(f16.vector(4))
    wide[i] = x.to(i64.vector(4)).to(f64.vector(4))
    values = triples(f32, 256 * 4, seed=2)[0]
    size = values.size
    results = [np.zeros(size, t) for t in (np.int16, np.uint32, np.float16, np.float64)]
    return Case(k.finish(), (values, *results), groups=(4, 1, 1), expected={"bits": values.view(np.uint32)})


@case("vectors/out-of-bounds")
def out_of_bounds() -> Case:
    """A vector is inside or outside as a whole; outside reads give 0 and writes vanish."""
    k = Writer("vector_out_of_bounds", (16, 1, 1))
    v = u8.vector(3)
    a, index, out, seen = k.read("a", v), k.read("index", i32), k.buffer("out", v), k.buffer("seen", v)
    i = k.global_id()
    seen[i] = a[index[i]]
    out[index[i]] = a[i]
    values = np.arange(1, 22, dtype=np.uint8)  # 7 vectors
    at = np.array([0, 6, 7, -1, 1, 8, 2**31 - 1, -(2**31), 5, 715827883, 1431655766, 3, 2, 9, 4, 100], np.int32)
    rows = [values.reshape(7, 3)[n] if 0 <= n < 7 else np.zeros(3, np.uint8) for n in at]
    written = np.full((7, 3), 250, np.uint8)
    for lane, n in enumerate(at):
        if 0 <= n < 7:
            written[n] = values.reshape(7, 3)[lane] if lane < 7 else 0
    expected = {"seen": np.concatenate(rows), "out": written.ravel()}
    buffers = (values, at, np.full(21, 250, np.uint8), np.full(48, 9, np.uint8))
    return Case(k.finish(), buffers, expected=expected)
