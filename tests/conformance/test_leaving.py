"""Lanes that leave loops and kernels one by one, or all at once. Oracle: what Python's own flow gives, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from conformance.running import Target, execute, kinds, targets_on
from loom import In, InOut, i32, u8, u32

TARGETS = [Target("interp"), *(target for kind in kinds("vectors") for target in targets_on(kind))]
Array = np.ndarray[Any, Any]


@pytest.fixture(params=TARGETS, ids=str)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param.simd:
        monkeypatch.setenv("LOOM_SIMD", str(request.param.simd))
    return request.param.device


def run(kernel: Any, arrays: list[Array], device: str, groups: tuple[int, int, int] = (1, 1, 1)) -> list[int]:
    return execute(kernel.verified, arrays, (), groups, on=device)[-1].tolist()


def test_a_return_in_a_loop_after_a_loop_with_a_return(device: str) -> None:
    @loom.kernel(workgroup=5)
    def twice(x: In[u8], o: InOut[u8]):
        lid = loom.local_id(0)
        flat = loom.group_id(1) * 65 + lid
        for _a in range(flat, 5, 2):
            return
        for _b in range(65530, 65535, 2):
            o[flat] -= x[lid]
            return

    got = run(twice, [np.arange(1, 6, dtype=np.uint8), np.full(130, 100, np.uint8)], device, (1, 2, 1))
    assert got == [100] * 65 + [99, 98, 97, 96, 95] + [100] * 60


def test_a_return_in_a_uniform_loop_after_guarded_returns(device: str) -> None:
    @loom.kernel(workgroup=8)
    def guarded(s: In[i32], o: InOut[i32]):
        i = loom.global_id()
        if i >= 3:
            o[i] += 10
            if s[i] < 0:
                return
        for n in range(4):
            if s[i] == n:
                return
            o[i] += 1

    got = run(guarded, [np.array([0, 1, 2, 3, -1, 9, 0, -1], np.int32), np.zeros(8, np.int32)], device)
    assert got == [0, 1, 2, 13, 10, 14, 10, 10]


def test_all_return_in_a_uniform_loop_after_guarded_returns(device: str) -> None:
    @loom.kernel(workgroup=8)
    def guarded(s: In[i32], o: InOut[i32]):
        i = loom.global_id()
        if i >= 3:
            o[i] += 10
            if s[i] < 0:
                return
        for _n in range(4):
            o[i] += 1
            return

    got = run(guarded, [np.array([0, 1, 2, 3, -1, 9, 0, -1], np.int32), np.zeros(8, np.int32)], device)
    assert got == [1, 1, 1, 11, 10, 11, 11, 10]


def test_returns_in_loops_within_loops(device: str) -> None:
    @loom.kernel(workgroup=8)
    def nested(s: In[u32], o: InOut[u32]):
        i = loom.global_id()
        for a in range(3):
            if a == s[i]:
                return
            for b in range(3):
                if a + b == s[i]:
                    return
                o[i] += 1
            o[i] += 100
        for _c in range(2):
            o[i] += 1000
            if s[i] & 1 == 1:
                return

    def by_hand(s: int) -> int:
        out = 0
        for a in range(3):
            if a == s:
                return out
            for b in range(3):
                if a + b == s:
                    return out
                out += 1
            out += 100
        for _c in range(2):
            out += 1000
            if s & 1:
                return out
        return out

    s = np.array([0, 1, 2, 3, 4, 5, 6, 7], np.uint32)
    assert run(nested, [s, np.zeros(8, np.uint32)], device) == [by_hand(int(n)) for n in s]


@pytest.mark.parametrize("first", ["break", "continue"])
def test_code_after_an_if_of_which_both_sides_leave(device: str, first: str) -> None:
    @loom.kernel(workgroup=8)
    def breaks(s: In[u32], o: InOut[u32]):
        i = loom.global_id()
        for n in range(s[i]):
            o[i] += 1
            if n > 2:
                break
            else:
                continue
            o[i] += 100  # never reached

    @loom.kernel(workgroup=8)
    def continues(s: In[u32], o: InOut[u32]):
        i = loom.global_id()
        n = u32(0)
        while n < s[i]:
            n += 1
            o[i] += 1
            if n <= 3:
                continue
            elif n == 2:
                return
            else:
                break
            o[i] += 100  # never reached
        o[i] += 10

    s = np.array([0, 1, 2, 3, 4, 5, 6, 7], np.uint32)
    if first == "break":
        assert run(breaks, [s, np.zeros(8, np.uint32)], device) == [0, 1, 2, 3, 4, 4, 4, 4]
    else:
        assert run(continues, [s, np.zeros(8, np.uint32)], device) == [10, 11, 12, 13, 14, 14, 14, 14]


def test_code_after_returns_on_both_sides(device: str) -> None:
    @loom.kernel(workgroup=8)
    def returns(s: In[u32], o: InOut[u32]):
        i = loom.global_id()
        if s[i] > 3:
            if s[i] > 5:
                o[i] = 2
                return
            else:
                o[i] = 3
                return
            o[i] += 100  # never reached
        else:
            o[i] = 4
            return
        o[i] += 1000  # never reached

    assert run(returns, [np.arange(8, dtype=np.uint32), np.zeros(8, np.uint32)], device) == [4, 4, 4, 4, 3, 3, 2, 2]


def test_code_after_a_continue_and_a_break(device: str) -> None:
    @loom.kernel(workgroup=8)
    def uniform(s: In[u32], o: InOut[u32]):
        i = loom.global_id()
        for n in range(s[i]):
            if n > 5:
                continue
            else:
                break
            o[i] = o[i] + 100  # never reached

    @loom.kernel(workgroup=8)
    def apart(s: In[u32], o: InOut[u32]):
        i = loom.global_id()
        for n in range(4):
            if s[i] > n:
                o[i] += 1
                continue
            else:
                break
            o[i] += 100  # never reached

    s = np.array([0, 1, 2, 3, 4, 5, 6, 7], np.uint32)
    assert run(uniform, [s, np.zeros(8, np.uint32)], device) == [0] * 8
    assert run(apart, [s, np.zeros(8, np.uint32)], device) == [0, 1, 2, 3, 4, 4, 4, 4]
