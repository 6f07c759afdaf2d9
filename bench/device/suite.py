"""The device suite on an NVIDIA GPU: every operation, random kernels and library kernels as PTX.

Bits are compared as integers with the reference interpreter on the same inputs; then a few figures beside
the measured copy bandwidth. There is no CUDA driver in Loom yet: the PTX is loaded through cupy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import cupy
import numpy as np
from gpu import GpuDevice, GpuKernel, milliseconds

import conformance.cases  # noqa: F401 - registers the cases
from conformance.running import CASES, Target, conform, load_case
from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
from loom.core.errors import LoomError
from loom.core.numerics import REDUCE_TILE, canonical_bits
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.kernel import Access
from loom.ir.ops import OPS, Accepts
from loom.ir.verify import VerifiedKernel, verify
from loom.kernels.elementwise import MAP_LANES, map_kernel
from loom.kernels.reduce import EXTREME_TILE, extreme_tiles, sum_tiles
from loom.kernels.sieve import PATTERN_STARTS, base_primes, fill_patterns
from loom.proof.attestation import verify as prove
from loom.targets.base import Bounds
from strategies import SLOTS, random_kernel

TYPES = (u8, i8, u16, i16, u32, i32, u64, i64, f32, f64)
HALVES = (f16, bf16)
Groups = tuple[int, int, int]


def edge_values(dtype: DType) -> np.ndarray[Any, Any]:
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


def operation_kernels() -> Iterator[tuple[str, VerifiedKernel, list[np.ndarray[Any, Any]]]]:
    """Yield a kernel per pure operation and types it takes, with its inputs."""
    for name, op in OPS.items():
        if not op.is_pure or op.accepts in (Accepts.NONE, Accepts.SPECIAL):
            continue
        for dtype in (*TYPES, *HALVES):
            for target in (*TYPES, *HALVES) if name in ("convert", "bitcast") else (None,):
                try:
                    kernel = _operation_kernel(name, op.arity, dtype, target)
                except LoomError:
                    continue  # not a type the operation takes
                yield f"{name} {dtype}" + (f" to {target}" if target else ""), kernel, _operands(op.arity, dtype)


def _operation_kernel(name: str, arity: int, dtype: DType, target: DType | None) -> VerifiedKernel:
    b = Builder(f"op_{name}", (128, 1, 1))
    inputs = [b.buffer(f"x{i}", dtype, Access.READ) for i in range(arity)]
    at = b.emit("global_id", attr=0)
    values = [b.emit("load", at, memory=m) for m in inputs]
    result = b.emit(name, *values, dtype=target)
    out = b.buffer("out", result.type)
    b.emit("store", at, result, memory=out)
    return verify(b.finish())


def _operands(arity: int, dtype: DType) -> list[np.ndarray[Any, Any]]:
    values = edge_values(dtype)
    if arity == 1:
        return [values]
    return [np.ascontiguousarray(g.reshape(-1)) for g in np.meshgrid(*[values] * arity)]


class Tally:
    """Counts kernels, elements and differing bits per family."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}

    def compare(self, family: str, name: str, got: list[Any], want: list[Any], dtypes: list[DType]) -> None:
        row = self.rows.setdefault(family, [0, 0, 0])
        row[0] += 1
        for g, w, dtype in zip(got, want, dtypes, strict=True):
            a, b = (_bits(x, dtype) for x in (g, w))
            differing = int((a != b).sum())
            row[1] += a.size
            row[2] += differing
            if differing:
                at = int(np.argmax(a != b))
                print(f"DIFFERENT {family} {name}: {differing} of {a.size}, first {at}: {a[at]:#x} not {b[at]:#x}")

    def print(self) -> None:
        print(f"\n{'family':24}{'kernels':>10}{'elements':>14}{'different':>12}")
        for family, (kernels, elements, different) in self.rows.items():
            print(f"{family:24}{kernels:>10}{elements:>14}{different:>12}")


def _bits(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    if dtype.name == "bf16":  # carried as its bits: NaNs made canonical here
        bits = array.view(np.uint16)
        return np.where((bits & 0x7FFF) > 0x7F80, np.uint16(0x7FC0), bits)
    return canonical_bits(array)


def both(
    tally: Tally, family: str, name: str, kernel: VerifiedKernel, arrays: list[Any], params: list[Any], groups: Groups
) -> None:
    """Run a kernel on the GPU and in the interpreter; compare all buffers."""
    dtypes = [m.dtype for m in kernel.kernel.buffers]
    want = [a.copy() for a in arrays]
    interpret(kernel.kernel, want, params, groups)
    got = GpuKernel(kernel, Bounds.CHECKED).run(arrays, params, groups)
    tally.compare(family, name, got, want, dtypes)


def check_operations(tally: Tally) -> None:
    for name, kernel, operands in operation_kernels():
        out = np.zeros(operands[0].size, kernel.kernel.buffers[-1].dtype.numpy)
        both(tally, "operations", name, kernel, [*operands, out], [], (-(-out.size // 128), 1, 1))


def check_random(tally: Tally, seeds: int) -> None:
    for seed in range(seeds):
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
        both(tally, "random kernels", f"seed {seed}", kernel, arrays, params, (groups, 1, 1))


def check_conformance(tally: Tally) -> None:
    """Run the cases of tests/conformance that every device runs."""
    for name in CASES:
        found = load_case(name)
        if found.in_order:
            print(f"left out: {name}, which depends on the order of lanes")
            continue
        arrays, params = list(found.buffers), list(found.params)
        both(tally, "conformance cases", name, verify(found.kernel), arrays, params, found.groups)


def check_host(tally: Tally) -> None:
    """Run the same cases on this machine's own processor, another than the one that CI has."""
    for width in (8, 16):
        row = tally.rows.setdefault(f"its CPU, {width} lanes", [0, 0, 0])
        for name in CASES:
            conform(name, Target("cpu", width, (1, 2)))  # raises where a bit differs
            row[0] += 1
            row[1] += sum(array.size for array in load_case(name).buffers)


def check_library(tally: Tally) -> None:
    rng = np.random.default_rng(1)
    wide = (rng.standard_normal(300_007) * 2.0 ** rng.integers(-30, 30, 300_007)).astype(np.float32)
    tiles = -(-wide.size // REDUCE_TILE)
    for dtype, data in ((f32, wide), (f64, wide.astype(np.float64)), (i32, wide.view(np.int32))):
        if dtype.is_float:
            kernel = sum_tiles(dtype, dtype, dtype).verified
            arrays = [data, np.zeros(tiles, dtype.numpy)]
            both(tally, "library", f"sum {dtype}", kernel, arrays, [data.size], (tiles, 1, 1))
        kernel = extreme_tiles(dtype, largest=True).verified
        large = -(-wide.size // EXTREME_TILE)
        arrays = [data, np.zeros(large, dtype.numpy)]
        both(tally, "library", f"max {dtype}", kernel, arrays, [data.size], (large, 1, 1))
    limit = 1000
    arrays = [np.zeros(501, np.uint8), np.zeros(400, np.uint32)]
    both(tally, "library", "base primes", base_primes().verified, arrays, [limit], (1, 1, 1))
    patterns = np.zeros(PATTERN_STARTS[-1], np.uint8)
    both(tally, "library", "patterns", fill_patterns().verified, [patterns], [], (-(-patterns.size // 64), 1, 1))


def check_proof() -> bool:
    """Run ``loom verify`` on the GPU and on this machine's processor; tell whether both gave the golden root."""
    exact = True
    for device in (GpuDevice(), "cpu"):
        found = prove(device, fresh=True)  # type: ignore[arg-type]
        print(f"loom verify, {found.device}: {found.cases} cases, root {found.root}, {found.seconds:.0f} s")
        for line in found.differing:
            print(f"DIFFERENT {line}")
        exact = exact and found.exact
    return exact


def figures(quick: bool) -> dict[str, float]:
    """Measure sum and map of f32 beside a device copy, trusted kernels, one launch per level."""
    n = 1 << (24 if quick else 28)
    x, y = cupy.random.random(n, dtype=cupy.float32), cupy.empty(n, cupy.float32)
    copy = milliseconds(lambda: cupy.copyto(y, x))
    tiles = n // REDUCE_TILE
    partial, rest, one = (
        cupy.empty(tiles, cupy.float32),
        cupy.empty(tiles // REDUCE_TILE + 1, cupy.float32),
        cupy.empty(1, cupy.float32),
    )
    summing = GpuKernel(sum_tiles(f32, f32, f32).verified, Bounds.TRUSTED)
    level2 = -(-tiles // REDUCE_TILE)

    def total() -> None:
        summing.launch([x, partial], [n], (tiles, 1, 1))
        summing.launch([partial, rest], [tiles], (level2, 1, 1))
        summing.launch([rest, one], [level2], (1, 1, 1))

    mapped, _ = map_kernel(lambda v: v * 2 + 1, f32, (True,))
    mapping = GpuKernel(mapped, Bounds.TRUSTED)
    map_ms = milliseconds(lambda: mapping.launch([x, y], [n], (-(-n // MAP_LANES), 1, 1)))
    sum_ms = milliseconds(total)
    gb = 4 * n / 1e6
    return {
        "elements": n,
        "copy GB/s": 2 * gb / copy,
        "map x*2+1 GB/s": 2 * gb / map_ms,
        "sum GB/s": gb / sum_ms,
        "map / copy": copy / map_ms,
        "sum / copy (bytes)": copy / 2 / sum_ms,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=150)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--gpu-only", action="store_true")
    given = parser.parse_args()
    began = time.time()
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    print(f"{properties['name'].decode()}, driver {cupy.cuda.runtime.driverGetVersion()}, cupy {cupy.__version__}")
    tally = Tally()
    check_operations(tally)
    print(f"operations done after {time.time() - began:.0f} s")
    check_conformance(tally)
    if not given.gpu_only:
        check_host(tally)
    check_library(tally)
    check_random(tally, given.seeds)
    tally.print()
    exact = check_proof()
    print()
    measured = figures(given.quick)
    for name, value in measured.items():
        print(f"{name:24}{value:>14.4g}")
    print(f"total {time.time() - began:.0f} s")
    if os.environ.get("OUT"):
        with open(os.path.join(os.environ["OUT"], "device.json"), "w") as file:
            json.dump({"bits": tally.rows, "figures": measured}, file, indent=1)
    return 1 if any(row[2] for row in tally.rows.values()) or not exact else 0


if __name__ == "__main__":
    sys.exit(main())
