"""What the device suite runs to compare bits: kernels by family, each with its inputs.

A family is enumerated in parts, so that many processes share it: part k of n takes kernels k, k + n, k + 2n ...
Invariant: a kernel's inputs depend on its name alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

import conformance.cases  # noqa: F401 - registers the cases
from conformance.programs import random_program
from conformance.running import CASES, load_case
from conformance.strategies import SLOTS, random_kernel
from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
from loom.core.errors import LoomError
from loom.core.numerics import REDUCE_TILE
from loom.ir.builder import Builder
from loom.ir.kernel import Access
from loom.ir.ops import OPS, Accepts
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.kernels.fold.tiles import EXTREME_TILE, extreme_tiles, sum_tiles
from loom.kernels.sieve.wheel import PATTERN_STARTS, base_primes, fill_patterns

__all__ = ["FAMILIES", "Job"]

_TYPES = (u8, i8, u16, i16, u32, i32, u64, i64, f32, f64)
_HALVES = (f16, bf16)
_LANES = 128


class Job(NamedTuple):
    """One dispatch."""

    name: str
    kernel: VerifiedKernel
    arrays: list[Any]
    params: list[Any]
    groups: tuple[int, int, int]


def _operations(part: int, parts: int, _seeds: int) -> Iterator[Job]:
    """Every pure operation and every type it takes."""
    found = (
        (name, op.arity, dtype, target)
        for name, op in OPS.items()
        if op.is_pure and op.accepts not in (Accepts.NONE, Accepts.SPECIAL)
        for dtype in (*_TYPES, *_HALVES)
        for target in ((*_TYPES, *_HALVES) if name in ("convert", "bitcast") else (None,))
    )
    for name, arity, dtype, target in islice(found, part, None, parts):
        try:
            kernel = _operation_kernel(name, arity, dtype, target)
        except LoomError:
            continue  # not a type the operation takes
        operands = _operands(arity, dtype)
        out = np.zeros(operands[0].size, kernel.kernel.buffers[-1].dtype.numpy)
        label = f"{name} {dtype}" + (f" to {target}" if target else "")
        yield Job(label, kernel, [*operands, out], [], (-(-out.size // _LANES), 1, 1))


def _operation_kernel(name: str, arity: int, dtype: DType, target: DType | None) -> VerifiedKernel:
    b = Builder(f"op_{name}", (_LANES, 1, 1))
    inputs = [b.buffer(f"x{i}", dtype, Access.READ) for i in range(arity)]
    at = b.emit("global_id", attr=0)
    values = [b.emit("load", at, memory=m) for m in inputs]
    result = b.emit(name, *values, dtype=target)
    out = b.buffer("out", result.type)
    b.emit("store", at, result, memory=out)
    return verify(b.finish())


def _operands(arity: int, dtype: DType) -> list[np.ndarray[Any, Any]]:
    values = _edge_values(dtype)
    if arity == 1:
        return [values]
    return [np.ascontiguousarray(g.reshape(-1)) for g in np.meshgrid(*[values] * arity)]


def _edge_values(dtype: DType) -> np.ndarray[Any, Any]:
    """Return adversarial values of a type, and some random bit patterns."""
    rng = np.random.default_rng(dtype.bits + dtype.is_signed)
    noise = rng.integers(0, 256, 40 * dtype.bits // 8, dtype=np.uint8).view(dtype.numpy)
    if dtype.is_integer:
        lo, hi = dtype.minimum, dtype.maximum
        edges = [lo, lo + 1, hi, hi - 1, 0, 1, 2, 3, 7, hi // 2, hi // 3, dtype.bits, dtype.bits - 1]
        edges += [-1, -2, -7] if dtype.is_signed else []
        return np.concatenate([np.array(edges, dtype.numpy), noise])
    if dtype.storage_only:
        return np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
    info = np.finfo(dtype.numpy)
    tiny = float(info.smallest_subnormal)
    positive = [0.0, tiny, 3 * tiny, float(info.tiny), float(info.tiny) - tiny, 1.0, 1.0 + float(info.eps), 0.5, 1.5]
    positive += [2.5, 3.5, 0.1, 7.0, 127.5, 255.5, 32767.5, 65535.5, 2.0**23 + 1, 2.0**24 + 2, 2.0**31, 2.0**32]
    positive += [2.0**52, 2.0**63, 2.0**64, float(info.max), float(info.max) / 3, np.inf, np.nan]
    values = np.array(positive + [-v for v in positive], dtype.numpy)
    return np.concatenate([values, noise])


def _cases(part: int, parts: int, _seeds: int) -> Iterator[Job]:
    """The conformance cases that do not depend on the order of lanes."""
    for name in islice(CASES, part, None, parts):
        found = load_case(name)
        if not found.in_order:
            yield Job(name, verify(found.kernel), list(found.buffers), list(found.params), found.groups)


def _random(part: int, parts: int, seeds: int) -> Iterator[Job]:
    for seed in range(part, seeds, parts):
        kernel = verify(random_kernel(seed))
        rng = np.random.default_rng(seed)
        arrays, groups = [], 3
        for m in kernel.kernel.buffers:
            if m.name == "out":
                arrays.append(np.zeros(kernel.kernel.lanes * groups * SLOTS, np.uint64))
            elif m.name == "tally":
                arrays.append(np.array([0, 2**32 - 1, 0, 0, 2**32 - 1, 0], np.uint32))
            else:
                n = int(rng.choice([1, 3, 17, kernel.kernel.lanes]))
                arrays.append(rng.integers(0, 256, n * m.dtype.nbytes, dtype=np.uint8).view(m.dtype.numpy))
        params = [rng.integers(0, 9) for _ in kernel.kernel.params]
        yield Job(f"seed {seed}", kernel, arrays, params, (groups, 1, 1))


def _programs(part: int, parts: int, seeds: int) -> Iterator[Job]:
    """Programs as strangers write them: literals, exits at every depth, mixed types."""
    for seed in range(part, seeds, parts):
        made = random_program(seed)
        yield Job(f"program {seed}", made.kernel().verified, made.arrays, made.params, made.groups)


def _library(part: int, parts: int, _seeds: int) -> Iterator[Job]:
    """Kernels of the library at lengths the other families do not have."""
    return islice(_library_jobs(), part, None, parts)


def _library_jobs() -> Iterator[Job]:
    rng = np.random.default_rng(1)
    wide = (rng.standard_normal(300_007) * 2.0 ** rng.integers(-30, 30, 300_007)).astype(np.float32)
    tiles, large = -(-wide.size // REDUCE_TILE), -(-wide.size // EXTREME_TILE)
    for dtype, data in ((f32, wide), (f64, wide.astype(np.float64)), (i32, wide.view(np.int32))):
        if dtype.is_float:
            arrays = [data, np.zeros(tiles, dtype.numpy)]
            yield Job(f"sum {dtype}", sum_tiles(dtype, dtype, dtype).verified, arrays, [data.size], (tiles, 1, 1))
        arrays = [data, np.zeros(large, dtype.numpy)]
        yield Job(f"max {dtype}", extreme_tiles(dtype, largest=True).verified, arrays, [data.size], (large, 1, 1))
    arrays = [np.zeros(501, np.uint8), np.zeros(400, np.uint32)]
    yield Job("base primes", base_primes().verified, arrays, [1000], (1, 1, 1))
    patterns = np.zeros(PATTERN_STARTS[-1], np.uint8)
    yield Job("patterns", fill_patterns().verified, [patterns], [], (-(-patterns.size // 64), 1, 1))


FAMILIES: dict[str, Callable[[int, int, int], Iterator[Job]]] = {
    "operations": _operations,
    "conformance cases": _cases,
    "library": _library,
    "random kernels": _random,
    "random programs": _programs,
}
"""Families by name: (part, parts, number of random kernels) gives the jobs of a part."""
