"""Probes of a device: small kernels, what they are given, and the bits they must leave.

Layer: runtime. Values come from buffers, so that no compiler can compute with them; literals have probes of their own
(see ``literals``). Invariant: the bits expected are
the host's, worked out by numpy under ordinary arithmetic, never the device's own.

The hazards are those of section 6 of the numerics document: contraction, flushing, reassociation, quotients and
roots next to a tie, integers that become floats, rounding functions, and what drivers get wrong about control flow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    atomic_add,
    barrier,
    ceil,
    clz,
    dot4_i8,
    dot4_u8i8,
    floor,
    global_id,
    group_id,
    local_id,
    mulhi,
    rint,
    select,
    shared,
    sqrt,
    static_range,
    tile_product,
    trunc,
)  # fmt: skip
from loom.ir.passes.tiles import TILE_LANES
from loom.kernels.group.join import add, larger, multiply, smaller
from loom.kernels.maps.literals import divide, first_if_below, subtract
from loom.runtime.drivers.probes import samples
from loom.runtime.drivers.probes.literals import LITERAL_PROBES
from loom.runtime.drivers.probes.probe import Array, Probe, extreme, on_host

__all__ = ["LANES", "PROBES", "TILES"]

LANES = 64
TILES = "products of tiles of bytes"


def _same(x: Any) -> Any:
    return x


def _less_itself(x: Any) -> Any:
    return x - x


def _by_itself(x: Any) -> Any:
    return x / x


def _equal_to_itself(x: Any) -> Any:
    return select(x == x, x, 1) + select(x <= x, 1, 0) - select(x < x, 2, 0)  # noqa: PLR0124 - false for a NaN


def _itself_if_number(x: Array) -> Array:
    return np.where(np.isnan(x), np.ones_like(x), x + 1)


def _regroup(x: Any, y: Any) -> Any:
    return (x + y) - x


def _product_plus(x: Any, y: Any, z: Any) -> Any:
    return x * y + z


def _minus_product(x: Any, y: Any, z: Any) -> Any:
    return z - x * y


def _quotient(x: Any, y: Any) -> Any:
    return x // (y | 1)


def _below_zero(x: Any) -> Any:
    return select(i64(x) < 0, i64(x) + 100, i64(x))


def _wide_opposite(x: Any) -> Any:
    return i64(-x)


def _unary(expression: Callable[..., Any], source: DType, result: DType) -> KernelFunction:
    @kernel(workgroup=LANES, trusted=True)
    def probe(x: In[source], out: Out[result]):  # type: ignore[valid-type]
        i = global_id()
        if i < len(out):
            out[i] = expression(x[i])

    return probe


def _binary(expression: Callable[..., Any], source: DType, result: DType) -> KernelFunction:
    @kernel(workgroup=LANES, trusted=True)
    def probe(x: In[source], y: In[source], out: Out[result]):  # type: ignore[valid-type]
        i = global_id()
        if i < len(out):
            out[i] = expression(x[i], y[i])

    return probe


def _ternary(expression: Callable[..., Any], source: DType, result: DType) -> KernelFunction:
    @kernel(workgroup=LANES, trusted=True)
    def probe(x: In[source], y: In[source], z: In[source], out: Out[result]):  # type: ignore[valid-type]
        i = global_id()
        if i < len(out):
            out[i] = expression(x[i], y[i], z[i])

    return probe


def _accumulate(source: DType) -> KernelFunction:
    """A dot product by each lane: products and sums in a loop are contracted more readily."""

    @kernel(workgroup=LANES, trusted=True)
    def probe(x: In[source], y: In[source], out: Out[source]):  # type: ignore[valid-type]
        i = global_id()
        total = source(0.0)
        for n in range(8):
            total = total + x[(i + n) % len(x)] * y[(i + 2 * n) % len(x)]
        if i < len(out):
            out[i] = total

    return probe


@ordinary_arithmetic()
def _accumulate_on_host(x: Array, y: Array) -> Array:
    total, i = np.zeros(len(x), x.dtype), np.arange(len(x))
    with np.errstate(all="ignore"):
        for n in range(8):
            total = total + x[(i + n) % len(x)] * y[(i + 2 * n) % len(x)]
    return total


def _long_loop() -> KernelFunction:
    @kernel(workgroup=8, trusted=True)
    def probe(turns: In[u32], out: Out[u32]):
        i = global_id()
        state = i
        for n in range(turns[i]):
            state = state * 1664525 + n
        out[i] = state

    return probe


def _long_loop_on_host(turns: Array) -> Array:
    state = np.arange(len(turns), dtype=np.uint32)
    with np.errstate(over="ignore"):
        for n in range(int(turns[0])):
            state = state * np.uint32(1664525) + np.uint32(n)
    return state


def _partial_group() -> KernelFunction:
    """Lanes that do not exist must take no part: they would see 0 in place of a bound, and go round once more."""

    @kernel(workgroup=12, trusted=True)
    def probe(bounds: In[u32], out: Out[u32]):
        turns = bounds[group_id() * 12] % 4 + 1
        value = u32(0)
        for n in range(turns):
            for m in range(n, 4):
                barrier()
                value = value + m
                barrier()
            if turns == 4:
                break
        out[global_id()] = value + turns

    return probe


def _single_lane() -> KernelFunction:
    @kernel(workgroup=1, trusted=True)
    def probe(bounds: In[u32], out: Out[u32]):
        at = group_id()
        n = u32(1)
        while n != bounds[at]:
            n = n + 1
        for m in range(bounds[at]):
            n = n * 5 + m
        out[at] = n

    return probe


def _single(bounds: Array) -> Array:
    found = bounds.copy()
    for at, bound in enumerate(bounds.tolist()):
        n = bound
        for m in range(bound):
            n = (n * 5 + m) & 0xFFFFFFFF
        found[at] = n
    return found


def _tally() -> KernelFunction:
    @kernel(workgroup=LANES, trusted=True)
    def probe(x: In[u64], out: InOut[u64]):
        atomic_add(out, global_id() % 4, x[global_id()])

    return probe


def _tally_on_host(x: Array) -> Array:
    return np.array([x[n::4].sum(dtype=np.uint64) for n in range(4)])


def _saturate(target: DType) -> Callable[..., Array]:
    def convert(x: Array) -> Array:
        low, high = float(target.minimum), float(target.maximum + 1)
        wide = np.nan_to_num(np.trunc(x), nan=0.0, posinf=high, neginf=low)
        inside = np.clip(wide, low, np.nextafter(high, 0, dtype=x.dtype)).astype(target.numpy)
        return np.where(x >= high, np.array(target.maximum, target.numpy), inside)

    return on_host(convert)


def _floats(dtype: DType) -> list[Probe]:
    """The probes of a float type's arithmetic."""
    name, kind = dtype.name, dtype.numpy

    def one(operation: str, expression: Any, fn: Callable[[Array], Array], given: Any) -> Probe:
        make = lambda: _unary(expression, dtype, dtype)  # noqa: E731
        return Probe(f"{name} {operation}", make, lambda: (given(kind),), on_host(fn))

    def two(operation: str, expression: Any, fn: Callable[[Array, Array], Array], given: Any) -> Probe:
        return Probe(f"{name} {operation}", lambda: _binary(expression, dtype, dtype), lambda: given(kind), on_host(fn))

    pairs, products = samples.pairs, samples.products
    return [
        one("load and store", _same, lambda x: x, samples.specials),
        two("select", first_if_below, lambda x, y: np.where(x < y, x, y), pairs),
        one("select", _equal_to_itself, _itself_if_number, samples.specials),
        two("add", add, np.add, pairs),
        two("sub", subtract, np.subtract, pairs),
        one("sub", _less_itself, _less_itself, samples.specials),
        two("mul", multiply, np.multiply, pairs),
        two("reassociation", _regroup, lambda x, y: (x + y) - x, pairs),
        Probe(
            f"{name} contraction", lambda: _ternary(_product_plus, dtype, dtype), lambda: products(kind),
            on_host(_product_plus),
        ),
        Probe(
            f"{name} contraction", lambda: _ternary(_minus_product, dtype, dtype), lambda: products(kind),
            on_host(_minus_product),
        ),
        Probe(f"{name} contraction", lambda: _accumulate(dtype), lambda: products(kind)[:2], _accumulate_on_host),
        two("min", smaller, extreme("min"), pairs),
        two("max", larger, extreme("max"), pairs),
        one("rounding", rint, np.rint, samples.fractions),
        one("rounding", floor, np.floor, samples.fractions),
        one("rounding", ceil, np.ceil, samples.fractions),
        one("rounding", trunc, np.trunc, samples.fractions),
        two("division", divide, np.divide, samples.quotients),
        one("division", _by_itself, _by_itself, samples.specials),
        one("square root", sqrt, np.sqrt, samples.squares),
    ]  # fmt: skip


def _conversion(source: DType, target: DType, operation: str, given: Any, expected: Any = None) -> Probe:
    def convert(x: Array) -> Array:
        return x.astype(target.numpy)

    expected = expected or on_host(convert)
    return Probe(operation, lambda: _unary(target, source, target), lambda: (given(source, target),), expected)


def _integers(dtype: DType) -> list[Probe]:
    """The probes of a narrow or wide integer type."""
    name, kind = dtype.name, dtype.numpy

    def operands() -> tuple[Array, ...]:
        return samples.whole_pairs(kind)

    def two(expression: Any, fn: Any) -> Probe:
        return Probe(f"{name} arithmetic", lambda: _binary(expression, dtype, dtype), operands, on_host(fn))

    return [
        two(add, np.add), two(multiply, np.multiply), two(_quotient, samples.floor_quotients),
        two(mulhi, samples.high_half),
        Probe(
            f"{name} arithmetic", lambda: _unary(clz, dtype, dtype), lambda: operands()[:1], samples.leading_zeros
        ),
    ]  # fmt: skip


def _dot_on_host(kind: Any, a: Array, b: Array, c: Array) -> Array:
    """Return the sums of products of bytes, of ``kind`` by signed ones, wrapped."""
    x, y = a.view(kind).reshape(-1, 4).astype(np.int64), b.view(np.int8).reshape(-1, 4).astype(np.int64)
    return (c.astype(np.int64) + (x * y).sum(1)).astype(np.int32)


def _dots() -> list[Probe]:
    """Dot products of packed bytes: none may saturate, neither in their sum nor where it is added."""
    return [
        Probe(
            "dot products of bytes", partial(_ternary, fn, i32, i32), samples.words_of_bytes,
            on_host(partial(_dot_on_host, kind)),
        )
        for fn, kind in ((dot4_i8, np.int8), (dot4_u8i8, np.uint8))
    ]  # fmt: skip


def _tiles_of_bytes() -> KernelFunction:
    """Products of tiles: two warps of a group, each of 16 rows by 8 rows of 128 bytes."""
    rows, words, pitch = 24, 32, 36
    quad: Any = i32.vector(4)

    @kernel(workgroup=LANES, trusted=True)
    def probe(x: In[i32], sums: In[i32], out: Out[i32]):
        lane = local_id()
        tile = shared(i32, LANES // TILE_LANES * rows * pitch)
        for t in static_range(rows * words // TILE_LANES):
            at = lane + t * LANES
            tile[at // words * pitch + at % words] = x[group_id() * (LANES // TILE_LANES * rows * words) + at]
        barrier()
        first, own = lane // TILE_LANES * (rows * pitch), global_id() * 4
        before = quad(sums[own], sums[own + 1], sums[own + 2], sums[own + 3])
        found = tile_product(tile, first, first + 16 * pitch, before, words, pitch)
        for r in static_range(4):
            out[own + r] = found[r]

    return probe


def _tiles_on_host(x: Array, sums: Array) -> Array:
    """Return the products as ``tile_product`` gives them to lanes, wrapped."""
    tiles = x.view(np.int8).reshape(-1, 24, 128).astype(np.int64)
    products = tiles[:, :16] @ tiles[:, 16:].transpose(0, 2, 1)
    halves = products.reshape(-1, 2, 8, 4, 2).transpose(0, 2, 3, 1, 4)  # tile, row, lane of it, half, column of it
    return (sums.astype(np.int64) + halves.reshape(-1)).astype(np.int32)


def _below_zero_on_host(x: Array) -> Array:
    return np.where(x < 0, x.astype(np.int64) + 100, x.astype(np.int64))


def _wide_opposite_on_host(x: Array) -> Array:
    return (-x).astype(np.int64)


PROBES: tuple[Probe, ...] = (
    Probe("long loops", _long_loop, lambda: (np.full(8, 70_000, np.uint32),), _long_loop_on_host, 1),
    Probe("short loops", _long_loop, lambda: (np.full(8, 60_000, np.uint32),), _long_loop_on_host, 1),
    Probe(
        "partial vectors", _partial_group, lambda: (np.repeat(np.array([3, 4, 1, 7], np.uint32), 12),),
        samples.partial_turns, 4,
    ),
    Probe("partial vectors", _single_lane, lambda: (np.array([9, 3, 700, 5], np.uint32),), _single, 4),
    *_integers(u32), *_integers(i32), *_integers(u8), *_integers(i8), *_integers(u16), *_integers(i16),
    *_integers(u64), *_integers(i64),
    Probe(
        "i64 order", lambda: _unary(_below_zero, i32, i64),
        lambda: (np.array([5, -1, -100, -101, 99, 100, 2**31 - 1, -(2**31)], np.int32),),
        _below_zero_on_host,
    ),
    *(
        Probe(
            f"{t.name} arithmetic", lambda t=t: _unary(_wide_opposite, t, i64),
            lambda t=t: samples.whole_pairs(t.numpy)[:1], on_host(_wide_opposite_on_host),
        )
        for t in (i8, i16)
    ),
    Probe("64-bit atomics", _tally, lambda: (samples.whole_pairs(np.dtype(np.uint64))[0][:1024],), _tally_on_host, 16),
    *_dots(),
    Probe(TILES, _tiles_of_bytes, samples.tiles_of_bytes, on_host(_tiles_on_host), 4),
    *_floats(f32), *LITERAL_PROBES[f32], *LITERAL_PROBES[f16],
    _conversion(u32, f32, "integers to floats", samples.wholes),
    _conversion(i32, f32, "integers to floats", samples.wholes),
    _conversion(f32, i32, "f32 to integers", samples.reals, _saturate(i32)),
    _conversion(f32, u32, "f32 to integers", samples.reals, _saturate(u32)),
    _conversion(u64, f32, "64-bit integers to floats", samples.wholes),
    _conversion(i64, f32, "64-bit integers to floats", samples.wholes),
    *_floats(f64), *LITERAL_PROBES[f64],
    _conversion(u32, f64, "f64 conversions", samples.wholes), _conversion(i32, f64, "f64 conversions", samples.wholes),
    _conversion(f64, f32, "f64 conversions", samples.reals), _conversion(f32, f64, "f64 conversions", samples.reals),
    _conversion(f64, i64, "f64 conversions", samples.reals, _saturate(i64)),
    _conversion(f64, u64, "f64 conversions", samples.reals, _saturate(u64)),
    _conversion(u64, f64, "64-bit integers to floats", samples.wholes),
    _conversion(i64, f64, "64-bit integers to floats", samples.wholes),
)  # fmt: skip
"""All probes, in the order of what they build on."""
