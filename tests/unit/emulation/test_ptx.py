"""PTX that is interpreted: what kernels of CUDA's device compute, and what a GPU would not tell.

Oracles: the processor's bits, numpy, and what the probes of the device expect.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Binding, Emulated
from emulation.driver.interpreted import Interpreted
from emulation.driver.streams import Order
from emulation.ptx.launch import launch
from emulation.ptx.memory import EmulationError, Memory
from emulation.ptx.module import Module
from loom.core.errors import DeviceError
from loom.kernels.matmul.grids import choose_slabs
from loom.kernels.types import product_types
from loom.runtime.drivers.cuda import api, gpus, selftest
from loom.runtime.drivers.cuda.device import CudaDevice
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.cuda.program import CudaProgram
from loom.runtime.drivers.probes.probes import PROBES, TILES
from loom.runtime.drivers.probes.running import passes
from loom.runtime.drivers.probes.wide import WIDE_PROBES
from loom.schedules.matmul import Multiplication, record_matmul
from loom.targets.base import Bounds

_HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def _machine(**options: Any) -> Emulated:
    return Emulated(Interpreted(), seed=4, order=Order.DRAWN, **options)


def _gpu(machine: Emulated) -> CudaDevice:
    return CudaDevice(gpus._gpus(api.Api(Binding(machine)))[0], tested=False)


@pytest.fixture
def machine() -> Emulated:
    return _machine()


@pytest.fixture
def gpu(machine: Emulated) -> CudaDevice:
    return _gpu(machine)


def _one(operations: str, *values: int) -> int:
    """Return what PTX leaves in %rd9 of %rd0, %rd1, ... ."""
    params = ", ".join(f".param .u64 p{n}" for n in range(len(values) + 1))
    loads = "".join(f"ld.param.b64 %rd{n}, [p{n}];\n" for n in range(len(values)))
    text = (
        f"{_HEAD}.visible .entry f({params})\n{{\n.reg .pred %p<9>;\n.reg .b16 %rs<9>;\n.reg .b32 %r<9>;\n"
        f".reg .b64 %rd<12>;\n{loads}ld.param.b64 %rd10, [p{len(values)}];\n{operations}\n"
        "st.global.b64 [%rd10], %rd9;\nret;\n}\n"
    )
    memory = Memory()
    out = memory.allocate(8)
    given = [(v & (1 << 64) - 1).to_bytes(8, "little") for v in (*values, out)]
    launch(Module(text, memory), "f", (1, 1, 1), (1, 1, 1), 0, given, memory)
    return int(memory.view(out, 8).view(np.uint64)[0])


@pytest.mark.parametrize(
    ("operations", "values", "wanted"),
    [
        ("mul.hi.u64 %rd9, %rd0, %rd1;", (2**64 - 1, 2**64 - 1), 2**64 - 2),
        ("div.s64 %rd9, %rd0, %rd1;", (-7, 2), 2**64 - 3),
        ("cvt.u32.u64 %r1, %rd0;\ncvt.s64.s32 %rd9, %r1;", (0xFFFFFFFE,), 2**64 - 2),
        ("cvt.u32.u64 %r1, %rd0;\nbfe.s32 %r2, %r1, 4, 8;\ncvt.u64.u32 %rd9, %r2;", (0xF80,), 0xFFFFFFF8),
        ("cvt.u32.u64 %r1, %rd0;\nbfe.s32 %r2, %r1, 28, 8;\ncvt.u64.u32 %rd9, %r2;", (0x90000000,), 0xFFFFFFF9),
        ("cvt.u32.u64 %r1, %rd0;\ncvt.u32.u64 %r2, %rd1;\nprmt.b32 %r3, %r1, %r2, 0x5410U;\ncvt.u64.u32 %rd9, %r3;",
         (0x44332211, 0x88776655), 0x66552211),
        ("cvt.u32.u64 %r1, %rd0;\ncvt.u32.u64 %r2, %rd1;\nprmt.b32 %r3, %r1, %r2, 0x7F8B;\ncvt.u64.u32 %rd9, %r3;",
         (0x84332211, 0x88776655), 0x88FF00FF),
        ("shl.b64 %rd9, %rd0, 64;", (5,), 0),
        ("cvt.u32.u64 %r1, %rd0;\ncvt.rzi.s32.f32 %r2, %r1;\ncvt.u64.u32 %rd9, %r2;", (0x7FC00000,), 0),
        ("cvt.u32.u64 %r1, %rd0;\ncvt.rzi.s32.f32 %r2, %r1;\ncvt.u64.u32 %rd9, %r2;", (0x4F800000,), 0x7FFFFFFF),
        (
            "cvt.u32.u64 %r1, %rd0;\ncvt.u32.u64 %r2, %rd1;\nprmt.b32 %r3, %r1, %r2, 0x5B71U;\ncvt.u64.u32 %rd9, %r3;",
            (0x80017F02, 0x33445566), 0x55FF337F,
        ),
        (
            "cvt.u32.u64 %r1, %rd0;\ncvt.u32.u64 %r2, %rd1;\nmax.f32 %r3, %r1, %r2;\ncvt.u64.u32 %rd9, %r3;",
            (0x80000000, 0), 0,
        ),
        (
            "cvt.u32.u64 %r1, %rd0;\ncvt.u32.u64 %r2, %rd1;\nfma.rn.f32 %r3, %r1, %r1, %r2;\ncvt.u64.u32 %rd9, %r3;",
            (0x3F800001, 0xBF800002), 0x28800000,
        ),
    ],
)  # fmt: skip
def test_instructions_give_what_the_isa_says(operations: str, values: tuple[int, ...], wanted: int) -> None:
    assert _one(operations, *values) == wanted


@pytest.mark.parametrize(
    ("operations", "code", "text"),
    [
        ("ld.global.b64 %rd9, [%rd10+8];", 700, "byte 8 of an allocation of 8 bytes"),
        ("ld.global.b64 %rd9, [%rd10+-8];", 700, "not|byte|before"),
        ("ld.global.b32 %r1, [%rd10+2];", 716, "no multiple"),
        ("trap;", 719, "trap"),
        ("vote.sync.any.pred %p1, %p1, -1;", 218, "not emulated"),
        ("add.f32 %r1, %r1, %r1;", 218, "rounding"),
        ("AGAIN:\nbra AGAIN;", 702, "does not end"),
    ],
)
def test_what_a_gpu_would_not_do_is_said(
    monkeypatch: pytest.MonkeyPatch, operations: str, code: int, text: str
) -> None:
    monkeypatch.setattr("emulation.ptx.run._MOST_TURNS", 1000)
    with pytest.raises(EmulationError, match=text) as caught:
        _one(operations)
    assert caught.value.code == code


def _probe(device: CudaDevice, probe: Any) -> bool:
    return passes(probe, device.memory.allocate, partial(CudaProgram, device))


def test_a_product_of_tiles_by_tensor_cores_is_right(gpu: CudaDevice) -> None:
    gpu.tiles = True
    assert _probe(gpu, next(p for p in PROBES if p.operation == TILES))


def test_a_product_of_64_rows_is_right_on_hopper_and_refused_elsewhere(gpu: CudaDevice) -> None:
    gpu.wide = True
    assert _probe(gpu, WIDE_PROBES[0])
    older = _gpu(_machine(chip=(8, 0)))
    older.wide = True
    with pytest.raises(DeviceError, match="code for sm_90a"):
        _probe(older, WIDE_PROBES[0])


@pytest.mark.slow  # all probes, each compiled and interpreted: ten seconds
@pytest.mark.parametrize(("chip", "wide"), [((9, 0), True), ((8, 0), False)])
def test_the_self_test_passes(monkeypatch: pytest.MonkeyPatch, chip: tuple[int, int], wide: bool) -> None:
    monkeypatch.setattr(selftest, "read_found", lambda _: None)
    found = dict(selftest.test_gpu(_gpu(_machine(chip=chip))))
    assert ("by tensor cores and the copy engine" in found.values()) == wide
    assert found[TILES] == "by tensor cores"


def test_patterns_have_the_bits_of_the_processor(gpu: CudaDevice, machine: Emulated) -> None:
    x = np.random.default_rng(2).normal(size=700).astype(np.float32)
    assert np.float32(loom.gpu_sum(x, on=gpu)).view(np.uint32) == np.float32(loom.gpu_sum(x, on="cpu")).view(np.uint32)
    assert np.array_equal(np.asarray(loom.gpu_sort(x, on=gpu)), np.sort(x))
    assert machine.launched[0] == "loom_sum_f32_f32_f32"
    assert machine.reports == []


def test_a_product_in_q8_takes_tensor_cores(gpu: CudaDevice, machine: Emulated) -> None:
    gpu.tiles = gpu.wide = True
    rng = np.random.default_rng(5)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((130, 70), (70, 140)))
    found, wanted = (np.asarray(loom.gpu_matmul(a, b, precision="q8", on=place)) for place in (gpu, "cpu"))
    assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))
    assert "loom_matmul_panels_q8_128x128" in machine.launched


def test_a_product_keeps_its_totals_in_shared_memory(gpu: CudaDevice, machine: Emulated) -> None:
    rng = np.random.default_rng(6)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((70, 132), (132, 140)))
    memory = [gpu.allocate(x.nbytes) for x in (a, b)]
    for place, x in zip(memory, (a, b), strict=True):
        place.write(0, x.reshape(-1).view(np.uint8))
    out, chain = gpu.allocate(4 * 70 * 140), loom.Chain(gpu)
    what = Multiplication(70, 140, 132, product_types(loom.f32, loom.f32))
    cut = choose_slabs(gpu.caps, what.types, 4096, 4096, 4096, 1)
    record_matmul(chain, *memory, out, what, schedule=cut)
    chain.build().run()
    found, wanted = out.read(0, out.nbytes).view(np.uint32), np.asarray(loom.gpu_matmul(a, b, on="cpu"))
    assert np.array_equal(found, wanted.reshape(-1).view(np.uint32))
    assert any("64x128x8_2x2_held" in name for name in machine.launched)
    assert machine.reports == []


@loom.kernel(workgroup=32, trusted=True)
def beyond(x: loom.In[loom.f32], y: loom.Out[loom.f32], n: loom.u32) -> None:
    i = loom.global_id()
    y[i] = x[i + n]


def test_a_trusted_kernel_that_reads_beyond_its_array_loses_the_gpu(gpu: CudaDevice, machine: Emulated) -> None:
    x, y = gpu.allocate(128), gpu.allocate(128)
    chain = loom.Chain(gpu)
    chain.dispatch(beyond, [x, y], [0], groups=1)
    chain.build().run()
    again = loom.Chain(gpu)
    again.dispatch(beyond, [x, y], [1], groups=1)
    with pytest.raises(DeviceError, match=r"the device was lost .*ILLEGAL_ADDRESS.*byte 128 of an allocation of 128"):
        again.build().run()
    assert gpu.lost
    assert len(machine.reports) == 1


@loom.kernel(workgroup=64)
def saxpy(x: loom.In[loom.f32], y: loom.InOut[loom.f32], a: loom.f32) -> None:
    i = loom.global_id()
    y[i] = y[i] * a + x[i]


@pytest.mark.parametrize(("size", "first", "inside"), [(128, 0, True), (128, 3, True), (100, 1, False)])
def test_launches_proved_inside_touch_nothing_beyond(
    gpu: CudaDevice, machine: Emulated, size: int, first: int, inside: bool
) -> None:
    """The array ends with its allocation, and begins where vectors may not be loaded."""
    data = np.random.default_rng(first).normal(size=(2, size)).astype(np.float32)
    whole, y = gpu.allocate(4 * (size + first)), gpu.allocate(4 * size)
    x = CudaStorage(gpu.memory, whole.address + 4 * first, 4 * size)
    x.write(0, data[0].view(np.uint8))
    y.write(0, data[1].view(np.uint8))
    found: list[Bounds | None] = []
    known = gpu.proofs.bounds

    def noted(dispatch: Any) -> Bounds | None:
        found.append(known(dispatch))
        return found[-1]

    gpu.proofs.bounds = noted  # type: ignore[method-assign]
    chain = loom.Chain(gpu)
    chain.dispatch(saxpy, [x, y], [2.0], groups=2)
    chain.build().run()
    assert (found[0] is Bounds.INSIDE) == inside
    wanted = data[1] * np.float32(2) + data[0]
    assert np.array_equal(y.read(0, 4 * size).view(np.uint32), wanted.view(np.uint32))
    assert machine.reports == []


@pytest.mark.slow  # every kernel of a training, interpreted: five seconds
def test_a_training_on_two_gpus_has_the_digest_of_the_processor() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(32, 6)).astype(np.float32), rng.integers(0, 3, 32)
    layers = [{"type": "dense", "output_size": 8, "activation": "relu"}, {"type": "dense", "output_size": 3}]
    machine = _machine(count=2)
    gpus_of = api.Api(Binding(machine))
    two = [
        CudaDevice(found, name, tested=False)
        for found, name in zip(gpus._gpus(gpus_of), ("cuda", "cuda:1"), strict=True)
    ]
    digests: list[str] = []
    for place, over in (("cpu", None), (two[0], two)):
        network = loom.Network.from_json({"format": "loom/1", "input": {"shape": [6]}, "layers": layers}, on=place)
        network.train(x, y, epochs=1, batch_size=16, micro_batch=2, optimizer="sgd", seed=3, progress=False,
                      devices=over)  # fmt: skip
        digests.append(network.digest())
    assert digests[0] == digests[1]
    assert machine.peer_copies
