"""Which comparisons of a kernel are hidden from compilers that take a counter for a number that does not wrap."""

from __future__ import annotations

from typing import Any

import pytest

import loom
from loom import In, Out, i32, kernel, u8, u32
from loom.ir.kernel import Instr, walk
from loom.targets.base.opaque_values import Knowledge


@kernel
def by_a_while(x: In[u32], y: Out[u32], n: u32):
    i = loom.global_id()
    if i < len(y):
        j, s = n, u32(0)
        while j < 4294967293:
            s += x[j]
            j -= 2
        y[i] = s


@kernel
def by_a_break(x: In[u32], y: Out[u32], n: u32):
    i = loom.global_id()
    if i < len(y):
        j, s = n, u32(0)
        for k in range(100):
            if k > 3 and j >= 4294967293:
                break
            s += x[j]
            j -= 2
        y[i] = s


@kernel
def by_a_variable(x: In[u32], y: Out[u32], n: u32):
    i = loom.global_id()
    if i < len(y):
        j, s = n, u32(0)
        goes_on = j < 4294967293
        while goes_on:
            s += x[j]
            j -= 2
            goes_on = j < 4294967293
        y[i] = s


@kernel
def by_signed_and_small_numbers(x: In[u32], y: Out[u32], n: i32, m: u8):
    i = loom.global_id()
    if i < len(y):
        s = u32(0)
        j = n
        while j >= 0 and m < u8(9):
            s += x[j]
            j -= 2
        if s < 4:
            s = u32(4)
        y[i] = s


@pytest.mark.parametrize(
    ("function", "hidden"), [(by_a_while, 1), (by_a_break, 1), (by_a_variable, 2), (by_signed_and_small_numbers, 0)]
)
def test_unsigned_comparisons_that_end_loops_may_wrap(function: Any, hidden: int) -> None:
    body = function.verified.kernel.body
    knowledge = Knowledge(function.verified.kernel)
    assert sum(isinstance(s, Instr) and knowledge.may_wrap(s) for s in walk(body)) == hidden
