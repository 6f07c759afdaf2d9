"""Layer 3, too: kernels as users write them, of everything the language has besides single operations.

Layer: proof. Buffers of several axes, records, tables, tuples indexed by a lane, type variables, random numbers by
index, functions of a workgroup, cells of a fixed point, short vectors in memory, atomics of shared memory. A row is a
case's name, its inputs and what is computed. Invariant: as in ``patterns``; sizes are no multiples of a workgroup.
"""

# kernels are Python for Loom's compiler, which finds their types
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportCallIssue=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import loom.core.dtype as types
from loom.core.dtype import DType, f32, i32, u32
from loom.core.fixed import fixed
from loom.ir.frontend.base.annotations import In, InOut, Out, TypeVar
from loom.ir.frontend.data.structs import struct
from loom.ir.frontend.intrinsics import atomic_add, atomic_max, barrier, floor, global_id, group_id, local_id, shared
from loom.kernels.group.collective import group_broadcast, group_count, group_max, group_min, group_scan, group_sum
from loom.kernels.maps.by_index import random_f32, random_normal, random_u32, random_u64
from loom.proof.inputs import numbers, seed_of
from loom.runtime.calls.kernels import kernel
from loom.runtime.port.device import Device

__all__ = ["KERNELS"]

Bits = np.ndarray[Any, Any]
_Row = tuple[str, Callable[[], Sequence[Bits]], Callable[..., Sequence[Bits]]]
f32x2, f32x4 = types.lookup("f32x2"), types.lookup("f32x4")
T = TypeVar("T", f32, i32)
SIZE = 3001
PRIMES = (2, 3, 5, 7, 11)
WEIGHTS = np.array([[0.0625, 0.125, 0.0625], [0.125, 0.25, 0.125], [0.0625, 0.125, 0.0625]], np.float32)


@kernel(workgroup=(8, 8))
def blurred(image: In[f32, 2], out: Out[f32, 2]):
    """Weigh the neighbours of each element by a table; the edge repeats."""
    y, x = global_id(1), global_id(0)
    if y < out.shape[0] and x < out.shape[1]:
        total = f32(0)
        for dy in range(3):
            for dx in range(3):
                row = min(max(i32(y) + dy - 1, 0), i32(image.shape[0]) - 1)
                column = min(max(i32(x) + dx - 1, 0), i32(image.shape[1]) - 1)
                total += WEIGHTS[dy, dx] * image[row, column]
        out[y, x] = total


@struct
class Particle:
    """A record with a short vector, a method and a default."""

    place: f32x2
    speed: f32
    steps: u32 = 0  # pyright: ignore[reportAssignmentType] - a default that is an int

    def moved(self, by: Any) -> Any:
        """Return the record after a step."""
        return Particle(self.place + self.speed * by, self.speed * 0.75, self.steps + 1)


@kernel
def stepped(particles: InOut[Particle], by: f32):
    """Move each record twice."""
    i = global_id()
    if i < len(particles):
        p = particles[i].moved(by)
        p.speed = p.speed + p.place.y
        particles[i] = p.moved(-by)


@kernel
def chosen(x: In[f32], out: Out[f32]):
    """Index a table, and a tuple of locals, by the lane."""
    i = global_id()
    if i < len(x):
        three = (x[i], x[i] * x[i], 1.0 - x[i])
        out[i] = three[i % 3] * f32(PRIMES[(i * 7) % 5])


@kernel
def dotted(x: In[T], y: In[T], out: Out[T]):
    """Add up products of a type that is chosen by what is bound."""
    i = global_id()
    if i < len(out):
        total = T(0)
        for k in range(8):
            total += x[(i + k) % len(x)] * y[i]
        out[i] = total


@kernel
def drawn(uniform: Out[f32], normal: Out[f32], words: Out[u32], seed: u32):
    """Draw a number of each kind by its index."""
    i = global_id()
    if i < len(uniform):
        uniform[i] = random_f32(seed, i)
        normal[i] = random_normal(seed, i, 3)
        words[i] = random_u32(seed, i) ^ u32(random_u64(seed, i, 1) >> 32)


@kernel(workgroup=96)
def gathered(x: In[f32], sums: Out[f32], scans: Out[f32], ends: Out[f32]):
    """Take sums, prefixes and extremes of workgroups; lanes beyond the data bring zero."""
    i = global_id()
    value = f32(0)
    if i < len(x):
        value = x[i]
    total, low, high = group_sum(value), group_min(value), group_max(value)
    before = group_scan(value, inclusive=False)
    positive, first = group_count(value > 0), group_broadcast(value, 1)
    if i < len(scans):
        scans[i] = before
    if local_id() == 0:
        g = group_id()
        sums[g] = total
        ends[3 * g] = low + first
        ends[3 * g + 1] = high
        ends[3 * g + 2] = f32(positive)


@kernel
def scattered(x: In[f32], bins: InOut[fixed(2**-24)]):  # type: ignore[valid-type]
    """Add floats to cells in any order."""
    i = global_id()
    if i < len(x):
        atomic_add(bins, u32(i * 13) % len(bins), x[i] - floor(x[i]))


@kernel
def turned(x: In[f32x4], out: Out[f32x2]):  # type: ignore[valid-type]
    """Load and store short vectors, one of them beside the lane's own."""
    i = global_id()
    if i < len(x):
        a, b = x[i], x[(i + 1) % len(x)]
        out[i] = f32x2(a.x * b.w - a.y, a.z + b.x * b.y)


@kernel(workgroup=128)
def tallied(x: In[u32], bins: InOut[u32]):
    """Count in shared memory, then add to the buffer."""
    mine, largest = shared(u32, 16), shared(u32, 1)
    i = global_id()
    if i < len(x):
        atomic_add(mine, x[i] >> 28, 1)
        atomic_max(largest, 0, x[i])
    barrier()
    if local_id() < 16:
        atomic_add(bins, local_id(), mine[local_id()])
    if local_id() == 0:
        atomic_max(bins, 16, largest[0])


def _numbers(name: str, dtype: DType = f32, shape: Any = SIZE) -> Bits:
    return numbers(shape, dtype, seed_of(name), spread=6)


def _run_blurred(on: Device, image: Bits) -> Sequence[Bits]:
    return [blurred(image, on=on)]


def _run_stepped(on: Device, x: Bits) -> Sequence[Bits]:
    particles: Any = np.zeros(SIZE, Particle.numpy)
    particles["place"], particles["speed"] = x[:, :2], x[:, 2]
    stepped(particles, 0.5, on=on)
    return [np.ascontiguousarray(particles[name]) for name in ("place", "speed", "steps")]


def _run_chosen(on: Device, x: Bits) -> Sequence[Bits]:
    return [chosen(x, on=on)]


def _run_dotted(on: Device, x: Bits, y: Bits, n: Bits) -> Sequence[Bits]:
    return [dotted(x, y, on=on), dotted(n, n[::-1], on=on)]


def _run_drawn(on: Device) -> Sequence[Bits]:
    return drawn(seed=12345, out=SIZE, on=on)


def _run_gathered(on: Device, x: Bits) -> Sequence[Bits]:
    groups = -(-SIZE // 96)
    return gathered(x, out={"sums": groups, "scans": SIZE, "ends": 3 * groups}, groups=groups, on=on)


def _run_scattered(on: Device, x: Bits) -> Sequence[Bits]:
    cells = np.zeros(17, np.int64)
    scattered(x, cells, on=on)
    return [cells]


def _run_turned(on: Device, x: Bits) -> Sequence[Bits]:
    out = np.zeros((len(x), 2), np.float32)
    turned(x, out, on=on)
    return [out]


def _run_tallied(on: Device, x: Bits) -> Sequence[Bits]:
    bins = np.zeros(17, np.uint32)
    tallied(x, bins, on=on)
    return [bins]


KERNELS: tuple[_Row, ...] = (
    ("kernel over two axes, with a table", lambda: [_numbers("axes", shape=(67, 45))], _run_blurred),
    ("kernel over records", lambda: [_numbers("records", shape=(SIZE, 3))], _run_stepped),
    ("kernel that indexes a tuple and a table", lambda: [_numbers("tuple")], _run_chosen),
    ("kernel over a type variable",
     lambda: [_numbers("generic x"), _numbers("generic y"), _numbers("generic n", i32)], _run_dotted),
    ("kernel that draws by index", list, _run_drawn),
    ("kernel of workgroups", lambda: [_numbers("groups")], _run_gathered),
    ("kernel with cells of a fixed point", lambda: [_numbers("cells")], _run_scattered),
    ("kernel over short vectors", lambda: [_numbers("vectors", shape=(SIZE, 4))], _run_turned),
    ("kernel with shared atomics", lambda: [_numbers("tally", u32)], _run_tallied),
)  # fmt: skip
