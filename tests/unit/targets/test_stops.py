"""Loops in strips: the turns are those of Python's range, whatever start, stop and step; vectors stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, i32, i64, u32
from loom.runtime.drivers.loading import bounds_of
from loom.targets.llvm.machine import host_machine
from loom.targets.llvm.target import LlvmTarget

MASK = (1 << 32) - 1


@loom.kernel(workgroup=4)
def up(x: InOut[u32], start: i32, stop: i32) -> None:
    s = u32(0)
    for j in range(start, stop):
        s = s * 3 + u32(j)
    x[loom.global_id()] = s


@loom.kernel(workgroup=4)
def up_by_three(x: InOut[u32], start: i32, stop: i32) -> None:
    s = u32(0)
    for j in range(start, stop, 3):
        s = s * 3 + u32(j)
    x[loom.global_id()] = s


@loom.kernel(workgroup=4)
def down(x: InOut[u32], start: i32, stop: i32) -> None:
    s = u32(0)
    for j in range(start, stop, -1):
        s = s * 3 + u32(j)
    x[loom.global_id()] = s


@loom.kernel(workgroup=4)
def down_by_seven(x: InOut[u32], start: i32, stop: i32) -> None:
    s = u32(0)
    for j in range(start, stop, -7):
        s = s * 3 + u32(j)
    x[loom.global_id()] = s


@loom.kernel(workgroup=4)
def wide(x: InOut[u32], start: i64, stop: i64) -> None:
    s = u32(0)
    for j in range(start, stop):
        if j % 5 == 3:
            continue
        if s == 123456789:
            break
        s = s * 3 + u32(j & 0xFFFFFFFF)
    x[loom.global_id()] = s


@loom.kernel(workgroup=4)
def apart(x: InOut[u32], start: i32, stop: i32) -> None:
    i = loom.global_id()
    s = u32(0)
    for j in range(start, stop + i32(i)):
        s = s * 3 + u32(j)
    x[i] = s - s * u32(i > 0)


RANGES = {up: 1, up_by_three: 3, down: -1, down_by_seven: -7, wide: 1, apart: 1}
COUNTS = [0, 1, 2, 1023, 1024, 1025, 16_383, 16_384, 16_385, 40_000, 65_536, 131_073]


def expected(start: int, stop: int, step: int, kernel: Any) -> int:
    s = 0
    for j in range(start, stop, step):
        if kernel is wide and j % 5 == 3:
            continue
        s = (s * 3 + j) & MASK
    return s


@pytest.mark.parametrize("simd", ["", "1"], ids=["vectors", "narrow"])
@pytest.mark.parametrize("kernel", RANGES, ids=lambda k: k.name)
def test_turns_are_those_of_range(kernel: Any, simd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if simd:
        monkeypatch.setenv("LOOM_SIMD", simd)
    step = RANGES[kernel]
    for count in COUNTS:
        for start in (0, -5, 2**31 - 1 - count * step if step > 0 else -(2**31) - count * step):
            stop = start + count * step
            x = np.zeros(4, np.uint32)
            chain = loom.Chain("cpu")
            limits = (start, stop - (3 if kernel is apart and stop > 2**30 else 0))
            chain.dispatch(kernel, [x], limits, 1)
            chain.build().run()
            assert x[0] == expected(*limits, step, kernel), (start, count)


@loom.kernel(workgroup=1)
def total(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = u32(0)
    for j in range(n):
        s = s + x[j]
    y[loom.global_id()] = s


@loom.kernel(workgroup=1, trusted=True)
def vouched(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = u32(0)
    for j in range(n):
        s = s + x[j]
    y[loom.global_id()] = s


@loom.kernel(workgroup=1, trusted=True)
def vouched_nest(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = u32(0)
    for i in range(n):
        for j in range(n):
            s = s * 3 + x[i ^ j]
    y[loom.global_id()] = s


def looks_of(kernel: Any) -> int:
    text = LlvmTarget(host_machine(optimised=False)).compile(kernel.verified, bounds_of(kernel.verified), "llvm")
    return text.data.decode().count("load atomic")


def test_kernels_that_are_trusted_look_between_groups_and_around_their_innermost_loops() -> None:
    between_groups = 1
    assert looks_of(total) == between_groups + 1
    assert looks_of(vouched) == between_groups
    assert looks_of(vouched_nest) == between_groups + 1


def test_loops_that_llvm_makes_vectors_of_still_are() -> None:
    if host_machine().simd_lanes == 1:
        pytest.skip("this processor has no vectors")
    text = LlvmTarget(host_machine()).compile(total.verified, bounds_of(total.verified), "llvm").data.decode()
    assert "vector.body" in text
    assert "load atomic" in text


@loom.kernel(workgroup=16)
def rows(start: In[u32], stop: In[u32], place: In[u32], x: In[u32], y: InOut[u32]) -> None:
    i = loom.global_id()
    if i < len(y):
        s = u32(0)
        for e in range(start[i], stop[i]):
            s = s * 3 + x[place[e]]
        y[i] = s


@pytest.mark.parametrize("simd", ["", "1", "4"], ids=["vectors", "narrow", "four"])
def test_lanes_one_by_one_have_the_turns_of_their_rows(simd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows shorter and longer than a strip, of no turns, backwards, and beyond the end of what they count along."""
    if simd:
        monkeypatch.setenv("LOOM_SIMD", simd)
    rng = np.random.default_rng(31)
    place, x = rng.integers(0, 99, 40_000).astype(np.uint32), rng.integers(0, 99, 99).astype(np.uint32)
    counts = [0, 1, 2, 8_191, 8_192, 8_193, 20_000, -1, -9_000, 3, 16_384, 16_385, 0, 5, 7, 9, 40, 41, 1]
    start = np.array([rng.integers(max(0, -c), 40_000 - max(0, c) + 1) for c in counts], np.uint32)
    start[[1, 5, 17]] = 40_000, 31_809, 39_990  # by one, two and 31 turns beyond the end, where 0 is read
    stop = (start.astype(np.int64) + counts).astype(np.uint32)
    y = np.zeros(len(counts), np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(rows, [start, stop, place, x, y], groups=2)
    chain.build().run()
    for n, (a, b) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        s = 0
        for e in range(a, b):
            s = (s * 3 + (int(x[place[e]]) if e < place.size else int(x[0]))) & MASK
        assert y[n] == s, (n, a, b)


def test_groups_of_a_short_kernel_have_one_look_for_many() -> None:
    @loom.kernel(workgroup=16)
    def short(y: InOut[u32]) -> None:
        i = loom.global_id()
        if i < len(y):
            y[i] = y[i] * 3 + i

    assert looks_of(short) == 1
    for groups in (1, 2, 3, 5_000):
        y = np.arange(16 * groups, dtype=np.uint32)
        chain = loom.Chain("cpu")
        chain.dispatch(short, [y], groups=groups)
        chain.build().run()
        assert (y == 4 * np.arange(16 * groups, dtype=np.uint32)).all()
