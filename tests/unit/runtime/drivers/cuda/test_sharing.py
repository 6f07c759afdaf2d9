"""Arrays of GPUs shared with other libraries, over a driver that is not NVIDIA's and libraries that are not there.

Oracles: the addresses of the memory, and which stream waits for which; real GPUs, torch and cupy were not at hand.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Emulated
from emulation.driver.streams import Order
from loom import tensor
from loom.core.dlpack import give, take
from loom.core.dtype import bf16
from loom.core.errors import ArgumentError, DeviceError, DTypeError
from loom.runtime import borrowed
from loom.runtime.drivers.cuda.device import CudaDevice
from unit.runtime.drivers.cuda.test_cuda import compiled, opened_over

THEIRS, LEGACY = 77, 1


class Theirs:
    """An array of another library on a GPU; the stream that it was asked for is kept."""

    def __init__(self, array: np.ndarray[Any, Any], number: int = 0, *, is_bf16: bool = False) -> None:
        self.array, self.number, self.is_bf16 = array, number, is_bf16
        self.asked: list[Any] = []

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        self.asked.append(stream)
        return give(self.array, max_version, (2, self.number), is_bf16=self.is_bf16)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number


class Interfaced:
    """An array that has the older protocol alone."""

    def __init__(self, array: np.ndarray[Any, Any], stream: int | None = THEIRS, **more: Any) -> None:
        said = dict(array.__array_interface__)
        self.array = array
        self.__cuda_array_interface__ = {**said, "stream": stream, "version": 3, **more}


@pytest.fixture
def driver() -> Emulated:
    made = compiled(2, order=Order.AT_ONCE)
    made.stranger = 0
    made.adopt_stream(THEIRS)
    return made


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, driver: Emulated) -> list[CudaDevice]:
    found = [opened_over(monkeypatch, driver, n) for n in range(2)]
    for number, gpu in enumerate(found):
        gpu.name = f"cuda:{number}" if number else "cuda"
    names = {gpu.name: gpu for gpu in found}
    monkeypatch.setattr(borrowed, "device", names.__getitem__)
    return found


@loom.kernel(workgroup=8)
def doubled(x: loom.InOut[loom.f32]) -> None:
    i = loom.global_id()
    x[i] = x[i] * 2.0


@pytest.mark.parametrize("make", [Theirs, Interfaced])
def test_a_kernel_writes_their_memory_in_order_with_their_stream(
    gpus: list[CudaDevice], driver: Emulated, make: Callable[..., Any]
) -> None:
    data = np.arange(16, dtype=np.float32)
    theirs = make(data)
    doubled(theirs)
    assert data.tolist() == [2.0 * n for n in range(16)]
    ours, other = int(gpus[0].stream), LEGACY if make is Theirs else THEIRS
    assert driver.waits[:2] == [(ours, other), (other, ours)]
    if make is Theirs:
        assert theirs.asked[-1] == ours, "who gives a capsule has our stream wait for its own work"


def test_a_program_waits_each_time(gpus: list[CudaDevice], driver: Emulated) -> None:
    data = np.ones(8, np.float32)
    chain = loom.Chain(gpus[0])
    chain.dispatch(doubled, [Interfaced(data)])
    program = chain.build()
    for turn in range(3):
        driver.waits.clear()
        program.run()
        assert driver.waits == [(int(gpus[0].stream), THEIRS), (THEIRS, int(gpus[0].stream))]
        assert data.tolist() == [2.0 ** (turn + 1)] * 8


def test_patterns_and_tensors_read_them_where_they_are(gpus: list[CudaDevice]) -> None:
    data = np.arange(1000, dtype=np.float32)
    assert float(loom.gpu_sum(Theirs(data))) == float(loom.gpu_sum(data))
    shared = tensor.from_dlpack(Theirs(data), copy=False)
    assert shared.home is gpus[0]
    assert shared.data.address == data.ctypes.data
    shared[0] = 5.0
    assert (data[0], shared[0].item()) == (0.0, 5.0), "nothing of Loom writes there but kernels that are given it"
    own = tensor.from_dlpack(Theirs(data, number=1))
    data[1] = 9
    assert own.home is gpus[1]
    assert own[1].item() == 1.0
    assert tensor.array(Theirs(data), "f64").numpy().tolist() == data.tolist()
    host = tensor.from_dlpack(Theirs(data), device="cpu")
    assert host.home.name == "cpu"
    assert host.tolist() == data.tolist()
    half = tensor.from_dlpack(Theirs(np.array([0x3F80, 0x4000], np.uint16), is_bf16=True), copy=False)
    assert (half.dtype, half.tolist()) == (bf16, [1.0, 2.0])


def test_ours_are_given_without_a_copy_once_their_stream_waits(gpus: list[CudaDevice], driver: Emulated) -> None:
    x = tensor.array(np.arange(6, dtype=np.float32).reshape(2, 3), on=gpus[0])
    assert x.__dlpack_device__() == (2, 0)
    driver.waits.clear()
    for stream, waiting in ((None, LEGACY), (2, 2), (THEIRS, THEIRS)):
        taken = take(_Asking(x, stream=stream), "here", devices=(2,))
        assert taken.array.ctypes.data == x.data.address
        assert (taken.array.shape, taken.device, taken.number) == ((2, 3), 2, 0)
        assert driver.waits.pop() == (waiting, int(gpus[0].stream))
    take(_Asking(x, stream=-1), "here", devices=(2,))
    assert not driver.waits
    said = x.__cuda_array_interface__
    assert (said["data"], said["shape"], said["typestr"]) == ((x.data.address, False), (2, 3), "<f4")
    assert (said["stream"], said["strides"], said["version"]) == (int(gpus[0].stream), None, 3)
    before = taken.array
    x[0, 0] = 100.0
    assert before[0, 0] == 0.0, "who changes the tensor finds other memory"
    other = take(_Asking(x, copy=True), "here", devices=(2,))
    assert other.array.ctypes.data != x.data.address
    on_host = np.from_dlpack(_Asking(x, dl_device=(1, 0)))
    assert on_host.tolist() == x.tolist()


class _Asking:
    """Asks a tensor for a capsule with options that numpy does not have."""

    def __init__(self, x: Any, **options: Any) -> None:
        self.x, self.options = x, options

    def __dlpack__(self, **asked: Any) -> Any:
        return self.x.__dlpack__(**{**asked, **self.options})

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.options.get("dl_device", (2, 0))


def test_memory_that_was_lent_is_given_back_when_the_gpu_is_idle(gpus: list[CudaDevice], driver: Emulated) -> None:
    x = tensor.array(np.ones(100, np.float32), on=gpus[0])
    address = x.data.address
    taken = take(_Asking(x), "here", devices=(2,))
    del x
    gc.collect()
    assert address in driver.rooms, "whoever took it keeps it"
    assert not driver.idled
    del taken
    gc.collect()
    assert address not in driver.rooms
    assert driver.idled == 1
    assert not gpus[0].memory.lent


def test_parameters_are_copied_and_views_too(gpus: list[CudaDevice]) -> None:
    held = tensor.parameter([1.0, 2.0], on=gpus[0])
    taken = take(_Asking(held), "here", devices=(2,))
    held.assign([5.0, 6.0])
    assert taken.array.tolist() == [1.0, 2.0]
    x = tensor.array(np.arange(12, dtype=np.int32).reshape(3, 4), on=gpus[0])
    assert take(_Asking(x[:, 1:3]), "here", devices=(2,)).array.tolist() == [[1, 2], [5, 6], [9, 10]]


def test_what_cannot_be_shared_says_why(gpus: list[CudaDevice]) -> None:
    x = tensor.array([1.0, 2.0], on=gpus[0])
    for options, text in (
        ({"stream": 0}, "no stream of CUDA: 0"), ({"stream": "a"}, "no stream of CUDA: 'a'"),
        ({"dl_device": (2, 1)}, r"none goes to \(2, 1\)"), ({"dl_device": (1, 0), "copy": False}, "must be copied"),
    ):  # fmt: skip
        with pytest.raises(BufferError, match=text):
            x.__dlpack__(**options)
    wide = np.ones((4, 6), np.float32)
    fixed = wide.copy()
    fixed.flags.writeable = False
    for given, error, text in (
        (Theirs(wide[:, ::2]), ArgumentError, "do not lie side by side: expected a contiguous array"),
        (Interfaced(wide[:, ::2]), ArgumentError, "do not lie side by side"),
        (Theirs(wide.astype(np.int32)), DTypeError, "another type: expected f32, got i32"),
        (Interfaced(wide, mask=wide), DTypeError, "the array has a mask"),
        (Interfaced(fixed), ArgumentError, "the array is read-only"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            doubled(given)
    with pytest.raises(ArgumentError, match="on another device: expected cpu, got cuda"):
        doubled(Theirs(wide), on="cpu")
    with pytest.raises(ArgumentError, match="on another device: expected cuda, got cuda:1"):
        loom.Chain(gpus[0]).dispatch(doubled, [Theirs(wide, number=1)])
    with pytest.raises(AttributeError, match="a tensor has no '__cuda_array_interface__'"):
        _ = x.astype("bf16").__cuda_array_interface__
    with pytest.raises(ArgumentError, match="the elements must be copied"):
        tensor.from_dlpack(Theirs(wide), copy=False, device="cpu")


def test_the_gpu_of_an_address_is_asked_for(gpus: list[CudaDevice], driver: Emulated) -> None:
    data = np.ones(8, np.float32)
    driver.stranger = 1
    driver.adopt_stream(78, 1)
    doubled(Interfaced(data, 78))
    assert driver.waits[0] == (int(gpus[1].stream), 78)


def test_without_cuda_they_are_refused_by_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str) -> Any:
        raise DeviceError("device 'cuda'", "there is none", remedy="")

    monkeypatch.setattr(borrowed, "device", none)
    chain = loom.Chain("cpu")
    for call in (loom.gpu_sum, loom.array, doubled, tensor.from_dlpack, lambda x: chain.dispatch(doubled, [x])):
        with pytest.raises(DTypeError, match=r"its elements are on CUDA.*Move it to the CPU first"):
            call(Theirs(np.ones(4, np.float32)))
