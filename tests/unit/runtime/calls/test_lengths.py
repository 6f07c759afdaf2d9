"""Calls over arrays whose lengths do not fit: what is proved, what is told, and what is left as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, i32, tensor, u32
from loom.core.errors import AssertionFailed, OutOfBounds
from loom.runtime.calls.interface import interface_of


def numbers(n: int) -> Any:
    return np.arange(n, dtype=np.float32)


@loom.kernel
def add(a: In[f32], b: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = a[i] + b[i]


@loom.kernel
def unguarded(a: In[f32], b: In[f32], y: Out[f32]):
    i = loom.global_id()
    y[i] = a[i] + b[i]


@loom.kernel
def right(a: In[f32, 2], y: Out[f32, 2]):
    i, j = loom.global_id(1), loom.global_id(0)
    if i < a.shape[0] and j < a.shape[1]:
        y[i, j] = a[i, j + 1]


@loom.kernel(workgroup=(8, 8))
def doubled(a: In[f32, 2], y: Out[f32, 2]):
    i, j = loom.global_id(1), loom.global_id(0)
    y[i, j] = a[i, j] * 2.0


def gather() -> Any:
    """Return a kernel that nobody called yet."""

    @loom.kernel
    def gathered(a: In[f32], at: In[i32], y: InOut[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = a[at[i]]

    return gathered


@loom.kernel
def shifted(a: In[f32], y: InOut[f32], by: u32, scale: f32 = 1.0):
    i = loom.global_id()
    if i < len(y):
        y[i] = a[i + by] * scale


@loom.kernel(workgroup=64)
def summed(x: In[f32], y: Out[f32]):
    total = loom.group_sum(x[loom.global_id()])
    if loom.local_id() == 0:
        y[loom.group_id()] = total


@loom.kernel
def first(x: In[f32], y: InOut[f32], n: u32):
    i = loom.global_id()
    if i >= n:
        return
    y[i] = x[i]


def outside(call: Any) -> tuple[str, int, int]:
    with pytest.raises(OutOfBounds) as caught:
        call()
    return caught.value.memory, caught.value.index, caught.value.bound


def test_arrays_that_do_not_fit(on: str) -> None:
    y = np.full(8, 7, np.float32)
    with pytest.raises(OutOfBounds, match=r"load outside buffer 'b' in lane 4: expected an index from 0 to 3, got 4\. "
                       r"Guard it, for example with: if i < len\(b\)"):  # fmt: skip
        add(numbers(8), numbers(4), y, on=on)
    assert y.tolist() == [7] * 8
    assert outside(lambda: add(numbers(8), numbers(8), np.zeros(9, np.float32), on=on)) == ("a", 8, 8)
    assert outside(lambda: add(numbers(8), numbers(4), y, on=on)) == ("b", 4, 4)  # not only once
    add(numbers(8), numbers(8), y, on=on)
    assert y.tolist() == (numbers(8) * 2).tolist()
    add(numbers(8), numbers(9), y[:4], on=on)  # nothing beyond y is asked for


def test_the_column_beside_the_last_is_not_the_next_row(on: str) -> None:
    with pytest.raises(OutOfBounds, match=r"access outside axis 1 of buffer 'a'.*got 4"):
        right(numbers(12).reshape(3, 4), on=on)


def test_kernels_without_guards(on: str) -> None:
    for n in (1, 63, 64, 65, 100):
        assert unguarded(numbers(n), numbers(n), on=on).tolist() == (numbers(n) * 2).tolist()
        assert outside(lambda n=n: unguarded(numbers(n), numbers(n - 1), out=n, on=on)) == ("b", n - 1, n - 1)
    x = numbers(12).reshape(3, 4)
    assert doubled(x, on=on).tolist() == (x * 2).tolist()
    assert outside(lambda: doubled(x, out=(4, 4), on=on))[1:] == (3, 3)
    y = np.zeros(100, np.float32)
    unguarded(numbers(100), numbers(100), y, lanes=100, on=on)
    assert y.sum() == 9900
    assert outside(lambda: unguarded(numbers(100), numbers(100), y, groups=2, on=on))[1] == 100
    assert outside(lambda: unguarded[2](numbers(100), numbers(100), y, on=on))[1] == 100


def test_lanes_that_a_guard_lets_through_are_asked_for(on: str) -> None:
    y = np.zeros(10, np.float32)
    first(numbers(10), y, 10, on=on)
    assert outside(lambda: first(numbers(10), y, 12, on=on))[1:] == (10, 10)


def test_indexes_out_of_memory_are_looked_at_the_first_time(on: str) -> None:
    good, bad = np.array([0, 3, 2, 1], np.int32), np.array([0, 9, -1, 1], np.int32)
    y, gathered = np.full(4, 7, np.float32), gather()
    assert outside(lambda: gathered(numbers(4), bad, y, on=on)) == ("a", 9, 4)
    assert y.tolist() == [7] * 4
    gathered(numbers(4), good, y, on=on)
    assert y.tolist() == [0, 3, 2, 1]
    gathered(numbers(4), bad, y, on=on)  # a kind that was looked at
    assert y.tolist() == [0, 0, 0, 1]
    assert outside(lambda: gathered(numbers(5), np.array([0, 9, 1, 1], np.int32), y, on=on)) == ("a", 9, 5)


def test_numbers_that_indexes_are_made_of_are_proved_each(on: str) -> None:
    y = np.zeros(7, np.float32)
    for by in (0, 1, 0, 1):
        shifted(numbers(8), y, by, on=on)
        assert y[0] == by
    assert outside(lambda: shifted(numbers(8), y, 2, on=on)) == ("a", 8, 8)
    assert y[0] == 1
    shifted(numbers(8), y, 1, on=on)


def test_numbers_that_no_index_is_made_of_cost_no_proof(on: str) -> None:
    y = np.zeros(8, np.float32)
    for scale in range(5):
        shifted(numbers(8), y, 0, float(scale), on=on)
        assert y[7] == 7 * scale
    kinds = interface_of(shifted).inside._known
    assert sum(key[:2] == ((1, 1, 1), 8) and key[2] == 8 for key in kinds if isinstance(key[0], tuple)) <= 2


def test_groups_that_meet_are_whole(on: str) -> None:
    assert outside(lambda: summed(numbers(100), out=2, on=on)) == ("x", 100, 100)
    assert summed(np.ones(128, np.float32), out=2, on=on).tolist() == [64, 64]


def test_arrays_of_a_device_and_views(on: str) -> None:
    x, short = loom.array(numbers(8), on=on), loom.array(numbers(4), on=on)
    y = loom.array(np.full(8, 7, np.float32), on=on)
    assert outside(lambda: add(x, short, y)) == ("b", 4, 4)
    assert y.numpy().tolist() == [7] * 8
    whole = np.full(16, 7, np.float32)
    assert outside(lambda: add(numbers(8), numbers(4), whole[::2], on=on)) == ("b", 4, 4)
    assert whole.tolist() == [7] * 16
    t = tensor.array(np.full((3, 8), 7, np.float32))
    assert outside(lambda: add(numbers(8), numbers(4), t[1])) == ("b", 4, 4)
    assert t.numpy().tolist() == np.full((3, 8), 7).tolist()


def test_chains_read_zeros(on: str) -> None:
    y = np.zeros(8, np.float32)
    chain = loom.Chain(on)
    chain.dispatch(add, [numbers(8), numbers(4), y])
    chain.build().run()
    assert y.tolist() == [0, 2, 4, 6, 4, 5, 6, 7]


def test_a_failed_assertion_leaves_a_kind_unsettled(on: str) -> None:
    @loom.kernel
    def k(at: In[i32], y: InOut[f32]):
        i = loom.global_id()
        if i < len(at):
            assert at[i] >= 0
            y[at[i]] = 1.0

    y = np.zeros(4, np.float32)
    with pytest.raises(AssertionFailed):
        k(np.array([-1, 0], np.int32), y, on=on)
    assert outside(lambda: k(np.array([5, 0], np.int32), y, on=on)) == ("y", 5, 4)


def test_trusted_kernels_and_tables(on: str) -> None:
    table = tuple(float(k) for k in range(20))

    @loom.kernel
    def k(at: In[u32], y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = table[at[i]]

    assert outside(lambda: k(np.array([3, 20], np.uint32), out=2, on=on))[1:] == (20, 20)
    assert k(np.array([3, 19], np.uint32), out=2, on=on).tolist() == [3, 19]


def test_a_setting_asked_before_says_nothing_of_calls_after(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at, y, gathered = np.array([1, 0, 3], np.int32), np.zeros(3, np.float32), gather()
    monkeypatch.setenv("LOOM_CHECK", "1")
    gathered(numbers(6), at, y, on=on)
    monkeypatch.delenv("LOOM_CHECK")
    assert outside(lambda: gathered(numbers(6), at + 9, y, on=on))[0] == "a"
