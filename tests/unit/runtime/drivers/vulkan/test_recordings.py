"""Recordings: long tables in parts recorded by threads, command buffers used again, slots bound anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import KernelFault
from loom.runtime.drivers.vulkan.program import recording


@loom.kernel(workgroup=4)
def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + b


@loom.kernel(workgroup=1)
def bounded(x: loom.InOut[loom.u32], most: loom.u32) -> None:
    assert x[0] <= most, "too many"
    x[0] = x[0] + 1


def horner(params: np.ndarray[Any, Any]) -> int:
    found = 1
    for a, b in params.tolist():
        found = (found * a + b) % 2**32
    return found


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_follow_each_other(vulkan: Any, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    for least in ("_LEAST_PART", "_LEAST_SLOW_PART"):
        monkeypatch.setattr(recording, least, -(-500 // parts))
    params = np.random.default_rng(1).integers(0, 2**32, (500, 2)).astype(np.uint32)
    storage = vulkan.allocate(4)
    storage.write(0, np.ones(1, np.uint32).view(np.uint8))
    chain = loom.Chain(vulkan)
    with chain.repeat(len(params), params=params) as segment:
        chain.dispatch(affine, [storage], segment.params)
    program = chain.build()
    assert len(program._inner.recordings[0].parts) == parts  # type: ignore[union-attr]
    program.run()
    assert storage.read(0, 4).view(np.uint32)[0] == horner(params)
    program.launch()
    program.launch().wait()
    assert storage.read(0, 4).view(np.uint32)[0] == horner(np.concatenate([params] * 3))


def test_a_fault_names_its_dispatch_in_any_part(vulkan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_LEAST_PART", 10)
    monkeypatch.setattr(vulkan, "threads", 3)
    storage = vulkan.allocate(4)
    chain = loom.Chain(vulkan)
    with chain.repeat(100):
        chain.dispatch(bounded, [storage], [60])
    with pytest.raises(KernelFault, match="too many"):
        chain.build().run()


def test_command_buffers_are_used_again(vulkan: Any) -> None:
    storage = vulkan.allocate(4)

    def turn() -> None:
        chain = loom.Chain(vulkan)
        chain.dispatch(affine, [storage], [1, 1])
        chain.build().run()

    turn()
    before = vulkan.live["CommandPool"]
    for _ in range(40):
        turn()
    assert vulkan.live["CommandPool"] == before


def test_groups_that_differ_by_turn_and_are_none(vulkan: Any) -> None:
    storage = vulkan.allocate(4 * 16)
    chain = loom.Chain(vulkan)
    groups = np.array([1, 0, 3, 2])
    with chain.repeat(4):
        chain.dispatch(affine, [storage], [1, 1], groups=groups)
    chain.build().run()
    reached = storage.read(0, 64).view(np.uint32).reshape(4, 4)[:, 0]
    assert reached.tolist() == [(groups > g).sum() for g in range(4)]
