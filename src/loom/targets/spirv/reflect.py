"""Reads a SPIR-V module of somebody else's: what a dispatch of it binds, pushes and needs.

Layer: targets. Only what binding needs is read; the code itself is left to the device. Invariant: what is returned
names every resource of the module, and a module with a resource Loom cannot bind is refused.

Source: Khronos, "SPIR-V Specification" 1.3, sections 2.3 (binary form), 3.20 (decorations) and 3.32 (instructions).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import field
from typing import NoReturn

from loom.core.dtype import DType, lookup
from loom.core.errors import KernelError
from loom.core.late.dataclass import dataclass
from loom.targets.spirv.opcodes import BUILT_IN, CAPABILITY, DECORATION, EXECUTION_MODE, MAGIC, OP, STORAGE

__all__ = ["ForeignBuffer", "ForeignModule", "PushMember", "reflect"]

_NAMES = {number: name for name, number in OP.items()}
_CAPABILITIES = {number: name for name, number in CAPABILITY.items()}
_GL_COMPUTE = 5
_HEADER_WORDS = 5
_MOST_PUSHED = 1 << 16
"""Bytes of push constants, beyond every device."""

Words = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ForeignBuffer:
    """A storage buffer of descriptor set 0; what is not declared is taken to be both read and written."""

    binding: int
    reads: bool
    writes: bool


@dataclass(frozen=True, slots=True)
class PushMember:
    """A scalar of the push constants; ``name`` is the source's, if the module tells it."""

    name: str
    dtype: DType
    offset: int


@dataclass(frozen=True, slots=True)
class ForeignModule:
    """What a module says: buffers by binding, push constants by offset; ``capabilities`` by name or number."""

    data: bytes
    entry: str
    version: tuple[int, int]
    workgroup: tuple[int, int, int]
    buffers: tuple[ForeignBuffer, ...]
    push: tuple[PushMember, ...]
    push_nbytes: int
    shared_nbytes: int
    capabilities: tuple[str, ...]
    extensions: tuple[str, ...]


def reflect(data: bytes, where: str = "SPIR-V") -> ForeignModule:
    """Return what a binary module says of itself.

    ``where`` begins the text of errors. KernelError for anything that is not a whole module with one compute entry
    point, or that has a resource other than storage buffers of set 0 and push constants of plain numbers.
    """
    reader = _Reader(data, where)
    try:
        return reader.module()
    except KernelError:
        raise
    except (IndexError, ValueError, TypeError, RecursionError) as error:
        reader.fail("declarations that make no sense", "what spirv-val accepts", error, "Check it with spirv-val")


@dataclass(slots=True)
class _Marks:
    """Decorations of one identifier: its own, and those of its members."""

    own: dict[int, Words] = field(default_factory=dict[int, Words])
    members: dict[int, dict[int, Words]] = field(default_factory=dict[int, dict[int, Words]])


class _Reader:
    """The instructions outside functions, by what they declare."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = bytes(data)
        self.where = where
        self.entries: list[tuple[int, str]] = []
        self.modes: dict[tuple[int, int], Words] = {}
        self.types: dict[int, tuple[str, Words]] = {}
        self.constants: dict[int, tuple[str, Words]] = {}
        self.variables: list[tuple[int, int, int]] = []
        self.marks: dict[int, _Marks] = {}
        self.names: dict[tuple[int, int], str] = {}
        self.capabilities: list[str] = []
        self.extensions: list[str] = []
        for name, operands in self.instructions():
            if name == "Function":
                break
            self.take(name, operands)

    def fail(self, what: str, expected: object, got: object, remedy: str) -> NoReturn:
        """Refuse the module."""
        raise KernelError(self.where, what, expected=expected, got=got, remedy=remedy)

    # instructions

    def instructions(self) -> Iterator[tuple[str, Words]]:
        """Yield what Loom knows of, with its operands; the whole module must be well formed."""
        words = self.words()
        at = _HEADER_WORDS
        found: list[tuple[str, Words]] = []
        while at < len(words):
            length, opcode = words[at] >> 16, words[at] & 0xFFFF
            if not length or at + length > len(words):
                self.fail(
                    f"the module is cut short at word {at}", "whole instructions", f"{len(words)} words",
                    "Read the whole file",
                )  # fmt: skip
            if opcode in _NAMES:
                found.append((_NAMES[opcode], tuple(words[at + 1 : at + length])))
            at += length
        if not found or found[-1][0] != "FunctionEnd":
            self.fail("the module is cut short", "functions to its end", f"{len(words)} words", "Read the whole file")
        yield from found

    def words(self) -> Words:
        """Return the module as words, its header checked."""
        if len(self.data) < 4 * _HEADER_WORDS or len(self.data) % 4:
            self.fail(
                "not a SPIR-V module", "whole 32-bit words, 5 at least", f"{len(self.data)} bytes",
                "Compile with glslangValidator -V or spirv-as",
            )  # fmt: skip
        words = struct.unpack(f"<{len(self.data) // 4}I", self.data)
        if words[0] != MAGIC:
            swapped = words[0] == int.from_bytes(MAGIC.to_bytes(4, "little"), "big")
            self.fail(
                "not a SPIR-V module", f"{MAGIC:#010x} at its start, little-endian", f"{words[0]:#010x}",
                "Swap the bytes of each word" if swapped else "Compile with glslangValidator -V or spirv-as",
            )  # fmt: skip
        return words

    def take(self, name: str, operands: Words) -> None:
        """Note what an instruction declares."""
        try:
            self.declare(name, operands)
        except (IndexError, ValueError, struct.error):
            self.fail(f"an Op{name} is too short", "all of its operands", len(operands), "Check it with spirv-val")

    def declare(self, name: str, operands: Words) -> None:
        if name == "EntryPoint" and operands[0] == _GL_COMPUTE:
            self.entries.append((operands[1], _text(operands[2:])))
        elif name in ("ExecutionMode", "ExecutionModeId"):
            self.modes[operands[0], operands[1]] = operands[2:]
        elif name == "Capability":
            self.capabilities.append(_CAPABILITIES.get(operands[0], f"number {operands[0]}"))
        elif name == "Extension":
            self.extensions.append(_text(operands))
        elif name == "MemberName":
            self.names[operands[0], operands[1]] = _text(operands[2:])
        elif name == "Decorate":
            self.marks.setdefault(operands[0], _Marks()).own[operands[1]] = operands[2:]
        elif name == "MemberDecorate":
            members = self.marks.setdefault(operands[0], _Marks()).members
            members.setdefault(operands[1], {})[operands[2]] = operands[3:]
        elif name.startswith("Type"):
            self.types[operands[0]] = name.removeprefix("Type"), operands[1:]
        elif "Constant" in name:
            self.constants[operands[1]] = name, operands[2:]
        elif name == "Variable":
            self.variables.append((operands[0], operands[1], operands[2]))

    # the module

    def module(self) -> ForeignModule:
        identifier, entry = self.entry()
        push, push_nbytes = self.push_constants()
        version = struct.unpack("<I", self.data[4:8])[0]
        return ForeignModule(
            self.data, entry, (version >> 16 & 0xFF, version >> 8 & 0xFF), self.workgroup(identifier), self.buffers(),
            push, push_nbytes, self.shared_nbytes(), tuple(self.capabilities), tuple(self.extensions),
        )  # fmt: skip

    def entry(self) -> tuple[int, str]:
        """Return the one compute entry point, of several the one called main."""
        named = [e for e in self.entries if e[1] == "main"] if len(self.entries) > 1 else self.entries
        if len(named) != 1:
            self.fail(
                "no entry point to run", "one of the model GLCompute, or one of those called 'main'",
                ", ".join(repr(n) for _, n in self.entries) or "none", "Compile it as a compute shader",
            )  # fmt: skip
        return named[0]

    def workgroup(self, entry: int) -> tuple[int, int, int]:
        """Return the lanes of a workgroup: of the constant decorated so, else of the entry point's mode."""
        built_in = DECORATION["BuiltIn"]
        for identifier, marks in self.marks.items():
            if marks.own.get(built_in, ())[:1] == (BUILT_IN["WorkgroupSize"],):
                parts = [self.number(part) for part in self.constants.get(identifier, ("", ()))[1]]
                return self.three(parts)
        if (entry, EXECUTION_MODE["LocalSizeId"]) in self.modes:
            return self.three([self.number(part) for part in self.modes[entry, EXECUTION_MODE["LocalSizeId"]]])
        return self.three(list(self.modes.get((entry, EXECUTION_MODE["LocalSize"]), ())))

    def three(self, parts: list[int]) -> tuple[int, int, int]:
        """Return a workgroup's extents, all of them at least 1."""
        if len(parts) != 3 or not all(parts):
            self.fail(
                "the size of a workgroup is missing", "OpExecutionMode LocalSize x y z", parts or "none",
                "Declare layout(local_size_x = ...)",
            )  # fmt: skip
        return parts[0], parts[1], parts[2]

    def number(self, identifier: int) -> int:
        """Return an integer constant; a specialisation constant as it stands in the module."""
        name, operands = self.constants.get(identifier, ("", ()))
        if name not in ("Constant", "SpecConstant") or not operands:
            self.fail(
                "a size is no constant", "OpConstant", f"identifier {identifier}", "Use plain constants for sizes"
            )
        return operands[0]

    # resources

    def buffers(self) -> tuple[ForeignBuffer, ...]:
        """Return the storage buffers by binding; two names of one binding are one buffer."""
        found: dict[int, ForeignBuffer] = {}
        for pointer, identifier, storage in self.variables:
            if storage in (STORAGE["UniformConstant"], STORAGE["Uniform"], STORAGE["StorageBuffer"]):
                buffer = self.buffer(pointer, identifier, storage)
                known = found.get(buffer.binding, ForeignBuffer(buffer.binding, False, False))
                found[buffer.binding] = ForeignBuffer(
                    buffer.binding, known.reads or buffer.reads, known.writes or buffer.writes
                )
        return tuple(found[binding] for binding in sorted(found))

    def buffer(self, pointer: int, identifier: int, storage: int) -> ForeignBuffer:
        """Return one storage buffer; anything else that is bound is refused."""
        own = self.marks.get(identifier, _Marks()).own
        block = self.target_of(pointer)
        kind, members = self.types.get(block, ("", ()))
        marks = self.marks.get(block, _Marks())
        old = storage == STORAGE["Uniform"] and DECORATION["BufferBlock"] in marks.own
        if kind != "Struct" or not (old or storage == STORAGE["StorageBuffer"]):
            uniform = kind == "Struct" and storage == STORAGE["Uniform"]
            self.fail(
                "a resource Loom cannot bind", "storage buffers and push constants",
                "a uniform block" if uniform else f"Op{'Type' + kind if kind else 'Variable'}",
                "Use layout(std430, set = 0, binding = n) buffer",
            )  # fmt: skip
        number = own.get(DECORATION["Binding"], (-1,))[0]
        if number < 0 or own.get(DECORATION["DescriptorSet"], (-1,))[0] != 0:
            self.fail(
                "a buffer Loom cannot find", "a Binding in DescriptorSet 0",
                f"set {own.get(DECORATION['DescriptorSet'], ('?',))[0]}, binding {number if number >= 0 else '?'}",
                "Use layout(std430, set = 0, binding = n) buffer",
            )  # fmt: skip

        def never(decoration: str) -> bool:
            mark = DECORATION[decoration]
            held = [mark in marks.members.get(n, {}) for n in range(len(members))]
            return mark in own or (bool(held) and all(held))

        return ForeignBuffer(number, not never("NonReadable"), not never("NonWritable"))

    def target_of(self, pointer: int) -> int:
        """Return what a pointer type points to."""
        kind, operands = self.types.get(pointer, ("", ()))
        if kind != "Pointer" or len(operands) < 2:
            self.fail("a variable is no pointer", "OpTypePointer", f"Op{kind}", "Check it with spirv-val")
        return operands[1]

    def push_constants(self) -> tuple[tuple[PushMember, ...], int]:
        """Return the scalars of the push constants by offset, and the bytes of the block."""
        blocks = [self.target_of(p) for p, _, storage in self.variables if storage == STORAGE["PushConstant"]]
        if len(blocks) > 1:
            self.fail("several blocks of push constants", "one", len(blocks), "Join them in one block")
        members = sorted(self.scalars(blocks[0], "", 0), key=lambda m: m.offset) if blocks else []
        return tuple(members), max((m.offset + m.dtype.nbytes for m in members), default=0)

    def scalars(self, kind: int, name: str, offset: int) -> list[PushMember]:
        """Return the scalars of a type that starts at ``offset``, vectors, arrays and structures laid open."""
        form, operands = self.types.get(kind, ("", ()))
        if form in ("Int", "Float"):
            letter = "f" if form == "Float" else "i" if operands[1] else "u"
            return [PushMember(name or "value", lookup(f"{letter}{operands[0]}"), offset)]
        if form == "Vector":
            size = self.scalars(operands[0], "", 0)[0].dtype.nbytes
            parts = [(operands[0], f"{name}.{'xyzw'[n]}", n * size) for n in range(operands[1])]
        elif form == "Array":
            stride = self.marks.get(kind, _Marks()).own.get(DECORATION["ArrayStride"], (0,))[0]
            count = self.number(operands[1])
            if not stride or count * stride > _MOST_PUSHED:
                self.fail("too many push constants", f"at most {_MOST_PUSHED} bytes", count, "Pass it in a buffer")
            parts = [(operands[0], f"{name}[{n}]", n * stride) for n in range(count)]
        elif form == "Struct":
            members = self.marks.get(kind, _Marks()).members
            parts: list[tuple[int, str, int]] = []
            for n, member in enumerate(operands):
                start = members.get(n, {}).get(DECORATION["Offset"])
                own = self.names.get((kind, n)) or f"member {n}"
                if not start:
                    self.fail("a push constant without a place", "a member with Offset", own, "Check it with spirv-val")
                parts.append((member, f"{name}.{own}" if name else own, start[0]))
        else:
            self.fail(
                "a push constant Loom cannot fill", "numbers, and vectors, arrays and structures of them",
                f"OpType{form or '?'}", "Pass it in a buffer",
            )  # fmt: skip
        return [scalar for part, own, start in parts for scalar in self.scalars(part, own, offset + start)]

    # shared memory

    def shared_nbytes(self) -> int:
        """Return the bytes of shared memory, without what alignment may add."""
        return sum(self.nbytes(self.target_of(p)) for p, _, s in self.variables if s == STORAGE["Workgroup"])

    def nbytes(self, kind: int) -> int:
        form, operands = self.types.get(kind, ("", ()))
        if form in ("Int", "Float"):
            return operands[0] // 8
        if form in ("Vector", "Matrix"):
            return operands[1] * self.nbytes(operands[0])
        if form == "Array":
            return self.number(operands[1]) * self.nbytes(operands[0])
        return sum(map(self.nbytes, operands)) if form == "Struct" else 4  # a bool


def _text(words: Words) -> str:
    """Return the string that words begin with."""
    data = struct.pack(f"<{len(words)}I", *words)
    return data[: data.index(b"\0")].decode(errors="replace")
