"""The eight atomics on 32- and 64-bit integers, in buffers (contended by all groups) and in shared memory.

In a buffer nobody reads the old value, so the final state does not depend on the order. In shared memory the
lanes of a group take turns in ascending order, as in the interpreter, so old values are compared too.
Oracles besides the interpreter: numpy's folds; for old values, a loop in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.values import adversarial, random_bits
from conformance.writer import Writer
from loom.core.dtype import DType, i8, i16, i32, i64, u8, u32, u64
from loom.ir.kernel import LaneOrder

_TYPES = (u32, i32, u64, i64)
_FOLDS: dict[str, Callable[[int, int], int]] = {
    "add": lambda old, v: old + v,
    "and": lambda old, v: old & v,
    "or": lambda old, v: old | v,
    "xor": lambda old, v: old ^ v,
    "min": min,
    "max": max,
}


def _values(dtype: DType, count: int, seed: int) -> np.ndarray[Any, Any]:
    edges = adversarial(dtype)
    rng = np.random.default_rng(seed)
    picked = edges[rng.integers(0, edges.size, count)]
    return np.where(rng.random(count) < 0.5, picked, random_bits(dtype.numpy, count, seed=seed))


def _wrapped(value: int, dtype: DType) -> int:
    return (value - dtype.minimum) % (1 << dtype.bits) + dtype.minimum


def _contended(dtype: DType) -> Case:
    """Every fold at one element for all lanes, at one per residue, and for some lanes only; edges outside."""
    k = Writer(f"contended_{dtype}", (48, 1, 1))
    x = k.read("x", dtype)
    outs = {name: k.buffer(name, dtype) for name in _FOLDS}
    i = k.global_id()
    word = x[i]
    v = k.local("v", dtype, 0)
    with k.count(0, 3, dtype=u32) as n:  # a loop, so that the work is shared between threads
        v.set(v.now + word * n.to(dtype))
    for name, out in outs.items():
        out.atomic(name, 0, word)
        out.atomic(name, i % 5 + 1, word)
        out.atomic(name, k.group_id() + 6, v.now)
        with k.when(word & 3 == 1):
            out.atomic(name, 31, word)
            out.atomic(name, i - 7, word)
        out.atomic(name, 32, word)  # outside
    size, groups = 48 * 20, 20
    values = _values(dtype, size, seed=dtype.bits)
    starts = np.resize(_values(dtype, 32, seed=3), 32)
    expected = {name: _folded(name, dtype, values, starts) for name in _FOLDS}
    return Case(k.finish(), (values, *(starts.copy() for _ in _FOLDS)), groups=(groups, 1, 1), expected=expected)


def _folded(
    name: str, dtype: DType, values: np.ndarray[Any, Any], starts: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    cells = [int(s) for s in starts]

    def fold(at: int, value: int) -> None:
        if 0 <= at < len(cells):
            cells[at] = _wrapped(_FOLDS[name](cells[at], value), dtype)

    for lane, value in enumerate(values.tolist()):
        fold(0, value)
        fold(lane % 5 + 1, value)
        fold(lane // 48 + 6, _wrapped(value * 3, dtype))
        if value & 3 == 1:
            fold(31, value)
            fold(lane - 7, value)
    return np.array(cells, dtype.numpy)


for _dtype in _TYPES:
    case(f"atomics/contended-{_dtype}")(partial(_contended, _dtype))


def _in_shared(dtype: DType, lanes: int) -> Case:
    """All eight on shared memory, the old values kept: at one element, at a few, for some lanes."""
    k = Writer(f"atomics_in_shared_{dtype}_{lanes}", (lanes, 1, 1))
    x = k.read("x", dtype)
    names = [*_FOLDS, "exchange", "compare_exchange"]
    olds = {name: k.buffer(f"old_{name}", dtype) for name in names}
    final = k.buffer("final", dtype)
    cells = k.shared("cells", dtype, 8 * len(names))
    i, lane = k.global_id(), k.local_id()
    word = x[i]
    for n, name in enumerate(names):
        at = (lane * 5) % 7 + 8 * n
        operands = (x[i * 0 + lane % 3], word) if name == "compare_exchange" else (word,)
        old = k.local("old", dtype, cells.atomic(name, at, *operands))
        with k.when(lane % 3 != 1):
            old.set(old.now * 3 + cells.atomic(name, 8 * n + 7, *operands))
        old.set(old.now + cells.atomic(name, 1000 + n, *operands))  # outside gives 0
        olds[name][i] = old.now
    k.barrier()
    with k.count(lane, 8 * len(names), lanes) as n:
        final[k.group_id() * (8 * len(names)) + n] = cells[n]
    size = lanes * 3
    values = _values(dtype, size, seed=lanes)
    values[:3] = 0  # so that a compare succeeds on memory not yet written
    zeros = [np.zeros(size, dtype.numpy) for _ in names]
    buffers = (values, *zeros, np.zeros(8 * len(names) * 3, dtype.numpy))
    return Case(k.finish(LaneOrder.ANY), buffers, groups=(3, 1, 1), in_order=True)


def _totals_in_shared(dtype: DType, lanes: int) -> Case:
    """What is left of contended shared elements, whatever the order of lanes."""
    k = Writer(f"totals_in_shared_{dtype}_{lanes}", (lanes, 1, 1))
    x, final = k.read("x", dtype), k.buffer("final", dtype)
    cells = k.shared("cells", dtype, 8 * len(_FOLDS))
    i, lane = k.global_id(), k.local_id()
    for n, name in enumerate(_FOLDS):
        cells.atomic(name, lane % 5 + 8 * n, x[i])
        with k.when(lane % 3 != 1):
            cells.atomic(name, 8 * n + 7, x[i])
    k.barrier()
    with k.count(lane, 8 * len(_FOLDS), lanes) as n:
        final[k.group_id() * (8 * len(_FOLDS)) + n] = cells[n]
    exact = []
    values = _values(dtype, lanes * 3, seed=lanes + 1)
    for group in values.reshape(3, lanes).tolist():
        for fold in _FOLDS.values():
            row = [0] * 8
            for at, word in enumerate(group):
                for cell in [at % 5, 7] if at % 3 != 1 else [at % 5]:
                    row[cell] = _wrapped(fold(row[cell], word), dtype)
            exact += row
    expected = {"final": np.array(exact, dtype.numpy)}
    return Case(k.finish(), (values, np.zeros(len(exact), dtype.numpy)), groups=(3, 1, 1), expected=expected)


for _dtype in _TYPES:
    case(f"atomics/shared-totals-{_dtype}")(partial(_totals_in_shared, _dtype, 72))
    case(f"atomics/shared-{_dtype}", widths=(1, 4, 8))(partial(_in_shared, _dtype, 24))
case("atomics/shared-one-vector")(partial(_in_shared, i32, 16))


_KEYS, _CELLS = 5 * 64 + 9, 40


def _by_key(key: DType, mode: str) -> Case:
    """Totals by a key that lies in memory, in a buffer and in shared memory, of amounts that lie beside it.

    In ``checked`` mode some keys are outside, as are the last lanes.
    """
    k = Writer(f"by_key_{key}_{mode}", (64, 1, 1))
    keys, amounts = k.read("keys", key), k.read("amounts", i32)
    totals, counts, out = k.buffer("totals", i64), k.buffer("counts", u32), k.buffer("out", i64)
    cells, marks = k.shared("cells", i64, _CELLS), k.shared("marks", i64, _CELLS)
    i, lane = k.global_id(), k.local_id()
    with k.when(lane < _CELLS):
        cells[lane] = 0
        marks[lane] = 0
    k.barrier()
    with k.when(i < keys.length):
        totals.atomic("add", keys[i], amounts[i].to(i64))
        counts.atomic("add", keys[i].to(u32 if key.bits < 64 else key), 1)
        cells.atomic("add", keys[i], amounts[i].to(i64) * 3)
        with k.when(amounts[i] > 0):
            cells.atomic("add", keys[i], amounts[i].to(i64))
            marks.atomic("xor", lane % _CELLS, keys[i].to(i64))
    k.barrier()
    with k.when(lane < _CELLS):
        out[k.group_id() * _CELLS + lane] = cells[lane] * 5 + marks[lane]
    rng = np.random.default_rng(key.bits)
    inside = rng.integers(0, 33, _KEYS).astype(key.numpy)
    if mode == "checked":
        inside[::17] = np.array([-1, 100, 39, 33, -128])[np.arange(len(inside[::17])) % 5].astype(key.numpy)
    given = rng.integers(-(2**31), 2**31, _KEYS).astype(np.int32)
    wide, amount = inside.astype(object), given.astype(object)
    exact = [sum(int(a) for a, n in zip(amount, wide, strict=True) if n == cell) for cell in range(33)]
    zeros = [np.zeros(33, np.int64), np.zeros(33, np.uint32), np.zeros(6 * _CELLS, np.int64)]
    expected = {"totals": np.array(exact, np.int64)}
    return Case(k.finish(), (inside, given, *zeros), groups=(6, 1, 1), expected=expected, modes=(mode,))


for _dtype in (u8, i8, i16, u32, i32, i64):
    case(f"atomics/by-key-{_dtype}", widths=(1, 4, 8, 16))(partial(_by_key, _dtype, "checked"))
    case(f"atomics/by-key-trusted-{_dtype}")(partial(_by_key, _dtype, "trusted"))


@case("atomics/tickets")
def tickets() -> Case:
    """atomic_add's old value numbers the lanes of a group that come to it, ascending; a Python count agrees."""
    k = Writer("tickets", (56, 1, 1))
    x, out, count = k.read("x", u32), k.buffer("out", u32), k.shared("count", u32, 2)
    i = k.global_id()
    ticket = k.local("ticket", u32, 77)
    with k.when(x[i] & 1 == 0):
        ticket.set(count.atomic("add", 0, 1))
    out[i] = ticket.now
    values = random_bits(np.dtype(np.uint32), 56 * 3, seed=31)
    exact = []
    for group in values.reshape(3, 56):
        taken = 0
        for word in group.tolist():
            exact.append(77 if word & 1 else taken)
            taken += 1 - (word & 1)
    expected = {"out": np.array(exact, np.uint32)}
    buffers = (values, np.zeros(168, np.uint32))
    return Case(k.finish(LaneOrder.ANY), buffers, groups=(3, 1, 1), expected=expected, in_order=True)


@case("atomics/old-values-of-own-element")
def own_elements() -> Case:
    """Old values from a buffer where each lane has an element of its own: exchange and compare-exchange."""
    k = Writer("own_elements", (32, 1, 1))
    x, y, old = k.buffer("x", u64), k.buffer("y", i32), k.buffer("old", u64)
    i = k.global_id()
    first = x.atomic("exchange", i, i.to(u64) * 3)
    second = x.atomic("compare_exchange", i, 9, 1 << 63)
    third = y.atomic("compare_exchange", i, -1, 5)
    old[i] = first + second + third.to(u64)
    values, others = _values(u64, 96, seed=1), np.where(np.arange(96) % 2, -1, 4).astype(np.int32)
    exact = np.arange(96, dtype=np.uint64) * np.uint64(3)
    expected = {
        "x": np.where(exact == 9, np.uint64(1 << 63), exact), "y": np.where(others == -1, 5, others).astype(np.int32),
        "old": values + exact + others.astype(np.uint64),
    }  # fmt: skip
    buffers = (values, others, np.zeros(96, np.uint64))
    return Case(k.finish(), buffers, groups=(3, 1, 1), expected=expected, modes=EVERY_MODE)


@case("atomics/uniform-operands")
def uniform_operands() -> Case:
    """Operands and elements equal in all lanes count once per lane, in full vectors, edges and branches."""
    k = Writer("uniform_operands", (50, 1, 1))
    out, shared, total = k.buffer("out", u32), k.shared("s", u32, 3), k.buffer("total", u32)
    i = k.global_id()
    out.atomic("add", 0, 3)
    out.atomic("xor", 1, 5)
    with k.when(i % 4 == 0):
        out.atomic("add", 2, 1)
        shared.atomic("add", 1, 10)
    with k.count(0, 5):
        out.atomic("add", 3, k.group_id())
        shared.atomic("max", 2, k.group_id() + 1)
    shared.atomic("add", 0, 1)
    k.barrier()
    with k.when(k.local_id() < 3):
        total[k.group_id() * 3 + k.local_id()] = shared[k.local_id()]
    out.atomic("and", 4, 0xFFFFFFFE)
    lanes = np.arange(200)
    groups = [int((lanes[lanes // 50 == g] % 4 == 0).sum()) for g in range(4)]
    sums = [600, 0, 50, 5 * sum(50 * g for g in range(4)), 6]
    expected = {
        "out": np.array(sums, np.uint32),
        "total": np.array([[50, 10 * n, g + 1] for g, n in enumerate(groups)], np.uint32).ravel(),
    }
    start = np.array([0, 0, 0, 0, 7], np.uint32)
    return Case(k.finish(), (start, np.zeros(12, np.uint32)), groups=(4, 1, 1), expected=expected)
