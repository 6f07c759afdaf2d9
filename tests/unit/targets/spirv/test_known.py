"""What a compiler may know of a value, and that what it may know is hidden in the modules written."""

from __future__ import annotations

import struct

import pytest

from loom.core.dtype import f32, u32
from loom.ir.builder import Builder
from loom.ir.kernel import Access, Instr
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.base.opaque_values import Knowledge
from loom.targets.spirv.features import Features
from loom.targets.spirv.opcodes import OP
from loom.targets.spirv.target import SpirvTarget


@pytest.fixture
def values() -> tuple[Builder, dict[str, Instr]]:
    b = Builder("values", (8, 1, 1))
    x = b.buffer("x", f32, Access.READ)
    i = b.emit("global_id", attr=0)
    loaded = b.emit("load", i, memory=x)
    one, zero = b.const(1.0, f32), b.const(0.0, f32)
    cleared = b.emit("and", i, b.const(0, u32))
    found = {
        "loaded": loaded, "sum": b.emit("add", loaded, one), "number": b.emit("convert", i, dtype=f32),
        "constant": zero, "one": one, "cleared": b.emit("bitcast", cleared, dtype=f32),
        "counted": b.emit("convert", cleared, dtype=f32), "lane": b.emit("local_id", attr=0),
        "only lane": b.emit("local_id", attr=1), "kept": b.emit("load", b.const(1, u32), memory=b.private("p", f32, 2)),
        "bits of one": b.const(0x3F800000, u32), "bits of two": b.const(0x40000000, u32),
        "sum of literals": b.emit("add", b.const(0x3F000000, u32), b.const(0x00800000, u32)),
    }  # fmt: skip
    return b, found


def test_only_what_is_read_from_buffers_is_opaque(values: tuple[Builder, dict[str, Instr]]) -> None:
    b, found = values
    knowledge = Knowledge(b.finish())
    opaque = {name for name, value in found.items() if knowledge.is_opaque(value)}
    assert opaque == {"loaded", "sum", "number", "lane"}


def test_ones_are_found_as_floats_and_as_their_bits(values: tuple[Builder, dict[str, Instr]]) -> None:
    b, found = values
    knowledge = Knowledge(b.finish())
    ones = {name for name, value in found.items() if knowledge.may_be_one(value)}
    assert ones == {"one", "bits of one", "sum of literals", "cleared", "counted"}


def _opcodes(data: bytes) -> list[tuple[int, tuple[int, ...]]]:
    words = struct.unpack(f"<{len(data) // 4}I", data)
    at, found = 5, []
    while at < len(words):
        size = words[at] >> 16
        found.append((words[at] & 0xFFFF, words[at + 1 : at + size]))
        at += size
    return found


@pytest.mark.parametrize("hidden", [False, True])
def test_no_constant_is_an_operand_where_literals_are_hidden(hidden: bool) -> None:
    b = Builder("scaled", (8, 1, 1))
    x = b.buffer("x", f32)
    i = b.emit("global_id", attr=0)
    scaled = b.emit("mul", b.emit("load", i, memory=x), b.const(0.0, f32))
    b.emit("store", i, b.emit("add", scaled, b.const(-0.0, f32)), memory=x)
    target = SpirvTarget(Features(exact_literals=not hidden))
    found = _opcodes(target.compile(verify(b.finish()), Bounds.CHECKED).data)
    constants = {operands[1] for code, operands in found if code == OP["Constant"]}
    used = [set(operands[2:]) & constants for code, operands in found if code in (OP["FMul"], OP["FAdd"])]
    assert [bool(u) for u in used] == [not hidden] * 2
