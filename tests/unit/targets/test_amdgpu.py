"""Code objects of AMDGPU: what the kernel descriptor says, which memories and instructions kernels use on each chip.

Oracles: LLVM's "User Guide for AMDGPU Backend" (kernel descriptor, flags of ELF, metadata), and Debian's own older
LLVM, which disassembles the objects of the chips that it knows.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.running import load_case, verified
from conformance.writer import Writer
from loom.core.dtype import f32, i32, u8, u32, u64
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine, machine_names
from loom.targets.llvm.target import LlvmTarget

CHIPS = [name for name in machine_names() if name.startswith("gfx")]
_FLAGS = {"gfx90a": 0x3F, "gfx942": 0x4C, "gfx950": 0x4F, "gfx1030": 0x36, "gfx1100": 0x41, "gfx1201": 0x4E}
"""EF_AMDGPU_MACH of each chip."""
_NEAREST, _KEPT = 0, 3
_SYMBOL = struct.Struct("<IBBHQQ")


def _summing(lanes: int = 256) -> VerifiedKernel:
    """A kernel with all four memories, a barrier, an atomic, a division and the number of groups."""
    k = Writer("summing", (lanes, 1, 1))
    x, out, total = k.read("x", f32), k.buffer("out", f32), k.buffer("total", u32)
    shared, own = k.shared("s", f32, lanes), k.private("p", f32, 300)
    with k.count(0, 300) as n:
        own[n] = x[k.global_id() + n]
    shared[k.local_id()] = own[x[0].to(u32)] / x[1]
    k.barrier()
    out[k.global_id()] = shared[(k.local_id() + 1) & (lanes - 1)] * x[2] + x[3]
    total.atomic("max", 0, k.num_groups(1))
    return verify(k.finish())


def _assembly(kernel: VerifiedKernel, chip: str, bounds: Bounds = Bounds.CHECKED) -> str:
    return LlvmTarget(chip).compile(kernel, bounds, "asm").data.decode()


def _code(text: str) -> list[str]:
    """Return the names of the instructions of a kernel's assembly, in order."""
    body = text.split(",@function", 1)[1].split("\t.section", 1)[0]
    return re.findall(r"^\t([a-z][\w]+)", body, re.MULTILINE)


def _sections(data: bytes) -> dict[str, tuple[int, int]]:
    """Return where the sections of an ELF file of 64 bits are, by name: (offset, size)."""
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * n) for n in range(count)]
    texts = rows[names][4]
    return {data[texts + r[0] : data.index(b"\0", texts + r[0])].decode(): (r[4], r[5]) for r in rows}


def _symbols(data: bytes) -> dict[str, tuple[int, int, int]]:
    """Return (value, size, section's number) of the symbols of an ELF file."""
    sections = _sections(data)
    (at, size), (texts, _) = sections[".symtab"], sections[".strtab"]
    found = {}
    for place in range(at, at + size, _SYMBOL.size):
        name, _info, _other, section, value, length = _SYMBOL.unpack_from(data, place)
        found[data[texts + name : data.index(b"\0", texts + name)].decode()] = value, length, section
    return found


@pytest.mark.parametrize("chip", CHIPS)
def test_an_object_is_for_its_chip_and_keeps_subnormals(chip: str) -> None:
    data = LlvmTarget(chip).compile(_summing(), Bounds.CHECKED).data
    assert data[:8] == b"\x7fELF\x02\x01\x01\x40"  # of 64 bits, little-endian, for HSA
    assert data[8] == 3  # code object version 5
    kind, isa = struct.unpack_from("<HH", data, 16)
    (flags,) = struct.unpack_from("<I", data, 48)
    assert (kind, isa, flags & 0xFF) == (1, 224, _FLAGS[chip])
    value, size, _section = _symbols(data)["loom_summing.kd"]
    assert size == 64
    descriptor = data[_sections(data)[".rodata"][0] + value :][:64]
    shared, private, arguments = struct.unpack_from("<III", descriptor)
    assert shared == 256 * 4
    assert private >= 300 * 4
    assert arguments >= 3 * 16 + 8 + 4 + 12  # pointers and lengths, log, number, and the hidden numbers of groups
    (first,) = struct.unpack_from("<I", descriptor, 48)
    modes = [first >> 12 & 3, first >> 14 & 3, first >> 16 & 3, first >> 18 & 3]
    assert modes == [_NEAREST, _NEAREST, _KEPT, _KEPT]


@pytest.mark.parametrize("chip", CHIPS)
def test_each_memory_has_its_own_instructions(chip: str) -> None:
    text = _assembly(_summing(), chip)
    code = _code(text)
    assert not [name for name in code if name.startswith("flat_")], "addresses of any memory are slower"
    for kind in ("global_load", "global_store", "ds_", "global_atomic"):
        assert any(name.startswith(kind) for name in code), kind
    assert any(name.startswith(("scratch_", "buffer_load", "buffer_store")) for name in code)
    assert any(name.startswith("s_barrier") for name in code)
    assert "v_div_fixup_f32" in code
    assert ".value_kind:     hidden_block_count_y" in text
    assert re.search(r"\.reqd_workgroup_size:\n\s+- 256\n\s+- 1\n\s+- 1\n", text)
    assert "sgpr_spill_count: 0" in text


def test_atomics_are_one_instruction_each_seen_by_the_whole_gpu() -> None:
    k = Writer("counting", (64, 1, 1))
    narrow, wide, old = k.buffer("narrow", i32), k.buffer("wide", u64), k.buffer("old", i32)
    at = k.global_id()
    for name in ("add", "and", "or", "xor", "min", "max", "exchange"):
        old[at] = narrow.atomic(name, at, 3)
        wide.atomic(name, at, 3)
    old[at] = narrow.atomic("compare_exchange", at, 1, 2)
    code = _code(_assembly(verify(k.finish()), "gfx90a", Bounds.TRUSTED))
    wanted = ("add", "and", "or", "xor", "smin", "smax", "swap", "cmpswap")
    assert [name for name in wanted if f"global_atomic_{name}" not in code] == []
    assert [name for name in ("umin", "umax", "swap") if f"global_atomic_{name}_x2" not in code] == []
    assert not [name for name in code if name.startswith("s_cbranch")], "none is a loop of others"


def test_small_elements_are_changed_alone() -> None:
    k = Writer("bytes", (64, 1, 1))
    x = k.buffer("x", u8)
    x[k.global_id()] = x[k.global_id()] + 1
    code = _code(_assembly(verify(k.finish()), "gfx1100", Bounds.TRUSTED))
    assert {"global_load_u8", "global_store_b8"} <= set(code) or "global_load_d16_u8" in code


@pytest.mark.parametrize(
    ("chip", "dot", "instruction"),
    [
        ("gfx90a", "dot4_i8", "v_dot4c?_i32_i8"), ("gfx1030", "dot4_i8", "v_dot4c?_i32_i8"),
        ("gfx942", "dot2_i16", "v_dot2c?_i32_i16"), ("gfx1100", "dot4_i8", "v_dot4_i32_iu8"),
        ("gfx1201", "dot4_u8i8", "v_dot4_i32_iu8"), ("gfx90a", "dot4_u8i8", "v_m"), ("gfx1100", "dot2_i16", "v_m"),
    ],
)  # fmt: skip
def test_dot_products_are_one_instruction_where_a_chip_has_it(chip: str, dot: str, instruction: str) -> None:
    k = Writer(dot, (64, 1, 1))
    x, y, out = k.read("x", i32), k.read("y", i32), k.buffer("out", i32)
    i = k.global_id()
    out[i] = k.op(dot, x[i], y[i], out[i])
    text = _assembly(verify(k.finish()), chip, Bounds.TRUSTED)
    assert any(re.match(instruction, name) for name in _code(text)), _code(text)
    assert " clamp" not in text


def test_a_dispatch_cut_in_parts_is_told_where_it_is() -> None:
    k = Writer("placed", (64, 1, 1))
    k.buffer("out", u32)[k.global_id()] = k.num_groups()
    whole = replace(machine("gfx90a"), cut=True)
    text = LlvmTarget(whole).compile(verify(k.finish()), Bounds.TRUSTED, "asm").data.decode()
    assert re.findall(r"\.name:           (\S+)", text) == [
        "out", "out.length", "log", "dispatch", *(f"{what}.{axis}" for what in ("groups", "first") for axis in "xyz"),
        "loom_placed",
    ]  # fmt: skip
    assert "hidden_block_count_x" not in text
    assert text.count(".value_kind:     by_value") == 1 + 1 + 6  # the length, the number, counts and starts


@pytest.mark.parametrize("chip", ["gfx90a", "gfx1030"])
def test_another_llvm_reads_what_this_one_wrote(chip: str, tmp_path: Path) -> None:
    tool = shutil.which("llvm-objdump")
    if tool is None:
        pytest.skip("llvm-objdump is not installed (llvm)")
    file = tmp_path / "kernel.o"
    file.write_bytes(LlvmTarget(chip).compile(_summing(), Bounds.CHECKED).data)
    run = subprocess.run(
        [tool, "-d", "--no-show-raw-insn", f"--mcpu={chip}", str(file)], capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    read = re.findall(r"^\t([a-z]\w+)", run.stdout.split("<loom_summing>:", 1)[1], re.MULTILINE)
    written = _code(_assembly(_summing(), chip))
    assert len(written) > 50
    assert read[: len(written)] == written
    assert set(read[len(written) :]) <= {"s_code_end", "s_nop"}


def test_a_linker_makes_of_it_what_hip_loads(tmp_path: Path) -> None:
    """HIP loads shared objects whose dynamic symbols are the kernel and its descriptor."""
    linker = shutil.which("ld.lld") or next(
        map(str, Path.home().glob(".rustup/toolchains/*/lib/rustlib/*/bin/rust-lld")), ""
    )
    if not linker:
        pytest.skip("LLVM's linker is not installed (lld)")
    file, linked = tmp_path / "kernel.o", tmp_path / "kernel.hsaco"
    file.write_bytes(LlvmTarget("gfx1100").compile(_summing(), Bounds.CHECKED).data)
    flavour = [] if linker.endswith("ld.lld") else ["-flavor", "gnu"]
    subprocess.run([linker, *flavour, "-shared", str(file), "-o", str(linked)], check=True, timeout=60)
    data = linked.read_bytes()
    assert struct.unpack_from("<HH", data, 16) == (3, 224)  # ET_DYN, AMDGPU
    at, size = _sections(data)[".dynstr"]
    assert set(data[at : at + size].split(b"\0")) >= {b"loom_summing", b"loom_summing.kd"}


@pytest.mark.parametrize("chip", ["gfx90a", "gfx1201"])
def test_a_choice_is_no_minimum(chip: str) -> None:
    """``x < 0 ? x : 0`` is +0 for x = -0, and a minimum would be -0: LLVM makes one unless it loses sight of the 0."""
    k = Writer("chosen", (64, 1, 1))
    x, out = k.read("x", f32), k.buffer("out", f32)
    value = x[k.global_id()]
    out[k.global_id()] = k.select(value < 0.0, value, 0.0)
    code = _code(_assembly(verify(k.finish()), chip, Bounds.TRUSTED))
    assert not [name for name in code if name.startswith(("v_min", "v_max", "v_med"))], code
    assert any(name.startswith(("v_cmp_lt_f32", "v_cmp_gt_f32")) for name in code), code


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("random/46", Bounds.REPORTED), ("random/46", Bounds.CHECKED), ("random/259", Bounds.CHECKED)],
)
def test_kernels_at_which_llvm_stopped_are_compiled(name: str, bounds: Bounds) -> None:
    """LLVM 22 stopped, and the process with it: at its own fence of a float, at a private array made a vector."""
    kernel = verified(load_case(name).kernel)
    assert LlvmTarget("gfx942").compile(kernel, bounds).data[:4] == b"\x7fELF"
