"""Choosing a device, what it says of itself, how it shares work, and that units leave nothing behind."""

from __future__ import annotations

import gc
import re
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, DTypeError
from loom.runtime.registry import device, devices
from loom.targets.llvm.machine.layout import BARRIER_BEFORE, GRAIN_SHIFT, INDIRECT, SMALL, UNKNOWN


@loom.kernel(workgroup=64)
def light(x: loom.InOut[loom.u32]) -> None:
    x[loom.global_id()] = 1


@loom.kernel(workgroup=1)
def looping(x: loom.InOut[loom.u32], turns: loom.u32) -> None:
    for _ in range(turns):
        x[loom.group_id()] = x[loom.group_id()] + 1


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOM_DEVICE", raising=False)
    assert device() is device("auto") is device("cpu") is device(device("cpu"))
    monkeypatch.setenv("LOOM_DEVICE", "interp")
    assert device() is device("interp")
    assert loom.Chain().device.name == "interp"
    assert [info.name for info in devices()][:2] == ["cpu", "interp"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "gpus",
            "[loom.device] no device is called 'gpus': expected one of auto, cpu, cuda, gpu, interp, vulkan, webgpu. "
            "Did you mean 'gpu' or 'webgpu'?",
        ),
        (
            "CPU",
            "[loom.device] no device is called 'CPU': expected one of auto, cpu, cuda, gpu, interp, vulkan, webgpu. "
            "Known names: ",
        ),
        ("", "[loom.device] no device is called ''"),
        (
            "metal",
            "[loom.device] no device is called 'metal': expected one of auto, cpu, cuda, gpu, interp, vulkan, webgpu. "
            "Such a GPU is reached as 'vulkan', by MoltenVK, or as 'webgpu'.",
        ),
        (
            "HIP:1",
            "[loom.device] no device is called 'HIP:1': expected one of auto, cpu, cuda, gpu, interp, vulkan, webgpu. "
            "Such a GPU is reached as 'vulkan', by RADV, AMDVLK or AMD's own driver.",
        ),
        *(
            (
                name,
                f"[loom.device] no device is called {name!r}: expected one of auto, cpu, cuda, gpu, interp, vulkan, "
                "webgpu. Such a GPU is reached as 'vulkan'",
            )
            for name in ("mps", "rocm", "amd", "directml", "d3d12", "dml", "xpu", "sycl", "oneapi", "opencl")
        ),
    ],
)
def test_unknown_devices(name: str, text: str) -> None:
    with pytest.raises(DeviceError) as caught:
        device(name)
    assert str(caught.value).startswith(text)


def test_an_unknown_device_of_the_environment_is_said_to_be_of_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DEVICE", "interpreter")
    with pytest.raises(DeviceError) as caught:
        loom.boot(1)
    assert str(caught.value) == (
        "[environment LOOM_DEVICE] no device is called 'interpreter': expected one of auto, cpu, cuda, gpu, interp, "
        "vulkan, webgpu. Did you mean 'interp'?"
    )


@pytest.mark.parametrize("given", [0, ["cpu"]])
def test_what_is_no_device(given: Any) -> None:
    with pytest.raises(DTypeError) as caught:
        loom.Chain(given)
    assert str(caught.value) == (
        f"[loom.device] not a device: expected its name, or what loom.device returned, got {given!r}. "
        "Write device='cpu'."
    )


@pytest.mark.parametrize(("name", "value"), [("LOOM_THREADS", "none"), ("LOOM_SIMD", "7"), ("LOOM_CHECK", "on")])
def test_unusable_settings_are_told_when_a_program_is_built(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    chain = loom.Chain("cpu")
    chain.dispatch(light, [np.zeros(64, np.uint32)])
    monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError) as caught:
        chain.build()
    assert str(caught.value).startswith(f"[environment {name}] not a usable number: expected ")
    monkeypatch.delenv(name)
    chain.build().run()  # what was recorded is not lost


@pytest.mark.parametrize("lanes", ["1", "2", "4", "8", "16"])
def test_capabilities_follow_the_settings(monkeypatch: pytest.MonkeyPatch, lanes: str) -> None:
    monkeypatch.setenv("LOOM_SIMD", lanes)
    monkeypatch.setenv("LOOM_THREADS", "3")
    caps = device("cpu").caps
    assert (caps.simd_lanes, caps.workers, caps.unified_memory) == (int(lanes), 3, True)
    assert device("cpu").describe().limits["threads"] == 3


def records(chain: loom.Chain) -> Any:
    program = chain.build()
    return program._inner.records  # type: ignore[union-attr]


def test_small_work_is_marked_and_loops_never_are() -> None:
    x = np.zeros(64, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(light, [x], [], 1)
    chain.dispatch(light, [x], [], 100_000)
    chain.dispatch(looping, [x], [1], 1)
    chain.dispatch_indirect(light, [x], [], np.zeros(3, np.uint32))
    flags = records(chain)["flags"]
    assert [bool(f & SMALL) for f in flags] == [True, False, False, False]
    assert [bool(f & UNKNOWN) for f in flags] == [False, False, True, False]
    assert flags[2] >> GRAIN_SHIFT == 0  # of unknown length: every group may go to another thread


def test_a_batch_is_small_if_all_its_dispatches_are() -> None:
    arrays = [np.zeros(64, np.uint32) for _ in range(4)]
    chain = loom.Chain("cpu")
    for x in arrays[:2]:
        chain.dispatch(light, [x], [], 4)
    for x in arrays:
        chain.dispatch(light, [x], [], 1000)  # each small by itself
    flags = records(chain)["flags"]
    assert flags[0] & SMALL
    assert flags[2] & (BARRIER_BEFORE | SMALL) == BARRIER_BEFORE
    alone = loom.Chain("cpu")
    alone.dispatch(light, arrays[:1], [], 1000)
    assert records(alone)["flags"][0] & SMALL


@loom.kernel(workgroup=1)
def reading(x: loom.InOut[loom.u32], turns: loom.In[loom.u32]) -> None:
    for _ in range(turns[0]):
        x[loom.group_id()] = x[loom.group_id()] * 5 ^ (x[loom.group_id()] >> 3) + 1


def test_what_takes_little_is_run_alone_until_it_takes_much_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_THREADS", "2")
    learned = np.uint32(32 | UNKNOWN)
    x, turns = np.zeros(16, np.uint32), np.ones(1, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(reading, [x, turns], [], 16)
    program = chain.build()
    flags = program._inner.records["flags"]  # type: ignore[union-attr]

    def run_until(marked: np.uint32) -> int:
        for count in range(1, 5000):  # whoever has this core meanwhile makes a run long
            program.run()
            if flags[0] & learned == marked:
                return count
        return 0

    assert run_until(learned)
    turns[0] = 1_000_000
    assert run_until(np.uint32(0)) == 1
    turns[0] = 1
    assert not run_until(learned)
    assert (x == x[0]).all()


def test_a_batch_is_shared_as_finely_as_its_heaviest_dispatch_needs() -> None:
    arrays = [np.zeros(64, np.uint32) for _ in range(3)]
    chain = loom.Chain("cpu")
    chain.dispatch(light, arrays[:1], [], 4)
    chain.dispatch(looping, arrays[1:2], [1], 4)
    chain.dispatch(light, arrays[:1], [], 4)
    found = records(chain)
    assert [bool(f & BARRIER_BEFORE) for f in found["flags"]] == [False, False, True]
    assert found["flags"][0] >> GRAIN_SHIFT == 0
    assert found["flags"][2] >> GRAIN_SHIFT > 4
    assert found["start"].tolist() == [0, 4, 0]


def test_nothing_shares_a_batch_with_an_indirect_dispatch() -> None:
    x, y = np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch_indirect(light, [x], [], np.zeros(3, np.uint32))
    chain.dispatch(light, [y])
    assert [int(f) & (BARRIER_BEFORE | INDIRECT) for f in records(chain)["flags"]] == [
        BARRIER_BEFORE | INDIRECT,
        BARRIER_BEFORE,
    ]


def resident_nbytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_two_hundred_units_leave_nothing_behind() -> None:
    def turn(count: int) -> None:
        for _ in range(count):
            with loom.boot(65_536, 1024, bindings={"x": (loom.u32, 4096)}, device="cpu") as unit:
                unit.fill(1)
                unit.dispatch(light, [], 4)
                unit.build().run()
                unit.dispatch(light, [], 4, bind={"x": "registers"})
                unit.build().launch()

    gc.disable()  # what is freed is freed without it
    try:
        turn(20)
        before = resident_nbytes()
        turn(200)
        grown = resident_nbytes() - before
    finally:
        gc.enable()
    assert grown < 200 * 20_000  # each unit has more than 280,000 bytes


def test_device_and_on_are_one_argument() -> None:
    made = [
        loom.boot(1, on="interp"), loom.boot(1, device="interp"), loom.boot(1, device="interp", on="interp"),
        loom.spawn(1, on="interp"), loom.Chain("interp"), loom.Chain(on="interp"), loom.Chain(device="interp"),
        loom.mailbox(1, 1, on="interp"), loom.flow.loom_boot(1.0, 1, on="interp"),
    ]  # fmt: skip
    assert [m.device.name for m in made] == ["interp"] * len(made)
    with pytest.raises(ArgumentError, match=re.escape(
        "[loom.boot] device and on= are the same argument: expected one of them, got 'cpu' and 'interp'. Leave one out."
    )):  # fmt: skip
        loom.boot(1, device="cpu", on="interp")
