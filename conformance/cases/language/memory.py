"""Loads and stores: indexes of every type inside, at the edges and far outside; wrap-around; one element.

Oracle besides the interpreter: Python's integers decide which index is inside, after wrapping in its own type.
Buffers stand between patterns (``running``), so a write outside is seen and a read outside is not 0.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.values import random_bits
from conformance.writer import Writer
from loom.core.dtype import INTEGERS, SCALARS, DType, bool_, f32, f64, i16, i32, i64, lookup, u8, u16, u32, u64

_SIZE = 37


def _edges(dtype: DType) -> np.ndarray:
    size = [-2, -1, 0, 1, 2, _SIZE - 2, _SIZE - 1, _SIZE, _SIZE + 1, 2 * _SIZE]
    far = [dtype.minimum, dtype.maximum, dtype.maximum - 1, dtype.minimum + 1, dtype.maximum // 2 + 1]
    wide = [1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 3, 1 << 61, (1 << 61) + 1, (1 << 62) + 5, -(1 << 61)]
    values = [v for v in size + far + wide if dtype.minimum <= v <= dtype.maximum]
    return np.array(values + list(range(64 - len(values))), dtype.numpy)


def _any_index(dtype: DType) -> Case:
    """Loads at the edges of an index type, stores there (each lane of its own group, so none overlap)."""
    k = Writer(f"any_index_{dtype}", (16, 1, 1))
    index, x = k.read("index", dtype), k.read("x", u32)
    seen, out = k.buffer("seen", u32), k.buffer("out", u32)
    shared, private = k.shared("s", u32, 16), k.private("p", u32, 5)
    local_seen, i, lane = k.buffer("local_seen", u32), k.global_id(), k.local_id()
    at = index[i]
    seen[i] = x[at]
    with k.when(k.group_id() == 0):
        out[at] = i + 100
    shared[lane] = i + 1
    with k.count(0, 5) as n:
        private[n] = i + n + 2
    k.barrier()
    private[at] = 1000
    local_seen[i] = shared[at] * 4096 + private[at]
    indexes = _edges(dtype)
    indexes[:16] = np.array(sorted(set(indexes[:16].tolist())) + [50] * 16, dtype.numpy)[:16]
    values = np.arange(1, _SIZE + 1, dtype=np.uint32)
    expected = {"seen": np.array([values[n] if 0 <= n < _SIZE else 0 for n in indexes.tolist()], np.uint32)}
    zeros = [np.zeros(64, np.uint32), np.zeros(_SIZE, np.uint32), np.zeros(64, np.uint32)]
    return Case(k.finish(), (indexes, values, *zeros), groups=(4, 1, 1), expected=expected)


for _dtype in INTEGERS:
    case(f"memory/index-{_dtype}")(partial(_any_index, _dtype))


def _wrapping(dtype: DType, offset: int) -> Case:
    """x[dtype(lane + offset)]: neighbouring lanes, neighbouring elements, until the index type wraps."""
    k = Writer(f"wrapping_{dtype}_{offset % 1000}", (64, 1, 1))
    x, seen, out = k.read("x", u32), k.buffer("seen", u32), k.buffer("out", u32)
    i = k.global_id()
    at = i.to(dtype) + k.const(offset, dtype)
    seen[i] = x[at]
    out[at] = i + 1
    size, lanes = 400, 192
    values = np.arange(1, size + 1, dtype=np.uint32)
    loaded, stored = np.zeros(lanes, np.uint32), np.zeros(size, np.uint32)
    for lane in range(lanes):
        n = (lane + offset - dtype.minimum) % (1 << dtype.bits) + dtype.minimum
        if 0 <= n < size:
            loaded[lane], stored[n] = values[n], lane + 1
    buffers = (values, np.zeros(lanes, np.uint32), np.zeros(size, np.uint32))
    return Case(k.finish(), buffers, groups=(3, 1, 1), expected={"seen": loaded, "out": stored})


for _name, _offset in [
    ("u8", 200), ("u8", 0), ("i8", 0), ("i8", 100), ("i8", -20), ("u16", 65500), ("i16", 32740), ("i16", -9),
    ("u32", 2**32 - 1), ("u32", 2**32 - 70), ("u32", 350), ("i32", -1), ("i32", -70), ("i32", 2**31 - 50),
    ("u64", 2**64 - 5), ("i64", -100), ("i64", 399),
]:  # fmt: skip
    case(f"memory/wrap-{_name}{'+' if _offset >= 0 else '-'}{abs(_offset)}")(partial(_wrapping, lookup(_name), _offset))


def _wrap_inside(dtype: DType, offset: int) -> Case:
    """An index wraps, within one vector, from the last element its type can name to the first: no lane is outside."""
    k = Writer(f"wrap_inside_{dtype}", (64, 1, 1))
    x, y, z = k.read("x", u32), k.buffer("y", u32), k.buffer("z", u32)
    i = k.global_id()
    at = i.to(dtype) + offset
    y[at] = x[at] + i
    with k.when(i % 3 != 1):
        z[at] = x[at]
    size = 1 << dtype.bits
    values = random_bits(np.dtype(np.uint32), size, seed=14)
    lanes = np.arange(256)
    order = (lanes + offset) % size
    exact, some = np.zeros(size, np.uint32), np.zeros(size, np.uint32)
    exact[order] = values[order] + lanes.astype(np.uint32)
    some[order[lanes % 3 != 1]] = values[order[lanes % 3 != 1]]
    buffers = (values, np.zeros(size, np.uint32), np.zeros(size, np.uint32))
    return Case(k.finish(), buffers, groups=(4, 1, 1), expected={"y": exact, "z": some}, modes=EVERY_MODE)


for _dtype, _offset in ((u8, 231), (u16, 65497)):
    case(f"memory/wrap-inside-{_dtype}")(partial(_wrap_inside, _dtype, _offset))


@case("memory/neighbours")
def neighbours() -> Case:
    """x[i - 1] + x[i + 1] with buffers of length 0, 1, shorter than a vector, and not a multiple of one."""
    k = Writer("neighbours", (32, 1, 1))
    sizes = [0, 1, 3, 15, 16, 17, 33, 61]
    pairs = [(k.read(f"x{n}", f32), k.buffer(f"y{n}", f32)) for n in sizes]
    i = k.global_id()
    expected, buffers = {}, []
    for size, (x, y) in zip(sizes, pairs, strict=True):
        y[i] = x[i - 1] + x[i + 1] * x.length.to(f32)
        values = np.arange(1, size + 1, dtype=np.float32)
        padded = np.concatenate([[0], values, [0]]).astype(np.float32)
        expected[f"y{size}"] = (padded[:size] + padded[2:] * np.float32(size)).astype(np.float32)
        buffers += [values, np.zeros(size, np.float32)]
    return Case(k.finish(), tuple(buffers), groups=(2, 1, 1), expected=expected)


@case("memory/masked-neighbours")
def masked_neighbours() -> Case:
    """The same accesses for some lanes only, in a branch and in a loop that lanes leave apart."""
    k = Writer("masked_neighbours", (32, 1, 1))
    x, y, z = k.read("x", u32), k.buffer("y", u32), k.buffer("z", u32)
    i = k.global_id()
    with k.when(i % 5 != 2):
        y[i] = x[i + 3] + x[i - 2]
    with k.count(0, i % 4) as n, k.when(n != 2):
        z[i] = z[i] + x[i + n]
    values = random_bits(np.dtype(np.uint32), 75, seed=1)
    return Case(k.finish(), (values, np.full(75, 7, np.uint32), np.zeros(75, np.uint32)), groups=(3, 1, 1))


@case("memory/guarded-by-length")
def guarded() -> Case:
    """``if i < len(x)``: lanes beyond the end do nothing, in the last group and in groups wholly outside."""
    k = Writer("guarded_by_length", (64, 1, 1))
    x, y = k.read("x", u32), k.buffer("y", u32)
    i = k.global_id()
    with k.when(i < x.length):
        y[i] = x[x.length - 1 - i] + 1
    values = random_bits(np.dtype(np.uint32), 100, seed=6)
    expected = {"y": values[::-1] + np.uint32(1)}
    return Case(k.finish(), (values, np.zeros(100, np.uint32)), groups=(4, 1, 1), expected=expected, modes=EVERY_MODE)


@case("memory/strided-and-scattered")
def scattered() -> Case:
    """Gathers and scatters of every element type: every third element, reversed, by a table."""
    types = list(SCALARS.values())
    k = Writer("scattered", (32, 1, 1))
    table = k.read("table", u16)
    triples = [(k.read(f"x_{t}", t), k.buffer(f"y_{t}", t), k.buffer(f"z_{t}", t)) for t in types]
    i = k.global_id()
    for x, y, z in triples:
        y[i] = x[i * 3 + 1]
        z[table[i]] = x[95 - i]
    order = np.random.default_rng(3).permutation(96).astype(np.uint16)
    buffers, expected = [order], {}
    for n, t in enumerate(types):
        x = random_bits(t.numpy, 96, seed=n)
        y, z = np.zeros(96, t.numpy), np.zeros(96, t.numpy)
        y[:32], z[order] = x[1::3], x[::-1]
        buffers += [x, np.zeros(96, t.numpy), np.zeros(96, t.numpy)]
        expected |= {f"y_{t}": y, f"z_{t}": z}
    return Case(k.finish(), tuple(buffers), groups=(3, 1, 1), expected=expected)


@case("memory/one-element")
def one_element() -> Case:
    """All lanes of a group store one value, equal in all, to one element; some lanes only; no lane."""
    k = Writer("one_element", (48, 1, 1))
    x, out = k.read("x", u32), k.buffer("out", u32)
    group, lane = k.group_id(), k.local_id()
    word = x[group]
    out[group] = word * 3
    with k.when(lane % 7 == 5):
        out[group + 8] = word + 1
    with k.when(x[k.global_id()] & 1 == 0):
        out[group + 16] = word + 2
    with k.when(lane > 100):
        out[group + 24] = 1
    out[group + 1000] = word
    values = random_bits(np.dtype(np.uint32), 8 * 48, seed=4)
    values[48:96] |= np.uint32(1)  # a group in which no lane stores
    return Case(k.finish(), (values, np.zeros(32, np.uint32)), groups=(8, 1, 1))


def _one_lane(lanes: int, barrier: bool) -> Case:
    """One lane of a group stores what only it computed to the group's element: in a branch, in a loop; three types."""
    k = Writer(f"one_lane_{lanes}", (lanes, 1, 1))
    x, out, flags, wide = k.read("x", u32), k.buffer("out", u32), k.buffer("flags", bool_), k.buffer("wide", f64)
    group, lane, i = k.group_id(), k.local_id(), k.global_id()
    word = x[i]
    with k.when(lane == (group * 7 + 1) % lanes):
        out[group] = word
    if barrier:
        k.barrier()
    with k.when(lane == group * 5 + 3):
        out[group + 8] = word * 3
        flags[group] = word & 1 == 1
        wide[group] = word.to(f64) * 0.5
    with k.count(0, lane) as n, k.when(n == lanes - 2):
        out[group + 16] = word + n
    values = random_bits(np.dtype(np.uint32), 8 * lanes, seed=15)
    rows, groups = values.reshape(8, lanes), np.arange(8)
    own = rows[groups, groups * 5 + 3]
    exact = [rows[groups, (groups * 7 + 1) % lanes], own * np.uint32(3), rows[:, -1] + np.uint32(lanes - 2)]
    expected = {"out": np.concatenate(exact), "flags": own % 2 == 1, "wide": own * 0.5}
    buffers = (values, np.zeros(24, np.uint32), np.zeros(8, np.bool_), np.zeros(8, np.float64))
    return Case(k.finish(), buffers, groups=(8, 1, 1), expected=expected, modes=EVERY_MODE)


for _lanes, _barrier in ((48, False), (64, True), (48, True)):
    _label = f"memory/one-lane-stores-{_lanes}{'-barrier' if _barrier else ''}"
    case(_label)(partial(_one_lane, _lanes, _barrier))


@case("memory/uniform-loads")
def uniform_loads() -> Case:
    """Every lane reads the same element: inside, outside, negative, by group, by parameter, in a branch."""
    k = Writer("uniform_loads", (32, 1, 1))
    x, out = k.read("x", i32), k.buffer("out", i32)
    far, near = k.param("far", i64), k.param("near", u8)
    i, group = k.global_id(), k.group_id()
    v = k.local("v", i32, x[group] + x[group + 30] + x[far] + x[near])
    with k.when(i % 3 == 0):
        v.set(v.now + x[group - 1] + x[0].to(i16).to(i32))
    with k.when(group == 2):
        v.set(v.now * x[near])
    out[i] = v.now
    values = np.arange(-15, 16, dtype=np.int32) * 1000003
    return Case(k.finish(), (values, np.zeros(128, np.int32)), (-(2**40), 30), groups=(4, 1, 1))


@case("memory/private")
def private() -> Case:
    """Private arrays: an index that differs by lane, equal for all, in a loop, in branches; zero at the start."""
    k = Writer("private", (40, 1, 1))
    x, out = k.read("x", u32), k.buffer("out", u32)
    a, b = k.private("a", u32, 6), k.private("b", u8, 11)
    i = k.global_id()
    word = x[i]
    v = k.local("v", u32, a[word % 6] + b[3].to(u32))
    with k.count(0, 6) as n:
        a[(n * word) % 6] = n + i
        b[n + 5] = (n * 50).to(u8)
    with k.when(word & 1 == 0):
        a[2] = word
        a[word % 9] = 5
    with k.count(0, 6) as n:
        v.set(v.now * 31 + a[n] + b[(n + word) % 12].to(u32))
    out[i] = v.now
    values = random_bits(np.dtype(np.uint32), 120, seed=12)
    return Case(k.finish(), (values, np.zeros(120, np.uint32)), groups=(3, 1, 1))


@case("memory/private-written-first")
def private_trusted() -> Case:
    """A private array every element of which is written before it is read."""
    k = Writer("private_trusted", (24, 1, 1))
    x, out, a = k.read("x", f32), k.buffer("out", f32), k.private("a", f32, 4)
    i = k.global_id()
    with k.count(0, 4) as n:
        a[n] = x[i * 4 + n]
    a[1] = a[0] + a[1]
    with k.when(i % 2 == 0):
        a[i % 4] = a[3 - i % 4]
        a[0] = a[2]
    out[i] = a[i % 4] * a[(i + 1) % 4] + a[0]
    values = np.random.default_rng(5).standard_normal(48 * 4).astype(np.float32)
    return Case(k.finish(), (values, np.zeros(48, np.float32)), groups=(2, 1, 1), modes=EVERY_MODE)


@case("memory/read-after-write")
def read_after_write() -> Case:
    """A lane reads back what it wrote: to its own element, over and over, and in place."""
    k = Writer("read_after_write", (64, 1, 1))
    x, y = k.buffer("x", u64), k.buffer("y", u64)
    i = k.global_id()
    x[i] = x[i] + 1
    y[i] = x[i] * 3
    with k.when(y[i] & 1 == 0):
        x[i] = y[i]
    x[i] = x[i] + y[i]
    values = random_bits(np.dtype(np.uint64), 128, seed=13)
    first = values + np.uint64(1)
    y3 = first * np.uint64(3)
    expected = {"y": y3, "x": np.where(y3 & np.uint64(1) == 0, y3, first) + y3}
    return Case(k.finish(), (values, np.zeros(128, np.uint64)), groups=(2, 1, 1), expected=expected, modes=EVERY_MODE)


def _records(dtype: DType, size: int, mode: str) -> Case:
    """Records of elements that each lane takes whole, in order and out of order, moved on and changed in place.

    In ``checked`` mode the last records are cut off by the array's end, and lanes of a branch rest.
    """
    k = Writer(f"records_{dtype}_{size}_{mode}", (48, 1, 1))
    x, out, place = k.read("x", dtype), k.buffer("out", dtype), k.buffer("place", dtype)
    i = k.global_id()
    taken = {n: x[i * size + n] for n in [*range(1, size), 0]}
    again = x[i * size + (size - 1)]
    for n in range(size):
        out[i * size + (size - 1 - n)] = taken[n] + again
    with k.when(i % 37 < 30):
        held = [place[i * size + n] for n in range(size)]
        place[i * size] = held[1]
        for n in range(1, size):
            place[i * size + n] = held[(n + 1) % size] + place[i * size + n - 1]
    held = [place[i * size + n] for n in range(size)]
    for n in range(size):
        place[i * size + n] = held[size - 1 - n] * 3
    lanes = 48 * 4
    count = lanes * size if mode == "trusted" else lanes * size - size - 1
    values = np.random.default_rng(size).integers(0, 50, (2, count)).astype(dtype.numpy)
    whole = np.zeros((2, lanes * size), dtype.numpy)
    whole[:, :count] = values
    rows = whole[0].reshape(lanes, size)
    exact = (rows[:, ::-1] + rows[:, -1:]).astype(dtype.numpy).ravel()
    buffers = (values[0], np.zeros(lanes * size, dtype.numpy), values[1])
    return Case(k.finish(), buffers, groups=(4, 1, 1), expected={"out": exact}, modes=(mode,))


for _dtype in (u8, u32, f32, f64, i64):
    for _size in (2, 4, 8, 16):
        for _mode in ("checked", "trusted"):
            case(f"memory/records-{_mode}-{_dtype}-{_size}")(partial(_records, _dtype, _size, _mode))
