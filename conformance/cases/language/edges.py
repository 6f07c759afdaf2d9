"""Indexes that count up but for their edges, steps through memory, tables of atomics: what compilers take for plain.

Sizes are such that some vectors are plain, some cross an edge, and some lie outside.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.values import random_bits
from conformance.writer import Value, Writer
from loom.core.dtype import DType, i8, i16, i32, i64, lookup, u8, u16, u32
from loom.ir.kernel import LaneOrder

_SIZE = 240


def _neighbour(kind: str, index: DType) -> Case:
    """out[i] = a[left] + 2 a[right] - a[i], on a ring or clamped, for a part of the lanes."""
    k = Writer(f"neighbour_{kind}_{index}", (48, 1, 1))
    a, out, n = k.read("a", i32), k.buffer("out", i32), k.param("n", index)
    i = k.global_id().to(index)
    one, zero = k.const(1, index), k.const(0, index)
    if kind == "conditional":
        left = k.select(i > zero, i - one, n - one)
        right = k.select(i < n - one, i + one, zero)
    elif kind == "remainder":
        left, right = (i + n - one) % n, (i + one) % n
    else:
        left, right = k.op("max", i, one) - one, k.op("min", i + one, n - one)
    with k.when(i < n):
        out[i] = a[left] + a[right] * 2 - a[i]
        with k.when(a[i] % 3 == 0):
            out[i] = a[right] - a[left]
    size = 101 if index.bits == 8 else _SIZE - 5
    values = random_bits(i32.numpy, _SIZE, seed=size)
    return Case(k.finish(), (values, np.zeros(_SIZE, np.int32)), (size,), groups=(5, 1, 1), modes=EVERY_MODE)


for _kind in ("conditional", "remainder", "clamp"):
    for _index in (u32, i32, i64, u16, u8):
        case(f"edges/{_kind}-{_index}")(partial(_neighbour, _kind, _index))


def _steps(stride: int, index: DType) -> Case:
    """Read and write elements ``stride`` apart, some of them outside; a branch takes half of the lanes."""
    k = Writer(f"steps_{stride}_{index}", (32, 1, 1))
    a, out, half = k.read("a", u32), k.buffer("out", u32), k.buffer("half", u32)
    i = k.global_id().to(index)
    at = i * stride + (0 if stride > 0 else k.const(min(_SIZE + 4, index.maximum), index))
    out[at] = a[at] + 1
    with k.when(k.global_id() % 4 < 2):
        half[at] = a[at + 1] * 3
    results = [np.zeros(_SIZE, np.uint32), np.zeros(_SIZE, np.uint32)]
    values = random_bits(u32.numpy, _SIZE, seed=abs(stride))
    return Case(k.finish(), (values, *results), groups=(3, 1, 1))


for _stride in (2, 3, 7, -1, -3):
    for _index in (u32, i32) if _stride > 0 else (i32, i64):
        case(f"edges/step{_stride}-{_index}")(partial(_steps, _stride, _index))
for _index in (i8, i16):
    case(f"edges/step3-{_index}")(partial(_steps, 3, _index))


def _clamped_vectors(name: str) -> Case:
    """Sums of short vectors at clamped neighbours, a choice and a component of them."""
    dtype = lookup(name)
    k = Writer(f"clamped_{name}", (16, 2, 1))
    a, out, some = k.read("a", dtype), k.buffer("out", dtype), k.buffer("some", dtype.scalar)
    width, rows = 37, 6
    x, y = k.global_id(0).to(i32), k.global_id(1).to(i32)
    total = k.local("total", dtype, k.vector(dtype, *[k.const(0, dtype.scalar)] * dtype.lanes))
    with k.when(x < width):
        for dx in (-2, 0, 1):
            px = k.op("min", k.op("max", x + dx, 0), width - 1)
            found = a[y * width + px]
            total.set(total.now + found * k.vector(dtype, *[k.const(3, dtype.scalar)] * dtype.lanes))
            with k.when(x % 5 == 1):
                total.set(total.now - found)
        out[y * width + x] = total.now
        some[y * width + x] = total.now.component(1)
    size = width * rows
    values = random_bits(dtype.numpy, size * dtype.lanes, seed=dtype.lanes)
    if dtype.is_float:
        values = np.random.default_rng(5).standard_normal(size * dtype.lanes).astype(dtype.numpy)
    results = [np.zeros(size * dtype.lanes, dtype.numpy), np.zeros(size, dtype.numpy)]
    return Case(k.finish(), (values, *results), groups=(3, 3, 1), modes=EVERY_MODE)


for _name in ("f32x4", "f32x3", "f64x2", "i32x3", "u8x4"):
    case(f"edges/vectors-{_name}")(partial(_clamped_vectors, _name))


@case("edges/divisors")
def divisors() -> Case:
    """Quotients and remainders by a parameter and by what lanes hold, in several widths."""
    k = Writer("divisors", (64, 1, 1))
    i = k.global_id()
    inputs: list[Any] = []
    results: list[Any] = []
    params: list[int] = []
    for position, dtype in enumerate((u32, i32, u16, i16, u8, i8, i64)):
        a, b = k.read(f"a{position}", dtype), k.read(f"b{position}", dtype)
        inputs += [random_bits(dtype.numpy, 256, seed=2 * position + n) for n in range(2)]
        inputs[-1][:9] = [0, 1, 2, 3, dtype.maximum, dtype.minimum, 7, 10, dtype.maximum // 2]
        d = k.param(f"d{position}", dtype)
        params.append([10, -7, 65535, -1, 0, 3, 12345678901][position])
        out = k.buffer(f"out{position}", dtype)
        results.append(np.zeros(1024, dtype.numpy))
        parts: list[Value] = [k.op("idiv", a[i], b[i]), k.op("irem", a[i], b[i])]
        parts += [k.op("idiv", a[i], d), k.op("irem", a[i], d)]
        for n, part in enumerate(parts):
            out[i * 4 + n] = part
    finished = k.finish()
    order = [m.name for m in finished.buffers]
    named = {f"{'ab'[n % 2]}{n // 2}": v for n, v in enumerate(inputs)} | {f"out{n}": v for n, v in enumerate(results)}
    return Case(finished, tuple(named[n] for n in order), tuple(params), groups=(4, 1, 1))


@case("edges/schedule-in-private")
def schedule() -> Case:
    """A private array at constant indexes, changed by some lanes only, and once outside."""
    k = Writer("schedule", (32, 1, 1))
    a, out, turn = k.read("a", u32), k.buffer("out", u32), k.param("turn", u32)
    w = k.private("w", u32, 8)
    i = k.global_id()
    for n in range(8):
        w[n] = a[i * 8 + n]
    for n in range(24):
        with k.when(a[i] % 3 != n % 3):
            w[n % 8] = w[(n + 1) % 8] * 5 + w[(n + 6) % 8]
    w[9] = k.const(1, u32)
    w[turn] = w[turn] + w[turn + 6]
    for n in range(9):
        out[i * 9 + n] = w[n]
    values = random_bits(u32.numpy, 96 * 8, seed=3)
    return Case(k.finish(), (values, np.zeros(96 * 9, np.uint32)), (3,), groups=(3, 1, 1))


@case("edges/bytes")
def count_bytes() -> Case:
    """Count bytes in shared memory turn by turn, as many as there are, with lanes that have none in the last turn."""
    k = Writer("bytes", (128, 1, 1))
    data, found = k.read("data", u8), k.buffer("found", u32)
    counts = k.shared("counts", u32, 200)
    with k.count(0, 5) as turn:
        i = k.global_id() + turn * 384
        with k.when(i < 1700):
            counts.atomic("add", data[i].to(u32), k.const(1, u32))
    k.barrier()
    found.atomic("add", k.local_id(), counts[k.local_id()] + counts[k.local_id() + 128] * 1000)
    values = random_bits(u8.numpy, 1700, seed=1)
    return Case(k.finish(), (values, np.zeros(128, np.uint32)), groups=(3, 1, 1))


def _tally(dtype: DType, cells: int, asked: bool) -> Case:
    """Count into shared memory and into a buffer, with keys outside; many groups, few cells."""
    k = Writer(f"tally_{dtype}_{cells}_{asked}", (64, 1, 1))
    key, amount = k.read("key", u32), k.read("amount", dtype)
    sums, seen = k.buffer("sums", dtype), k.buffer("seen", dtype)
    shared = k.shared("s", dtype, 9)
    i = k.global_id()
    with k.when(i % 7 != 3):
        old = shared.atomic("add", key[i] % 11, amount[i])
        if asked:
            seen[i] = old * 0 + amount[i]
        sums.atomic("add", key[i], amount[i])
    k.barrier()
    with k.when(k.local_id() < 9):
        sums.atomic("add", k.local_id(), shared[k.local_id()])
    size = 64 * 40
    keys = (random_bits(u32.numpy, size, seed=cells) % (cells + 3)).astype(np.uint32)
    amounts = random_bits(dtype.numpy, size, seed=cells + 1)
    results = [np.arange(cells).astype(dtype.numpy), np.zeros(size, dtype.numpy)]
    order = LaneOrder.FREE if asked else LaneOrder.PROVED  # nothing times what an atomic gives
    return Case(k.finish(order), (keys, amounts, *results), groups=(40, 1, 1))


for _dtype in (u32, i64):
    for _cells in (5, 100, 20000):
        case(f"edges/tally-{_dtype}-{_cells}")(partial(_tally, _dtype, _cells, _cells == 5))
