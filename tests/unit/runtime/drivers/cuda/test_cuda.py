"""The CUDA driver over a driver that is not NVIDIA's: what it hands over, and what it says when things go wrong."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Binding, Emulated
from emulation.driver.code import Compiled
from emulation.driver.streams import Order
from emulation.ptx.memory import EmulationError
from loom.core.errors import DeviceError, KernelFault
from loom.runtime.drivers import copying
from loom.runtime.drivers.cuda import api as apis
from loom.runtime.drivers.cuda import gpus, memory, opened
from loom.runtime.drivers.cuda.device import CudaDevice
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.probes.wide import WIDE_PROBES
from loom.runtime.memory.storage import HostSlot


@loom.kernel(workgroup=8)
def mix(x: loom.In[loom.u32], y: loom.InOut[loom.u32], a: loom.u32) -> None:
    i = loom.global_id()
    y[i] = y[i] * a + x[i]


@loom.kernel(workgroup=8)
def small(x: loom.InOut[loom.u32], most: loom.u32) -> None:
    i = loom.global_id()
    assert x[i] < most, "too large"
    x[i] = x[i] + 1


@loom.kernel(workgroup=(2, 1, 1))
def place(x: loom.InOut[loom.u32]) -> None:
    row = loom.global_id(1)
    x[row * 6 + loom.global_id(0)] = loom.num_groups(1) * 1000 + loom.num_groups(0) * 100 + row


def opened_over(monkeypatch: pytest.MonkeyPatch, driver: Emulated, number: int = 0) -> CudaDevice:
    assert isinstance(driver.code, Compiled)
    monkeypatch.setattr(opened, "compile_kernel", driver.code.compile)
    monkeypatch.setattr(opened, "load_artifact", lambda *given: given[-1]())
    found = gpus._gpus(apis.Api(Binding(driver)))
    return CudaDevice(found[number], tested=False)


def compiled(count: int = 1, seed: int = 0, order: Order = Order.DRAWN, **options: Any) -> Emulated:
    """Return a driver whose kernels are compiled for this processor."""
    return Emulated(Compiled(), count, seed=seed, order=order, **options)


@pytest.fixture(params=[Order.LATE, Order.DRAWN], ids=["late", "drawn"])
def driver(request: pytest.FixtureRequest) -> Emulated:
    return compiled(seed=5, order=request.param)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, driver: Emulated) -> CudaDevice:
    return opened_over(monkeypatch, driver)


def test_graphs_in_any_order_of_their_edges_leave_what_the_cpu_leaves(gpu: CudaDevice, driver: Emulated) -> None:
    rng = np.random.default_rng(3)
    steps = [(*rng.choice(5, 2, replace=False).tolist(), int(rng.integers(1, 99))) for _ in range(120)]
    found: list[Any] = []
    for device in ("cpu", gpu):
        chain = loom.Chain(device)
        arrays = [np.arange(16, dtype=np.uint32) + n for n in range(5)]
        for source, target, factor in steps:
            chain.dispatch(mix, [arrays[source], arrays[target]], [factor], groups=2)
        program = chain.build()
        program.run()
        program.run()
        found.append(np.stack(arrays))
    assert np.array_equal(*found)
    (graph,) = driver.executables
    edges = sum(len(node.before) + len(node.early) for node in graph.nodes)
    assert len(graph.nodes) == 120
    assert 100 < edges < 400  # those of memory alone: every pair of them would be 7140


def test_slots_are_handed_to_graphs_and_rows_anew(gpu: CudaDevice) -> None:
    for count in (100, 200_000):  # few rows, and perhaps more
        for seed in range(3):
            x = np.random.default_rng(seed).normal(size=count).astype(np.float32)
            there = loom.gpu_sum(x, on=gpu)
            assert float(there) == float(loom.gpu_sum(x, on="cpu"))


def test_code_is_for_how_buffers_lie(gpu: CudaDevice, driver: Emulated) -> None:
    """The driver in NVIDIA's place looks at every launch whether its code is for buffers that lie like those given."""
    even = gpu.allocate(4 * 32)
    odd = CudaStorage(gpu.memory, even.address + 4, 4 * 16)
    even.write(0, np.arange(32, dtype=np.uint32).view(np.uint8))
    slot = HostSlot(4 * 16)
    for count in (1, 20):  # rows as they are, and a graph
        chain = loom.Chain(gpu)
        for _ in range(count):
            chain.dispatch(mix, [slot, gpu.allocate(4 * 16)], [1], groups=2)
        program = chain.build()
        for given in (even, odd, even):
            slot.attach(given)
            program.run()
    assert isinstance(driver.code, Compiled)
    assert {module.placed for module in driver.code.kernels.values()} == {True, False}


def test_what_depends_on_a_failed_dispatch_is_not_started(gpu: CudaDevice) -> None:
    x, y = np.arange(8, dtype=np.uint32), np.ones(8, np.uint32)
    chain = loom.Chain(gpu)
    chain.dispatch(small, [x], [5])
    chain.dispatch(mix, [x, y], [1])
    program = chain.build()
    with pytest.raises(KernelFault, match="too large") as caught:
        program.run()
    assert "lane 5" in str(caught.value)
    assert y.tolist() == [1] * 8
    x[:] = 0
    program.run()  # the log was emptied
    assert y.tolist() == [2] * 8


def test_more_groups_than_the_gpu_takes_are_cut(monkeypatch: pytest.MonkeyPatch, driver: Emulated) -> None:
    driver.attributes["MAX_GRID_DIM_Y"] = 4
    gpu = opened_over(monkeypatch, driver)
    found: list[Any] = []
    for device in ("cpu", gpu):
        x, counts = np.zeros((2, 11 * 6), np.uint32), np.array([3, 11, 1], np.uint32)
        chain = loom.Chain(device)
        chain.dispatch(place, [x[0]], [], groups=(3, 11))
        chain.dispatch_indirect(place, [x[1]], [], counts)
        chain.build().run()
        found.append(x)
    assert np.array_equal(*found)
    assert len(driver.launched) == 6


def test_counts_beyond_the_limits_are_a_fault(gpu: CudaDevice) -> None:
    chain = loom.Chain(gpu)
    chain.dispatch_indirect(small, [np.zeros(8, np.uint32)], [9], np.array([1 << 31, 2, 2], np.uint32))
    with pytest.raises(KernelFault, match="unusable number of workgroups in an indirect dispatch"):
        chain.build().run()


def test_memory_is_copied_whole_between_gpus_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = compiled(2)
    first, second = opened_over(monkeypatch, driver), opened_over(monkeypatch, driver, 1)
    data = np.random.default_rng(1).integers(0, 256, 20_000_003, dtype=np.uint8)
    a, b = first.allocate(data.nbytes), second.allocate(data.nbytes)
    assert not a.read(0, 100).any()
    a.write(0, data)
    assert b.copy_from(3, a, 5, data.nbytes - 5)
    assert np.array_equal(b.read(3, data.nbytes - 5), data[5:])
    held = len(driver.rooms)
    del a, b
    for gpu in (first, second):
        with gpu.current:
            gpu.api.cuStreamSynchronize(gpu.stream)
    assert len(driver.rooms) == held - 2


def test_transfers_in_pieces_and_at_once(gpu: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (copying, memory):
        monkeypatch.setattr(module, "PIECE_NBYTES", 1000)
    monkeypatch.setattr(copying, "_LEAST_PIECE", 100)
    monkeypatch.setattr(copying, "LEAST_PART", 300)
    monkeypatch.setattr(memory, "_SMALL_NBYTES", 500)
    data = np.arange(10_007, dtype=np.uint32).view(np.uint8)
    storage = gpu.allocate(data.nbytes)
    for length in (4, 500, 504, 1000, 2000, 5000, data.nbytes):
        storage.write(0, data[:length])
        assert np.array_equal(storage.read(0, length), data[:length])
    storage.write(1004, data[8:3008])
    assert np.array_equal(storage.read(1004, 3000), data[8:3008])
    assert np.array_equal(storage.read(4004, 3000), data[4004:7004])


def test_memory_that_runs_out_is_an_error_and_the_rest_goes_on(gpu: CudaDevice) -> None:
    with pytest.raises(DeviceError, match=r"out of device memory: expected at most 1073741824 bytes"):
        gpu.allocate(1 << 40)
    assert gpu.allocate(64).read(0, 64).tolist() == [0] * 64


def test_a_lost_gpu_is_an_error_of_its_runs_alone(gpu: CudaDevice, driver: Emulated) -> None:
    storage = gpu.allocate(32)
    chain = loom.Chain(gpu)
    chain.dispatch(small, [storage], [9])
    program = chain.build()
    driver.lose(0, EmulationError("as the test wants"))
    with pytest.raises(DeviceError, match="the device was lost"):
        program.run()
    assert gpu.lost
    with pytest.raises(DeviceError, match=r"the device was lost\. Start a new process"):
        gpu.allocate(64)
    assert float(loom.gpu_sum(np.ones(3, np.float32), on="cpu")) == 3.0


@pytest.mark.parametrize("count", [1, 12], ids=["launched", "as a graph"])
def test_launches_ask_for_shared_memory_beyond_what_code_has(gpu: CudaDevice, driver: Emulated, count: int) -> None:
    probe = WIDE_PROBES[0]
    given, chain, kernel = probe.inputs(), loom.Chain(gpu), probe.make()
    wanted = probe.expected(*given)
    outs = [gpu.allocate(wanted.nbytes) for _ in range(count)]
    for out in outs:
        chain.dispatch(kernel, [*given, out], groups=probe.groups)
    chain.build().run()
    assert driver.asked_of == [3 * (4 * 256 * 32 + 16)]
    assert all(out.read(0, wanted.nbytes).view(np.int32).tolist() == wanted.tolist() for out in outs)


def test_more_shared_memory_than_the_gpu_has_is_refused(gpu: CudaDevice, driver: Emulated) -> None:
    driver.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 64 << 10
    gpu.gpu.limits["shared_most"] = 64 << 10
    probe = WIDE_PROBES[0]
    chain = loom.Chain(gpu)
    given = probe.inputs()
    chain.dispatch(probe.make(), [*given, np.zeros_like(given[1])], groups=probe.groups)
    with pytest.raises(DeviceError, match="too much shared memory"):
        chain.build()


def test_gpus_that_cannot_be_used_say_why(monkeypatch: pytest.MonkeyPatch, driver: Emulated) -> None:
    driver.attributes["COMPUTE_CAPABILITY_MAJOR"] = 7
    with pytest.raises(
        DeviceError, match=r"Compiled GPU sm_90 cannot be used: compute capability 8\.0 or newer is needed"
    ):
        opened_over(monkeypatch, driver)
    with pytest.raises(DeviceError, match="CUDA counts no GPU"):
        gpus._gpus(apis.Api(Binding(compiled(0))))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Binding(compiled(version=11_080)), "driver is too old: expected one of CUDA 12.0 or newer, got CUDA 11.8"),
        (ModuleType("no functions"), "driver is not installed"),
    ],
)
def test_drivers_that_cannot_be_used_say_why(monkeypatch: pytest.MonkeyPatch, given: Any, text: str) -> None:
    monkeypatch.setattr(apis, "_binding", lambda: given)
    monkeypatch.setattr(apis, "_loaded", [])
    with pytest.raises(DeviceError) as caught:
        apis.load()
    assert text in str(caught.value)


def test_a_fork_is_told_that_the_driver_stayed_behind(gpu: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(DeviceError, match="its driver stayed behind"):
        gpu.allocate(16)
