"""The LLVM target: the same bytes for the same kernel, widths, strides, and the errors of its two names."""

from __future__ import annotations

import gc
import struct
from dataclasses import replace

import llvmlite.ir as ll
import numpy as np
import pytest

import loom
from conformance.strategies import random_kernel
from conformance.writer import Value, Writer
from loom.core.dtype import i32, u8, u32, u64
from loom.core.errors import ArgumentError
from loom.ir.passes.uniformity import analyse_uniformity
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.runtime.drivers.cpu import CpuDevice
from loom.targets.base import Bounds
from loom.targets.llvm.lower import lower, vector_width
from loom.targets.llvm.machine import Machine, emit, machine, machine_names
from loom.targets.llvm.target import LlvmTarget
from loom.targets.llvm.values.lanes import analyse_lanes
from loom.targets.llvm.values.types import Repeated, Undefined


def _kernel() -> VerifiedKernel:
    k = Writer("busy", (40, 1, 1))
    x, out, shared = k.read("x", u32), k.buffer("out", u32), k.shared("s", u32, 40)
    shared[k.local_id()] = x[k.global_id()]
    k.barrier()
    with k.when(shared[3] > 5), k.count(0, k.local_id()) as n:
        out[k.global_id()] = shared[n]
    return verify(k.finish())


@pytest.mark.parametrize("name", machine_names())
@pytest.mark.parametrize("bounds", Bounds)
def test_same_bytes_again(name: str, bounds: Bounds) -> None:
    first, second = (LlvmTarget(name).compile(_kernel(), bounds) for _ in "ab")
    assert first == second
    assert first.entry == "loom_busy"


def test_values_that_cross_barriers_lie_in_the_order_of_their_first_use() -> None:
    """Where a process has a kernel's operations in memory changes nothing of its code."""
    kernels = [random_kernel(10) for _ in range(4)]
    assert len({lower(verify(kernel), machine("x86-64"), Bounds.CHECKED).text for kernel in kernels}) == 1


@pytest.mark.parametrize(
    ("name", "elf_class", "elf_machine"), [("aarch64", 2, 183), ("armv7", 1, 40), ("x86-64", 2, 62)]
)
def test_objects_are_for_their_machine(name: str, elf_class: int, elf_machine: int) -> None:
    data = LlvmTarget(name).compile(_kernel(), Bounds.CHECKED).data
    assert data[:5] == b"\x7fELF" + bytes([elf_class])
    assert struct.unpack_from("<H", data, 18) == (elf_machine,)


def test_wasm_objects_and_ptx_text() -> None:
    assert LlvmTarget("wasm32").compile(_kernel(), Bounds.CHECKED).data[:4] == b"\0asm"
    ptx = LlvmTarget("ptx").compile(_kernel(), Bounds.CHECKED)
    assert (ptx.kind, b".target sm_80" in ptx.data) == ("asm", True)


def _machine(simd_lanes: int, widest: int = 64) -> Machine:
    return Machine("test", "x86_64-unknown-linux-gnu", "x86-64", "", simd_lanes, widest=widest)


@pytest.mark.parametrize(
    ("lanes", "barriers", "where", "width"),
    [
        (256, False, _machine(8), 8), (256, False, _machine(1), 1), (1, False, _machine(8), 1),
        (5, False, _machine(16), 4), (12, False, _machine(8), 4), (10, False, _machine(8), 2),
        (9, False, _machine(8), 2), (64, True, _machine(4), 64), (128, True, _machine(4), 4),
        (40, True, _machine(8), 8),
        (64, True, _machine(4, widest=16), 4), (16, True, _machine(4, widest=16), 16), (64, True, _machine(1), 1),
    ],
)  # fmt: skip
def test_vector_width(lanes: int, barriers: bool, where: Machine, width: int) -> None:
    assert vector_width(lanes, barriers, where) == width


def _strides(k: Writer, values: list[Value], width: int) -> list[int | None]:
    """The strides the analysis claims for some values of a kernel."""
    out = k.buffer("out", u64)
    for value in values:
        out[0] = value.to(u64)
    kernel = k.finish()
    shapes = analyse_lanes(kernel, width, analyse_uniformity(kernel))
    return [shapes.values[v.instr] for v in values]


def test_strides() -> None:
    k = Writer("strides", (64, 1, 1))
    lane, group, x = k.local_id(), k.group_id(), k.read("x", u32)
    values = [
        lane, group, lane + 3, group - lane, lane - group, lane - lane, lane * 5, lane << 2, -lane, lane & 7,
        lane.to(u8), lane.to(u64), (lane + 1).to(u64), x[0], x[lane], k.global_id() * 2 - lane,
    ]  # fmt: skip
    wanted = [1, 0, 1, -1, 1, 0, 5, 4, None, None, 1, 1, None, 0, None, 1]
    assert _strides(k, values, 8) == wanted


def test_rows_shorter_than_a_vector_have_no_stride() -> None:
    k = Writer("short_rows", (4, 6, 1))
    assert _strides(k, [k.local_id(0), k.local_id(1), k.local_id(2)], 8) == [None, None, 0]
    k = Writer("whole_rows", (16, 6, 1))
    assert _strides(k, [k.local_id(0), k.local_id(1), k.local_id(2)], 8) == [1, 0, 0]


def test_unknown_names() -> None:
    with pytest.raises(ArgumentError, match=r"no machine is called 'aarch46'.* Did you mean 'aarch64'"):
        machine("aarch46")
    with pytest.raises(ArgumentError, match="expected object, asm or llvm, got elf"):
        emit("", machine("wasm32"), "elf")


def _dot(name: str) -> VerifiedKernel:
    k = Writer(name, (64, 1, 1))
    x, y, out = k.read("x", i32), k.read("y", i32), k.buffer("out", i32)
    i = k.global_id()
    out[i] = k.op(name, x[i], y[i], out[i])
    return verify(k.finish())


@pytest.mark.parametrize(("name", "features", "dot", "instruction"), [
    ("x86-64-v4", "+avx512vnni,+avx512vl,+avx512bw", "dot4_u8i8", "vpdpbusd"),
    ("x86-64-v4", "+avx512vnni,+avx512vl,+avx512bw", "dot4_i8", "vpdpbusd"),
    ("x86-64-v4", "+avx512vnni,+avx512vl,+avx512bw", "dot2_i16", "vpdpwssd"),
    ("x86-64-v3", "+avxvnni", "dot4_u8i8", "{vex}\tvpdpbusd"),
    ("x86-64-v3", "", "dot4_i8", "vpmaddwd"),
    ("x86-64", "", "dot4_u8i8", "pmaddwd"),
    ("aarch64", "+neon,+dotprod", "dot4_i8", "sdot"),
    ("aarch64", "+neon,+dotprod", "dot4_u8i8", "sdot"),
    ("aarch64", "+neon,+dotprod,+i8mm", "dot4_u8i8", "usdot"),
    ("aarch64", "+neon", "dot2_i16", "smull"),
    ("armv7", "+vfp3,-neon,-neonfp", "dot2_i16", "smlatt"),
    ("wasm32", "+simd128", "dot4_i8", "i32x4.dot_i16x8_s"),
    ("ptx", "+ptx80", "dot4_i8", "dp4a.s32.s32"),
    ("ptx", "+ptx80", "dot4_u8i8", "dp4a.u32.s32"),
])  # fmt: skip
def test_dot_products_are_one_instruction(name: str, features: str, dot: str, instruction: str) -> None:
    where = replace(machine(name), features=features)
    text = LlvmTarget(where).compile(_dot(dot), Bounds.TRUSTED, "asm").data.decode()
    assert f"\t{instruction}" in text
    assert "vpmaddubsw" not in text, "saturates"


@loom.kernel(workgroup=128)
def _sums_apart(x: loom.In[loom.f32], out: loom.Out[loom.f32], n: loom.u32, turns: loom.u32) -> None:
    """Add up what lanes of both halves have, and store it at a place whose parts a loop with barriers is between."""
    lane, side = loom.local_id() % 64, loom.local_id() // 64
    at = loom.group_id(1) * 64 + lane
    made = loom.shared(loom.f32, 128)
    total = loom.f32(0)
    for _ in range(turns):
        made[loom.local_id()] = x[loom.group_id(0) * 64 + lane] + loom.f32(side)
        loom.barrier()
        total = total + made[lane] + made[lane + 64]
        loom.barrier()
    if side == 0 and at < n:
        for g in loom.static_range(2):
            out[(loom.group_id(0) * 2 + g) * n + at] = total * loom.f32(g + 1)


def test_a_place_is_not_taken_apart_where_its_parts_are_gone() -> None:
    x, found = np.arange(192, dtype=np.float32).reshape(3, 64), np.zeros((3, 2, 64), np.float32)
    chain = loom.Chain("cpu")
    chain.dispatch(_sums_apart, [x, found], [64, 1], (3, 1))
    chain.build().run()
    assert found.tolist() == np.stack([2 * x + 1, 4 * x + 2], 1).tolist()


def test_code_is_made_fast_unless_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {}
    for optimised in ("1", "0"):
        monkeypatch.setenv("LOOM_OPTIMISE", optimised)
        sizes[optimised] = len(LlvmTarget(CpuDevice().machine).compile(_kernel(), Bounds.CHECKED, "asm").data)
    assert sizes["0"] > 1.2 * sizes["1"]


def test_a_mask_of_all_lanes_is_none_in_code_that_is_not_optimised() -> None:
    kind, mask = "<4 x float>", "%mask = icmp ult <4 x i32> <i32 0, i32 1, i32 2, i32 3>, splat (i32 4)"
    masked = f"call {kind} @llvm.masked.load.v4f32.p0(ptr align 4 %x, <4 x i1> %mask, {kind} undef)"
    texts = {
        emit(
            f"define void @f(ptr %x) {{ {mask}\n %v = {load}\n store {kind} %v, ptr %x, align 4\n ret void }}\n"
            f"declare {kind} @llvm.masked.load.v4f32.p0(ptr, <4 x i1>, {kind})",
            replace(machine("x86-64"), optimised=False),
            "asm",
        )
        for load in (masked, f"load {kind}, ptr %x, align 4")
    }
    assert len(texts) == 1


def test_a_module_is_freed_without_a_collection() -> None:
    here = machine("host")
    lines = len(lower(_kernel(), here, Bounds.CHECKED).text.splitlines())
    gc.collect()
    gc.disable()
    try:
        lower(_kernel(), here, Bounds.CHECKED)
        assert gc.collect() < 3 * lines  # each instruction is a dozen objects
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [ll.IntType(1), ll.IntType(64), ll.FloatType(), ll.DoubleType()])
def test_constants_of_all_lanes_are_what_llvmlite_writes_one_by_one(kind: ll.Type) -> None:
    vector = ll.VectorType(kind, 4)
    for short, long in (
        (Repeated(kind(1), 4), [kind(1)] * 4),
        (Undefined(vector), [ll.Constant(kind, ll.Undefined)] * 4),
    ):
        texts = {
            emit(f"@x = global {vector} {value.get_reference()}", _machine(4), "llvm")
            for value in (short, ll.Constant(vector, long))
        }
        assert len(texts) == 1
