"""Differences of numbers without a sign that are asked for one are refused, and nothing else is; the remedy works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

import loom
from loom import InOut, f32, i32, i64, u8, u32, u64
from loom.core.errors import KernelTypeError

T = TypeVar("T", f32, u32)


def clamped(y: InOut[u32], n: u32) -> None:
    y[max(n - 2, 0)] = 7  # here


def clamped_by_a_typed_zero(y: InOut[u32], n: u32) -> None:
    y[min(max(u32(0), n - 2), 5)] = 7  # here


def clipped(y: InOut[u32], n: u32) -> None:
    y[0] = np.clip(n - 2, 0, 5)  # here


def asked(y: InOut[u32], n: u32) -> None:
    if n - 2 >= 0:  # here
        y[0] = 7


def asked_the_other_way(y: InOut[u32], n: u32) -> None:
    if 0 > n - 2:  # noqa: SIM300  # here
        y[0] = 7


def in_a_variable(y: InOut[u32], n: u32) -> None:
    d = n - 2
    d = d + 1
    if d < 0:  # here
        y[0] = 7


def counted_down(y: InOut[u32], n: u32) -> None:
    j = n
    while j >= 0 and y[j] > 3:  # here
        j -= 1


def far(y: InOut[u32], n: u32) -> None:
    y[0] = abs(n - 5)  # here


def long(y: InOut[u32], n: u64) -> None:
    y[0] = u32(max(n - 2, 0))  # here


def short(y: InOut[u32], n: u8) -> None:
    y[0] = u32(abs(n - u8(2)))  # here


REFUSED: list[Callable[..., None]] = [
    clamped, clamped_by_a_typed_zero, clipped, asked, asked_the_other_way, in_a_variable, counted_down, far, long,
    short,
]  # fmt: skip


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_a_difference_that_is_asked_for_its_sign_is_refused_at_its_line(function: Callable[..., None]) -> None:
    import inspect

    with pytest.raises(KernelTypeError, match=r"a difference of u\d+ is .*: expected a number with a sign") as caught:
        _ = loom.kernel(function).verified
    lines, first = inspect.getsourcelines(function)
    (line,) = [first + n for n, text in enumerate(lines) if text.rstrip().endswith("# here")]
    assert f"test_unsigned.py:{line}]" in str(caught.value)


def test_the_text_of_an_error() -> None:
    with pytest.raises(KernelTypeError) as caught:
        _ = loom.kernel(clamped).verified
    assert str(caught.value).partition("] ")[2] == (
        "a difference of u32 is kept from going below 0 by max, and never is: expected a number with a sign, got u32, "
        "which comes around to its largest instead of going below zero. Subtract with a sign: i32(n) - 2 in place of "
        "n - 2."
    )
    with pytest.raises(KernelTypeError, match=r"Subtract with a sign: i64\(n\) - 2"):
        _ = loom.kernel(long).verified


@loom.kernel
def by_the_remedy(y: InOut[i32], n: u32, m: u64):
    y[max(i32(n) - 2, 0)] = 7
    if i32(n) - 2 >= 0:
        y[4] = 1
    y[5] = abs(i32(n) - 5)
    y[6] = i32(max(i64(m) - 2, 0))


def test_the_remedy_works(on: str) -> None:
    y = np.zeros(8, np.int32)
    by_the_remedy(y, 1, 1, groups=1, on=on)
    assert y.tolist() == [7, 0, 0, 0, 0, 4, 0, 0]
    by_the_remedy(y, 3, 9, groups=1, on=on)
    assert y.tolist() == [7, 7, 0, 0, 1, 2, 7, 0]


@loom.kernel
def right(y: InOut[u32], n: u32):
    i = loom.global_id()
    y[0] = max(n, 0) + abs(n)
    if n - 2 > 0:
        y[1] = max(n - 1, 1)
    y[2] = max(y[3] - y[4], 0)  # elements, of any type in a kernel like it
    y[max(i - n, 0) + 5] = 1


@loom.kernel
def ramp(x: InOut[T]):
    i = loom.global_id()
    if i < len(x):
        x[i] = abs(max(x[i] - 1, 0))


def test_what_may_be_meant_is_taken(on: str) -> None:
    y = np.zeros(8, np.uint32)
    right(y, 4, lanes=1, on=on)
    assert y.tolist() == [8, 3, 0, 0, 0, 1, 0, 0]
    for dtype in (np.float32, np.uint32):
        x: Any = np.array([1, 2, 5], dtype)
        ramp(x, on=on)
        assert x.tolist() == [0, 1, 4]
