"""Counted loops at the edges: counters that must not wrap, down loops, steps of 0 and away from the end.

Oracle besides the interpreter: Python's ``range`` on unbounded integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from conformance.running import Case, case
from conformance.writer import Value, Writer
from loom.core.dtype import INTEGERS, DType, f32, i32, lookup, u32


def _bounds(dtype: DType, *, down: bool) -> list[tuple[int, int, int]]:
    """Start, stop and step of loops with at most some twenty turns, at both ends of the type and around 0."""
    low, high, middle = dtype.minimum, dtype.maximum, (dtype.minimum + dtype.maximum + 1) // 2
    up = [
        (low, low + 5, 1), (low, low + 5, 2), (low, low, 1), (low + 3, low, 1),
        (high - 5, high, 1), (high - 5, high, 2), (high - 5, high, 4), (high - 5, high, 7), (high, high, 1),
        (high - 1, high, high), (low, high, high), (low, high, high - 1), (high - 100, high, 90),
        (middle, middle + 9, 3), (middle, middle + 3, 1), (middle + 5, middle, 3), (middle, middle + 6, 0),
        (low, high, 0), (0, 7, 3), (3, 4, 100), (low, high, high // 3 + 1),
    ]  # fmt: skip
    if not dtype.is_signed:
        return up
    mirrored = [(-1 - a, -1 - b, -s) for a, b, s in up]
    wrong_way = [(a, b, -s) for a, b, s in up[:10]]
    if down:
        return [*mirrored, (5, -5, low), (high, low, low), (-1, low, low), *[(a, b, -s) for a, b, s in mirrored[:10]]]
    return up + wrong_way + [(0, 9, low), (low, high, low)]


def _trips(dtype: DType, *, down: bool, per_lane: bool) -> Case:
    """Loops given by a table: the bounds come as parameters of the group (uniform) or differ by lane."""
    k = Writer(f"trips_{dtype}_{'down' if down else 'up'}_{'lanes' if per_lane else 'group'}", (16, 1, 1))
    table = k.read("table", dtype)
    turns, total = k.buffer("turns", u32), k.buffer("total", dtype)
    row = k.global_id() if per_lane else k.group_id()
    start, stop, step = (table[row * 3 + n] for n in range(3))
    count, seen = k.local("count", u32, 0), k.local("seen", dtype, 0)
    loop = k.count_down if down else k.count
    with loop(start, stop, step, dtype=dtype) as n:
        count.set(count.now + 1)
        seen.set(seen.now * 3 + n)
        with k.when(count.now == 30):  # a counter that wraps must not hang the test
            k.break_()
    i = k.global_id()
    turns[i], total[i] = count.now, seen.now
    rows = _bounds(dtype, down=down)
    while len(rows) % 16:
        rows.append(rows[len(rows) % 7])
    lanes = len(rows) if per_lane else len(rows) * 16
    expected = _expected(rows, dtype, down=down)
    wide = {name: a if per_lane else np.repeat(a, 16) for name, a in expected.items()}
    buffers = (np.array(rows, dtype.numpy).ravel(), np.zeros(lanes, np.uint32), np.zeros(lanes, dtype.numpy))
    return Case(k.finish(), buffers, groups=(lanes // 16, 1, 1), expected=wide)


def _expected(rows: list[tuple[int, int, int]], dtype: DType, *, down: bool) -> dict[str, np.ndarray]:
    turns, totals = [], []
    for start, stop, step in rows:
        right_way = step < 0 if down else step > 0
        seen = list(range(start, stop, step)[:30]) if right_way else []
        total = 0
        for n in seen:
            total = (total * 3 + n) % (1 << dtype.bits)
        turns.append(len(seen))
        totals.append(total)
    carrier = np.array(totals, dtype.bits_numpy)
    return {"turns": np.array(turns, np.uint32), "total": carrier.view(dtype.numpy)}


for _dtype in INTEGERS:
    for _per_lane in (True, False):
        _where = "lanes" if _per_lane else "group"
        case(f"loops/{_dtype}-up-{_where}", widths=(1, 8))(partial(_trips, _dtype, down=False, per_lane=_per_lane))
        if _dtype.is_signed:
            case(f"loops/{_dtype}-down-{_where}", widths=(1, 8))(partial(_trips, _dtype, down=True, per_lane=_per_lane))


@case("loops/constant-bounds")
def constants() -> Case:
    """Bounds the compiler knows: none, one and several turns, at the end of the type, step 0, both ways."""
    k = Writer("constant_bounds", (32, 1, 1))
    out = k.buffer("out", u32)
    i = k.global_id()
    bounds = [
        ("u8", 250, 255, 2, False), ("u8", 0, 255, 200, False), ("u32", 5, 5, 1, False), ("u32", 6, 5, 1, False),
        ("i8", 120, 127, 5, False), ("i8", -120, -128, -5, True), ("i32", 3, -4, -2, True), ("i32", 3, 9, 0, False),
        ("u32", 2**32 - 3, 2**32 - 1, 1, False), ("i64", -1, 3, 1, False), ("i32", 0, 5, -1, True),
    ]  # fmt: skip
    wanted = []
    for slot, (name, start, stop, step, down) in enumerate(bounds):
        dtype = lookup(name)
        v = k.local("v", u32, 0)
        with (k.count_down if down else k.count)(start, stop, step, dtype=dtype) as n:
            v.set(v.now * 3 + n.to(u32) + 1)
        out[i + slot * 32] = v.now
        total = 0
        for n in range(start, stop, step) if (step < 0 if down else step > 0) else ():
            total = (total * 3 + n + 1) % 2**32
        wanted.append(total)
    size = 32 * len(bounds)
    return Case(k.finish(), (np.zeros(size, np.uint32),), expected={"out": np.repeat(wanted, 32).astype(np.uint32)})


def _past_zero(dtype: DType) -> Case:
    """Counters that run from a lane's number to a constant: down to just below zero, and by whiles until they wrap.

    ptxas unrolls the second kind as if nothing wrapped.
    """
    k = Writer(f"past_zero_{dtype}", (64, 1, 1))
    x = k.read("x", u32)
    out = k.buffer("out", u32)
    i, size, wanted = k.global_id(), 1 << dtype.bits, []
    lanes = range(128)

    def follow(turns: Callable[[int], Iterable[int]]) -> None:
        out[i * 24 + len(wanted)] = total.now
        wanted.append([sum(7 * n % 251 if n < 200 else 1 for n in turns(lane)) % 2**32 for lane in lanes])

    def meet(n: Value) -> None:
        inside = k.local("inside", u32, 1)
        with k.when((n >= 0) & (n < 200) if dtype.is_signed else n < 200):
            inside.set(x[n])
        total.set(total.now + inside.now)

    for stop, step in [(-1, -1), (-1, -2), (0, -3), (3, -2), (-1, -5)] if dtype.is_signed else []:
        total = k.local("total", u32, 0)
        with k.count_down(i.to(dtype), stop, step, dtype=dtype) as n:
            meet(n)
        follow(lambda lane, stop=stop, step=step: range(lane, stop, step))
    for most, step in [(1000, 1), (1000, 3), (size - 3, 2), (size // 2 + 5, 1)] if not dtype.is_signed else []:
        total, j = k.local("total", u32, 0), k.local("j", dtype, i.to(dtype))
        with k.repeat_while(lambda j=j, most=most: j.now < most):
            meet(j.now)
            j.set(j.now - step)
        follow(lambda lane, step=step: range(lane, -1, -step))
        total, j = k.local("total", u32, 0), k.local("j", dtype, k.const(size - 1, dtype) - i.to(dtype))
        with k.repeat_while(lambda j=j, most=most: j.now > size - 1 - most):
            meet(j.now)
            j.set(j.now + step)
        follow(lambda lane, step=step: (size - 1 - n for n in range(lane, -1, -step)))
    total, j = k.local("total", u32, 0), k.local("j", dtype, i.to(dtype))
    with k.repeat_while(lambda: (j.now >= 0) & (j.now < 100) if dtype.is_signed else j.now < 100):
        meet(j.now)
        j.set(j.now - 2)
    follow(lambda lane: range(lane, -1, -2) if lane < 100 else ())
    found = np.zeros((128, 24), np.uint32)
    found[:, : len(wanted)] = np.array(wanted, np.uint64).T
    table = (np.arange(200, dtype=np.uint32) * 7) % 251
    return Case(
        k.finish(),
        (table, np.zeros(128 * 24, np.uint32)),
        groups=(2, 1, 1),
        expected={"out": found.ravel()},
        modes=("checked", "trusted"),
    )


for _dtype in (i32, u32, lookup("i64"), lookup("u64")):
    case(f"loops/past-zero-{_dtype}", widths=(1, 8))(partial(_past_zero, _dtype))


@case("loops/bounds-taken-once")
def taken_once() -> Case:
    """Assigning, in the body, the variables the bounds came from changes nothing; nor does the step's."""
    k = Writer("bounds_taken_once", (32, 1, 1))
    out = k.buffer("out", i32)
    i = k.global_id()
    stop, step, v = k.local("stop", i32, 10), k.local("step", i32, 3), k.local("v", i32, i.to(i32))
    with k.count(0, stop.now, step.now, dtype=i32) as n:
        stop.set(stop.now - 5)
        step.set(step.now + n)
        v.set(v.now * 5 + n)
    out[i] = v.now * 100 + stop.now
    lanes = np.arange(64, dtype=np.int64)
    for n in (0, 3, 6, 9):
        lanes = lanes * 5 + n
    expected = (lanes * 100 - 10).astype(np.int32)
    return Case(k.finish(), (np.zeros(64, np.int32),), groups=(2, 1, 1), expected={"out": expected})


def _wrapping(dtype: DType, mask: bool) -> Case:
    """Neighbours around a ring of 64: in LLVM 22 a loop over them was made vectors that ran past its end."""
    k = Writer("wrapping_index", (64, 1, 1))
    x, out = k.buffer("x", dtype), k.buffer("out", dtype)
    turns = k.param("turns", u32)
    i = k.global_id()
    with k.count(0, turns, 1, dtype=u32) as n:
        place = (i + n) & 63 if mask else (i + n) % 64
        out[n * 64 + i] = x[place]
    ring = np.arange(64).astype(dtype.numpy)
    wanted = np.concatenate([np.roll(ring, -n) for n in range(9)])
    return Case(
        k.finish(), (ring, np.zeros(9 * 64, dtype.numpy)), (9,), expected={"out": wanted}, modes=("checked", "trusted")
    )


for _dtype in (lookup("f64"), lookup("f32"), lookup("u8"), lookup("i64")):
    for _mask in (True, False):
        case(f"loops/wrapping-index-{_dtype}-{'and' if _mask else 'remainder'}")(partial(_wrapping, _dtype, _mask))


def _rows(dtype: DType, mode: str) -> Case:
    """Rows of their own length over elements here and there, with a branch, a variable of the turn and ids inside.

    In ``checked`` mode some rows go past the end, and some elements say that they lie outside.
    """
    k = Writer(f"rows_{dtype}_{mode}", (48, 1, 1))
    start, source = k.read("start", dtype), k.read("source", dtype)
    weight, out = k.read("weight", f32), k.buffer("out", f32)
    seen = k.buffer("seen", u32)
    scale = k.param("scale", f32)
    i = k.global_id()
    total, count = k.local("total", f32, 0.5), k.local("count", u32, i)
    with k.when(i % 7 != 3), k.count(start[i], start[i + 1], dtype=dtype) as e:
        w = k.local("w", f32, weight[source[e]] * scale)
        with k.when(w.now < 0):
            w.set(w.now * 3)
        total.set(total.now + w.now)
        count.set(count.now + k.local_id())
    out[i] = total.now
    seen[i] = count.now
    rng = np.random.default_rng(5)
    lanes = 48 * 3
    lengths = rng.integers(0, 9, lanes)
    lengths[20:36] = 4
    starts = np.concatenate([[0], np.cumsum(lengths)])
    edges, weights = int(starts[-1]), rng.normal(size=50).astype(np.float32)
    sources = rng.integers(0, 50, edges)
    if mode == "checked":
        starts[60], starts[90] = edges + 5, edges - 1
        sources[::13] = 57
    found, counts = np.full(lanes, 0.5, np.float32), np.arange(lanes, dtype=np.uint32)
    for lane in range(lanes):
        for e in range(starts[lane], starts[lane + 1]) if lane % 7 != 3 else ():
            w = weights[sources[e]] if e < edges and sources[e] < 50 else np.float32(0)
            if e >= edges:
                w = weights[0]
            w = w * np.float32(0.75)
            found[lane] += w * np.float32(3) if w < 0 else w
            counts[lane] += lane % 48
    buffers = (
        starts.astype(dtype.numpy), sources.astype(dtype.numpy), weights, np.zeros(lanes, np.float32),
        np.zeros(lanes, np.uint32),
    )  # fmt: skip
    expected = {"out": found, "seen": counts}
    return Case(k.finish(), buffers, (0.75,), groups=(3, 1, 1), expected=expected, modes=(mode,))


for _dtype in (u32, i32, lookup("u64"), lookup("i64"), lookup("u16")):
    for _mode in ("checked", "trusted", "reported"):
        case(f"loops/rows-{_mode}-{_dtype}", widths=(1, 4, 8, 16))(partial(_rows, _dtype, _mode))
