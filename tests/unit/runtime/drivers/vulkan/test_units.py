"""Units and chains on Vulkan: memory, recording, repeats, launches, indirect dispatches, many groups.

Oracle: the CPU on the same input, and numbers written out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import KernelFault, LoomTimeout


@loom.kernel(workgroup=4)
def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + b


@loom.kernel(workgroup=(2, 2, 2))
def places(x: loom.InOut[loom.u32]) -> None:
    """Each lane counts itself where it stands in a block as large as the dispatch."""
    wide, high = loom.num_groups(0) * 2, loom.num_groups(1) * 2
    at = (loom.global_id(2) * high + loom.global_id(1)) * wide + loom.global_id(0)
    loom.atomic_add(x, at, loom.group_id(0) + 10 * loom.group_id(1) + 100 * loom.group_id(2) + 1)


@loom.kernel(workgroup=1)
def tell(counts: loom.Out[loom.u32], x: loom.u32, y: loom.u32, z: loom.u32) -> None:
    counts[0] = x
    counts[1] = y
    counts[2] = z


@loom.kernel(workgroup=1, trusted=True)
def busy(x: loom.InOut[loom.u32], turns: loom.u32) -> None:
    for n in range(turns):
        x[0] = x[0] * 3 + n


@loom.kernel(workgroup=1)
def speak(x: loom.InOut[loom.u32]) -> None:
    x[0] = x[0] + 1
    print("x is", x[0])


def test_memory_of_a_unit(vulkan: Any) -> None:
    with loom.boot(100, 50, heap=np.arange(7, dtype=np.float64), bindings={"b": (loom.i8, 33)}, device=vulkan) as unit:
        assert not unit.read().any()
        unit.write([1, 2, 3], offset=97, binding="registers")
        unit.fill(-1, 3, 5, binding="b")
        assert unit.read(96, 4).tolist() == [0, 1, 2, 3]
        assert unit.read(binding="b").tolist() == [0] * 3 + [-1] * 5 + [0] * 25
        assert unit.read(binding="heap").tolist() == [0, 1, 2, 3, 4, 5, 6]
        with loom.boot(100, device=vulkan) as second:
            second.copy_from(unit)
            assert second.read(97).tolist() == [1, 2, 3]


def test_programs_run_again_and_see_writes(vulkan: Any) -> None:
    with loom.boot(6, device=vulkan) as unit:
        unit.write([1] * 6, binding="registers")
        unit.dispatch(affine, [3, 1], 2)
        unit.dispatch(affine, [2, 0], 1)
        program = unit.build()
        program.run()
        assert unit.read().tolist() == [8, 8, 8, 8, 4, 4]
        unit.fill(0)
        submissions = [program.launch() for _ in range(5)]
        for submission in submissions:
            submission.wait(10)
            assert submission.poll()
        expected = [0, 0]
        for _ in range(5):
            expected = [(expected[0] * 3 + 1) * 2, expected[1] * 3 + 1]
        assert unit.read().tolist() == [expected[0]] * 4 + [expected[1]] * 2


def test_repeats_are_the_cpus(vulkan: Any) -> None:
    params = np.random.default_rng(1).integers(0, 2**32, (500, 2), dtype=np.uint32)
    groups = np.random.default_rng(2).integers(0, 4, 500)
    found = []
    for on in (vulkan, loom.device("cpu")):
        with loom.boot(12, device=on) as unit:
            with unit.repeat(500, params=params) as segment:
                unit.dispatch(affine, segment.params, groups)
                unit.dispatch(affine, [5, 7], 1)
            program = unit.build()
            assert program.dispatches == 1000
            program.run()
            found.append(unit.read().tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("groups", [(5, 1, 1), (1, 7, 1), (2, 3, 4), (7, 5, 3), (0, 3, 3)])
@pytest.mark.parametrize("pushed", [128, 0])
def test_dispatches_beyond_the_limits_are_cut(
    other: Callable[..., Any], groups: tuple[int, int, int], pushed: int
) -> None:
    device = other({"push_nbytes": pushed}, groups_x=3, groups_y=2, groups_z=2)
    size = 8 * int(np.prod(groups))
    found = []
    for on in (device, loom.device("cpu")):
        storage = on.allocate(4 * max(1, size))
        chain = loom.Chain(on)
        with chain.repeat(2):
            chain.dispatch(places, [storage], [], groups)
        chain.build().run()
        found.append(storage.read(0, 4 * size).view(np.uint32).tolist())
    assert found[0] == found[1]
    assert len(set(found[0])) == int(np.prod(groups))


def test_words_in_a_table_give_the_same_bits(other: Callable[..., Any]) -> None:
    @loom.kernel(workgroup=2)
    def many(
        x: loom.InOut[loom.f64], a: loom.f64, b: loom.i8, c: loom.u64, d: loom.bool_, e: loom.f32, f: loom.u16
    ) -> None:
        x[loom.global_id()] = a + loom.f64(b) + loom.f64(c) + loom.f64(e) + loom.f64(f) + (1.0 if d else 0.0)

    found = []
    for on in (other({"push_nbytes": 16}), other(), loom.device("cpu")):
        storage = on.allocate(32)
        chain = loom.Chain(on)
        chain.dispatch(many, [storage], [0.5, -3, 2**40, True, 1.25, 65535], 2)
        chain.build().run()
        found.append(storage.read(0, 32).view(np.float64).tolist())
    assert found[0] == found[1] == found[2] == [0.5 - 3 + 2**40 + 1.25 + 65535 + 1] * 4


@pytest.mark.parametrize("counts", [(3, 1, 1), (0, 1, 1), (1, 0, 5), (2, 2, 2)])
def test_indirect_dispatch(vulkan: Any, counts: tuple[int, int, int]) -> None:
    found = []
    for on in (vulkan, loom.device("cpu")):
        x, told = on.allocate(4 * 64), on.allocate(24)
        chain = loom.Chain(on)
        chain.dispatch(tell, [told], counts, 1)
        chain.dispatch_indirect(places, [x], [], told)
        chain.dispatch(affine, [x], [3, 1], 16)
        program = chain.build()
        program.run()
        program.run()
        found.append(x.read(0, 256).view(np.uint32).tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("counts", [(2**31 + 1, 1, 1), (65536, 65536, 1), (1, 2**32 - 1, 0), (60000, 60000, 60000)])
def test_indirect_counts_beyond_the_limits(vulkan: Any, counts: tuple[int, int, int]) -> None:
    texts = []
    for on in (vulkan, loom.device("cpu")):
        x, told = on.allocate(256), on.allocate(12)
        told.write(0, np.array(counts, np.uint32).view(np.uint8))
        chain = loom.Chain(on)
        chain.dispatch_indirect(places, [x], [], told)
        program = chain.build()
        with pytest.raises(KernelFault) as caught:
            program.run()
        texts.append(str(caught.value))
        assert not x.read(0, 256).any()
        told.write(0, np.array([1, 1, 1], np.uint32).view(np.uint8))
        program.run()
        assert x.read(0, 256).any()
    assert texts[0] == texts[1]


def test_indirect_counts_beyond_the_device(other: Callable[..., Any]) -> None:
    device = other(None, groups_x=10)
    x, told = device.allocate(256), device.allocate(12)
    told.write(0, np.array([11, 1, 1], np.uint32).view(np.uint8))
    chain = loom.Chain(device)
    chain.dispatch_indirect(places, [x], [], told)
    with pytest.raises(KernelFault) as caught:
        chain.build().run()
    assert str(caught.value).startswith(
        "[kernel 'places' on device 'other'] more groups in an indirect dispatch than the device takes: expected at "
        "most (10, "
    )


def test_launch_is_asynchronous_and_wait_times_out(vulkan: Any) -> None:
    with loom.boot(1, device=vulkan) as unit:
        for _ in range(40):
            unit.dispatch(busy, [60_000])
        submission = unit.build().launch()
        with pytest.raises(LoomTimeout) as caught:
            submission.wait(0.0001)
        assert "still running: expected done within 0.0001 s" in str(caught.value)
        assert not submission.done
        submission.wait()
        assert submission.poll()


def test_every_run_of_a_talking_program_tells_its_own(vulkan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with loom.boot(1, device=vulkan) as unit:
        unit.dispatch(speak)
        program = unit.build()
        for submission in [program.launch() for _ in range(9)]:
            submission.wait()
    assert capsys.readouterr().out == "".join(f"x is {n}\n" for n in range(1, 10))


def test_units_of_many_threads(vulkan: Any) -> None:
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        with loom.boot(8, device=vulkan) as unit:
            with unit.repeat(50):
                unit.dispatch(affine, [3, number], 2)
            program = unit.build()
            for _ in range(5):
                program.launch()
            results[number] = unit.read().tolist()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in results.items():
        value = 0
        for _ in range(250):
            value = (value * 3 + number) % 2**32
        assert found == [value] * 8


def test_patterns_take_arrays_of_the_host(vulkan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DEVICE", "vulkan")
    data = np.random.default_rng(3).standard_normal(10_000).astype(np.float32)
    found = loom.gpu_sum(data), loom.gpu_map(data, "mul", 3.0)
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    assert found[0].tobytes() == loom.gpu_sum(data).tobytes()
    assert np.array_equal(found[1].view(np.uint32), loom.gpu_map(data, "mul", 3.0).view(np.uint32))


def test_a_long_chain(vulkan: Any) -> None:
    count = 95_370
    with loom.boot(4, device=vulkan) as unit:
        with unit.repeat(count):
            unit.dispatch(affine, [1664525, 1013904223], 1)
        unit.build().run()
        found = unit.read().tolist()
    value = 0
    for _ in range(count):
        value = (value * 1664525 + 1013904223) % 2**32
    assert found == [value] * 4


def test_debug_interprets_over_memory_of_the_device(vulkan: Any) -> None:
    """What a unit and a pattern keep on the device is read there and written back."""
    with loom.boot(4, device=vulkan) as unit:
        unit.write([5, 6, 7, 8], binding="registers")
        unit.dispatch(affine, [2, 1])
        program = unit.build()
        with loom.debug():
            program.run()
        assert unit.read().tolist() == [11, 13, 15, 17]
    x = loom.array(np.arange(5, dtype=np.float32), on="vulkan")
    with loom.debug():
        assert float(loom.gpu_sum(x)) == 10.0
