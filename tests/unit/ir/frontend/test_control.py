"""Branches and loops in kernels, compared with Python running the same function."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from kernel_oracle import agree
from loom import In, InOut, Out, f32, i32, i64, kernel, u8, u32
from loom.ir.text import print_kernel

X = np.array([-7, -3, -1, 0, 1, 2, 5, 9], np.int32)
Y = np.zeros(8, np.int32)


# if


def test_branches_within_branches() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        r = 0
        if x[i] > 0:
            if x[i] > 3:
                r = 1
            else:
                r = 2
            r += 10
        elif x[i] == 0:
            r = 3
        elif x[i] < -5:
            r = 4
        y[i] = r

    agree(k, X, Y)


def test_branches_known_at_compile_time_leave_no_trace() -> None:
    on, level = True, 3

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        if on:
            v = x[i]
        else:
            v = 1.5
        if not on:
            nonsense()  # noqa: F821
        if (level > 2 and on) or nonsense():  # noqa: F821
            v = v + 1
        if level == 1:
            v = v + 100
        elif level == 3:
            v = v + 1000
        y[i] = v

    agree(k, X, Y)
    assert " if " not in print_kernel(k.verified.kernel)


# while


def test_while_with_a_compound_test() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        n = abs(x[i]) + 1
        steps = 0
        while n != 1 and steps < 50:
            if n % 2 == 0:
                n = n // 2
            else:
                n = 3 * n + 1
            steps += 1
        y[i] = steps

    agree(k, X, Y)


def test_while_true_with_break_and_continue() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        n = 0
        while True:
            n += 1
            if n > x[i]:
                break
            if n % 2 == 1:
                continue
            y[i] += n
        y[i] += n * 100

    agree(k, X, Y)


def test_while_false_and_loops_left_at_once() -> None:
    leave = True

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = x[i]
        while False:
            s = 100
        for _ in range(5):
            s += x[i]
            if leave:
                break
            s += 1000
        for _ in range(3):
            s += 1
            continue
        y[i] = s

    agree(k, X, Y)


# for


def test_ranges_of_one_two_and_three_bounds() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for j in range(x[i]):
            s = (s * 3 + j) & 0xFFFF
        for j in range(-2, x[i]):
            s = (s * 3 + j) & 0xFFFF
        for j in range(x[i], x[i] + 10, 4):
            s = (s * 3 + j) & 0xFFFF
        for j in range(x[i], -10, -3):
            s = (s * 3 + j) & 0xFFFF
        for j in range(5, x[i], -1):
            s = (s * 3 + j) & 0xFFFF
        for j in range(*(1, 3)):
            s = (s * 3 + j) & 0xFFFF
        y[i] = s

    agree(k, X, Y)


@pytest.mark.parametrize("dtype", [u8, u32, i64], ids=str)
def test_ranges_of_every_width_count_to_their_ends(dtype: loom.DType) -> None:
    """A counter never wraps, not even at the last value of its type."""
    last = dtype.maximum

    @kernel(workgroup=4)
    def k(x: In[dtype], y: InOut[dtype]):
        i = loom.global_id()
        for j in range(dtype(last - 5), dtype(last), dtype(2)):
            y[i] += dtype(last) - j
        for _ in range(x[i], dtype(last), dtype(last // 2 + 1)):
            y[i] += 1

    agree(k, np.arange(4).astype(dtype.numpy), np.zeros(4, dtype.numpy))


def test_bounds_are_taken_once() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        n = x[i]
        turns = 0
        for _ in range(n):
            n += 1
            turns += 1
        y[i] = turns * 100 + n

    agree(k, X, Y)


def test_the_counter_after_its_loop() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        j = 100
        for j in range(x[i]):
            pass
        for n in range(10, 2, -3):
            if n < x[i]:
                break
        for m in range(4):
            pass
        y[i] = j * 100 + n * 10 + m

    agree(k, X, Y)


def test_the_counter_may_be_changed_in_the_body() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for j in range(4):
            j = j * 2
            s += j
        y[i] = s + x[i] + j

    agree(k, X, Y)


def test_loops_one_after_the_other_may_share_their_counter() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for j in range(3):
            s += j * x[i]
        for j in range(x[i]):
            for n in range(2):
                s += j + n
            for n in range(3):
                s -= n
        for j in loom.static_range(2):
            s += j
        y[i] = s

    agree(k, X, Y)
    assert {v.name for v in k.verified.kernel.variables} == {"s"}  # the counters are plain values


def test_a_loop_within_a_loop_may_take_over_its_counter() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for j in range(3):
            s = s * 2 + j
            for j in range(x[i]):
                s += j
            s += j
        y[i] = s

    agree(k, X, Y)


def test_break_and_continue_belong_to_the_innermost_loop() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for a in range(5):
            if a == x[i]:
                continue
            for b in range(6):
                if b > a:
                    break
                if (a + b) % 2 == 0:
                    continue
                s += a * b + 1
            if s > 20:
                break
        y[i] = s

    agree(k, X, Y)


def test_return_from_inside_loops() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        y[i] = -1
        for a in range(4):
            for b in range(4):
                if a * b == x[i]:
                    y[i] = a * 10 + b
                    return
        n = 0
        while True:
            n += 1
            if n > 3:
                y[i] -= n
                return

    agree(k, X, Y)


# unrolled loops


def test_loops_over_compile_time_items_are_unrolled() -> None:
    weights, pairs, table = (3, -1, 2), [(1, 2), (3, 4)], {5: 1, 6: 2}
    array = np.array([10, 20], np.int32)

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for w in weights:
            s += w * x[i]
        for j in loom.static_range(3):
            s += weights[j] * j
        for j in loom.static_range(4, 0, -2):
            s += j
        for a, b in pairs:
            s += a * b
        for j, w in enumerate(weights):
            s += j * w
        for a, (b, c) in zip(weights[1:], pairs, strict=True):
            s += a * b - c
        for j in reversed(range(3)):
            s = s * 3 + j
        for key in table:
            s += table[key]
        for v in (x[i], 3, x[i] * 2):
            s = s * 2 + v
        for v in array:
            s += v
        y[i] = s

    agree(k, X, Y)


def test_loops_inside_unrolled_loops_may_be_left() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = 0
        for j in loom.static_range(3):
            n = 0
            while True:
                n += 1
                if n > x[i]:
                    break
                if n == j:
                    continue
                s += n
        y[i] = s

    agree(k, X, Y)


def test_unrolled_loops_may_end_the_kernel() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        for j in loom.static_range(5):
            y[i] = x[i] + j
            if j == x[i]:
                return
            if j == 3:
                return
        y[i] = 100

    agree(k, X, Y)


def test_a_loop_over_nothing() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        s = x[i] + 1
        for j in loom.static_range(0):
            s += j
        for j in range(3, 3):
            s += j
        for j in ():
            s += j
        for j in range(0, 10, -1):
            s += j
        y[i] = s

    agree(k, X, Y)


def test_fifty_early_returns() -> None:
    limits = tuple(range(-9, 41))

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        for limit in limits:
            if x[i] < limit:
                y[i] = limit * 10
                return

    agree(k, X, Y)


def test_an_accumulator_of_floats_adds_in_the_order_written() -> None:
    """Ten times a tenth: the order of roundings is Python's."""

    @kernel(workgroup=8)
    def k(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        s = 0.0
        for j in range(10):
            s = s + x[i] / f32(j + 1)
        y[i] = s

    agree(k, (X * 0.1).astype(np.float32), np.zeros(8, np.float32))
