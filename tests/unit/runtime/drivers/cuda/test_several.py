"""Several GPUs of one host, over a driver that is not NVIDIA's: copies between them, swarms, training; one digest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Binding, Emulated
from emulation.driver.code import Compiled
from loom import tensor
from loom.core.errors import DeviceError
from loom.nn.train.parallel.devices import DeviceCrew
from loom.runtime.drivers.cuda import device as devices
from loom.runtime.drivers.cuda import gpus as finding
from loom.runtime.drivers.cuda import opened, registry
from loom.runtime.drivers.cuda.api import Api
from loom.runtime.drivers.cuda.device import CudaDevice
from unit.runtime.drivers.cuda.test_cuda import compiled, opened_over

DOCUMENT: dict[str, Any] = {
    "format": "loom/1",
    "input": {"shape": [6]},
    "layers": [{"type": "dense", "output_size": 8, "activation": "relu"}, {"type": "dense", "output_size": 3}],
}


@pytest.fixture
def driver() -> Emulated:
    return compiled(4, seed=7)


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch, driver: Emulated) -> list[CudaDevice]:
    found = [opened_over(monkeypatch, driver, n) for n in range(4)]
    for number, gpu in enumerate(found):
        gpu.name = f"cuda:{number}" if number else "cuda"
    return found


def _trained(on: Any, given: Any, epochs: int = 1) -> str:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(32, 6)).astype(np.float32), rng.integers(0, 3, 32)
    network = loom.Network.from_json(DOCUMENT, on=on)
    network.train(x, y, epochs=epochs, batch_size=16, micro_batch=2, optimizer="sgd", seed=3, progress=False,
                  devices=given)  # fmt: skip
    return network.digest()


@pytest.mark.slow
def test_training_over_gpus_has_the_digest_of_one_and_sums_go_from_gpu_to_gpu(
    four: list[CudaDevice], driver: Emulated
) -> None:
    wanted = _trained("cpu", None)
    assert _trained(four[0], None) == wanted
    assert driver.peer_copies == 0
    for count in (2, 3, 4):
        before = driver.peer_copies
        assert _trained(four[0], four[:count]) == wanted
        if count != 3:  # of three some hold two nodes of the tree, which the host joins
            assert driver.peer_copies > before
    assert _trained(four[0], [four[0], four[0]]) == wanted
    assert _trained(four[1], [four[0], "cpu", four[2]]) == wanted


def test_memory_is_asked_for_once_and_copied_from_gpu_to_gpu(four: list[CudaDevice], driver: Emulated) -> None:
    data = np.arange(1000, dtype=np.float32)
    x = tensor.array(data, on=four[0])
    for _ in range(3):
        assert np.array_equal(tensor.array(x, on=four[1]).numpy(), data)
    assert driver.peer_copies == 3 + 1, "and one of known bytes"
    pools = [gpu.memory.pool for gpu in four]
    assert sorted(driver.granted) == sorted([(int(pools[0]), 1), (int(pools[1]), 0)])


def test_without_peer_access_copies_go_by_the_host(four: list[CudaDevice], driver: Emulated) -> None:
    driver.reaches = False
    data = np.random.default_rng(2).integers(0, 256, 9_000_001, dtype=np.uint8)
    a, b = four[0].allocate(data.nbytes), four[3].allocate(data.nbytes)
    a.write(0, data)
    assert b.copy_from(1, a, 2, data.nbytes - 2)
    assert np.array_equal(b.read(1, data.nbytes - 2), data[2:])
    assert (driver.peer_copies, driver.granted) == (0, [])


def test_copies_that_come_out_wrong_are_not_used(four: list[CudaDevice], driver: Emulated) -> None:
    driver.spoils = True
    data = np.arange(1000, dtype=np.float32)
    x = tensor.array(data, on=four[0])
    for _ in range(2):
        assert np.array_equal(tensor.array(x, on=four[1]).numpy(), data)
    assert driver.peer_copies == 1


@loom.kernel(workgroup=8)
def counted(x: loom.InOut[loom.u32], by: loom.u32) -> None:
    i = loom.global_id()
    x[i] = x[i] * 3 + by


def test_a_gpu_that_is_lost_ends_its_programs_and_harms_no_other(four: list[CudaDevice], driver: Emulated) -> None:
    driver.launches_left[1] = 0
    for gpu in four:
        storage = gpu.allocate(32)
        chain = loom.Chain(gpu)
        chain.dispatch(counted, [storage], [7], groups=1)
        program = chain.build()
        if gpu is four[1]:
            with pytest.raises(DeviceError, match=r"the device was lost .*Start a new process, or go on with another"):
                program.run()
            continue
        program.run()
        assert storage.read(0, 32).view(np.uint32).tolist() == [7] * 8
    assert [gpu.lost for gpu in four] == [False, True, False, False]
    with pytest.raises(DeviceError, match="the device was lost"):
        four[0].allocate(8).copy_from(0, four[1].allocate(8), 0, 8)


@pytest.mark.slow
def test_a_gpu_that_is_lost_ends_the_training_and_harms_no_other(four: list[CudaDevice], driver: Emulated) -> None:
    driver.launches_left[1] = 20
    with pytest.raises(DeviceError, match="the device was lost"):
        _trained(four[0], four[:2], epochs=20)
    assert [gpu.lost for gpu in four] == [False, True, False, False]
    assert _trained(four[0], [four[0], four[2]]) == _trained("cpu", None)


def test_units_of_a_swarm_are_placed_over_gpus(four: list[CudaDevice]) -> None:
    found: list[list[int]] = []
    for places in (["cpu"] * 4, four):
        units = [loom.boot(registers=8, device=place) for place in places]
        for number, unit in enumerate(units):
            for _ in range(12):
                unit.dispatch(counted, [number + 1], groups=1)
        loom.swarm([unit.build() for unit in units]).run()
        found.append([int(unit.read()[0]) for unit in units])
    assert found[0] == found[1]


def test_gpus_have_names_and_what_lists_them_is_taken_for_them(
    monkeypatch: pytest.MonkeyPatch, driver: Emulated
) -> None:
    assert isinstance(driver.code, Compiled)
    monkeypatch.setattr(opened, "compile_kernel", driver.code.compile)
    monkeypatch.setattr(opened, "load_artifact", lambda *given: given[-1]())
    monkeypatch.setattr(registry._DEVICES, "_find", lambda: finding._gpus(Api(Binding(driver))))
    monkeypatch.setattr(registry._DEVICES, "_make", lambda gpu, name: devices.CudaDevice(gpu, name, tested=False))
    monkeypatch.setattr(registry._DEVICES, "_opened", {})
    monkeypatch.setattr(registry._DEVICES, "_refused", {})
    infos = registry.cuda_infos()
    assert [info.name for info in infos] == ["cuda", "cuda:1", "cuda:2", "cuda:3"]
    assert [loom.device(info).name for info in infos] == [info.name for info in infos]
    assert loom.device("cuda:0") is loom.device("cuda")
    assert [home.name for home in DeviceCrew(infos).devices] == [info.name for info in infos]
    with pytest.raises(
        DeviceError, match=r"no device is called 'cuda:4': expected cuda:0 \(Compiled GPU sm_90\), cuda:1"
    ):
        loom.device("cuda:4")
