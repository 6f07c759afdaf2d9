"""Private arrays beyond what a driver takes lie in a heap, and every bit is what it is without one.

Oracles: the interpreter, and the same kernel on a device that takes its arrays. ``private_nbytes`` and ``heap_nbytes``
are those of an adapter that takes less than the one at hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import conformance.cases  # noqa: F401 (registers them)
import loom
from conformance.running import (
    CASES,
    bits_of,
    environment,
    execute,
    load_case,
    reference_bits,
    require_same,
    theme,
    verified,
)
from loom.core.errors import DeviceError
from loom.ir.verify import MAX_PRIVATE_NBYTES
from loom.targets.base import Bounds
from loom.targets.spirv.features import Features
from loom.targets.spirv.memory import constant_indexes
from loom.targets.spirv.target import SpirvTarget

_OF_NVIDIA = 16383
"""Bytes that NVIDIA's driver takes."""
_REFUSED = (
    "library/keep-f64-f64", "library/keep-i64-bool", "library/keep-positions-bool", "library/keep-positions-f16",
    "library/keep-positions-f32", "library/keep-positions-i8", "library/keep-positions-u64",
    "sorting/bucket-i64_index-4", "sorting/middle-2",
)  # fmt: skip
"""What that driver makes no pipelines of."""

Other = Callable[..., Any]


def _same_bits(name: str, device: Any, modes: int = 2) -> None:
    """Hold every buffer of a case against the interpreter, in its first modes."""
    case, expected = load_case(name), reference_bits(name)
    for mode in case.modes[:modes]:
        kernel = verified(case.kernel if mode == "checked" else replace(case.kernel, trusted=True))
        with environment(LOOM_CHECK=int(mode == "reported")):
            got = execute(kernel, case.buffers, case.params, case.groups, on=device)
        for memory, array, reference in zip(case.kernel.buffers, got, expected, strict=True):
            require_same(bits_of(array, memory.dtype), reference, f"{name}, {mode}, buffer {memory.name!r}")


def _heaps(device: Any) -> list[int]:
    """Return how many arrays of the heap each kernel has."""
    return [len(loaded.heap) for loaded in device._kernels.values()]


def test_kernels_that_nvidia_refuses(other: Other) -> None:
    device = other({"private_nbytes": _OF_NVIDIA})
    for n, name in enumerate(_REFUSED, 1):
        _same_bits(name, device)
        assert _heaps(device) == [1] * (2 * n)


def test_no_other_kernel_of_the_library_has_a_heap_there() -> None:
    features = Features(private_nbytes=_OF_NVIDIA)
    names = [n for n in CASES if theme(n) in ("library", "sorting", "sorting-threads", "threads")]
    large = [
        n for n in names
        if sum((m.size or 0) * m.dtype.nbytes for m in load_case(n).kernel.private) > _OF_NVIDIA
    ]  # fmt: skip
    assert sorted(large) == sorted(_REFUSED)
    for name in large:
        kernel = verified(load_case(name).kernel)
        facts = SpirvTarget(features).compile(kernel, Bounds.TRUSTED).facts
        assert facts["heap"] == (16384,), name  # of one lane; smaller arrays stay where they were


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_every_private_array_in_the_heap(other: Other, part: int) -> None:
    device = other({"private_nbytes": 0})
    kernels = {n: load_case(n).kernel for n in CASES if theme(n) != "random"}
    names = [n for n, kernel in kernels.items() if len(constant_indexes(kernel)) < len(kernel.private)]
    assert len(names) > 150
    for name in names[part::4]:
        _same_bits(name, device, modes=1)
    assert sum(_heaps(device)) > 30


def _kernel(dtype: Any, workgroup: Any, size: int = 70) -> Any:
    @loom.kernel(workgroup=workgroup)
    def turned(x: loom.In[loom.u32], seen: loom.InOut[loom.u32], out: loom.Out[loom.u32]) -> None:
        lane = loom.local_id(0) + 3 * (loom.local_id(1) + 5 * loom.local_id(2))
        group = loom.group_id(0) + loom.num_groups(0) * (loom.group_id(1) + loom.num_groups(1) * loom.group_id(2))
        i = group * 30 + lane
        held = loom.private(dtype, size)
        beside = loom.private(loom.u32, 9)
        for n in range(size):
            if held[n] != dtype(0):
                seen[i] = seen[i] + 1
        for n in range(size):
            held[(x[i] + n) % size] = dtype((n + i) % 100)
            beside[n % 9] = beside[n % 9] + n
        total = loom.u32(0)
        for n in range(size):
            total = total * 31 + loom.u32(held[n]) + beside[n % 9]
        out[i] = total

    return turned


_GROUPS = (7, 3, 2)


def _run(device: Any, kernel: Any) -> Any:
    lanes = 30 * int(np.prod(_GROUPS))
    x = (np.arange(lanes) * 7919 % 10007).astype(np.uint32)
    zeros = np.zeros(lanes, np.uint32)
    found = execute(kernel.verified, [x, zeros, zeros], [], _GROUPS, on=device)
    assert not found[1].any(), "an array does not start as zero"
    return found[2]


@pytest.mark.parametrize("dtype", [loom.u32, loom.f32, loom.u8, loom.i16, loom.i64, loom.f64], ids=str)
@pytest.mark.parametrize("limits", [{}, {"heap_nbytes": 1 << 16}, {"groups_x": 2, "groups_y": 2}], ids=str)
def test_groups_of_many_dimensions(other: Other, vulkan: Any, dtype: Any, limits: dict[str, int]) -> None:
    if dtype.bits != 32 and dtype.name not in ("u8", *vulkan.features.types):
        pytest.skip("the device lacks the type")
    kernel = _kernel(dtype, (3, 5, 2))
    expected = _run("interp", kernel)
    for whole in (1, 8):
        device = other({"private_nbytes": 0, "whole_vectors": whole}, **limits)
        assert np.array_equal(_run(device, kernel), expected)
        assert _heaps(device) == [2]


def test_the_heap_stays_within_its_limit(other: Other) -> None:
    device = other({"private_nbytes": 0}, heap_nbytes=1 << 16)
    chain = loom.Chain(device)
    given, seen, out = (device.allocate(4 * 30 * 4096) for _ in range(3))
    chain.dispatch(_kernel(loom.u32, 30), [given, seen, out], [], 4096)
    program = chain.build()
    recording = program._inner.recordings[0]  # type: ignore[union-attr]
    assert recording.heap is not None
    assert recording.heap.nbytes <= 1 << 16
    assert len(recording.rows) >= 30 * 79 * 4 * 4096 // (1 << 16)


def test_dispatches_beside_each_other(other: Other, vulkan: Any) -> None:
    """Dispatches that need not wait for each other, repeats, and runs under way at the same time share no array."""
    few, many = _kernel(loom.u32, 30), _kernel(loom.u32, 30, size=501)
    lanes = 30 * 40
    x = (np.arange(lanes) * 7919 % 10007).astype(np.uint32)

    def outputs(device: Any, runs: int) -> list[bytes]:
        given = device.allocate(4 * lanes)
        given.write(0, x.view(np.uint8))
        pairs = [(device.allocate(4 * lanes), device.allocate(4 * lanes)) for _ in range(6)]
        chain = loom.Chain(device)
        for n, (seen, out) in enumerate(pairs):
            chain.dispatch((few, many)[n % 2], [given, seen, out], [], 40 - n)
        program = chain.build()
        threads = [threading.Thread(target=lambda: program.launch().wait()) for _ in range(runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any(seen.read(0, 4 * lanes).any() for seen, _ in pairs)
        return [out.read(0, 4 * lanes).tobytes() for _, out in pairs]

    assert outputs(other({"private_nbytes": 0}), 7) == outputs(vulkan, 1)


def test_a_fault_stops_what_depends_on_it(other: Other) -> None:
    """A dispatch that waits only for the heap runs after one that failed (docs/guide/processes.md)."""

    @loom.kernel(workgroup=1)
    def failing(x: loom.InOut[loom.u32], most: loom.u32) -> None:
        held = loom.private(loom.u32, 40)
        for n in range(40):
            held[(n * 3 + most) % 40] = n
        assert held[0] > 100, "failed"
        x[0] = 1

    kernel = _kernel(loom.u32, 30)

    def after(device: Any) -> list[int]:
        x, a, b, c = (device.allocate(4 * 30) for _ in range(4))
        chain = loom.Chain(device)
        chain.dispatch(failing, [x], [1])
        chain.dispatch(kernel, [a, b, c], [], 1)
        chain.dispatch(kernel, [x, b, c], [], 1)
        with pytest.raises(loom.LoomError, match="failed"):
            chain.build().run()
        return c.read(0, 120).view(np.uint32).tolist()

    expected = after(loom.device("interp"))
    assert after(other({"private_nbytes": 0})) == expected
    assert any(expected)


def test_repeats_of_a_dispatch(other: Other, vulkan: Any) -> None:
    """Turns of one row follow each other, whatever they are bound to."""

    @loom.kernel(workgroup=8)
    def rotated(x: loom.InOut[loom.u32], by: loom.u32) -> None:
        i = loom.global_id()
        held = loom.private(loom.u32, 40)
        for n in range(40):
            held[(n + by) % 40] = x[i] + n
        total = loom.u32(0)
        for n in range(40):
            total = total * 33 + held[n]
        x[i] = total

    def after(device: Any) -> bytes:
        storage = device.allocate(4 * 8 * 99)
        storage.write(0, np.arange(8 * 99, dtype=np.uint32).view(np.uint8))
        chain = loom.Chain(device)
        with chain.repeat(20, params=np.arange(20)[:, None]) as segment:
            chain.dispatch(rotated, [storage], segment.params, 99)
        program = chain.build()
        program.run()
        program.run()
        return storage.read(0, storage.nbytes).tobytes()

    assert after(other({"private_nbytes": 0}, heap_nbytes=1 << 14)) == after(vulkan)


def test_patterns_one_after_the_other(other: Other) -> None:
    """Programs whose memory is bound at each call, on a queue that they share: more of them than recordings."""

    def mixed(x: loom.u32) -> loom.u32:
        held = loom.private(loom.u32, 20)
        for n in range(20):
            held[(n + x) % 20] = x + n
        total = loom.u32(0)
        for n in range(20):
            total = total * 33 + held[n]
        return total

    device = other({"private_nbytes": 0})
    data = [(np.arange(n) * 7919 % 10007).astype(np.uint32) for n in (30000, 70, 30000, 5, 29999)] * 3
    found = [loom.gpu_map(loom.array(array, on=device), mixed) for array in data]
    for array, of_device in zip(data, found, strict=True):
        assert np.array_equal(of_device.numpy(), loom.gpu_map(loom.array(array, on="interp"), mixed).numpy())
    assert any(_heaps(device))


def test_a_driver_that_gives_up_a_kernel(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused without a reason is made once more, with a heap."""
    device = other()
    kernel, library, asked = _kernel(loom.u32, 30), device.api.lib, [0]
    expected = _run("interp", kernel)

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            if name == "vkCreateComputePipelines":
                asked[0] += 1
                if asked[0] == 1:
                    return lambda *_: -13
            return getattr(library, name)

    with monkeypatch.context() as patch:
        patch.setattr(device.api, "lib", Refusing())
        device.load(kernel.verified)
    assert asked == [2]
    assert np.array_equal(_run(device, kernel), expected)
    assert _heaps(device) == [2]


def test_an_indirect_dispatch_is_refused(other: Other) -> None:
    device = other({"private_nbytes": 300})
    kernel = _kernel(loom.u32, 30, size=75)
    chain = loom.Chain(device)
    counts = device.allocate(64)
    chain.dispatch_indirect(kernel, [device.allocate(4000) for _ in range(3)], [], counts)
    with pytest.raises(DeviceError) as caught:
        chain.build()
    assert str(caught.value) == (
        "[kernel 'turned' on device 'other'] its private arrays are more than the device keeps for a lane, and an "
        "indirect dispatch has no room for them: expected at most 300 bytes a lane, got 336. Dispatch it with counts "
        "that the host knows, or keep the arrays in a buffer."
    )


def test_a_device_without_a_limit_has_no_heap() -> None:
    assert Features().private_nbytes == MAX_PRIVATE_NBYTES
