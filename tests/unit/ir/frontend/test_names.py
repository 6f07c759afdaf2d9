"""Names in kernels: assignment in every form Python has, scopes, shadowing, what is bound and what is mutable."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from kernel_oracle import agree, run
from loom import In, InOut, Out, i32, kernel

X = np.array([-7, -3, -1, 0, 1, 2, 5, 9], np.int32)
Y = np.zeros(8, np.int32)


# assignment


def test_chained_assignment_gives_both_names_the_value_and_neither_the_other() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        a = b = 0
        a += x[i]
        c = d = x[i] * 2
        c -= 1
        y[i] = a * 1000 + b * 100 + c * 10 + d

    agree(k, X, Y)


def test_an_alias_keeps_the_value_it_was_given() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        a = x[i]
        b = a
        a += 1
        c = a
        for j in range(3):
            a = a + c
            d = a
            a = a + d * j
        y[i] = a * 100 + b * 10 + c

    agree(k, X, Y)


def test_a_loaded_element_does_not_change_when_memory_does() -> None:
    @kernel(workgroup=8)
    def k(y: InOut[i32]):
        i = loom.global_id()
        a = y[i]
        y[i] = 5
        y[i] = a + y[i] * 10

    agree(k, X)


def test_tuples_are_swapped_at_once() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        a, b = x[i], 1
        for _ in range(3):
            a, b = b, a + b
        p = x[i]
        q = 5
        p, q = q, p
        y[i] = a * 1000 + b * 100 + p * 10 + q

    agree(k, X, Y)


def test_elements_are_swapped_at_once() -> None:
    @kernel(workgroup=4)
    def k(y: InOut[i32]):
        i = loom.global_id()
        y[2 * i], y[2 * i + 1] = y[2 * i + 1], y[2 * i]

    (swapped,) = agree(k, X)
    assert swapped.tolist() == [-3, -7, 0, -1, 2, 1, 9, 5]


def test_nested_and_bracketed_targets() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        (a, b), [c, d] = (x[i], 2), (3, x[i] + 1)
        [e, f] = d, c
        e, f = f, e
        y[i] = a + 10 * b + 100 * c + 1000 * d + e - f

    agree(k, X, Y)


def test_a_tuple_is_a_value_that_can_be_kept_indexed_and_unpacked() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        t = (x[i], x[i] + 1, 7)
        first, *_ = 1, 2
        y[i] = t[0] * t[1] + t[-1] + len(t)

    with pytest.raises(loom.LoomError, match="starred targets are not part"):
        run(k, X, Y.copy())

    @kernel(workgroup=8)
    def k2(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        t = (x[i], x[i] + 1, 7)
        u = t[1:]
        a, b = u
        y[i] = t[0] * t[1] + t[-1] + len(t) + a * b + len(u)

    agree(k2, X, Y)


def test_augmented_assignment_of_every_kind() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        v = x[i]
        v //= -2
        v %= 3
        v <<= 2
        v |= 1
        v ^= 7
        v &= 0xFF
        v -= 3
        v >>= 1
        v *= 2
        v += x[i]
        y[i] += v
        y[i] *= 3
        y[i] //= 2
        y[i] -= 1

    agree(k, X, X.copy())


def test_the_target_of_an_augmented_assignment_is_read_before_the_value() -> None:
    def bump(memory, at):
        memory[at] += 1
        return memory[at]

    @kernel(workgroup=8)
    def k(y: InOut[i32]):
        i = loom.global_id()
        y[i] += bump(y, i)

    agree(k, X)


def test_the_index_of_an_augmented_assignment_is_evaluated_once() -> None:
    @kernel(workgroup=4, order="any")
    def k(cursor: InOut[i32], y: InOut[i32]):
        y[loom.atomic_add(cursor, 0, 1)] += 5

    agree(k, np.zeros(1, np.int32), X)


def test_walrus() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        w = 3
        if (v := x[i]) > 0 and (w := x[i] * 2) > 4:
            y[i] = w + v
        else:
            y[i] = -w - v

    agree(k, X, Y)


def test_walrus_in_the_test_of_a_loop_is_seen_in_the_body_and_after() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        n = 0
        while (q := n * 2) < x[i]:
            n += 1
            n += q // 100
        y[i] = q * 100 + n

    agree(k, X, Y)


# what is known where


def test_a_name_assigned_in_both_branches() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        if x[i] > 0:
            v = x[i] * 2
        elif x[i] < -2:
            v = 77
        else:
            v = -x[i]
        y[i] = v

    agree(k, X, Y)


def test_a_name_of_its_own_in_each_branch() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        if x[i] > 0:
            q = x[i] * 2
            y[i] = q
        else:
            q = 3
            y[i] = q + 1

    agree(k, X, Y)


def test_a_value_carried_from_turn_to_turn() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        previous = 0
        s = 0
        for j in range(4):
            s = s * 2 + previous
            previous = x[i] + j
        y[i] = s

    agree(k, X, Y)


def test_parameters_may_be_reassigned() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32], n: i32):
        i = loom.global_id()
        n = n + x[i]
        n += 1
        for n in range(n, n + 3):
            y[i] = n

    agree(k, X, Y, params=[3])


def test_names_of_builtins_dtypes_and_modules_may_be_taken() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32], range: i32, i32: i32):  # noqa: A002
        i = loom.global_id()
        min = x[i]  # noqa: A001
        len = min + range  # noqa: A001
        max = len * i32  # noqa: A001
        for abs in (1, 2):  # noqa: A001
            max += abs
        y[i] = max

    agree(k, X, Y, params=[3, 4])


def test_unicode_names() -> None:
    @kernel(workgroup=8)
    def größe(x: In[i32], ergebnis: Out[i32], Δ: i32):
        i = loom.global_id()
        λ = x[i] * Δ
        变量 = λ + 1
        ergebnis[i] = 变量

    agree(größe, X, Y, params=[3])
    assert größe.name == "größe"


def test_buffers_can_have_a_second_name() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.local_id()
        source, target = x, y
        again = source
        target[i] = source[i] + again[0]

    agree(k, X, Y)


def test_a_name_may_be_bound_to_another_thing_where_every_lane_passes() -> None:
    swap = True

    def double(v):
        return v * 2

    @kernel(workgroup=8)
    def k(x: In[i32], w: In[i32], y: Out[i32]):
        i = loom.local_id()
        if swap:
            source = w
        else:
            source = x
        f = double
        t = (1, 2)
        t = (t[1], source[i])
        t = t[0] + t[1]
        f = f(t)
        y[i] = f

    agree(k, X, X * 3, Y)


def test_results_need_not_be_used_and_statements_need_not_do_anything() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        """Doc.

        Less indented than the code, as a docstring may be.
        """
        # a comment
        i = loom.global_id()  # and another
        x[i]
        x[i] + 1
        "a string", (1, 2)
        unused = x[i] // 3
        y[i] = x[i] + 1

    agree(k, X, Y)


def test_a_kernel_may_stop_in_the_middle() -> None:
    stop = True

    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        if i >= 7:
            return
        y[i] = x[i]
        if x[i] > 3:
            return
        y[i] += 1
        if stop:
            return
        y[i] = 100

    agree(k, X, Y)
