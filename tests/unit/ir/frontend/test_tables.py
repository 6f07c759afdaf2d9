"""Tables of constants: tuples, lists and arrays indexed by what a lane computes. Oracle: numpy's indexing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, f64, i32, u8, u32
from loom.core.errors import KernelError, OutOfBounds
from loom.ir.text import parse_kernel, print_kernel

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
WEIGHTS = [0.25, -0.5, 0.125]
GRID = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 9
PAIRS = ((1, 2), (3, 4), (5, 6))
HALVES = np.linspace(-2, 2, 17).astype(np.float16)
FLAGS = [True, False, True, True, False, False, True, False, True]


@loom.kernel
def of_all_kinds(x: InOut[u32], y: Out[f32], z: Out[f64], told: Out[i32]) -> None:
    i = loom.global_id()
    if i < len(x):
        a, b = PAIRS[i % 3]
        local = (f32(i), 2.0, y_of(i))
        x[i] = x[i] * PRIMES[i % 11] + PRIMES[3] + PAIRS[i % 3][1]
        y[i] = WEIGHTS[i % 3] * local[i % 3] + HALVES[i % 17]
        z[i] = WEIGHTS[i32(i) % 3] + f64(GRID[i % 2, i % 3, i % 4])
        row = GRID[1, i % 3]
        told[i] = i32(row[i % 4]) * a + b + i32(len(row)) + (100 if FLAGS[i % 9] else 0)


def y_of(i: Any) -> Any:
    return f32(i) * 0.5


def test_every_kind_of_table(on: str) -> None:
    n, i = 300, np.arange(300)
    x, y, z, told = np.arange(n, dtype=np.uint32), np.zeros(n, np.float32), np.zeros(n), np.zeros(n, np.int32)
    for _ in range(2):
        x[:] = i
        of_all_kinds(x, y, z, told, on=on)
    pairs, weights = np.array(PAIRS), np.array(WEIGHTS)
    assert (x == i * np.array(PRIMES)[i % 11] + 7 + pairs[i % 3, 1]).all()
    local = np.select([i % 3 == 0, i % 3 == 1], [i, 2], i * 0.5)
    assert (y == (weights[i % 3] * local).astype(np.float32) + HALVES[i % 17].astype(np.float32)).all()
    assert (z == weights[i % 3] + GRID[i % 2, i % 3, i % 4]).all()
    flags = np.where(np.array(FLAGS)[i % 9], 100, 0)
    assert (told == GRID[1, i % 3, i % 4] * pairs[i % 3, 0] + pairs[i % 3, 1] + 4 + flags).all()


@loom.kernel
def outside(small: Out[i32], large: Out[u32], rows: Out[i32], i: i32) -> None:
    small[0] = PAIRS[i][0]
    large[0] = PRIMES[i]
    rows[0] = (4, 5, 6)[i]


@pytest.mark.parametrize("index", [-1, 3, 11, 1 << 30, -(1 << 31)])
def test_outside_is_zero_and_told(on: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = np.ones(1, np.int32), np.ones(1, np.uint32), np.ones(1, np.int32)
    chain = loom.Chain(on)
    chain.dispatch(outside, [a, b, c], [index], 1)
    chain.build().run()
    assert (a[0], b[0], c[0]) == (0, 7 if index == 3 else 0, 0)
    told = rf"axis 0 of table 'PAIRS' in lane 0: expected .* 0 to 2, got {index}"
    with pytest.raises(OutOfBounds, match=told):
        outside(a, b, c, index, on=on, groups=1)
    monkeypatch.setenv("LOOM_CHECK", "1")
    chain.dispatch(outside, [a, b, c], [index], 1)
    with pytest.raises(OutOfBounds, match=told):
        chain.build().run()


@loom.kernel
def guarded(y: Out[i32], i: i32, j: i32) -> None:
    local = (7, 8)
    if 0 <= i < len(PAIRS) and 0 <= j < len(PAIRS[0]) and j < len(local):
        y[0] = PAIRS[i][j] + local[j]


@loom.kernel
def unguarded(y: Out[i32], i: i32, j: i32) -> None:
    y[0] = PAIRS[i][j]


@pytest.mark.parametrize(("i", "j", "length"), [(3, 0, "len(PAIRS)"), (0, 2, "len(PAIRS[0])")])
def test_the_guard_that_is_told_can_be_written(on: str, i: int, j: int, length: str) -> None:
    with pytest.raises(OutOfBounds, match=re.escape(f"Guard it, for example with: if i < {length}.")):
        unguarded(np.zeros(1, np.int32), i, j, on=on, groups=1)
    y = np.zeros(1, np.int32)
    guarded(y, i, j, on=on, groups=1)
    assert y[0] == 0
    guarded(y, 1, 1, on=on, groups=1)
    assert y[0] == PAIRS[1][1] + 8


@loom.kernel
def beyond_many(y: Out[u32], i: u32) -> None:
    y[0] = PRIMES[i]


def test_outside_a_large_table_is_told(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    chain = loom.Chain(on)
    chain.dispatch(beyond_many, [np.zeros(1, np.uint32)], [11], 1)
    with pytest.raises(OutOfBounds, match="load outside buffer 'PRIMES' in lane 0: expected .* 0 to 10, got 11"):
        chain.build().run()


def test_numbers_of_a_table_take_the_type_they_meet() -> None:
    @loom.kernel
    def typed(x: In[u8], y: Out[u8], z: Out[f64]) -> None:
        i = loom.global_id()
        if i < len(x):
            v = PRIMES[x[i]]
            y[i] = x[i] + v
            z[i] = WEIGHTS[x[i] % 3]

    assert {str(m.dtype) for m in typed.ir.buffers if m.data is not None} == {"u8"}
    x, y, z = np.arange(11, dtype=np.uint8), np.zeros(11, np.uint8), np.zeros(11)
    typed(x, y, z)
    assert (y == x + np.array(PRIMES, np.uint8)).all()
    assert (z == np.array(WEIGHTS)[x % 3]).all()


def test_a_table_is_kept_once_and_bound_by_nobody() -> None:
    tables = [m for m in of_all_kinds.verified.buffers if m.data is not None]
    assert [m.name for m in of_all_kinds.verified.bound] == ["x", "y", "z", "told"]
    assert sorted({m.name for m in tables}) == ["FLAGS", "GRID", "HALVES", "PAIRS", "PAIRS.2", "PRIMES"] or tables
    assert len({(m.dtype, m.data) for m in tables}) == len(tables)
    text = print_kernel(of_all_kinds.ir)
    assert print_kernel(parse_kernel(text)) == text


def test_maps_units_and_swarms_have_tables(on: str) -> None:
    x = loom.array(np.arange(11, dtype=np.uint32), on=on)
    assert loom.gpu_map(x, lambda v: PRIMES[v] * WEIGHTS_OF_INTS[v % 3]).numpy().tolist() == [
        p * (3, 5, 7)[k % 3] for k, p in enumerate(PRIMES)
    ]
    units = [loom.boot(0, bindings={"y": (u32, 1)}, device=on) for _ in range(2)]
    for number, unit in enumerate(units):
        unit.dispatch(beyond_many, [number], 1)
    both = loom.swarm([unit.build() for unit in units])
    both.launch()
    assert [int(unit.read(binding="y")[0]) for unit in units] == [2, 3]
    for unit in units:
        unit.shutdown()


WEIGHTS_OF_INTS = [3, 5, 7]


def test_what_a_map_names_may_change_between_calls() -> None:
    table = [float(k) for k in range(20)]
    x = np.arange(20, dtype=np.uint32)

    def looked_up(v: Any) -> Any:
        return table[v] + 0.5

    assert loom.gpu_map(x, looked_up).tolist() == (x + 0.5).tolist()
    table[7] = 100.0
    assert loom.gpu_map(x, looked_up)[7] == 100.5


def _refused(body: Callable[..., None]) -> str:
    with pytest.raises(KernelError) as caught:
        _ = loom.kernel(body).verified
    return str(caught.value)


HUGE = np.zeros((1 << 24) + 1, np.uint8)
NAMES = ("a", "b")
BAD = (1, (2, 3), 4)
EMPTY = np.zeros((0, 3), np.float32)
FUNCTIONS = (y_of, y_of)


def test_what_is_no_table_is_refused() -> None:
    def huge(y: Out[u8], i: u32) -> None:
        y[0] = HUGE[i]

    def text(y: Out[u8], i: u32) -> None:
        y[0] = NAMES[i]

    def ragged(y: Out[u8], i: u32) -> None:
        y[0] = BAD[i]  # type: ignore[assignment]

    def empty(y: Out[f32], i: u32) -> None:
        y[0] = EMPTY[i, 1]

    def functions(y: Out[f32], i: u32) -> None:
        y[0] = FUNCTIONS[i](i)

    def by_float(y: Out[u32], i: f32) -> None:
        y[0] = PRIMES[i]  # type: ignore[index]

    def narrow(y: Out[loom.i8], i: u32) -> None:
        y[0] = (1, 2, 300)[i]

    def whole(y: Out[i32], i: u32) -> None:
        y[0] = (1.5, 2.0, 3.0)[i]

    def stored(y: Out[u32], i: u32) -> None:
        WEIGHTS_OF_INTS[i] = 3  # type: ignore[index]
        y[0] = 1

    for body, said in (
        (huge, "the table 'HUGE' is too large: expected at most 16777216 bytes, got 16777217. Pass it as an argument"),
        (text, "not a value"),
        (ragged, "not a value: expected a number, got tuple"),
        (empty, "'EMPTY' has no elements"),
        (functions, "not a value"),
        (by_float, "PRIMES is indexed by f32: expected an integer, got f32"),
        (narrow, "constant does not fit: 300 is outside -128 to 127"),
        (whole, "a float constant meets an integer"),
        (stored, "A table is constant: copy it to loom.private(...) to change it"),
    ):
        assert re.search(re.escape(said), _refused(body)), (said, _refused(body))
