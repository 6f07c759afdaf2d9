"""Writes SPIR-V modules word by word: sections, identifiers, types and constants declared once.

Layer: targets. Invariant: the same calls in the same order give the same bytes.

Source: Khronos, "SPIR-V Specification" 1.3, sections 2.3 (binary form) and 2.4 (logical layout).
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from loom.targets.spirv.opcodes import (
    BUILT_IN,
    CAPABILITY,
    DECORATION,
    FLOAT_CONTROLS2,
    FP_FAST_MATH_DEFAULT,
    GLSL,
    MAGIC,
    OP,
    STORAGE,
    VERSION,
)

__all__ = ["Module"]

_GENERATOR = 0
_GLSL450, _VULKAN = 1, 3
_DEVICE_SCOPE, _QUEUE_FAMILY_SCOPE = 1, 5
_NON_PRIVATE = 0x20
_ACQUIRE_RELEASE, _SEEN = 0x8, 0x2000 | 0x4000
"""Of a barrier: order, and (Vulkan's model) that what was written is made available and visible."""


def _words(text: str) -> list[int]:
    data = text.encode() + b"\0"
    data += b"\0" * (-len(data) % 4)
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def _instruction(name: str, operands: list[int]) -> list[int]:
    return [(len(operands) + 1) << 16 | OP[name], *operands]


class Module:
    """A compute module with one entry point, ``main``. Methods return identifiers."""

    def __init__(self) -> None:
        self._next = 1
        self._capabilities: dict[str, None] = {"Shader": None}
        self._extensions: dict[str, None] = {}
        self._controls_fast_math = False
        self._of_vulkan = False
        self._modes: list[int] = []
        self._decorations: list[int] = []
        self._globals: list[int] = []
        self._locals: list[int] = []
        self._prologue: list[int] = []
        self._body: list[int] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._inputs: dict[str, int] = {}
        self._glsl = self.id()
        self.main = self.id()

    def id(self) -> int:
        """Return a new identifier."""
        self._next += 1
        return self._next - 1

    # what the module needs

    def capability(self, name: str) -> None:
        """Declare a capability, once."""
        self._capabilities[name] = None

    def extension(self, name: str) -> None:
        """Declare an extension, once."""
        self._extensions[name] = None

    def mode(self, number: int, *operands: int) -> None:
        """Declare an execution mode of the entry point."""
        self._modes += _instruction("ExecutionMode", [self.main, number, *operands])

    def use_vulkan_memory_model(self) -> None:
        """Take Vulkan's memory model in place of GLSL's: what lanes share is told at each access and barrier."""
        self.capability("VulkanMemoryModel")
        self.extension("SPV_KHR_vulkan_memory_model")
        self._of_vulkan = True

    @property
    def shared_access(self) -> tuple[int, ...]:
        """What is said of loads and stores of memory that other lanes see."""
        return (_NON_PRIVATE,) if self._of_vulkan else ()

    @property
    def device_scope(self) -> int:
        """The scope of atomics that all groups see: the queue family's in Vulkan's model, which asks for no more."""
        return self.word(_QUEUE_FAMILY_SCOPE if self._of_vulkan else _DEVICE_SCOPE)

    def barrier(self, scope: int, spaces: int) -> None:
        """All lanes of a scope arrive; what they wrote to these spaces is seen by them after it."""
        meaning = _ACQUIRE_RELEASE | spaces | (_SEEN if self._of_vulkan else 0)
        self.emit("ControlBarrier", self.word(scope), self.word(scope), self.word(meaning))

    def forbid_fast_math(self, kind: int) -> None:
        """Take all liberties with floats of a type from the compiler (SPV_KHR_float_controls2)."""
        self.extension("SPV_KHR_float_controls2")
        self._controls_fast_math = True
        nothing = self.word(0)
        self._modes += _instruction("ExecutionModeId", [self.main, FP_FAST_MATH_DEFAULT, kind, nothing])

    def decorate(self, target: int, decoration: str, *operands: int) -> None:
        """Decorate an identifier."""
        self._decorations += _instruction("Decorate", [target, DECORATION[decoration], *operands])

    # types and constants

    def declare(self, name: str, *operands: int) -> int:
        """Return the type (or other global) made by ``name`` of these operands, declared once."""
        key = (name, *operands)
        if key not in self._known:
            self._known[key] = self.id()
            self._globals += _instruction(name, [self._known[key], *operands])
        return self._known[key]

    def pointer(self, storage: str, to: int) -> int:
        """Return a pointer type."""
        return self.declare("TypePointer", STORAGE[storage], to)

    def u32(self) -> int:
        """Return the type of 32-bit integers."""
        return self.declare("TypeInt", 32, 0)

    def bool(self) -> int:
        """Return the type of bools."""
        return self.declare("TypeBool")

    def constant(self, kind: int, bits: int, width: int) -> int:
        """Return a number given by its bits; integers narrower than 32 bits are zero-extended."""
        words = (bits & 0xFFFFFFFF, bits >> 32) if width == 64 else (bits,)
        return self._constant("Constant", kind, *words)

    def word(self, value: int) -> int:
        """Return a 32-bit integer constant."""
        return self.constant(self.u32(), value & 0xFFFFFFFF, 32)

    def truth(self, value: bool) -> int:
        """Return a bool constant."""
        return self._constant("ConstantTrue" if value else "ConstantFalse", self.bool())

    def null(self, kind: int) -> int:
        """Return the zero of any type."""
        return self._constant("ConstantNull", kind)

    def _constant(self, name: str, kind: int, *words: int) -> int:
        key = (name, kind, *words)
        if key not in self._known:
            self._known[key] = self.id()
            self._globals += _instruction(name, [kind, self._known[key], *words])
        return self._known[key]

    # variables

    def variable(self, storage: str, kind: int) -> int:
        """Return a variable outside functions."""
        found = self.id()
        self._globals += _instruction("Variable", [self.pointer(storage, kind), found, STORAGE[storage]])
        return found

    def local(self, kind: int, initial: int | None = None) -> int:
        """Return a variable of the function; it starts as ``initial`` if that is given."""
        found = self.id()
        extra = [] if initial is None else [initial]
        pointer = self.pointer("Function", kind)
        self._locals += _instruction("Variable", [pointer, found, STORAGE["Function"], *extra])
        return found

    def buffer(self, binding: int, element: int, stride: int, *, writable: bool) -> int:
        """Return a storage buffer of elements ``stride`` bytes apart, in descriptor set 0."""
        array = self.id()
        self._globals += _instruction("TypeRuntimeArray", [array, element])
        block = self.id()
        self._globals += _instruction("TypeStruct", [block, array])
        self.decorate(array, "ArrayStride", stride)
        self._decorations += _instruction("MemberDecorate", [block, 0, DECORATION["Offset"], 0])
        if not writable:
            self._decorations += _instruction("MemberDecorate", [block, 0, DECORATION["NonWritable"]])
        self.decorate(block, "Block")
        found = self.variable("StorageBuffer", block)
        self.decorate(found, "DescriptorSet", 0)
        self.decorate(found, "Binding", binding)
        return found

    def push_constants(self, words: int) -> int:
        """Return the push constant block: an array of 32-bit words."""
        array, block = self.id(), self.id()
        self._globals += _instruction("TypeArray", [array, self.u32(), self.word(words)])
        self._globals += _instruction("TypeStruct", [block, array])
        self.decorate(array, "ArrayStride", 4)
        self._decorations += _instruction("MemberDecorate", [block, 0, DECORATION["Offset"], 0])
        self.decorate(block, "Block")
        return self.variable("PushConstant", block)

    def built_in(self, name: str) -> int:
        """Return a built-in input, a vector of three 32-bit integers."""
        if name not in self._inputs:
            found = self.variable("Input", self.declare("TypeVector", self.u32(), 3))
            self.decorate(found, "BuiltIn", BUILT_IN[name])
            self._inputs[name] = found
        return self._inputs[name]

    # the function

    def emit(self, name: str, *operands: int) -> None:
        """Append an instruction without result."""
        self._body += _instruction(name, list(operands))

    def value(self, name: str, kind: int, *operands: int) -> int:
        """Append an instruction; return its result."""
        found = self.id()
        self._body += _instruction(name, [kind, found, *operands])
        return found

    def early(self, name: str, kind: int, *operands: int) -> int:
        """Append an instruction to the function's very start, where its result is known everywhere."""
        found = self.id()
        self._prologue += _instruction(name, [kind, found, *operands])
        return found

    def glsl(self, name: str, kind: int, *operands: int) -> int:
        """Append an instruction of the GLSL.std.450 set."""
        return self.value("ExtInst", kind, self._glsl, GLSL[name], *operands)

    @contextmanager
    def when(self, condition: int, *, is_true: bool = True) -> Generator[None, None, None]:
        """What is appended inside the ``with`` runs where the condition is ``is_true``."""
        then, after = self.id(), self.id()
        self.emit("SelectionMerge", after, 0)
        self.emit("BranchConditional", condition, *((then, after) if is_true else (after, then)))
        self.label(then)
        yield
        self.emit("Branch", after)
        self.label(after)

    def label(self, block: int) -> None:
        """Begin a basic block."""
        self.emit("Label", block)

    # the end

    def assemble(self) -> bytes:
        """Return the module."""
        void = self.declare("TypeVoid")
        kind = self.declare("TypeFunction", void)
        head: list[int] = []
        for name in self._capabilities:
            head += _instruction("Capability", [CAPABILITY[name]])
        if self._controls_fast_math:
            head += _instruction("Capability", [FLOAT_CONTROLS2])
        for name in self._extensions:
            head += _instruction("Extension", _words(name))
        head += _instruction("ExtInstImport", [self._glsl, *_words("GLSL.std.450")])
        head += _instruction("MemoryModel", [0, _VULKAN if self._of_vulkan else _GLSL450])  # logical addresses
        head += _instruction("EntryPoint", [5, self.main, *_words("main"), *self._inputs.values()])  # GLCompute
        function = _instruction("Function", [void, self.main, 0, kind]) + _instruction("Label", [self.id()])
        function += self._locals + self._prologue + self._body + _instruction("FunctionEnd", [])
        whole = head + self._modes + self._decorations + self._globals + function
        return struct.pack(f"<{len(whole) + 5}I", MAGIC, VERSION, _GENERATOR, self._next, 0, *whole)
