"""What groups that wait for each other are made of: barriers of 32 lanes, and atomics that only read."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import loom
from loom.core.dtype import u32, u64
from loom.core.errors import RaceDetected, VerifyError
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.frontend.intrinsics import atomic_add, barrier, global_id, local_id, near_barrier, shared
from loom.targets.base import Bounds
from loom.targets.llvm.target import LlvmTarget


def turned(lanes: int) -> KernelFunction:
    """Return a kernel of which each lane takes what the lane across its 16 has."""

    @loom.kernel(workgroup=lanes, trusted=True)
    def turn(x: In[u32], out: Out[u32]) -> None:
        held = shared(u32, lanes)
        held[local_id()] = x[global_id()]
        near_barrier()
        out[global_id()] = held[local_id() ^ 15]

    return turn


def ptx(made: KernelFunction) -> str:
    return LlvmTarget("ptx").compile(made.verified, Bounds.TRUSTED).data.decode()


@pytest.mark.parametrize("lanes", [64, 48])
def test_near_lanes_see_what_others_wrote(lanes: int, on: str) -> None:
    x = np.arange(3 * lanes, dtype=np.uint32) * np.uint32(7)
    out = np.zeros_like(x)
    turned(lanes)(x, out, groups=3, on=on)
    assert np.array_equal(out, x[np.arange(x.size) ^ 15])


@pytest.mark.parametrize(("across", "races"), [(15, False), (32, True)])
def test_lanes_of_others_do_not_wait_at_a_near_barrier(across: int, races: bool) -> None:
    @loom.kernel(workgroup=64, trusted=True)
    def turn(x: In[u32], out: Out[u32], across: u32) -> None:
        held = shared(u32, 64)
        held[local_id()] = x[global_id()]
        near_barrier()
        out[global_id()] = held[local_id() ^ across]

    with loom.debug(), pytest.raises(RaceDetected) if races else nullcontext():
        turn(np.arange(128, dtype=np.uint32), np.zeros(128, np.uint32), across, groups=2, on="interp")


def test_near_lanes_of_whole_warps_wait_without_the_group() -> None:
    assert "bar.warp.sync" in ptx(turned(64))
    assert "bar.sync" not in ptx(turned(64))
    assert "bar.sync" in ptx(turned(48))
    assert "bar.warp.sync" not in ptx(turned(48))


def test_a_near_barrier_in_a_branch_is_refused() -> None:
    @loom.kernel(workgroup=64, trusted=True)
    def in_a_branch(out: Out[u32]) -> None:
        if local_id() < 32:
            near_barrier()
        out[global_id()] = 1

    with pytest.raises(VerifyError, match="near_barrier in divergent flow"):
        _ = in_a_branch.verified


def test_an_atomic_that_adds_nothing_reads() -> None:
    """In one step, as others change it; one that adds, or whose value nobody asks for, stays what it is."""

    @loom.kernel(workgroup=64, trusted=True, order="any")
    def told(words: InOut[u64], cells: InOut[u32], out: Out[u64]) -> None:
        found = atomic_add(words, 0, u64(0))
        while found == 0:
            found = atomic_add(words, 0, u64(0))
        barrier()
        out[global_id()] = found + u64(atomic_add(cells, local_id(), 0)) + u64(atomic_add(cells, 70, 1))

    text = ptx(told)
    assert text.count("ld.relaxed.gpu.global.b64") >= 1
    assert text.count("ld.relaxed.gpu.global.b32") == 1
    assert text.count("atom.global") == 1
