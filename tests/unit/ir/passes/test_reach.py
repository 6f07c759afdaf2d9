"""How far kernels reach: lanes beyond what their guards tell do nothing, and none that does something is left out."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, i32, i64, u32
from loom.core.errors import ArgumentError, OutOfBounds
from loom.ir.interp import interpret


def groups_of(kernel: Any, sizes: list[int], params: tuple[Any, ...] = ()) -> list[list[int]]:
    chain = loom.Chain("interp", name="c")
    buffers = [np.zeros(n, m.dtype.numpy) for n, m in zip(sizes, kernel.verified.buffers, strict=True)]
    chain.dispatch(kernel, buffers, params)
    return chain.recorded[0].groups.tolist()


@loom.kernel(workgroup=16)
def guarded(y: Out[f32], n: u32):
    i = loom.global_id()
    if i < n and i < len(y):
        y[i] = 1.0


@loom.kernel(workgroup=16)
def returns(y: Out[f32], n: i64):
    i = i64(loom.global_id())
    if not i < n:
        return
    y[u32(i)] = 1.0


@loom.kernel(workgroup=16)
def needed(x: InOut[u32], n: u32):
    i = loom.global_id()
    if i < n and x[i * 2] > 0:  # the right side loads, so that it runs only where the left holds
        x[i * 2] = 0


@loom.kernel(workgroup=16)
def neither(x: InOut[u32], n: u32):
    i = loom.global_id()
    if i >= n or x[i * 2] > 0:
        return
    x[i * 2] = 7


@loom.kernel(workgroup=16)
def counted(hits: InOut[u32], n: u32):
    for _ in range(loom.global_id(), n, loom.num_groups() * 16):
        loom.atomic_add(hits, 0, 1)


@loom.kernel(workgroup=16)
def alone(x: InOut[u32]):
    if loom.global_id() == 0:
        x[len(x) - 1] = 3


@loom.kernel(workgroup=(8, 4))
def picture(p: Out[u32], w: u32, h: u32):
    x, y = loom.group_id(0) * 8 + loom.local_id(0), loom.global_id(1)
    if x < w and y < h:
        p[y * w + x] = 1


@loom.kernel(workgroup=16)
def by_group(sums: Out[u32], x: InOut[u32]):
    x[loom.global_id()] = 1
    if loom.local_id() == 0:
        sums[loom.group_id()] = loom.group_id()


@loom.kernel(workgroup=16)
def inner(y: Out[f32], x: InOut[f32]):
    i = loom.global_id()
    if i > 0 and i + 1 < len(x) and i - 1 < 1000:
        y[i] = x[i - 1] + x[i + 1]


@pytest.mark.parametrize(("kernel", "sizes", "params", "expected"), [
    (guarded, [100], (1000,), [7, 1, 1]), (guarded, [1000], (100,), [7, 1, 1]), (guarded, [100], (0,), [0, 1, 1]),
    (returns, [1000], (-5,), [0, 1, 1]), (returns, [1000], (17,), [2, 1, 1]), (returns, [8], (1 << 40,), [1, 1, 1]),
    (needed, [1000], (33,), [3, 1, 1]), (neither, [1000], (33,), [3, 1, 1]), (counted, [1], (1000,), [63, 1, 1]),
    (alone, [1000], (), [1, 1, 1]), (picture, [100], (10, 9), [2, 3, 1]), (picture, [0], (0, 9), [0, 0, 1]),
    (by_group, [5, 33], (), [5, 1, 1]), (by_group, [2, 33], (), [3, 1, 1]), (inner, [40, 40], (), [3, 1, 1]),
])  # fmt: skip
def test_guards_tell_how_many_groups_there_are(kernel: Any, sizes: list[int], params: Any, expected: list[int]) -> None:
    assert groups_of(kernel, sizes, params) == [expected]


def test_turns_of_a_repeat_have_as_many_groups_as_each_needs(on: str) -> None:
    chain, hits = loom.Chain(on), np.zeros(1, np.uint32)
    with chain.repeat(4, params=np.array([[10], [200], [0], [33]], np.uint32)) as turn:
        chain.dispatch(counted, [hits], [turn.params[0]])
    assert chain.build().run() is None
    assert hits.tolist() == [243]


@loom.kernel(workgroup=16)
def at_the_end(hits: InOut[u32], n: u32):
    found = u32(0)
    for _ in range(loom.global_id(), n, loom.num_groups() * 16):
        found += 1
    loom.atomic_add(hits, 0, found)


def test_a_loop_that_steps_by_all_lanes_is_right_with_any_number() -> None:
    assert groups_of(at_the_end, [1], (100,)) == [[7, 1, 1]]
    assert groups_of(at_the_end, [1], (0,)) == [[1, 1, 1]]
    hits = np.zeros(1, np.uint32)
    at_the_end(hits, 1000)
    assert hits[0] == 1000


@loom.kernel(workgroup=16)
def unguarded(hits: InOut[u32]):
    if loom.global_id() % 2 == 0:
        loom.atomic_add(hits, 0, 1)


@loom.kernel(workgroup=16)
def says(x: InOut[u32]):
    print("lane", loom.global_id(), len(x))


@loom.kernel(workgroup=16)
def steps(x: InOut[u32]):
    x[loom.global_id() * 2 + loom.num_groups()] = 1


@pytest.mark.parametrize(("kernel", "why"), [
    (unguarded, "what atomic_add gives depends on the number of lanes"),
    (says, "what print gives depends on the number of lanes"), (steps, "the kernel asks for num_groups"),
])  # fmt: skip
def test_what_depends_on_the_number_of_lanes_is_not_guessed(kernel: Any, why: str) -> None:
    with pytest.raises(ArgumentError, match=f"cannot be told from the data: expected groups=n, for {why}"):
        groups_of(kernel, [64])


CONDITIONS = (
    lambda i, x, n: i < n,
    lambda i, x, n: not i >= len(x),
    lambda i, x, n: i <= n // 2 and i % 3 != 1,
    lambda i, x, n: i == n or x[i] > 4,
    lambda i, x, n: n > i and x[(i * 5) % 64] % 2 == 0,
    lambda i, x, n: not (i > n or x[i] == 3),
    lambda i, x, n: i > 2 and i + 3 < min(n, 50),
    lambda i, x, n: i32(i) - 2 < i32(n) - 4,
    lambda i, x, n: x[i] < 5,
)
PLACES = (lambda i, n: i, lambda i, n: i * 2, lambda i, n: i + 3, lambda i, n: i - 1, lambda i, n: 63 - i)


def random_kernel(dice: random.Random) -> Any:
    """Return a kernel with guards of all kinds, nested, around stores of all kinds."""
    first, second, third = (dice.choice(CONDITIONS) for _ in range(3))
    one, two = dice.choice(PLACES), dice.choice(PLACES)
    early, looped = dice.random() < 0.3, dice.random() < 0.4

    @loom.kernel(workgroup=8, order="any")  # which the interpreter runs in one: lanes may meet at an element of y
    def made(x: InOut[u32], y: InOut[u32], n: u32):
        i = loom.global_id()
        if early:
            if first(i, x, n):
                return
        if second(i, x, n):
            y[one(i, n)] = i + 1
            if looped:
                for k in range(i, n, 40):
                    y[two(i, n)] = k + n
        elif third(i, x, n):
            y[two(i, n)] = i * 2 + 7

    return made


@pytest.mark.parametrize("seed", range(60))
def test_a_larger_dispatch_does_nothing_more(seed: int) -> None:
    """The oracle is the interpreter with many more groups: what the guards keep out must have done nothing."""
    dice = random.Random(seed)
    kernel = random_kernel(dice)
    for size, n in itertools.product((0, 5, 64), (0, 9, 61)):
        x = np.random.default_rng(seed).integers(0, 9, size, np.uint32)
        chain = loom.Chain("interp")
        memory = [x.copy(), np.zeros(64, np.uint32)]
        try:
            chain.dispatch(kernel, memory, [n])
        except ArgumentError:
            continue
        chain.build().run()
        whole = [x.copy(), np.zeros(64, np.uint32)]
        interpret(kernel.verified.kernel, whole, [n], (40, 1, 1))
        told = chain_covers(kernel, size, n)
        if told:
            assert [m.tolist() for m in memory] == [m.tolist() for m in whole]


def chain_covers(kernel: Any, size: int, n: int) -> bool:
    """Tell whether the guards told the size, rather than the longest buffer."""
    from loom.ir.passes.reach import reach_of

    return not reach_of(kernel.verified.kernel).loose


@loom.kernel(workgroup=8)
def asked_early(x: InOut[u32], n: u32, m: u32):
    i = loom.global_id()
    first, second = i < n, i < m
    both = first
    if both:  # before the second condition has any part in it
        loom.atomic_add(x, 0, 1)
    if first:
        both = second
    if both:
        loom.atomic_add(x, 1, 1)


def test_a_variable_is_not_made_of_what_is_assigned_later() -> None:
    x = np.zeros(2, np.uint32)
    with pytest.raises(ArgumentError, match="the number of workgroups cannot be told"):
        asked_early(x, 100, 8)
    asked_early(x, 100, 8, lanes=128)
    assert x.tolist() == [100, 8]


@loom.kernel(workgroup=8)
def around(x: InOut[u32]):
    i = u32(loom.global_id()) + 0xFFFFFFFF  # lane 1 is at element 0
    if i < len(x):
        loom.atomic_add(x, i, 1)


@loom.kernel(workgroup=8)
def further(x: InOut[u32], by: u32):
    i = by + loom.global_id() + 1
    if i < len(x):
        loom.atomic_add(x, i, 1)


@loom.kernel(workgroup=8)
def before(x: InOut[u32], by: i32):
    i = loom.global_id() - by
    if 0 <= i < len(x):
        loom.atomic_add(x, i, 1)


@loom.kernel(workgroup=8)
def pattern_at(text: In[u32], pattern: In[u32], first: InOut[u32]):
    i = loom.global_id()
    if i + len(pattern) <= len(text):
        for k in range(len(pattern)):
            if text[i + k] != pattern[k]:
                return
        loom.atomic_min(first, 0, i)


@loom.kernel(workgroup=(4, 4))
def below_a_pivot(x: InOut[u32], n: u32, pivot: u32):
    j, i = loom.global_id(0) + pivot + 1, loom.global_id(1) + pivot + 1
    if i < n and j < n:
        x[i * n + j] += 1


@pytest.mark.parametrize("on", ["cpu", "interp"])
def test_lanes_shifted_by_numbers_of_the_dispatch_reach_as_far(on: str) -> None:
    for kernel, by, first in ((around, (), 0), (further, (3,), 4), (before, (3,), 0), (before, (-3,), 3)):
        x = np.zeros(50, np.uint32)
        kernel(x, *by, on=on)
        assert x.tolist() == [0] * first + [1] * (50 - first)
    found = np.full(1, 99, np.uint32)
    pattern_at(np.arange(50, dtype=np.uint32), np.array([47, 48, 49], np.uint32), found, on=on)
    assert found[0] == 47
    pattern_at(np.arange(2, dtype=np.uint32), np.array([1, 2, 3], np.uint32), found, on=on)
    assert found[0] == 47
    x, expected = np.zeros((9, 9), np.uint32), np.zeros((9, 9), np.uint32)
    chain = loom.Chain(on)
    with chain.repeat(9, params=np.arange(9, dtype=np.uint32).reshape(-1, 1)) as turn:
        chain.dispatch(below_a_pivot, [x.reshape(-1)], [9, turn.params[0]])
    chain.build().run()
    for k in range(9):
        expected[k + 1 :, k + 1 :] += 1
    assert x.tolist() == expected.tolist()


# lanes that share work out among all there are


@loom.kernel
def partial(x: In[u32], y: Out[u32]):
    s = u32(0)
    for i in range(loom.global_id(), len(x), loom.num_groups() * loom.workgroup_size()):
        s += x[i]
    y[loom.global_id()] = s


@loom.kernel
def partial_guarded(x: In[u32], y: Out[u32]):
    t = loom.global_id()
    if t < len(y):
        s = u32(0)
        for i in range(t, len(x), loom.num_groups() * loom.workgroup_size()):
            s += x[i]
        y[t] = s


@loom.kernel
def partial_in_place(x: In[u32], y: InOut[u32]):
    t = loom.global_id()
    if t < len(y):
        for i in range(t, len(x), loom.num_groups() * loom.workgroup_size()):
            y[t] += x[i]


@loom.kernel
def partial_while(x: In[u32], y: Out[u32]):
    s, i = u32(0), loom.global_id()
    while i < len(x):
        s += x[i]
        i += loom.num_groups() * loom.workgroup_size()
    y[loom.global_id()] = s


@loom.kernel
def partial_chunks(x: In[u32], y: Out[u32]):
    t = loom.global_id()
    each = len(x) // (loom.num_groups() * loom.workgroup_size()) + 1
    s = u32(0)
    for i in range(t * each, min((t + 1) * each, len(x))):
        s += x[i]
    if t < len(y):
        y[t] = s


@loom.kernel
def partial_by_group(x: In[u32], y: Out[u32]):
    s = u32(0)
    for i in range(loom.global_id(), len(x), loom.num_groups() * loom.workgroup_size()):
        s += x[i]
    s = loom.group_sum(s)
    if loom.local_id() == 0:
        y[loom.group_id()] = s


@loom.kernel
def doubled(x: In[u32], y: Out[u32]):
    for i in range(loom.global_id(), len(x), loom.num_groups() * loom.workgroup_size()):
        y[i] = x[i] * 2


PARTIAL = (partial, partial_guarded, partial_in_place, partial_while, partial_chunks)


@pytest.mark.parametrize("kernel", PARTIAL, ids=lambda k: k.name)
def test_partial_sums_lose_no_element(kernel: Any, on: str) -> None:
    """Of 1000 ones in 100 sums there were 800: the last 28 lanes of the second group had no sum of their own."""
    x = np.ones(1000, np.uint32)
    with pytest.raises(ArgumentError, match="its lanes share work out by num_groups, and guards leave some"):
        kernel(x, np.zeros(100, np.uint32), on=on)
    with pytest.raises(ArgumentError, match="its lanes share work out by num_groups, and guards leave some"):
        loom.Chain(on).dispatch(kernel, [x, np.zeros(100, np.uint32)])
    y = np.zeros(128, np.uint32)
    kernel(x, y, on=on)
    assert y.sum() == 1000
    y = np.zeros(256, np.uint32)
    kernel(x, y, groups=2, on=on)
    assert y.sum() == y[:128].sum() == 1000
    y = np.zeros(128, np.uint32)
    kernel(x, y, lanes=100, on=on)  # of which the groups are whole
    assert y.sum() == 1000


def test_partial_sums_tell_of_lanes_without_one(on: str) -> None:
    with pytest.raises(OutOfBounds, match="store outside buffer 'y' in lane 100"):
        partial(np.ones(1000, np.uint32), np.zeros(100, np.uint32), lanes=100, on=on)


def test_recorded_partial_sums_lose_no_element_either() -> None:
    with pytest.raises(ArgumentError, match="its lanes share work out by num_groups"):
        partial(loom.tensor.ones(1000, u32), out=100)


def test_turns_of_a_repeat_are_asked_for_their_own_lanes() -> None:
    @loom.kernel
    def some(x: In[u32], y: Out[u32], n: u32):
        s = u32(0)
        for i in range(loom.global_id(), n, loom.num_groups() * loom.workgroup_size()):
            s += x[i]
        y[loom.global_id()] = s

    x, y = np.ones(1000, np.uint32), np.zeros(100, np.uint32)
    chain = loom.Chain("interp")
    for most in (100, 101):
        with chain.repeat(2, params=np.array([[10], [most]], np.uint32)) as turn:
            if most == 100:
                chain.dispatch(some, [x, y], [turn.params[0]])
            else:
                with pytest.raises(ArgumentError, match="its lanes share work out by num_groups"):
                    chain.dispatch(some, [x, y], [turn.params[0]])


def test_loops_over_a_grid_that_lose_nothing_are_taken(on: str) -> None:
    x = np.ones(1000, np.uint32)
    assert partial_by_group(x, out=4, on=on).sum() == 1000
    assert (doubled(x, on=on) == 2).all()
    assert (doubled(x, lanes=100, on=on) == 2).all()  # 28 of 128 elements were left out
    y = np.zeros(100, np.uint32)
    partial(x[:90], y, on=on)  # the lanes beyond have no turn
    assert y.sum() == 90
