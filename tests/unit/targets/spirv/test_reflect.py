"""What modules of others say of themselves, and those that are refused.

Oracle: the text the modules are assembled from (Khronos, spirv-as).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from loom.core.dtype import f32, i32, u32, u64
from loom.core.errors import KernelError
from loom.kernels.sieve.wheel import fill_patterns
from loom.targets.base import Bounds
from loom.targets.spirv.reflect import ForeignBuffer, PushMember, reflect
from loom.targets.spirv.target import SpirvTarget

TEXT = Path(__file__).with_name("saxpy.txt").read_text()


def assembled(text: str, folder: Path) -> bytes:
    tool = shutil.which("spirv-as")
    if tool is None:
        pytest.skip("spirv-as is missing: install spirv-tools")
    (folder / "text").write_text(text)
    subprocess.run([tool, "--target-env", "vulkan1.1", str(folder / "text"), "-o", str(folder / "module")], check=True)
    return (folder / "module").read_bytes()


def changed(*pairs: tuple[str, str]) -> str:
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_buffers_and_push_constants(tmp_path: Path) -> None:
    module = reflect(assembled(TEXT, tmp_path))
    assert module.entry == "saxpy"
    assert module.version == (1, 3)
    assert module.workgroup == (8, 1, 1)
    assert module.buffers == (ForeignBuffer(1, True, True), ForeignBuffer(3, True, False))
    assert module.push == (
        PushMember("a", f32, 0), PushMember("count", u32, 4), PushMember("shift.x", i32, 8),
        PushMember("shift.y", i32, 12), PushMember("big", u64, 16),
    )  # fmt: skip
    assert module.push_nbytes == 24
    assert module.capabilities == ("Shader", "Int64")
    assert module.shared_nbytes == 0


def test_declarations_of_other_kinds(tmp_path: Path) -> None:
    text = changed(
        ("OpMemberDecorate %Read 0 NonWritable", "OpDecorate %x NonWritable\nOpDecorate %y NonReadable"),
        ("OpDecorate %Push Block", "OpDecorate %Push Block\nOpDecorate %three BuiltIn WorkgroupSize"),
        (
            "%three = OpConstant %uint 3",
            "%three = OpConstantComposite %v3uint %two %one %one\n%last = OpConstant %uint 3",
        ),
        ("%push %three", "%push %last"),
        ("%pFloats = ", "%cells = OpTypeArray %uint %two\n%pCells = OpTypePointer Workgroup %cells\n%pFloats = "),
        ("%push = ", "%shared = OpVariable %pCells Workgroup\n%push = "),
    )  # fmt: skip
    module = reflect(assembled(text, tmp_path))
    assert module.buffers == (ForeignBuffer(1, False, True), ForeignBuffer(3, True, False))
    assert module.workgroup == (2, 1, 1)
    assert module.shared_nbytes == 8


def test_a_module_of_loom() -> None:
    kernel = fill_patterns().verified
    module = reflect(SpirvTarget().compile(kernel, Bounds.TRUSTED).data)
    assert module.entry == "main"
    assert module.workgroup == kernel.kernel.workgroup
    assert [(b.binding, b.writes) for b in module.buffers] == [
        (n, memory.access.writes) for n, memory in enumerate(kernel.kernel.buffers)
    ]
    assert {m.dtype for m in module.push} == {u32}


RESOURCE = "a resource Loom cannot bind: expected storage buffers and push constants, got "
ENTRY = "no entry point to run: expected one of the model GLCompute, or one of those called 'main', got "
PLACE = "a buffer Loom cannot find: expected a Binding in DescriptorSet 0, got "
NUMBERS = "a push constant Loom cannot fill: expected numbers, and vectors, arrays and structures of them, got "
WRONG = {
    "two entry points": (
        changed(("OpExecutionMode", 'OpEntryPoint GLCompute %main "other" %id\nOpExecutionMode')),
        ENTRY + "'saxpy', 'other'",
    ),
    "a kernel of OpenCL": (changed(("OpEntryPoint GLCompute", "OpEntryPoint Kernel")), ENTRY + "none"),
    "no workgroup": (
        changed(("OpExecutionMode %main LocalSize 8 1 1\n", "")),
        "the size of a workgroup is missing: expected OpExecutionMode LocalSize x y z, got none",
    ),
    "another set": (
        changed(("OpDecorate %x DescriptorSet 0", "OpDecorate %x DescriptorSet 2")),
        PLACE + "set 2, binding 3",
    ),
    "no binding": (changed(("OpDecorate %x Binding 3\n", "")), PLACE + "set 0, binding ?"),
    "a uniform block": (
        changed(
            ("%pRead = OpTypePointer StorageBuffer", "%pRead = OpTypePointer Uniform"),
            ("%x = OpVariable %pRead StorageBuffer", "%x = OpVariable %pRead Uniform"),
        ),
        RESOURCE + "a uniform block",
    ),
    "an image": (
        changed(
            ("%x = ", "%image = OpTypeImage %float 2D 0 0 0 2 R32f\n%x = "),
            ("%push = ", "%pImage = OpTypePointer UniformConstant %image\n%push = "),
            ("%main = ", "%picture = OpVariable %pImage UniformConstant\n%main = "),
        ),
        RESOURCE + "OpTypeImage",
    ),
    "several buffers in one": (
        changed(
            ("%x = ", "%Many = OpTypeArray %Read %two\n%x = "),
            ("%push = ", "%pMany = OpTypePointer StorageBuffer %Many\n%push = "),
            ("%main = ", "%more = OpVariable %pMany StorageBuffer\n%main = "),
        ),
        RESOURCE + "OpTypeArray",
    ),
    "a matrix": (
        changed(
            ("%v2int = ", "%v2float = OpTypeVector %float 2\n%matrix = OpTypeMatrix %v2float 2\n%v2int = "),
            ("%v2int %long", "%matrix %long"),
        ),
        NUMBERS + "OpTypeMatrix",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused(name: str, tmp_path: Path) -> None:
    text, message = WRONG[name]
    with pytest.raises(KernelError) as caught:
        reflect(assembled(text, tmp_path), "here")
    assert str(caught.value).startswith(f"[here] {message}.")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a SPIR-V module: expected whole 32-bit words, 5 at least, got 0 bytes"),
        (
            b"\x07\x23\x02\x03" * 8,
            "not a SPIR-V module: expected 0x07230203 at its start, little-endian, got 0x03022307. Swap",
        ),
        (struct.pack("<6I", 0x07230203, 0x10300, 0, 9, 0, 0), "the module is cut short at word 5"),
        (struct.pack("<6I", 0x07230203, 0x10300, 0, 9, 0, 4 << 16 | 17), "the module is cut short at word 5"),
        (struct.pack("<5I", 0x07230203, 0x10300, 0, 9, 0), "the module is cut short: expected functions to its end"),
    ],
)  # fmt: skip
def test_no_module(data: bytes, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        reflect(data, "here")
    assert str(caught.value).startswith(f"[here] {message}")


def test_every_cut_and_every_changed_word_is_an_error_of_loom_or_none(tmp_path: Path) -> None:
    data = assembled(TEXT, tmp_path)
    for end in range(0, len(data), 4):
        with pytest.raises(KernelError):
            reflect(data[:end])
    for at in range(20, len(data), 4):
        for word in (0, 1, 0xFFFFFFFF, 2 << 16 | 17):
            broken = data[:at] + struct.pack("<I", word) + data[at + 4 :]
            try:
                reflect(broken)
            except KernelError:
                continue
