"""Operators in kernels, compared with Python evaluating the same expressions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import loom
from kernel_oracle import agree, run
from loom import In, InOut, Out, f32, f64, i8, i32, i64, kernel, u32

X = np.array([-7, -3, -1, 0, 1, 2, 5, 9], np.int32)
Y = np.zeros(8, np.int32)


# arithmetic


@pytest.mark.parametrize("dtype", [i8, i32, i64], ids=str)
def test_floor_division_and_remainder_round_down_as_pythons(dtype: loom.DType) -> None:
    @kernel(workgroup=64)
    def k(a: In[dtype], b: In[dtype], quotient: Out[dtype], remainder: Out[dtype]):
        i = loom.global_id()
        if i < len(a):
            quotient[i] = a[i] // b[i]
            remainder[i] = a[i] % b[i]

    numbers = [-100, -17, -8, -7, -3, -2, -1, 0, 1, 2, 3, 7, 8, 17, 100, dtype.minimum, dtype.maximum]
    # the one quotient that does not fit its type wraps; see the test of zero divisors below
    pairs = [(a, b) for a, b in itertools.product(numbers, numbers) if b and (a, b) != (dtype.minimum, -1)]
    a, b = (np.array(side, dtype.numpy) for side in zip(*pairs, strict=True))
    q, r = np.zeros_like(a), np.zeros_like(a)
    run(k, a, b, q, r, groups=-(-len(pairs) // 64))
    assert q.tolist() == [m // n for m, n in pairs]  # Python's own unbounded integers
    assert r.tolist() == [m % n for m, n in pairs]


def test_division_by_zero_and_the_quotient_that_does_not_fit() -> None:
    @kernel(workgroup=4)
    def k(a: In[i32], b: In[i32], q: Out[i32], r: Out[i32], s: Out[u32], t: Out[u32]):
        i = loom.global_id()
        q[i] = a[i] // b[i]
        r[i] = a[i] % b[i]
        s[i] = u32(a[i]) // u32(0)
        t[i] = u32(a[i]) % u32(0)

    q, r = (np.ones(4, np.int32) for _ in range(2))
    s, t = (np.ones(4, np.uint32) for _ in range(2))
    run(k, np.array([7, -7, 0, -(2**31)], np.int32), np.array([0, 0, 0, -1], np.int32), q, r, s, t)
    assert q.tolist() == [0, 0, 0, -(2**31)]
    assert r.tolist() == [7, -7, 0, 0]
    assert s.tolist() == [0] * 4
    assert t.tolist() == [7, 2**32 - 7, 0, 2**31]


def test_integers_wrap() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32], z: Out[u32]):
        i = loom.global_id()
        y[i] = x[i] * 2_000_000_000 + (x[i] << 29) - (x[i] >> 1)
        z[i] = u32(x[i]) * 4_000_000_000 - 5

    agree(k, X, Y, np.zeros(8, np.uint32))


def test_unary_operators() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32], z: Out[f64]):
        i = loom.global_id()
        y[i] = +x[i] - -x[i] + ~x[i] + abs(-x[i]) * -1 + (-3)
        z[i] = -(f64(x[i]) * 0.0) + abs(f64(x[i]) - 0.5)

    agree(k, X, Y, np.zeros(8))


def test_bit_operators_and_precedence() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        y[i] = x[i] & 6 | 9 ^ x[i] << 2 & 0xFF
        y[i] = (x[i] | 1) * 2 + 3 - x[i] // 2 % 3

    agree(k, X, Y)


def test_float_arithmetic_rounds_each_operation() -> None:
    @kernel(workgroup=8)
    def k(x: In[f32], y: Out[f32], z: Out[f64]):
        i = loom.global_id()
        y[i] = (x[i] * 0.1 + 0.7) / 3 - x[i] * x[i] + x[i] / (x[i] + 0.3)
        z[i] = (f64(x[i]) * 0.1 + 0.7) / 3 - loom.sqrt(abs(f64(x[i])))

    agree(k, (X * 0.37).astype(np.float32), np.zeros(8, np.float32), np.zeros(8))


def test_functions_of_one_number() -> None:
    @kernel(workgroup=8)
    def k(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        a = loom.floor(x[i]) + loom.ceil(x[i]) * 3
        b = loom.rint(x[i]) * 5 + loom.trunc(x[i]) * 7
        y[i] = a + b + loom.sqrt(abs(x[i]))

    agree(k, (X * 0.5).astype(np.float32), np.zeros(8, np.float32))


def test_minimum_and_maximum_of_any_number_of_values() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        t = (x[i], x[0], 3)
        y[i] = max(min(x[i], 3, 4), -2) + max(1, 2) * min(t) + max((x[i], -x[i]))

    agree(k, X, Y)


# comparison


def test_comparisons() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        r = 0
        r += 1 if x[i] < 1 else 0
        r += 2 if x[i] <= 1 else 0
        r += 4 if x[i] > 1 else 0
        r += 8 if x[i] >= 1 else 0
        r += 16 if x[i] == 1 else 0
        r += 32 if x[i] != 1 else 0
        r += 64 if not x[i] == 1 else 0
        y[i] = r

    agree(k, X, Y)


def test_chained_comparisons() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        r = 0
        if -2 < x[i] <= 2 != 0:
            r += 1
        if x[0] < x[i] < x[7] > 3:
            r += 2
        if 0 < 3 < x[i]:
            r += 4
        if 3 < 0 < x[i]:
            r += 8
        y[i] = r

    agree(k, X, Y)


def test_a_chained_comparison_stops_at_the_first_that_fails() -> None:
    def bump(memory, at):
        memory[at] += 1
        return memory[at]

    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        r = 0
        if 0 < x[i] < bump(y, i) < bump(y, i):
            r = 1
        y[i] = y[i] * 10 + r

    agree(k, X, X)


def test_comparisons_with_none() -> None:
    def maybe(v, w=None):
        if w is None:
            w = v
        return v + w if w is not None else v

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        y[i] = maybe(x[i]) + maybe(x[i], x[i] * 2) + maybe(x[i], 3)

    agree(k, X, Y)


def test_membership_and_identity_of_compile_time_values() -> None:
    names = ("a", "b")

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        if "a" in names and "c" not in names and names is names:
            y[i] = x[i] + 1

    agree(k, X, Y)


# and, or, not


def test_and_or_not() -> None:
    three = 3

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        r = 0
        if (x[i] > 0 and x[i] < 5) or x[i] == -7:
            r += 1
        if not (x[i] > 0 or x[i] == -1) and True:
            r += 2
        if three > 2 and x[i] > 0:
            r += 4
        if three > 2 or x[i] > 0:
            r += 8
        if x[i] > 0 or three > 2:
            r += 16
        if x[i] > 0 and three > 30:
            r += 32
        if 0 or x[i] > 0:
            r += 64
        y[i] = r

    agree(k, X, Y)


def test_the_right_side_runs_only_when_it_is_needed() -> None:
    def bump(memory, at):
        memory[at] += 100
        return True

    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        r = 0
        if x[i] > 0 and bump(y, i):
            r = 1
        if x[i] > 1 or bump(y, i):
            r += 2
        if x[i] > 2 and x[i] < 9 and bump(y, i) and bump(y, i):
            r += 4
        y[i] += r

    agree(k, X, Y)


def test_guards_protect_what_they_guard() -> None:
    """With bounds reported: an index that is never right is never used."""

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        r = 0
        if x[i] >= 0 and x[i] < 8 and x[x[i]] > 0:
            r += 1
        if i + 1 < len(x) and x[i + 1] > 0:
            r += 2
        r += x[x[i]] if 0 <= x[i] < 8 else 50
        if 0 <= x[i] < 8 > x[x[i]]:
            r += 200
        y[i] = r

    ours, theirs = Y.copy(), Y.copy()
    with loom.debug():
        run(k, X, ours)
    for i, v in enumerate(X.tolist()):
        inside = 0 <= v < 8
        theirs[i] = (1 if inside and X[v] > 0 else 0) + (2 if i + 1 < 8 and X[i + 1] > 0 else 0)
        theirs[i] += X[v] if inside else 50
        theirs[i] += 200 if inside and X[v] < 8 else 0
    assert ours.tolist() == theirs.tolist()


# conditional expressions


def test_conditional_expressions_nest() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        a = 1 if x[i] > 3 else 2 if x[i] > 0 else 3 if x[i] == 0 else -x[i]
        b = (1 if x[i] > 1 else 2) if x[i] > 0 else 3
        y[i] = a * 10 + b

    agree(k, X, Y)


def test_only_the_chosen_side_runs() -> None:
    def bump(memory, at):
        memory[at] += 1
        return memory[at]

    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        v = bump(y, i) if x[i] > 0 else 5
        w = 6 if x[i] > 1 else bump(y, i) + bump(y, i)
        y[i] = y[i] * 100 + v * 10 + w

    agree(k, X, X)


def test_a_choice_known_at_compile_time() -> None:
    flag = False

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        source = x if not flag else y
        y[i] = source[i] * 2 if flag else source[i] + 7

    agree(k, X, Y)


def test_select_computes_both_sides() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        a = loom.select(x[i] > 0, x[i], -x[i])
        b = loom.select(b=1, condition=x[i] > 1, a=2)
        y[i] = a * 10 + b

    agree(k, X, Y)


def test_arguments_are_evaluated_from_left_to_right() -> None:
    def bump(memory, at):
        memory[at] = memory[at] * 3 + 1
        return memory[at]

    @kernel(workgroup=8)
    def k(y: InOut[i32]):
        i = loom.global_id()
        y[i] = bump(y, i) * 10 - bump(y, i) + min(bump(y, i), bump(y, i))

    agree(k, X)
