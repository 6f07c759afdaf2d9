"""Differences of numbers without a sign that are asked for one are refused, and nothing else is; the remedy works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

import loom
from loom import In, InOut, f32, i32, i64, u8, u32, u64
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


def of_two(y: InOut[u32], n: u32, m: u32) -> None:
    y[0] = abs(n - m)  # here


def of_a_constant(y: InOut[u32], n: u32) -> None:
    y[0] = max(8 - n, 0)  # here


def of_elements(y: InOut[u32], x: In[u32]) -> None:
    i = loom.global_id()
    y[i] = max(x[i] - y[i], 0)  # here


def of_pixels(y: InOut[u8], x: In[u8]) -> None:
    i = loom.global_id()
    y[i] = abs(x[i] - y[i])  # here


def compared_elements(y: InOut[u32], x: In[u32]) -> None:
    i = loom.global_id()
    if x[i] - y[i] < 0:  # here
        y[i] = 7


def scaled(y: InOut[u32], n: u32, m: u32) -> None:
    if (n - m) * 2 >= 0:  # here
        y[0] = 7


def limited(y: InOut[u32], n: u32, m: u32) -> None:
    y[0] = max(min(n - m, 9), 0)  # here


def declared(y: InOut[u32]) -> None:
    k = u32(loom.global_id())
    y[0] = abs(k - 3)  # here


REFUSED: list[Callable[..., None]] = [
    clamped, clamped_by_a_typed_zero, clipped, asked, asked_the_other_way, in_a_variable, counted_down, far, long,
    short, of_two, of_a_constant, of_elements, of_pixels, compared_elements, scaled, limited, declared,
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
        "which comes around to its largest instead of going below zero. Subtract with a sign, i32(a) - i32(b), or "
        "write max(a, b) - b."
    )
    with pytest.raises(KernelTypeError, match=r"Subtract with a sign, i64\(a\) - i64\(b\), or write max\(a, b\) - b"):
        _ = loom.kernel(long).verified
    with pytest.raises(KernelTypeError, match=r"or write max\(a, b\) - min\(a, b\)"):
        _ = loom.kernel(of_pixels).verified
    with pytest.raises(KernelTypeError, match=r"or compare a with b"):
        _ = loom.kernel(compared_elements).verified


@loom.kernel
def by_the_remedy(y: InOut[i32], n: u32, m: u64):
    y[max(i32(n) - 2, 0)] = 7
    if i32(n) - 2 >= 0:
        y[4] = 1
    y[5] = abs(i32(n) - 5)
    y[6] = i32(max(i64(m) - 2, 0))
    y[7] = i32(max(m, 4) - min(m, 4) + 10 * (max(m, 4) - 4))


def test_the_remedy_works(on: str) -> None:
    y = np.zeros(8, np.int32)
    by_the_remedy(y, 1, 1, groups=1, on=on)
    assert y.tolist() == [7, 0, 0, 0, 0, 4, 0, 3]
    by_the_remedy(y, 3, 9, groups=1, on=on)
    assert y.tolist() == [7, 7, 0, 0, 1, 2, 7, 55]


@loom.kernel
def right(y: InOut[u32], n: u32):
    i = loom.global_id()
    y[0] = max(n, 0) + abs(n)
    if n - 2 > 0:
        y[1] = max(n - 1, 1)
    y[max(i - n, 0) + 5] = 1


@loom.kernel
def mixed(y: InOut[u32], a: u32, b: u32):
    y[0] = abs((a - b) & 0xFF)
    y[1] = max((a - b) % 7, 0)
    y[2] = max((a - b) >> 28, 0)
    y[3] = max((a - b) ^ (b << 3), 0)
    y[4] = (a - b) * 2654435761
    if (a - b) >> 31 >= 0:
        y[5] = u32(a - b > 5)


@loom.kernel
def ramp(x: InOut[T]):
    i = loom.global_id()
    if i < len(x):
        x[i] = max(x[i], 1) - 1


@loom.kernel
def below(x: InOut[T]):
    i = loom.global_id()
    if i < len(x):
        x[i] = abs(x[i] - 1)


def test_what_may_be_meant_is_taken(on: str) -> None:
    y = np.zeros(8, np.uint32)
    right(y, 4, lanes=1, on=on)
    assert y.tolist() == [8, 3, 0, 0, 0, 1, 0, 0]
    for dtype in (np.float32, np.uint32):
        x: Any = np.array([1, 2, 5], dtype)
        ramp(x, on=on)
        assert x.tolist() == [0, 1, 4]


def test_bits_of_differences_are_mixed_as_before(on: str) -> None:
    y, d = np.zeros(6, np.uint32), 2**32 - 4
    mixed(y, 3, 7, groups=1, on=on)
    assert y.tolist() == [d & 0xFF, d % 7, d >> 28, d ^ 56, d * 2654435761 % 2**32, 1]


def test_a_kernel_of_any_type_is_refused_for_those_without_a_sign(on: str) -> None:
    x = np.array([0, 1, 5], np.float32)
    below(x, on=on)
    assert x.tolist() == [1, 0, 4]
    with pytest.raises(KernelTypeError, match="a difference of u32 is given to abs"):
        below(x.view(np.uint32), on=on)


def test_functions_given_to_maps_are_kernels(on: str) -> None:
    x = np.array([1, 2, 5], np.uint32)
    with pytest.raises(KernelTypeError, match="a difference of u32 is given to abs"):
        loom.gpu_map(x, lambda v: abs(v - 3), on=on)
    assert loom.gpu_map(x, lambda v: abs(i32(v) - 3), on=on).tolist() == [2, 1, 2]
