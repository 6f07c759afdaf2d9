"""The numbers Loom writes are those of the official grammar (Debian: spirv-headers)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loom.targets.spirv import opcodes

_FOLDER = Path("/usr/include/spirv/unified1")


def grammar(name: str) -> Any:
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is missing: install spirv-headers")
    return json.loads(path.read_text())


def enumerants(kind: str) -> dict[str, int]:
    core = grammar("spirv.core.grammar.json")
    (found,) = [k for k in core["operand_kinds"] if k["kind"] == kind]
    return {e["enumerant"]: e["value"] for e in found["enumerants"]}


def test_instructions() -> None:
    core = {i["opname"]: i["opcode"] for i in grammar("spirv.core.grammar.json")["instructions"]}
    core = {f"Op{name}": number for name, number in opcodes.OP.items() if name in opcodes.YOUNGER} | core
    assert {name: core[f"Op{name}"] for name in opcodes.OP} == opcodes.OP


def test_extended_instructions() -> None:
    known = {i["opname"]: i["opcode"] for i in grammar("extinst.glsl.std.450.grammar.json")["instructions"]}
    assert {name: known[name] for name in opcodes.GLSL} == opcodes.GLSL


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (opcodes.CAPABILITY, "Capability"), (opcodes.STORAGE, "StorageClass"), (opcodes.DECORATION, "Decoration"),
        (opcodes.BUILT_IN, "BuiltIn"), (opcodes.EXECUTION_MODE, "ExecutionMode"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_enumerants(table: dict[str, int], kind: str) -> None:
    known = {name: number for name, number in table.items() if name in opcodes.YOUNGER} | enumerants(kind)
    assert table == {name: known[name] for name in table}


def test_header() -> None:
    core = grammar("spirv.core.grammar.json")
    assert int(core["magic_number"], 16) == opcodes.MAGIC
    assert opcodes.VERSION == 0x00010300  # SPIR-V 1.3, section 2.3
