"""Kernels of graphs that are begun before those they depend on are over: on GPUs that are not there, whose PTX is
interpreted up to where it waits while others run, and which refuse what drivers may refuse.

Oracles: the processor's bits; the emulation, which knows what no lane may touch before it waits.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import loom
from bench.device import pdl_figures
from emulation.driver.base import Failure
from emulation.driver.binding import Binding, Emulated
from emulation.driver.interpreted import Interpreted
from emulation.driver.modules import Module
from emulation.driver.streams import Order
from loom.core.dtype import f32
from loom.core.errors import ArgumentError, DeviceError
from loom.runtime.drivers.cuda import gpus, opened, overlap
from loom.runtime.drivers.cuda.api import Api
from loom.runtime.drivers.cuda.device import CudaDevice
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.cuda.overlap import NO_OVERLAP, Overlap, is_early
from loom.runtime.drivers.probes.wide import WIDE_PROBES
from loom.runtime.memory.storage import HostSlot
from loom.schedules.axis import Rows
from loom.schedules.scan import Scanning, record_scan
from loom.targets.llvm.gpu import nvidia
from unit.runtime.drivers.cuda.test_cuda import compiled, mix, opened_over

WAYS = [Overlap(edges, dependents) for edges in ("chains", "all") for dependents in ("waited", "begun")]
_NAMES = [f"{way.edges}, {way.dependents}" for way in WAYS]


def machine(seed: int = 0, **options: Any) -> Emulated:
    return Emulated(Interpreted(), seed=seed, order=Order.DRAWN, **options)


def gpu_of(driver: Emulated, way: Overlap) -> CudaDevice:
    device = CudaDevice(gpus._gpus(Api(Binding(driver)))[0], tested=False)
    device.overlap = way
    return device


@loom.kernel(workgroup=8)
def step(y: loom.InOut[loom.u32], a: loom.u32) -> None:
    i = loom.global_id()
    y[i] = y[i] * a + i


def mixed(device: Any, seed: int = 3, count: int = 40) -> np.ndarray[Any, Any]:
    """Return what dispatches leave in five arrays: some change one by itself, some by another; chains, forks, joins."""
    rng = np.random.default_rng(seed)
    arrays = [np.arange(16, dtype=np.uint32) + n for n in range(5)]
    chain = loom.Chain(device)
    for _ in range(count):
        source, target = rng.choice(5, 2, replace=False).tolist()
        factor = int(rng.integers(1, 99))
        if rng.integers(3):
            chain.dispatch(step, [arrays[target]], [factor], groups=2)
        else:
            chain.dispatch(mix, [arrays[source], arrays[target]], [factor], groups=2)
    with chain.build() as program:
        program.run()
        program.run()
    return np.stack(arrays)


@pytest.mark.parametrize("way", WAYS, ids=_NAMES)
def test_graphs_with_early_edges_leave_what_the_cpu_leaves(way: Overlap) -> None:
    wanted = mixed("cpu")
    begun = 0
    for seed in range(3):
        driver = machine(seed)
        assert np.array_equal(mixed(gpu_of(driver, way)), wanted)
        assert driver.reports == []
        early = [node for node in driver.executables[0].nodes if node.early]
        followers = [other for node in driver.executables[0].nodes for other in (*node.before, *node.early)]
        if way.edges == "chains":
            assert all(len(n.early) == 1 and not n.before and followers.count(n.early[0]) == 1 for n in early)
        else:
            assert not any(node.before for node in driver.executables[0].nodes)
            assert max(len(node.early) for node in early) > 1
        begun += len(driver.begun_early)
    assert begun > 10


def test_a_device_does_not_begin_kernels_early_by_itself() -> None:
    """Until a GPU has shown that it is quicker."""
    driver = machine()
    device = CudaDevice(gpus._gpus(Api(Binding(driver)))[0], tested=False)
    mixed(device)
    assert not any(node.early for node in driver.executables[0].nodes)
    assert {found.waits for found in device._kernels.values()} == {False}


@pytest.mark.parametrize(
    ("chip", "version", "able"), [((9, 0), 12_030, True), ((10, 0), 13_000, True), ((8, 9), 13_000, False),
                                  ((9, 0), 12_020, False)],
)  # fmt: skip
def test_gpus_and_drivers_that_can_do_as_the_default_says(
    monkeypatch: pytest.MonkeyPatch, chip: tuple[int, int], version: int, able: bool
) -> None:
    monkeypatch.setattr(overlap, "DEFAULT", WAYS[0])
    device = CudaDevice(gpus._gpus(Api(Binding(machine(chip=chip, version=version))))[0], tested=False)
    assert device.overlap == (WAYS[0] if able else NO_OVERLAP)


def _without_wait(text: str, *_: Any, **__: Any) -> str:
    return text.replace("ld.global.nc.", "ld.global.")


def _waits_late(text: str, *_: Any, **__: Any) -> str:
    return _without_wait(text).replace("\tret;", "\tgriddepcontrol.wait;\n\tret;")


def _by_other_caches(text: str, dependents: str, *, copies: bool) -> str:
    changed = WAITING(text, dependents, copies=copies)
    assert changed != text
    return changed.replace("ld.global.b", "ld.global.nc.b")


WAITING = nvidia.waiting


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (_without_wait, "memory is touched before the wait"),
        (_waits_late, "memory is touched before the wait"),
        (_by_other_caches, "a load of memory that others may write since"),
    ],
)
def test_kernels_that_do_not_wait_as_they_have_to_are_found(
    monkeypatch: pytest.MonkeyPatch, written: Callable[..., str], told: str
) -> None:
    monkeypatch.setattr(nvidia, "waiting", written)
    monkeypatch.setattr(opened, "load_artifact", lambda *given: given[-1]())  # nothing wrong is kept on disk
    driver = machine()
    with pytest.raises(DeviceError, match=told):
        mixed(gpu_of(driver, Overlap("all", "waited")))
    assert len(driver.reports) == 1


@pytest.mark.parametrize("refused", ["edges", "graphs", "binding"])
def test_a_driver_that_refuses_has_full_edges_and_is_asked_once(refused: str) -> None:
    driver = machine(version=12_020 if refused == "binding" else 12_080)
    driver.refuses_early = refused
    device = gpu_of(driver, Overlap("all", "waited"))
    wanted = mixed("cpu")
    assert np.array_equal(mixed(device), wanted)
    assert device.overlap == NO_OVERLAP
    assert {"binding": "not found"}.get(refused, "NOT_SUPPORTED") in (device.overlap_refused or "")
    assert {found.waits for found in device._kernels.values()} == {True}
    driver.refuses_early = ""
    assert np.array_equal(mixed(device), wanted)
    assert len(driver.executables) == 2
    assert not any(node.early for graph in driver.executables for node in graph.nodes)
    assert {found.waits for found in device._kernels.values()} == {True, False}


class _Lost(Emulated):
    def cuGraphAddDependencies(self, graph: Any, before: Any, after: Any, kinds: Any, count: int) -> None:
        raise Failure(700, "as the test wants")


def test_a_gpu_that_is_lost_meanwhile_is_no_refusal() -> None:
    device = gpu_of(_Lost(Interpreted()), Overlap("all", "waited"))
    with pytest.raises(DeviceError, match="the device was lost"):
        mixed(device)
    assert device.overlap_refused is None


@pytest.mark.parametrize("way", ["", "chains", "all"])
@pytest.mark.parametrize(
    ("before", "followers", "early"),
    [([], {}, ()), ([4], {4: 1}, ("chains", "all")), ([4], {4: 2}, ("all",)), ([4, 5], {4: 1, 5: 1}, ("all",))],
)
def test_which_edges_are_early(way: str, before: list[int], followers: dict[int, int], early: tuple[str, ...]) -> None:
    assert is_early(way, before, followers) == (way in early)


@pytest.mark.parametrize("name", ["cuGraphAddDependencies", "cuGraphAddDependencies_v2"])
def test_edges_are_added_by_the_name_that_the_binding_has(name: str) -> None:
    """As of version 13 of the binding, and of 12, whose plain name takes no kinds."""
    found: list[Any] = []
    real = Binding(machine())

    def added(*given: Any) -> list[int]:
        found.append(given)
        return [0]

    functions = {"cuGraphAddDependencies": lambda *_: pytest.fail("it takes no kinds"), name: added}
    driver = SimpleNamespace(
        CUgraphEdgeData=real.CUgraphEdgeData, CUgraphDependencyType=real.CUgraphDependencyType,
        CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC=real.CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC, **functions,
    )  # fmt: skip
    Api(driver).add_early_edges("graph", ["a", "b"], "c")
    ((graph, before, after, kinds, count),) = found
    assert (graph, before, after, count) == ("graph", ["a", "b"], ["c", "c"], 2)
    assert [(kind.type, kind.from_port, kind.to_port) for kind in kinds] == [(1, 1, 0)] * 2


def test_few_dispatches_are_launched_as_ever() -> None:
    device = gpu_of(machine(), Overlap("all", "waited"))
    mixed(device, count=8)
    assert {found.waits for found in device._kernels.values()} == {False}
    mixed(device, count=9)
    assert {found.waits for found in device._kernels.values()} == {False, True}


def test_kernels_for_what_is_attached_later_wait_as_the_graph_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver in NVIDIA's place knows which code waits, and begins no other early."""
    driver = compiled(seed=5)
    gpu = opened_over(monkeypatch, driver)
    gpu.overlap = Overlap("all", "waited")
    even, out = gpu.allocate(4 * 32), gpu.allocate(4 * 16)
    odd = CudaStorage(gpu.memory, even.address + 4, 4 * 16)
    even.write(0, np.arange(32, dtype=np.uint32).view(np.uint8))
    slot = HostSlot(4 * 16)
    chain = loom.Chain(gpu)
    for _ in range(20):
        chain.dispatch(mix, [slot, out], [1], groups=2)
    program = chain.build()
    gpu.overlap = NO_OVERLAP
    for given in (even, odd, even):
        slot.attach(given)
        program.run()
    assert {(module.waits, module.placed) for module in driver.code.kernels.values()} == {(True, True), (True, False)}
    assert driver.begun_early
    assert out.read(0, 64).view(np.uint32).tolist() == [20 * (3 * n + 1) for n in range(16)]


@loom.kernel(workgroup=64)
def bump(x: loom.InOut[loom.i32], by: loom.InOut[loom.i32]) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] ^ (by[i % len(by)] & 0x01010101)


@pytest.mark.parametrize("way", WAYS, ids=_NAMES)
def test_products_of_64_rows_read_by_the_copy_engine_what_was_written_before(way: Overlap) -> None:
    probe = WIDE_PROBES[0]
    given, kernel = probe.inputs(), probe.make()
    found: list[Any] = []
    driver = machine(1)
    device = gpu_of(driver, way)
    device.wide = True
    for place in ("cpu", device):
        arrays = [np.array(each) for each in given]
        out = np.zeros_like(probe.expected(*given)).view(np.int32)
        chain = loom.Chain(place)
        with chain.repeat(5):
            chain.dispatch(kernel, [*arrays, out], groups=probe.groups)
            chain.dispatch(bump, [arrays[0], out], groups=-(-arrays[0].size // 64))
        with chain.build() as program:
            program.run()
        found.append([*arrays, out])
    (made,) = (f for f in device._kernels.values() if f.verified.hash == kernel.verified.hash)
    assert "cp.async.bulk" in driver.of(Module, made.module).loaded.text
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert driver.begun_early
    assert driver.reports == []


@pytest.mark.parametrize("way", WAYS, ids=_NAMES)
def test_scans_whose_groups_wait_for_earlier_ones(way: Overlap) -> None:
    x = np.random.default_rng(3).normal(size=9000).astype(np.float32)
    found: list[Any] = []
    driver = machine(2)
    for place in (loom.device("cpu"), gpu_of(driver, way)):
        there, other = place.allocate(x.nbytes), place.allocate(x.nbytes)
        there.write(0, x.view(np.uint8))
        chain = loom.Chain(place)
        for turn in range(6):
            pair = (there, other) if turn % 2 == 0 else (other, there)
            record_scan(chain, *pair, Rows(1, x.size), Scanning("sum", f32, f32, f32))
        chain.build().run()
        found.append(there.read(0, x.nbytes).view(np.uint32))
    assert np.array_equal(*found)
    assert any("scan" in name for name in driver.begun_early)
    assert driver.reports == []


@pytest.mark.parametrize("refused", ["", "graphs"])
def test_figures_are_of_every_way_and_name_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: str
) -> None:
    """The bench for a GPU, on one that is not there."""
    driver = compiled(seed=1)
    driver.refuses_early = refused
    pdl_figures.main(opened_over(monkeypatch, driver), small=True)
    told = capsys.readouterr().out
    assert "DIFFER" not in told
    assert "Error" not in told
    ways, without = 5 * (len(pdl_figures.WAYS) - 1) + 2, 2  # forks and joins have no chain
    assert told.count("the driver refuses it") == (ways - without if refused else 0)
    assert told.count("bits equal") == (without if refused else ways)


@pytest.mark.parametrize("words", [("chain", "waited"), ("all", ""), ("", "begun"), ("all", "early")])
def test_words_that_mean_nothing_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(ArgumentError, match="no such way to begin kernels early"):
        Overlap(*words)
