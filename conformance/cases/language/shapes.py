"""Workgroups of every shape: who a lane is, last vectors that are not full, groups in three dimensions.

Oracle besides the interpreter: numpy's ``indices`` over groups and lanes.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.writer import Writer
from loom.core.dtype import INTEGERS, i64, lookup, u8, u32, u64

_SHAPES = [
    (1, 1, 1), (2, 1, 1), (3, 1, 1), (7, 1, 1), (16, 1, 1), (64, 1, 1), (100, 1, 1), (256, 1, 1), (8, 8, 1), (3, 5, 2),
    (16, 4, 1), (32, 2, 2), (1, 7, 1), (1, 1, 9), (1, 6, 3), (5, 1, 4), (1024, 1, 1),
]  # fmt: skip
Shape = tuple[int, int, int]


def _identities(shape: Shape, groups: Shape) -> Case:
    """Every id of every lane, along every dimension, stored at the lane's number."""
    k = Writer(f"identities_{'_'.join(map(str, shape))}", shape)
    names = [(op, d) for op in ("global_id", "local_id", "group_id", "num_groups") for d in range(3)]
    outs = [k.buffer(f"{op}_{d}", u32) for op, d in names]
    at = k.global_index()
    for (op, d), out in zip(names, outs, strict=True):
        out[at] = k.emit(op, attr=d)
    lanes = shape[0] * shape[1] * shape[2]
    size = lanes * groups[0] * groups[1] * groups[2]
    expected = _expected_ids(shape, groups)
    buffers = tuple(np.full(size, 77, np.uint32) for _ in outs)
    return Case(k.finish(), buffers, groups=groups, expected=expected, modes=("checked", "trusted"))


def _expected_ids(shape: Shape, groups: Shape) -> dict[str, np.ndarray]:
    lanes = np.indices(shape[::-1]).reshape(3, -1)[::-1]  # z slowest: x, y, z rows in lane order
    which = np.indices(groups[::-1]).reshape(3, -1)[::-1]
    found = {}
    for d in range(3):
        local = np.tile(lanes[d], which.shape[1])
        group = np.repeat(which[d], lanes.shape[1])
        found[f"local_id_{d}"] = local.astype(np.uint32)
        found[f"group_id_{d}"] = group.astype(np.uint32)
        found[f"global_id_{d}"] = (group * shape[d] + local).astype(np.uint32)
        found[f"num_groups_{d}"] = np.full(local.size, groups[d], np.uint32)
    return found


def _divergent(shape: Shape, groups: Shape) -> Case:
    """Branches on ids along each dimension, shared memory turned around, a loop to the lane's own bound."""
    k = Writer(f"divergent_{'_'.join(map(str, shape))}", shape)
    lanes = shape[0] * shape[1] * shape[2]
    x, out, shared = k.read("x", u32), k.buffer("out", u32), k.shared("s", u32, lanes)
    local, at = k.local_index(), k.global_index()
    v = k.local("v", u32, x[at])
    for d in range(3):
        with k.when(k.local_id(d) % 3 == 1):
            v.set(v.now * 3 + d)
        with k.otherwise():
            v.set(v.now ^ k.global_id(d))
    shared[local] = v.now
    k.barrier()
    with k.count(0, local % 4) as n:
        v.set(v.now * 5 + shared[(local + n) % lanes])
    with k.when(k.local_id(1) == 0):
        v.set(v.now + shared[lanes - 1 - local])
    out[at] = v.now
    size = lanes * groups[0] * groups[1] * groups[2]
    values = np.random.default_rng(size).integers(0, 1 << 32, size, np.uint32)
    return Case(k.finish(), (values, np.zeros(size, np.uint32)), groups=groups, modes=("checked", "trusted"))


for _shape in _SHAPES:
    _groups = (2, 3, 2) if _shape[0] * _shape[1] * _shape[2] <= 100 else (3, 1, 1)
    _label = "x".join(map(str, _shape))
    case(f"shapes/ids-{_label}")(partial(_identities, _shape, _groups))
    _lanes = _shape[0] * _shape[1] * _shape[2]
    case(f"shapes/divergent-{_label}", widths=(1, 4, 8, 16) if _lanes <= 32 else (1, 4))(
        partial(_divergent, _shape, _groups)
    )


def _strips(shape: Shape, groups: Shape) -> Case:
    """Rows of many groups side by side, lanes that leave early, loops of their own, arrays of their own."""
    k = Writer(f"strips_{'_'.join(map(str, shape))}", shape)
    x, out, own = k.read("x", u32), k.buffer("out", u32), k.private("p", u32, 3)
    at = k.global_index()
    v = k.local("v", u32, x[at] ^ k.global_id(0) * 7 + k.global_id(1))
    with k.count(0, 3) as n:
        own[n] = n
    own[v.now % 3] = v.now
    with k.when(v.now % 11 == 3):
        k.return_()
    with k.count(0, v.now % 4) as n:
        v.set(v.now * 5 + own[n])
    out[at] = v.now + k.group_id(0) + k.local_id(1)
    size = shape[0] * shape[1] * shape[2] * groups[0] * groups[1] * groups[2]
    values = np.random.default_rng(size).integers(0, 1 << 32, size, np.uint32)
    return Case(k.finish(), (values, np.full(size, 9, np.uint32)), groups=groups, modes=("checked", "trusted"))


for _shape, _groups in (((16, 4, 1), (131, 3, 1)), ((4, 4, 2), (259, 2, 1)), ((64, 2, 1), (33, 1, 2))):
    _label = "x".join(map(str, _shape))
    case(f"shapes/strips-{_label}", widths=(1, 4, 8, 16))(partial(_strips, _shape, _groups))


@case("shapes/no-groups")
def no_groups() -> Case:
    """A dispatch of no groups touches nothing."""
    k = Writer("no_groups", (64, 1, 1))
    out = k.buffer("out", u32)
    out[k.global_id()] = 1
    zero = np.zeros(64, np.uint32)
    return Case(k.finish(), (zero,), groups=(4, 0, 3), expected={"out": zero})


@case("shapes/many-groups")
def many_groups() -> Case:
    """Ten thousand groups of one lane: what threads claim in chunks adds up to all of it."""
    k = Writer("many_groups", (1, 1, 1))
    out = k.buffer("out", u32)
    i = k.global_id()
    v = k.local("v", u32, i)
    with k.count(0, 3) as n:  # a loop, so that the work is shared between threads
        v.set(v.now * 3 + n)
    out[i] = v.now
    exact = np.arange(10_000, dtype=np.uint32)
    for n in range(3):
        exact = exact * np.uint32(3) + np.uint32(n)
    return Case(k.finish(), (np.zeros(10_000, np.uint32),), groups=(10_000, 1, 1), expected={"out": exact})


def _strides(name: str) -> Case:
    """Arithmetic on ids in one integer type: values with a known step from lane to lane, which may wrap."""
    dtype = lookup(name)
    k = Writer(f"strides_{name}", (64, 1, 1))
    i, lane = k.global_id().to(dtype), k.local_id().to(dtype)
    group = k.group_id().to(dtype)
    values = [
        i + 5, i - 5, 7 - i, lane - i, i - lane, i * 3, i * -1 if dtype.is_signed else i * dtype.maximum,
        i << 2, (i << 3) - (lane << 1), group - lane * 5, i + i, i * 2 + lane * 3, (i + 1) * 4 - 2, i * group,
        lane.bits(lookup(f"{'u' if dtype.is_signed else 'i'}{dtype.bits}")).to(dtype) + 1,
        -lane, i & 7, i ^ 1, i % 3, i // 3, k.op("min", i, lane), i.to(u8).to(dtype), (i + 100).to(u64).to(dtype),
        (lane - 1).to(i64).to(dtype), k.select(lane < 9, i, lane), (i + dtype.maximum) * 2,
    ]  # fmt: skip
    wide = [(i + dtype.maximum).to(u64), (lane - 9).to(u64), (i * 77).to(i64).bits(u64), (5 - lane).to(u64)]
    out, far = k.buffer("out", dtype), k.buffer("far", u64)
    at = k.global_id()
    for n, value in enumerate(values):
        out[at + n * 192] = value
    for n, value in enumerate(wide):
        far[at + n * 192] = value
    buffers = (np.zeros(192 * len(values), dtype.numpy), np.zeros(192 * len(wide), np.uint64))
    return Case(k.finish(), buffers, groups=(3, 1, 1), modes=("trusted",))


for _dtype in INTEGERS:
    case(f"strides/{_dtype}", widths=(1, 4, 16))(partial(_strides, _dtype.name))


@case("strides/variables")
def stride_variables() -> Case:
    """Variables that keep a step between lanes until a branch, or another step, ends that."""
    k = Writer("stride_variables", (64, 1, 1))
    out = k.buffer("out", u32)
    i = k.global_id()
    a, b, c = k.local("a", u32, i), k.local("b", u32, i * 2), k.local("c", u32, 4)
    with k.count(0, 3) as n:
        a.set(a.now + n)
        b.set(b.now - i)
        c.set(c.now + 1)
    with k.when(i % 3 == 0):
        a.set(a.now + 10)
    with k.when(k.group_id() == 1):
        c.set(i)
    out[i], out[i + 192], out[i + 384] = a.now, b.now, c.now
    lanes = np.arange(192)
    exact = [lanes + 3 + (lanes % 3 == 0) * 10, -lanes, np.where(lanes // 64 == 1, lanes, 7)]
    expected = {"out": np.concatenate(exact).astype(np.uint32)}
    return Case(k.finish(), (np.zeros(576, np.uint32),), groups=(3, 1, 1), expected=expected, modes=EVERY_MODE)
