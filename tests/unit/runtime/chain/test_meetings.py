"""Chains whose lanes may meet by plain reads and writes: what is proved, tried, told as a condition, and left alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import loom
from loom import Guarantee, In, InOut, Out, f32, i64, u32
from loom.core.errors import RaceDetected
from loom.runtime.chain import meetings

WORDS = r"with no order between them\. Give each lane its own elements"
Made = tuple[Any, list[Any], Any]
"""A kernel that nobody recorded yet, its numbers, and its groups."""


def whole(n: int) -> Any:
    return np.arange(n, dtype=np.uint32)


def counter_of_groups() -> Made:
    @loom.kernel(workgroup=1)
    def made(x: In[u32], y: InOut[u32]):
        y[0] = y[0] * 3 + loom.group_id(0)

    return made, [], 4


def last_of_groups() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        if loom.local_id() == 0:
            y[0] = x[loom.global_id()]

    return made, [], 4


def remainder() -> Made:
    @loom.kernel(workgroup=4)
    def made(x: In[u32], y: InOut[u32]):
        y[loom.global_id() % 4] = loom.global_id()

    return made, [], 2


def halver() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        y[loom.global_id() // 2] = x[loom.global_id()]

    return made, [], 8


def neighbour() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32], n: u32):
        i = loom.global_id()
        if i < n:
            y[i] = y[(i + n // 2) % n] + 1

    return made, [64], 8


def columns() -> Made:
    @loom.kernel(workgroup=4)
    def made(x: In[u32], y: InOut[u32]):
        y[loom.global_id(0)] = loom.global_id(1)

    return made, [], (2, 2)


def beside_data() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        y[32 + x[i] % 32] = 7
        if x[i] > 70:
            return
        y[3] = y[3] + i

    return made, [], 4


def in_turns() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32], n: u32):
        i, total = loom.global_id(), u32(0)
        for k in range(n):
            total += x[(i + k) % 64]
            y[(i + k) % 16] = total

    return made, [3], 4


def by_private_index() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        place = loom.private(u32, 2)
        place[1] = loom.global_id() // 2
        y[place[1]] = loom.global_id()

    return made, [], 4


def through_a_shared_array() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        s = loom.shared(u32, 8)
        s[loom.local_id()] = loom.global_id()
        loom.barrier()
        y[loom.local_id()] = s[7 - loom.local_id()]

    return made, [], 4


def strided() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        k = loom.global_id()
        while k < 64:
            y[k // 2] = k
            k += loom.num_groups() * 8

    return made, [], 2


def two_far_lanes() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        if i in (70000, 70001):
            y[0] = i

    return made, [], 1 << 14


def behind_an_assertion() -> Made:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        assert x[i] < 1000
        y[min(i, 3)] = i

    return made, [], 8


SURE: list[Callable[[], Made]] = [
    counter_of_groups, last_of_groups, remainder, halver, neighbour, columns, in_turns, by_private_index,
    through_a_shared_array, strided, two_far_lanes, behind_an_assertion,
]  # fmt: skip


@pytest.mark.parametrize("make", SURE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("in_repeat", [False, True])
def test_lanes_that_meet_whatever_the_data_are_told_when_recorded(
    make: Callable[[], Made], in_repeat: bool, on: str
) -> None:
    kernel, numbers, groups = make()
    x, y = np.zeros(64, np.uint32), whole(64)  # the data say nothing
    chain = loom.Chain(on)
    with chain.repeat(3) if in_repeat else nullcontext(), pytest.raises(RaceDetected, match=WORDS):
        chain.dispatch(kernel, [x, y], numbers, groups)
    assert len(chain) == 0
    assert np.array_equal(y, whole(64))


@pytest.mark.parametrize("make", SURE, ids=lambda f: f.__name__)
def test_a_call_of_them_says_the_same(make: Callable[[], Made]) -> None:
    kernel, numbers, groups = make()
    with pytest.raises(RaceDetected) as recorded:
        loom.Chain("cpu").dispatch(kernel, [whole(64), whole(64)], numbers, groups)
    with pytest.raises(RaceDetected) as called:
        kernel(whole(64), whole(64), *numbers, groups=groups, on="cpu")
    assert str(recorded.value) == str(called.value)


def test_units_and_recorded_calls_tell_too(on: str) -> None:
    kernel, _, _ = halver()
    with loom.boot(registers=64, on=on) as unit, pytest.raises(RaceDetected):
        unit.dispatch(lone_halver, [], 8)
    with pytest.raises(RaceDetected):
        np.asarray(halved(loom.tensor.array(whole(64), on=on), groups=8))
    assert kernel is not None


@loom.kernel(workgroup=8)
def lone_halver(registers: InOut[u32]):
    registers[loom.global_id() // 2] = loom.global_id()


@loom.kernel(workgroup=8)
def halved(x: In[u32], y: Out[u32]):
    y[loom.global_id() // 2] = x[loom.global_id()]


# what is free


def test_what_stays_apart_runs_without_a_condition(on: str) -> None:
    @loom.kernel(workgroup=8)
    def one_value(x: In[u32], y: InOut[u32], n: u32):
        i = loom.global_id()
        y[0] = n
        if i == 0:
            y[1] = y[1] + x[i]
        y[2 + i // 2] = x[i // 2] * 2  # neighbours store the same

    @loom.kernel(workgroup=8)
    def strides(x: In[u32], y: InOut[u32], n: u32):
        k = loom.global_id()
        while k < n:
            y[k] = y[k] + x[k]
            k += loom.num_groups() * 8

    @loom.kernel(workgroup=(4, 2))
    def rows(x: In[u32, 2], y: InOut[u32, 2]):
        i, j = loom.global_id(1), loom.global_id(0)
        if i < y.shape[0] and j < y.shape[1]:
            y[i, j] = y[i, j] + x[i, j]

    @loom.kernel(workgroup=8)
    def wrapped(x: In[u32], y: InOut[u32], n: u32):
        y[(loom.global_id() + n) % 64] = x[loom.global_id()]

    x, y, chain = whole(64), whole(64), loom.Chain(on)
    chain.dispatch(one_value, [x, y], [5], 4)
    chain.dispatch(strides, [x, y], [64], 3)
    chain.dispatch(rows, [x.reshape(8, 8), y.reshape(8, 8)])
    chain.dispatch(wrapped, [x, y], [61], 8)
    assert chain.conditions == ()
    program = chain.build()
    assert (program.guarantee, program.conditions) == (Guarantee.BIT_EXACT, ())
    program.run()
    assert np.array_equal(np.roll(y, 3), x)


def test_kernels_that_vouch_or_promise_nothing_are_left_alone(on: str) -> None:
    @loom.kernel(workgroup=8, trusted=True)
    def vouched_for(y: InOut[u32]):
        y[loom.global_id()] = loom.global_id()

    @loom.kernel(workgroup=8, order="any")
    def disordered(y: InOut[u32]):
        y[loom.global_id() // 2] = loom.global_id()

    y, chain = whole(64), loom.Chain(on)
    chain.dispatch(vouched_for, [y], groups=2)
    chain.dispatch(disordered, [y], groups=2)
    program = chain.build()
    assert (program.guarantee, program.conditions) == (Guarantee.FAST, ())
    program.run()


def test_what_a_trusted_kernel_says_of_itself_is_a_condition_where_no_proof_tells(on: str) -> None:
    @loom.kernel(workgroup=8, trusted=True)
    def vouched_for(y: InOut[u32]):
        y[loom.global_id() // 2] = loom.global_id()

    chain = loom.Chain(on)
    chain.dispatch(vouched_for, [whole(64)], groups=2)
    program = chain.build(Guarantee.BIT_EXACT)
    (condition,) = program.conditions
    assert condition.endswith("as data and numbers tell (it is trusted, and not tried), but what that one stores")
    program.run()
    assert vouched_for.conditions == ()
    vouched_for(whole(64), on=on, groups=2)
    assert vouched_for.conditions == (condition,)


def test_what_was_tried_in_part_is_a_condition(on: str) -> None:
    @loom.kernel
    def rarely_meeting(y: InOut[u32], n: u32):
        i = loom.global_id()
        if i < len(y):
            q = u32(i)
            if q == n:
                q = u32(5)
            y[q] = u32(i)

    chain = loom.Chain(on)
    chain.dispatch(rarely_meeting, [whole(1 << 10)], [1 << 11])  # tried whole
    assert chain.conditions == ()
    chain.dispatch(rarely_meeting, [whole(1 << 20)], [777_777])
    program = chain.build(Guarantee.BIT_EXACT)
    (condition,) = program.conditions
    assert condition.startswith("kernel 'rarely_meeting': no lane stores to an element of 'y' (line ")
    assert condition.endswith("comes to, as data and numbers tell (a part was tried), but what that one stores")
    again = loom.Chain(on)  # what is not tried a second time is told, too
    again.dispatch(rarely_meeting, [whole(1 << 20)], [777_777])
    assert again.conditions == (condition,)


def test_samples_of_many_elements_do_not_come_again(on: str) -> None:
    n = 65_521  # a prime, after which samples once began anew

    @loom.kernel
    def one_over_the_other(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        if i < len(x) and i % 65_521 < 64:
            y[i % 65_521] = x[i]

    chain = loom.Chain(on)
    try:
        chain.dispatch(one_over_the_other, [whole(n + 64), whole(n)])
    except RaceDetected:
        return
    assert chain.conditions  # of so many lanes a part may be all that is tried


def test_what_stands_for_large_arrays_is_told_to_be_a_part() -> None:
    @loom.kernel(workgroup=8)
    def far_apart(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        y[i % 8] = x[i * 100_000]

    chain = loom.Chain("cpu")
    try:
        chain.dispatch(far_apart, [np.zeros(1 << 23, np.uint32), whole(8)], groups=8)
    except RaceDetected:
        return
    assert chain.conditions


# what data decide


@loom.kernel(workgroup=8)
def scatter(at: In[u32], x: In[u32], y: InOut[u32]):
    i = loom.global_id()
    if i < len(at):
        y[at[i]] = x[i]


def scatterer() -> Any:
    @loom.kernel(workgroup=8)
    def scattered(at: In[u32], x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        if i < len(at):
            y[at[i]] = x[i]

    return scattered


LINE = scatter.fn.__code__.co_firstlineno + 4
CONDITION = (
    f"kernel 'scatter': no lane stores to an element of 'y' (line {LINE}) that another comes to, as data tell, "
    "but what that one stores"
)


def test_a_scatter_is_recorded_before_its_data_are_there_and_tells_its_condition(on: str) -> None:
    at, x, y = np.zeros(64, np.uint32), whole(64), np.zeros(64, np.uint32)
    chain = loom.Chain(on)
    for _ in range(2):
        chain.dispatch(scatter, [at, x, y])
    assert chain.conditions == (CONDITION,)
    program = chain.build(Guarantee.BIT_EXACT)
    assert chain.conditions == ()
    assert (program.guarantee, program.conditions) == (Guarantee.BIT_EXACT, (CONDITION,))
    at[:] = whole(64)[::-1]
    program.run()
    assert np.array_equal(y[::-1], x)


@pytest.mark.parametrize("verb", ["run", "launch"])
def test_the_first_run_is_refused_where_data_let_lanes_meet(on: str, verb: str) -> None:
    at, x, y = np.zeros(64, np.uint32), whole(64), whole(64)
    chain = loom.Chain(on)
    chain.dispatch(scatterer(), [at, x, y])
    program = chain.build()
    for _ in range(2):  # what was refused is looked at again
        with pytest.raises(RaceDetected, match=r"stores to y\[0\], which lane \d+.* stored to at"):
            getattr(program, verb)()
        assert np.array_equal(y, whole(64))
    x[:] = 7
    program.run()  # which all store
    assert y[0] == 7
    at[:], x[:] = whole(64), whole(64)
    program.run()
    assert np.array_equal(y, whole(64))


def test_arrays_of_the_device_are_looked_at(on: str) -> None:
    at = loom.array(np.zeros(64, np.uint32), on=on)
    chain = loom.Chain(on)
    chain.dispatch(scatterer(), [at, whole(64), np.zeros(64, np.uint32)])
    with pytest.raises(RaceDetected):
        chain.build().run()


def test_indexes_that_the_chain_computes_are_a_condition_alone(on: str) -> None:
    @loom.kernel(workgroup=8)
    def reverse(at: Out[u32]):
        i = loom.global_id()
        if i < len(at):
            at[i] = u32(len(at) - 1 - i)

    at, x, y = np.zeros(64, np.uint32), whole(64), np.zeros(64, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch(reverse, [at])
    chain.dispatch(scatter, [at, x, y])
    program = chain.build()
    assert program.conditions == (CONDITION,)
    program.run()
    assert np.array_equal(y[::-1], x)


def test_values_that_the_chain_computes_are_taken_to_differ() -> None:
    @loom.kernel(workgroup=8)
    def number(x: Out[u32]):
        i = loom.global_id()
        if i < len(x):
            x[i] = i

    at, x, y = np.zeros(64, np.uint32), np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(number, [x])
    chain.dispatch(scatterer(), [at, x, y])
    with pytest.raises(RaceDetected):
        chain.build().run()


def test_what_data_decide_beside_is_no_excuse() -> None:
    kernel, numbers, groups = beside_data()
    chain = loom.Chain("cpu")
    chain.dispatch(kernel, [whole(64), whole(64)], numbers, groups)
    (condition,) = chain.conditions  # the lanes that come to y[3] are those that data leave
    assert "'y'" in condition
    with pytest.raises(RaceDetected, match=r"y\[3\]"):
        chain.build().run()


def test_groups_that_are_read_when_it_starts_are_a_condition(on: str) -> None:
    @loom.kernel(workgroup=8)
    def own(y: InOut[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = y[i] + 1

    y, chain = whole(64), loom.Chain(on)
    chain.dispatch_indirect(own, [y], [], np.array([8, 1, 1], np.uint32))
    chain.dispatch_indirect(scatter, [whole(64), whole(64), y], [], np.array([8, 1, 1], np.uint32))
    assert chain.conditions[0] == "kernel 'own': its groups are along one dimension"
    assert "as data and groups tell" in chain.conditions[1]
    chain.build().run()


def test_swarms_look_too() -> None:
    programs: list[Any] = []
    units = [loom.boot(registers=64, heap=64) for _ in range(2)]
    for unit in units:
        unit.dispatch(by_heap, [], 8)
        programs.append(unit.build())
    with pytest.raises(RaceDetected):
        loom.swarm(programs).run()
    for unit in units:
        unit.shutdown()


@loom.kernel(workgroup=8)
def by_heap(registers: InOut[u32], heap: In[i64]):
    registers[heap[loom.global_id()]] = loom.global_id()


def under_a_condition() -> Any:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        if x[i] % 2 == 0:
            y[i // 2] = i

    return made


def in_a_loop_of_data() -> Any:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        for k in range(x[i] % 4):
            y[(i + k) % 64] = k

    return made


def by_what_a_loop_leaves() -> Any:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i, k = loom.global_id(), x[loom.global_id()]
        while k > 2:
            k = k // 2
        y[i + k] = i

    return made


def behind_a_break() -> Any:
    @loom.kernel(workgroup=8)
    def made(x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        for k in range(4):
            if x[i] == k:
                break
            y[i + k] = k

    return made


@pytest.mark.parametrize(
    "make", [under_a_condition, in_a_loop_of_data, by_what_a_loop_leaves, behind_a_break], ids=lambda f: f.__name__
)
def test_what_data_decide_is_recorded_with_a_condition(make: Callable[[], Any]) -> None:
    chain = loom.Chain("cpu")
    chain.dispatch(make(), [np.zeros(64, np.uint32), whole(64)], [], 4)
    (condition,) = chain.conditions
    assert condition.startswith("kernel 'made': no lane stores to an element of 'y' (line ")


# what it costs


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the kernels that were tried, one entry a trial."""
    names: list[str] = []
    run = meetings.Meetings.interpret

    def noted(self: Any, *args: Any) -> bool:
        names.append(self.kernel.name)
        return run(self, *args)

    monkeypatch.setattr(meetings.Meetings, "interpret", noted)
    return names


def test_a_kind_is_tried_once_and_own_elements_never(tried: list[str]) -> None:
    @loom.kernel(workgroup=8)
    def turned(y: InOut[f32], t: u32, n: u32):
        i = loom.global_id()
        if i < n:
            y[(i + t) % n] = y[(i + t) % n] + 1.0

    @loom.kernel(workgroup=8)
    def own(y: InOut[f32], a: f32):
        i = loom.global_id()
        if i < len(y):
            y[i] = y[i] * a

    y, chain = np.zeros(16, np.float32), loom.Chain("cpu")
    for t in range(40):
        chain.dispatch(turned, [y], [t, 10])
        chain.dispatch(own, [y], [1.0])
    assert tried == ["turned"] * 8
    assert chain.conditions[0].endswith("that another comes to, as numbers tell, but what that one stores")
    with chain.repeat(1000, params=np.arange(1000, dtype=np.uint32)[:, None]) as turn:
        chain.dispatch(turned, [y[:12]], [turn.params[0], 11])
    assert tried == ["turned"] * 16
    chain.build().run()
    assert y[:10].min() >= 40
    assert tried == ["turned"] * 16


def test_few_numbers_are_all_tried_and_leave_no_condition(tried: list[str]) -> None:
    @loom.kernel(workgroup=8)
    def turned(y: InOut[f32], t: u32, n: u32, a: f32):
        i = loom.global_id()
        if i < n:
            y[(i + t) % n] = y[(i + t) % n] + a

    y, chain = np.zeros(16, np.float32), loom.Chain("cpu")
    params = [np.arange(100, dtype=np.uint32) % 3, np.full(100, 16, np.uint32), np.ones(100, np.float32)]
    with chain.repeat(100):
        chain.dispatch(turned, [y], params)
    assert (tried, chain.conditions) == (["turned"] * 3, ())
    with chain.repeat(100):
        chain.dispatch(turned, [y], [params[1] % 7, *params[1:]])
    chain.build().run()
    assert (y == 200).all()


def test_programs_of_one_kind_are_looked_at_once(tried: list[str]) -> None:
    kernel, at, x, y = scatterer(), whole(64), whole(64), whole(64)
    for _ in range(3):
        chain = loom.Chain("cpu")
        chain.dispatch(kernel, [at, x, y])
        program = chain.build()
        program.run()
        program.run()
    assert tried == ["scattered"]


def test_a_call_is_not_looked_at_twice(tried: list[str]) -> None:
    scatterer()(whole(64), whole(64), whole(64))
    assert tried == []


def test_under_the_debugger_nothing_is_tried_before_a_run(tried: list[str]) -> None:
    chain = loom.Chain("cpu")
    chain.dispatch(scatterer(), [np.zeros(64, np.uint32), whole(64), whole(64)])
    program = chain.build()
    with loom.debug(), pytest.raises(RaceDetected):
        program.run()
    assert tried == []


def test_large_arrays_are_sampled_in_a_moment() -> None:
    y = np.zeros(1 << 26, np.uint32)
    kernel, _, _ = halver()
    began = time.perf_counter()
    with pytest.raises(RaceDetected):
        loom.Chain("cpu").dispatch(kernel, [y[: 1 << 25], y[1 << 25 :]], [], 1 << 16)
    assert time.perf_counter() - began < 5


def test_a_compiled_tensor_program_tells_its_conditions_too() -> None:
    from loom import tensor

    at, x = tensor.input("at", (8,), u32), tensor.input("x", (8,), u32)
    program = tensor.compile([scatter_new(at, x)])
    assert program.guarantee is Guarantee.BIT_EXACT
    (condition,) = program.conditions
    assert condition.startswith("kernel 'scatter_new': no lane stores to an element of 'y' (line ")
    assert tensor.compile([x + 1]).conditions == ()


@loom.kernel(workgroup=8)
def scatter_new(at: In[u32], x: In[u32], y: Out[u32]):
    i = loom.global_id()
    if i < len(at):
        y[at[i]] = x[i]
