"""Recording chains: hazards, repeats, parameters, indirect dispatches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import KernelFault
from unit.runtime.chain.chain_kernels import affine, copy, count, typed


@loom.kernel(workgroup=(4, 1, 2))
def tall(x: loom.InOut[loom.u32]) -> None:
    loom.atomic_add(x, 0, 1)


@loom.kernel(workgroup=1)
def nothing(x: loom.InOut[loom.u32]) -> None:
    pass


@loom.kernel(workgroup=1)
def insist(x: loom.In[loom.u32]) -> None:
    assert x[0] == 7


def test_dependent_dispatches_give_what_numpy_gives(on: str) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 2**32, 64).astype(np.uint32) for _ in range(2))
    x, y = a.copy(), b.copy()
    chain = loom.Chain(on)
    for _ in range(60 if on == "cpu" else 10):
        k = int(rng.integers(1, 2**32))
        chain.dispatch(affine, [x], [k, 5], 16)
        a = a * np.uint32(k) + np.uint32(5)
        chain.dispatch(copy, [x, y], [], 16)
        b = a[::-1].copy()
        chain.dispatch(affine, [x], [3, k], 16)  # writes what was just read
        a = a * np.uint32(3) + np.uint32(k)
        chain.dispatch(copy, [y, x], [], 16)
        a = b[::-1].copy()
    chain.build().run()
    assert (x.tolist(), y.tolist()) == (a.tolist(), b.tolist())


def test_independent_dispatches_all_happen(on: str) -> None:
    arrays = [np.full(8, k, np.uint32) for k in range(40)]
    chain = loom.Chain(on)
    for k, x in enumerate(arrays):
        chain.dispatch(affine, [x], [2, k], 2)
    chain.build().run()
    assert [x.tolist() for x in arrays] == [[3 * k] * 8 for k in range(40)]


def waits(chain: loom.Chain) -> list[bool]:
    program = chain.build()
    assert program.plan is not None
    return [bool(step.waits[turn]) for n, steps in program.plan.segments for turn in range(n) for step in steps]


def test_only_conflicts_wait() -> None:
    x, y, z = (np.zeros(8, np.uint32) for _ in range(3))
    chain = loom.Chain("interp")
    chain.dispatch(copy, [x, y])
    chain.dispatch(copy, [x, z])  # reads what another reads
    chain.dispatch(affine, [x], [1, 1])  # writes what both read
    chain.dispatch(affine, [y], [1, 1])  # all that is earlier is over
    chain.dispatch(copy, [z, y])  # writes what was written
    assert waits(chain) == [False, False, True, False, True]


def test_views_conflict_where_they_overlap() -> None:
    x = np.zeros(16, np.uint32)
    chain = loom.Chain("interp")
    chain.dispatch(affine, [x[:8]], [1, 1])
    chain.dispatch(affine, [x[8:]], [1, 1])
    assert waits(chain) == [False, False]
    chain.dispatch(affine, [x[:8]], [1, 1])
    chain.dispatch(affine, [x[7:]], [1, 1])
    assert waits(chain) == [False, True]


def test_later_turns_wait_for_what_the_first_wait_had_hidden() -> None:
    flag, x = np.zeros(1, np.uint32), np.zeros(8, np.uint32)
    chain = loom.Chain("interp")
    chain.dispatch(affine, [flag], [1, 7])
    with chain.repeat(4):
        chain.dispatch(affine, [x], [1, 1])
        chain.dispatch(insist, [flag])
    turns = waits(chain)[1:]
    assert turns[:2] == [False, True]
    assert turns[4::2] == [True, True]  # x, in turns 3 and 4, must wait for x in the turn before


def test_repeat_over_columns(on: str) -> None:
    x = np.ones(4, np.uint32)
    table = np.array([[2, 1], [3, 0], [1, 5]], np.uint32)
    chain = loom.Chain(on)
    with chain.repeat(3, params=table) as turn:
        chain.dispatch(affine, [x], turn.params)
    assert len(chain) == 3
    chain.build().run()
    assert x.tolist() == [14] * 4


def test_repeat_over_a_structured_array_and_groups_of_each_turn(on: str) -> None:
    x = np.zeros(16, np.uint32)
    table = np.array([(1, 1), (1, 10)], [("a", "u4"), ("b", "u4")])
    chain = loom.Chain(on)
    with chain.repeat(2, params=table) as turn:
        chain.dispatch(affine, [x], turn.params, np.array([1, 3]))
    chain.build().run()
    assert x.tolist() == [11] * 4 + [10] * 8 + [0] * 4


def test_a_tuple_of_groups_is_one_dispatchs_extents_whatever_the_repeats(on: str) -> None:
    x = np.zeros(1, np.uint32)
    chain = loom.Chain(on)
    with chain.repeat(2):
        chain.dispatch(count, [x], [], (3, 5))
    chain.build().run()
    assert x[0] == 30


@pytest.mark.parametrize("column", [np.zeros(0, np.uint32), [], 7])
def test_repeating_nothing_records_nothing(on: str, column: Any) -> None:
    x = np.zeros(4, np.uint32)
    chain = loom.Chain(on)
    with chain.repeat(0):
        chain.dispatch(affine, [x], [column, 1], 1)
    with chain.repeat(0, params=np.zeros((0, 2), np.uint32)) as turn:
        chain.dispatch(affine, [x], turn.params)
    assert len(chain) == 0
    chain.build().run()
    assert x.tolist() == [0] * 4


def test_an_exception_inside_a_repeat_records_none_of_it() -> None:
    chain = loom.Chain("interp")

    def record() -> None:
        with chain.repeat(3):
            chain.dispatch(count, [np.zeros(1, np.uint32)])
            raise KeyError

    with pytest.raises(KeyError):
        record()
    assert len(chain) == 0
    chain.dispatch(count, [np.zeros(1, np.uint32)])
    assert len(chain) == 1


def test_a_kernel_that_does_nothing_runs(on: str) -> None:
    x = np.ones(1, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch(nothing, [x], [], 100)
    chain.dispatch(count, [x])
    chain.build().run()
    assert x[0] == 2


@pytest.mark.parametrize("counts", [(5, 1, 1), (2, 3, 4), (0, 1, 1), (7, 0, 9), (0, 0, 0), (3000, 1, 1)])
def test_indirect_groups(on: str, counts: tuple[int, int, int]) -> None:
    table = np.array([9, *counts], np.uint32)
    x, y = np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch(count, [y], [], 3)
    chain.dispatch_indirect(count, [x], [], table, 4)
    chain.dispatch(count, [y], [], 2)  # independent of the indirect one
    program = chain.build()
    program.run()
    program.run()
    assert (x[0], y[0]) == (2 * np.prod(counts, dtype=np.int64), 10)


@pytest.mark.needs("shares")  # two arrays over the same memory
def test_indirect_groups_are_those_at_the_start_of_each_run(on: str) -> None:
    table, x = np.array([0, 1, 1], np.uint32), np.zeros(1, np.uint32)
    chain = loom.Chain(on)
    with chain.repeat(4):
        chain.dispatch_indirect(count, [x], [], table)
        chain.dispatch(affine, [table[:1]], [2, 1])
    chain.build().run()
    assert x[0] == 0 + 1 + 3 + 7


@pytest.mark.parametrize("counts", [(2**32 - 1, 2**32 - 1, 1), (2**16, 2**15, 2), (1, 1, 2**32 - 1), (2**30 + 1, 0, 1)])
def test_huge_indirect_groups_are_a_fault(on: str, counts: tuple[int, int, int]) -> None:
    table, x, after = np.array(counts, np.uint32), np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch_indirect(tall, [x], [], table)
    chain.dispatch(count, [after], [], 1)
    program = chain.build()
    with pytest.raises(KernelFault) as caught:
        program.run()
    assert str(caught.value) == (
        "[kernel 'tall'] unusable number of workgroups in an indirect dispatch: expected at least 0, at most "
        f"2^32 lanes along a dimension and 4294967295 groups, got {counts}. Check what writes the counts."
    )
    assert (x[0], after[0]) == (0, 1)
    table[:] = 1
    program.run()
    assert (x[0], after[0]) == (8, 2)


def test_parameters_arrive_as_they_are(on: str) -> None:
    x = np.zeros(3)
    chain = loom.Chain(on)
    chain.dispatch(typed, [x], [0.1, -128, True])
    chain.build().run()
    assert x.tolist() == [float(np.float32(0.1)), -128.0, 1.0]
