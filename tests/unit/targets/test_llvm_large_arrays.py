"""Private and shared arrays larger than a stack: memory of their own on the CPU, a limit that is told beyond."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import loom
from loom import InOut, u32
from loom.core.errors import VerifyError
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.llvm.lower import lower
from loom.targets.llvm.machine import host_machine, machine


def run(kernel: Any, size: int, groups: int) -> np.ndarray[Any, Any]:
    out = np.zeros(size, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(kernel, [out], (), (groups, 1, 1))
    chain.build().run()
    return out


@loom.kernel(workgroup=1024)
def across_a_barrier(o: InOut[u32]):
    p = loom.private(u32, 2100)
    i, lane = loom.global_id(), loom.local_id()
    for n in range(0, 2100, 7):
        p[n] = i + n
    loom.barrier()
    o[i] = p[lane % 300 * 7] + p[1] + p[2099] + p[5000]


@loom.kernel(workgroup=8)
def alone(o: InOut[u32]):
    p = loom.private(u32, 16_384)
    i = loom.global_id()
    p[16_383] += i
    o[i] = p[16_383] + p[16_382]


@loom.kernel(workgroup=64)
def of_a_group(o: InOut[u32]):
    s = loom.shared(u32, 1_000_000)
    i, lane = loom.global_id(), loom.local_id()
    s[lane * 15_000] += i
    loom.barrier()
    o[i] = s[(63 - lane) * 15_000] + s[7]


def expected(name: str, i: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if name == "across a barrier":
        n = i % 1024 % 300 * 7
        return (i + n + np.where(1 % 7 == 0, i, 0)).astype(np.uint32)
    if name == "alone":
        return i.astype(np.uint32)
    return (i // 64 * 64 + 63 - i % 64).astype(np.uint32)


CASES = {"across a barrier": (across_a_barrier, 1024), "alone": (alone, 8), "of a group": (of_a_group, 64)}


@pytest.mark.parametrize("width", [1, 4, 8, 16])
@pytest.mark.parametrize("name", CASES)
def test_arrays_beyond_the_stack(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh in every group, and in a thread of the smallest stack that Python makes."""
    monkeypatch.setenv("LOOM_SIMD", str(width))
    kernel, lanes = CASES[name]
    groups, found = 5, []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(run(kernel, lanes * groups, groups)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert (found[0] == expected(name, np.arange(lanes * groups))).all()


def test_only_what_is_too_large_leaves_the_stack() -> None:
    @loom.kernel(workgroup=64)
    def small(o: InOut[u32]):
        p = loom.private(u32, 64)
        p[o[0]] = 1
        o[loom.global_id()] = p[3]

    assert "malloc" not in lower(small.verified, host_machine(8), Bounds.CHECKED).text
    text = lower(alone.verified, host_machine(8), Bounds.CHECKED).text
    assert text.count('call noalias ptr @"malloc"') + text.count('call ptr @"malloc"') == 1
    assert text.count('@"free"(') == 2  # declared, and called once
    assert "malloc" not in lower(alone.verified, machine("wasm32"), Bounds.CHECKED).text


def test_limits_are_told() -> None:
    @loom.kernel(workgroup=1)
    def private(o: InOut[u32]):
        p, q = loom.private(u32, 16_384), loom.private(loom.u8, 1)
        o[0] = p[o[0]] + u32(q[o[0]])

    @loom.kernel(workgroup=1)
    def shared(o: InOut[u32]):
        s = loom.shared(u32, (1 << 22) + 1)
        o[0] = s[o[0]]

    with pytest.raises(VerifyError) as told:
        verify(private.ir)
    assert "its private arrays are too large: expected at most 65536 bytes together, got 65537" in str(told.value)
    assert "Keep them in a buffer, with a part for each lane" in str(told.value)
    with pytest.raises(VerifyError, match="its shared arrays are too large: expected at most 16777216 bytes together"):
        verify(shared.ir)
