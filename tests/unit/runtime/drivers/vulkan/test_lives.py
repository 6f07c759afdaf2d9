"""Native objects are counted and freed; what goes wrong is said and harms nobody else."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.native.arenas import Arena
from loom.runtime.drivers.vulkan.native.queues import Queue


@loom.kernel(workgroup=4)
def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + b


@loom.kernel(workgroup=4)
def careful(x: loom.InOut[loom.u32]) -> None:
    assert x[0] < 5, "never"
    x[1] = 1


def test_a_thousand_units_leave_nothing_behind(vulkan: Any) -> None:
    def turn(count: int) -> None:
        for _ in range(count):
            with loom.boot(64, device=vulkan) as unit:
                unit.dispatch(affine, [2, 1], 16)
                unit.build().run()
                unit.dispatch(careful)
                unit.build().launch()

    turn(5)
    gc.collect()
    before = dict(vulkan.live)
    gc.disable()  # what is freed is freed without it
    try:
        turn(1000)
        assert dict(vulkan.live) == before
    finally:
        gc.enable()


def test_a_forgotten_run_keeps_what_it_uses(vulkan: Any) -> None:
    chain = loom.Chain(vulkan)
    storage = vulkan.allocate(4 << 20)  # an arena of its own
    for _ in range(50):
        chain.dispatch(affine, [storage], [3, 1], 1 << 18)
    chain.build().launch()
    del chain, storage
    with loom.boot(4, device=vulkan) as unit:
        unit.dispatch(affine, [1, 5], 1)
        unit.build().run()
        assert unit.read().tolist() == [5] * 4


def test_a_closed_device_has_freed_everything(other: Callable[..., Any]) -> None:
    device = other()
    unit = loom.boot(1000, device=device)
    unit.dispatch(careful)
    program = unit.build()
    program.run()
    device.close()
    assert not +device.live
    del program, unit
    gc.collect()
    device.close()


def test_ranges_of_an_arena() -> None:
    class Whole:
        nbytes = 1000

    arena = Arena(Whole())  # type: ignore[arg-type]
    first, second, third = arena.take(100), arena.take(200), arena.take(700)
    assert (first, second, third, arena.take(1)) == (0, 100, 300, None)
    arena.give(100, 200)
    assert arena.take(201) is None
    arena.give(0, 100)
    assert arena.take(300) == 0
    arena.give(300, 700)
    arena.give(0, 300)
    assert arena.is_empty


# what goes wrong


def test_too_large_a_buffer_names_the_limit(vulkan: Any) -> None:
    limit = vulkan.adapter.limits["buffer_nbytes"]
    with pytest.raises(DeviceError) as caught:
        vulkan.allocate(limit + 1)
    assert str(caught.value) == (
        f"[device 'vulkan'] too large a buffer: expected at most {limit} bytes in one, got {limit + 1}. "
        "Split the work, or use another device."
    )


def fail_with(vulkan: Any, monkeypatch: pytest.MonkeyPatch, function: str, result: int) -> None:
    """Let a function of the driver fail; a device that seems lost must not go on working behind our back."""

    def fails(*_: Any) -> int:
        library.vkDeviceWaitIdle(vulkan.handle)
        return result

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return fails if name == function else getattr(library, name)

    library = vulkan.api.lib
    monkeypatch.setattr(vulkan.api, "lib", Failing())


@pytest.mark.parametrize("function", ["vkAllocateMemory", "vkCreateBuffer", "vkMapMemory", "vkBindBufferMemory"])
def test_out_of_memory(vulkan: Any, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    if function == "vkMapMemory" and not vulkan.memory.unified:
        pytest.skip("the device's memory is not mapped")
    vulkan.settle()
    before = dict(vulkan.live)
    with monkeypatch.context() as patch:
        fail_with(vulkan, patch, function, -2)
        with pytest.raises(DeviceError) as caught:
            vulkan.allocate(32 << 20)
    assert str(caught.value) == (f"[Vulkan, {function}] out of device memory. Free units or use smaller buffers.")
    left = dict(vulkan.live)  # less than before where arenas kept for reuse were given up
    assert {kind: min(n, before[kind]) for kind, n in left.items()} == left


def test_closing_waits_for_the_thread_that_hands_over_parts(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes back the fences of parts when their run is over already."""
    take_back = Queue._take_back

    def later(queue: Queue, fence: Any) -> None:
        time.sleep(0.2)
        take_back(queue, fence)

    monkeypatch.setattr(Queue, "_take_back", later)
    device = other()
    chain, storage = loom.Chain(device), device.allocate(64)
    for _ in range(2):
        chain.dispatch(careful, [storage])
    chain.build().run()
    device.close()
    assert not +device.live


def test_a_fence_that_came_back_is_not_signalled(vulkan: Any) -> None:
    queues = vulkan.queues
    queues.run_once(lambda _: None)
    fence = queues.fence()
    try:
        assert not queues.wait(fence, 0)
    finally:
        queues.give_back(fence)


@pytest.mark.parametrize(
    "function",
    ["vkCreateShaderModule", "vkCreatePipelineLayout", "vkCreateComputePipelines", "vkCreateDescriptorPool",
     "vkAllocateDescriptorSets", "vkCreateCommandPool", "vkAllocateCommandBuffers", "vkEndCommandBuffer"],
)  # fmt: skip
def test_a_build_that_fails_leaves_nothing(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    device = other()
    if "Command" in function and not device.memory.unified:
        pytest.skip("command pools of transfers are taken again")
    storage = device.allocate(64)
    before = +device.live
    chain = loom.Chain(device)
    chain.dispatch(careful, [storage])
    with monkeypatch.context() as patch:
        fail_with(device, patch, function, -1)
        with pytest.raises(DeviceError) as caught:
            chain.build()
    assert str(caught.value) == f"[Vulkan, {function}] out of host memory. Free units or use smaller buffers."
    del caught
    gc.collect()
    left = +device.live
    left.subtract(before)
    assert {k for k, n in left.items() if n} <= {"Pipeline", "PipelineLayout", "DescriptorSetLayout", "ShaderModule"}
    chain.dispatch(careful, [storage])
    chain.build().run()


def test_a_pipeline_the_driver_cannot_make(other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's driver says no more of a kernel with 16 KiB of private memory."""
    device = other()
    chain = loom.Chain(device)
    chain.dispatch(careful, [device.allocate(64)])
    fail_with(device, monkeypatch, "vkCreateComputePipelines", -13)
    with pytest.raises(DeviceError) as caught:
        chain.build()
    assert str(caught.value) == (
        "[kernel 'careful' on device 'other'] the driver failed and does not say why (Vulkan, "
        "vkCreateComputePipelines): got a kernel with 0 bytes of private memory a lane. Use less of it, or another "
        "device."
    )


@pytest.mark.parametrize("function", ["vkWaitForFences", "vkGetFenceStatus", "vkQueueSubmit"])
def test_a_lost_device(other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, vulkan: Any, function: str) -> None:
    device = other()
    unit = loom.boot(8, device=device)
    unit.dispatch(affine, [1, 1], 2)
    program = unit.build()
    with monkeypatch.context() as patch:
        fail_with(device, patch, function, -4)
        if function == "vkWaitForFences":  # not asked where the run is found over at once
            fail_with(device, patch, "vkGetFenceStatus", 1)
        with pytest.raises(DeviceError) as caught:
            program.launch().poll() if function == "vkGetFenceStatus" else program.run()
        assert str(caught.value) == (
            f"[Vulkan, {function}] the device was lost. Make the device anew with loom.device; results on it are gone."
        )
    assert device.lost
    unit.shutdown()
    with loom.boot(4, device=vulkan) as unharmed:
        unharmed.dispatch(affine, [1, 2], 1)
        unharmed.build().run()
        assert unharmed.read().tolist() == [2] * 4


def test_too_many_buffers_lanes_and_shared_memory(other: Callable[..., Any]) -> None:
    device = other(None, buffers=4, workgroup_lanes=64, shared_nbytes=1024, workgroup_z=2)

    @loom.kernel(workgroup=128)
    def wide(x: loom.InOut[loom.u32]) -> None:
        x[0] = 1

    @loom.kernel(workgroup=(1, 1, 4))
    def deep(x: loom.InOut[loom.u32]) -> None:
        x[0] = 1

    @loom.kernel(workgroup=4)
    def roomy(x: loom.InOut[loom.u32]) -> None:
        s = loom.shared(loom.u32, 257)
        s[loom.local_id()] = 1
        loom.barrier()
        x[0] = s[0]

    for kernel, text in (
        (wide, "too many lanes: expected at most 64, got 128"),
        (deep, "too many lanes along z: expected at most 2, got 4"),
        (roomy, "too much shared memory: expected at most 1024 bytes, got 1028"),
    ):
        chain = loom.Chain(device)
        chain.dispatch(kernel, [device.allocate(16)])
        with pytest.raises(DeviceError) as caught:
            chain.build()
        assert text in str(caught.value)


def test_missing_types_and_atomics(other: Callable[..., Any]) -> None:
    device = other({"types": ("i64",), "int64_atomics": False})

    @loom.kernel(workgroup=1)
    def precise(x: loom.InOut[loom.f64]) -> None:
        x[0] = x[0] + 1.0

    @loom.kernel(workgroup=1)
    def counted(x: loom.InOut[loom.u64]) -> None:
        loom.atomic_add(x, 0, 1)

    texts = []
    for kernel in (precise, counted):
        chain = loom.Chain(device)
        chain.dispatch(kernel, [device.allocate(16)])
        with pytest.raises(DeviceError) as caught:
            chain.build()
        texts.append(str(caught.value))
    assert texts == [
        "[kernel 'precise' on device 'other'] the device lacks types, or computes wrongly with them: expected f64, got "
        "i64. Use another device.",
        "[kernel 'counted' on device 'other'] the device lacks 64-bit atomics: expected atomics of 32 bits. "
        "Use another device.",
    ]


def test_memory_of_another_device(vulkan: Any) -> None:
    chain = loom.Chain(vulkan)
    chain.dispatch(affine, [loom.device("cpu").allocate(16)], [1, 1])
    with pytest.raises(DeviceError) as caught:
        chain.build()
    assert "memory of another device: expected memory it allocated, got HostStorage" in str(caught.value)


def test_a_device_opened_anew_gets_programs_of_its_own(vulkan: Any, other: Callable[..., Any]) -> None:
    """A device that was lost has the name of the one opened after it."""
    second = other()
    second.name = vulkan.name
    x = np.arange(1000, dtype=np.float32)
    for device in (vulkan, second, vulkan):
        array = loom.array(x, on=device)
        assert float(loom.gpu_sum(array)) == 499500.0
        assert np.array_equal(loom.gpu_map(array, "mul", array), x * x)
    second.name = "other"


# whole processes


def run_python(script: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LOOM_CACHE_DIR": str(folder), **settings}
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, env=environment)


def test_pipelines_are_kept_on_disk(vulkan: Any, tmp_path: Path) -> None:
    script = """
        import loom
        unit = loom.boot(8, device="vulkan")
        unit.shutdown()
        print(loom.device("vulkan").pipelines.made)
    """
    first = run_python(script, tmp_path)
    (kept,) = tmp_path.glob("*.vkcache")
    (found,) = tmp_path.glob("*.vkfound")
    assert int(first.stdout) > 0
    assert run_python(script, tmp_path).stdout == "0\n"  # the self-test is not run again
    kept.write_bytes(kept.read_bytes()[:-1])
    found.write_text("torn")
    assert run_python(script, tmp_path).stdout == first.stdout


VALIDATED = """
    import os, numpy as np, loom
    from loom.runtime.drivers.vulkan.native.instance import validation_messages
    from loom.runtime.drivers.vulkan import find_adapters

    @loom.kernel(workgroup=4)
    def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32):
        i = loom.global_id()
        if i < len(x):
            x[i] = x[i] * a + b
            if x[i] == 77:
                print("found at ", i)

    device = loom.device("vulkan")          # all probes of the self-test
    with loom.boot(100, 100, device=device) as unit:
        with unit.repeat(20):
            unit.dispatch(affine, [3, 1], 30)
            unit.dispatch(affine, [1, 0], 70_000)
        program = unit.build()
        for _ in range(3):
            program.launch()
        unit.read()
        unit.write([2, 1, 1])
        storage = device.allocate(12)
        storage.write(0, np.array([2, 1, 1], np.uint32).view(np.uint8))
        chain = loom.Chain(device)
        chain.dispatch_indirect(affine, [device.allocate(64)], [1, 1], storage)
        chain.build().run()
    os.environ["LOOM_DEVICE"] = "vulkan"
    print(loom.gpu_sum(np.arange(10_000, dtype=np.float32)))
    print(loom.gpu_sort(np.arange(5000, dtype=np.uint32)[::-1].copy())[:3].tolist())
    device.close()
    print(len(validation_messages), validation_messages[:3])
"""


def test_the_validation_layer_is_silent(vulkan: Any, tmp_path: Path) -> None:
    done = run_python(VALIDATED, tmp_path, LOOM_VULKAN_VALIDATE="1")
    if "a layer is missing" in done.stderr:
        pytest.skip("the validation layer is missing: install vulkan-validationlayers")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout


FORKED = """
    import gc, os, sys, warnings
    import loom
    warnings.simplefilter("ignore")

    @loom.kernel(workgroup=4)
    def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32):
        i = loom.global_id()
        if i < len(x):
            x[i] = x[i] * a + b

    def computed(unit):
        unit.dispatch(affine, [3, 1])
        unit.build().run()
        return unit.read().tolist()

    unit = loom.boot(4, device="vulkan", name="ours")
    unit.dispatch(affine, [2, 1])
    program = unit.build()
    pid = os.fork()
    if pid == 0:
        for work in (program.run, lambda: computed(unit)):
            try:
                work()
            except loom.core.errors.DeviceError as error:
                print(error)
        del program, work
        unit.shutdown()
        gc.collect()
        try:
            print(computed(loom.boot(4, device="vulkan")))
        except loom.core.errors.DeviceError as error:
            print("refused:", error.where)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    program.run()
    print(computed(unit))
"""


FORKED_PATTERNS = """
    import os, sys
    import numpy as np
    import loom, loom.core.errors

    def double(v):
        return v * 2.0

    x = np.arange(1000, dtype=np.float32)

    def computed():
        mapped, total = loom.gpu_map(x, double, on="vulkan"), loom.gpu_sum(x, on="vulkan")
        print(float(mapped[3]), float(total), float(loom.gpu_sort(x, on="vulkan")[1]))

    computed()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            computed()
        except loom.core.errors.DeviceError as error:
            print("refused:", error.where)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    computed()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_patterns_prepared_before_a_fork_work_after_it(vulkan: Any, tmp_path: Path) -> None:
    done = run_python(FORKED_PATTERNS, tmp_path)
    right = "6.0 499500.0 1.0"
    assert done.stdout.splitlines() in ([right] * 3, [right, "refused: Vulkan", right]), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_leaves_the_device_to_its_parent(vulkan: Any, tmp_path: Path) -> None:
    done = run_python(FORKED, tmp_path)
    told = (
        "[device 'vulkan'] it was opened before this process was forked. "
        "Ask for the device anew with loom.device, or start processes by spawn.\n"
    )
    # a driver may not like a second instance in the child, and then says so
    mine, again = "[1, 1, 1, 1]\n", "refused: Vulkan"
    assert done.stderr == ""
    assert done.stdout.startswith((told + told + mine, told + told + again))
    assert done.stdout.endswith("\n[4, 4, 4, 4]\n")


def test_without_a_loader_or_a_driver(tmp_path: Path) -> None:
    script = """
        import sys
        import loom, loom.core.errors
        {before}
        try:
            loom.device("vulkan")
        except loom.core.errors.DeviceError as error:
            print(error)
        print([info.name for info in loom.devices() if info.kind != "webgpu"])
    """
    absent = run_python(script.format(before="sys.modules['vulkan'] = None"), tmp_path)
    assert absent.stdout.splitlines()[0].startswith("[Vulkan] the package vulkan is not installed")
    assert absent.stdout.splitlines()[0].endswith("Run pip install 'loom-compute[vulkan]'.")
    assert absent.stdout.splitlines()[1] == "['cpu', 'interp']"
    pytest.importorskip("vulkan")
    none = run_python(
        script.format(before=""), tmp_path, VK_ICD_FILENAMES="/nowhere.json", VK_DRIVER_FILES="/nowhere.json"
    )
    assert "[Vulkan] no driver answers" in none.stdout
    assert none.stdout.splitlines()[1] == "['cpu', 'interp']"
