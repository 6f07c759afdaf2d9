"""A barrier not all lanes of a workgroup reach is refused, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import loom
from loom import In, Out, u32
from loom.core.errors import VerifyError

REMEDY = "expected every lane of the workgroup to arrive. Move the barrier out of the branch or loop, and guard only"


def in_branch(x: In[u32], out: Out[u32], n: u32) -> None:
    if loom.local_id() < 3:
        loom.barrier()  # here


def in_loop_of_other_length(x: In[u32], out: Out[u32], n: u32) -> None:
    for _k in range(loom.local_id()):
        loom.barrier()  # here


def in_while_by_data(x: In[u32], out: Out[u32], n: u32) -> None:
    i = loom.global_id()
    while x[i] < n:
        loom.barrier()  # here
        i += 1


def after_some_broke(x: In[u32], out: Out[u32], n: u32) -> None:
    for k in range(n):
        if x[loom.global_id()] == k:
            break
        loom.barrier()  # here


def after_some_went_on(x: In[u32], out: Out[u32], n: u32) -> None:
    for k in range(n):
        if k > 2:
            if x[loom.global_id()] == k:
                continue
            out[loom.global_id()] = k
        loom.barrier()  # here


def through_a_variable(x: In[u32], out: Out[u32], n: u32) -> None:
    turns = u32(3)
    if loom.local_id() == 1:
        turns = u32(4)
    for _k in range(turns):
        loom.barrier()  # here


def through_an_atomic(x: In[u32], out: Out[u32], n: u32) -> None:
    s = loom.shared(u32, 1)
    if loom.atomic_add(s, 0, 1) == 0:
        loom.barrier()  # here


def through_a_helper(x: In[u32], out: Out[u32], n: u32) -> None:
    waits(loom.local_id() == 0)


def waits(condition: Any) -> None:
    if condition:
        loom.barrier()  # here


def line_of(fn: Callable[..., Any], mark: str = "# here") -> int:
    import inspect

    lines, first = inspect.getsourcelines(fn)
    return first + next(n for n, line in enumerate(lines) if mark in line)


REFUSED = [
    in_branch, in_loop_of_other_length, in_while_by_data, after_some_broke, after_some_went_on, through_a_variable,
    through_an_atomic, through_a_helper,
]  # fmt: skip


@pytest.mark.parametrize("fn", REFUSED, ids=lambda f: f.__name__)
def test_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(workgroup=64)(fn).verified
    line = line_of(waits if fn is through_a_helper else fn)
    text = f"[kernel '{fn.__name__}' at {__file__}:{line}] barrier in divergent flow: {REMEDY} the work with if."
    assert str(caught.value) == text


def summed_in_branch(x: In[u32], out: Out[u32], n: u32) -> None:
    if loom.local_id() < n:
        out[loom.global_id()] = loom.group_sum(x[loom.global_id()])  # here


def summed_in_a_helper(x: In[u32], out: Out[u32], n: u32) -> None:
    if loom.local_id() < n:
        out[loom.global_id()] = through_loom(x[loom.global_id()])


def through_loom(x: Any) -> Any:
    return loom.group_sum(x)  # here


@pytest.mark.parametrize(("fn", "named"), [(summed_in_branch, summed_in_branch), (summed_in_a_helper, through_loom)])
def test_a_barrier_of_the_librarys_is_where_it_is_called(fn: Callable[..., Any], named: Callable[..., Any]) -> None:
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(workgroup=64)(fn).verified
    assert str(caught.value).startswith(f"[kernel '{fn.__name__}' at {__file__}:{line_of(named, '# here')}] barrier in")


def after_some_returned(x: In[u32], out: Out[u32], n: u32) -> None:
    for k in range(n):
        if x[loom.global_id()] == k:
            return  # left
    loom.barrier()  # here


def test_a_return_before_is_named() -> None:
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(workgroup=64)(after_some_returned).verified
    here, left = line_of(after_some_returned), line_of(after_some_returned, "# left")
    assert str(caught.value).startswith(
        f"[kernel 'after_some_returned' at {__file__}:{here}] barrier in divergent flow "
        f"(lanes may have returned at line {left}): expected every lane"
    )


def in_uniform_branch(x: In[u32], out: Out[u32], n: u32) -> None:
    if n > 3 and loom.group_id() == 1:
        loom.barrier()


def in_uniform_loops(x: In[u32], out: Out[u32], n: u32) -> None:
    for k in range(n):
        total = u32(0)
        while total < k + loom.num_groups():
            loom.barrier()
            total += x[k] + 1
            if total == 7:
                break


def after_a_divergent_branch(x: In[u32], out: Out[u32], n: u32) -> None:
    if loom.local_id() < 3:
        out[loom.global_id()] = 1
    for _k in range(loom.local_id()):
        out[loom.global_id()] = 2
    loom.barrier()


def after_all_returned_together(x: In[u32], out: Out[u32], n: u32) -> None:
    if n == 0:
        return
    loom.barrier()


def by_a_dimension_of_one(x: In[u32], out: Out[u32], n: u32) -> None:
    if loom.local_id(1) == 0:
        loom.barrier()


ACCEPTED = [
    in_uniform_branch, in_uniform_loops, after_a_divergent_branch, after_all_returned_together, by_a_dimension_of_one,
]  # fmt: skip


@pytest.mark.parametrize("fn", ACCEPTED, ids=lambda f: f.__name__)
def test_accepted(fn: Callable[..., Any]) -> None:
    assert loom.kernel(workgroup=64)(fn).verified.has_barrier


@pytest.mark.parametrize("fn", [f for f in REFUSED if f is not through_an_atomic], ids=lambda f: f.__name__)
def test_one_lane_waits_for_nobody(fn: Callable[..., Any]) -> None:
    assert loom.kernel(workgroup=1)(fn).verified.has_barrier
