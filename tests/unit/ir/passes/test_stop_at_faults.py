"""The pass that stops lanes at failed asserts leaves kernels without any as they are, and bits where nothing fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from conformance.strategies import random_kernel
from loom import InOut, u32
from loom.ir.interp import interpret
from loom.ir.kernel import Return, walk
from loom.ir.passes.faults import stop_at_faults
from loom.ir.verify import verify


def test_a_kernel_without_asserts_stays_itself() -> None:
    kernel = random_kernel(3)
    assert stop_at_faults(kernel) is kernel


@loom.kernel(workgroup=8)
def returning(o: InOut[u32]):
    i = loom.global_id()
    for n in range(3):
        assert o[i] < 1000 + n, f"{n}"
        o[i] += n
    assert i < 100
    o[i] += 5


@loom.kernel(workgroup=8)
def staying(o: InOut[u32]):
    s = loom.shared(u32, 8)
    i, lane = loom.global_id(), loom.local_id()
    s[lane] = o[i]
    assert i < 100
    loom.barrier()
    n = u32(0)
    while n < 5:
        n += 1
        assert n < 9
        if n == s[lane]:
            continue
        for m in range(n):
            assert m < 9
            if m == 3:
                break
            s[lane] += loom.atomic_add(s, lane, m)
        if n == 4:
            break
    loom.barrier()
    for _turn in range(2):
        if loom.group_id() == 1:
            break
        assert s[lane] < 1_000_000
        loom.barrier()
        o[i] += loom.atomic_add(s, lane, 1)
        loom.barrier()
    o[i] += s[7 - lane]


@pytest.mark.parametrize("kernel", [returning, staying], ids=lambda k: k.name)
def test_bits_stay_where_nothing_fails(kernel: Any) -> None:
    """Oracle: the interpreter on the kernel as it was."""
    changed = stop_at_faults(kernel.ir)
    assert verify(changed).has_barrier == kernel.verified.has_barrier
    left = []
    for ir in (kernel.ir, changed):
        o = np.arange(24, dtype=np.uint32) % 7
        interpret(ir, [o], [], (3, 1, 1))
        left.append(o.tolist())
    assert left[0] == left[1]
    assert len(set(left[0])) > 3


def test_only_kernels_without_barriers_return() -> None:
    assert sum(isinstance(s, Return) for s in walk(stop_at_faults(returning.ir).body)) == 2
    assert not any(isinstance(s, Return) for s in walk(stop_at_faults(staying.ir).body))
