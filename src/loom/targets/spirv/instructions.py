"""Instructions on values in SPIR-V: their types, constants, arithmetic, and what is hidden from drivers.

Layer: targets. Invariant: every float operation is decorated NoContraction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import DType, u32, u64
from loom.ir.constants import constant_bits
from loom.ir.kernel import Instr
from loom.targets.base.opaque_values import Knowledge
from loom.targets.spirv.features import Features
from loom.targets.spirv.module import Module

__all__ = ["Arithmetic", "carrier_of"]


def carrier_of(dtype: DType) -> DType:
    """Return the unsigned integer of a float's width."""
    return u32 if dtype.bits == 32 else u64


class Arithmetic:
    """Emits operations into a module; ``type_of`` gives the type of values in registers."""

    def __init__(self, module: Module, features: Features) -> None:
        self.m = module
        self.features = features
        self.opaque_zero: Callable[[], int]
        """Returns a word that is 0, which no compiler knows; set by whoever knows what a dispatch is given."""
        self.knowledge: Knowledge
        self._hidden: dict[tuple[int, DType], int] = {}

    def type_of(self, dtype: DType) -> int:
        """Return the type of a value, declaring what it needs."""
        m = self.m
        if dtype.is_vector:
            return m.declare("TypeVector", self.type_of(dtype.scalar), dtype.lanes)
        if dtype.is_bool:
            return m.bool()
        if dtype.bits != 32:
            m.capability(f"{'Float' if dtype.is_float else 'Int'}{dtype.bits}")
        return m.declare("TypeFloat", dtype.bits) if dtype.is_float else m.declare("TypeInt", dtype.bits, 0)

    def constant(self, value: Any, dtype: DType) -> int:
        """Return a constant by value."""
        return self.constant_of(constant_bits(value, dtype), dtype)

    def constant_of(self, bits: int, dtype: DType) -> int:
        """Return a constant by its bits."""
        if dtype.is_bool:
            return self.m.truth(bool(bits))
        if dtype.is_float and not self.features.exact_literals:
            return self.opaque_constant(bits, dtype)
        return self.m.constant(self.type_of(dtype), bits, dtype.bits)

    def opaque_constant(self, bits: int, dtype: DType) -> int:
        """Return a float whose bits no compiler knows, made once at the function's start."""
        found = self._hidden.get((bits, dtype))
        if found is None:
            m, carrier = self.m, self.type_of(carrier_of(dtype))
            word = self.opaque_zero()
            zero = word if dtype.bits == 32 else m.early("UConvert", carrier, word)
            mixed = m.early("BitwiseOr", carrier, m.constant(carrier, bits, dtype.bits), zero)
            found = self._hidden[bits, dtype] = m.early("Bitcast", self.type_of(dtype), mixed)
        return found

    def op(self, name: str, dtype: DType, *args: int) -> int:
        """Append an operation that gives a ``dtype``; floats must not be contracted."""
        found = self.m.value(name, self.type_of(dtype), *args)
        if dtype.is_float and name in ("FAdd", "FSub", "FMul", "FDiv") and not self.features.no_fast_math:
            self.m.decorate(found, "NoContraction")
        if name == "FMul" and not self.features.uncontracted:
            return self.hide(found, dtype)
        return found

    def hide(self, value: int, dtype: DType) -> int:
        """Return a number of 32 or 64 bits as it is, in a way that no compiler sees through.

        By "or", since "xor" with the same word would show what was hidden before.
        """
        carrier = carrier_of(dtype)
        word = self.opaque_zero()
        zero = word if dtype.bits == 32 else self.m.value("UConvert", self.type_of(u64), word)
        if not dtype.is_float:
            return self.op("BitwiseOr", carrier, value, zero)
        return self.cast(self.op("BitwiseOr", carrier, self.cast(value, carrier), zero), dtype)

    def opaque_float(self, value: int, s: Instr) -> int:
        """Return a float made of an integer, hidden where a driver computes wrongly with one it may know."""
        if self.features.exact_literals or self.knowledge.is_opaque(s):
            return value
        return self.hide(value, s.type)

    def opaque_choice(self, value: int, s: Instr) -> int:
        """Return what is chosen, kept in a variable or stored, hidden if a driver may know it to be 1.0 or -1.0."""
        return self.hide(value, s.type) if self.knowledge.may_be_one(s) else value

    def leading_zeros(self, value: int, dtype: DType) -> int:
        """Return how many of the highest bits of a 32- or 64-bit integer are 0."""
        if dtype.bits == 32:
            return self.clz_word(value)
        low, high = self.halves(value)
        below = self.op("IAdd", u32, self.constant(32, u32), self.clz_word(low))
        count = self.select(self.test("IEqual", high, self.constant(0, u32)), below, self.clz_word(high), u32)
        return self.m.value("UConvert", self.type_of(u64), count)

    def test(self, name: str, *args: int) -> int:
        """Append an operation that gives a bool."""
        return self.m.value(name, self.m.bool(), *args)

    def compare_order(self, order: str, dtype: DType, x: int, y: int) -> int:
        """Compare two integers; ``order`` is LessThan, GreaterThanEqual and so on."""
        if dtype.bits == 64 and dtype.is_signed and not self.features.exact_order:
            top = self.constant(1 << 63, u64)
            x, y = (self.op("BitwiseXor", u64, v, top) for v in (x, y))
            return self.test(f"U{order}", x, y)
        return self.test(f"{'S' if dtype.is_signed else 'U'}{order}", x, y)

    def select(self, condition: int, a: int, b: int, dtype: DType) -> int:
        """Choose one of two values."""
        return self.m.value("Select", self.type_of(dtype), condition, a, b)

    def cast(self, value: int, dtype: DType) -> int:
        """Read the bits of a value as another type of its width."""
        return self.m.value("Bitcast", self.type_of(dtype), value)

    def halves(self, value: int) -> tuple[int, int]:
        """Return the low and the high word of a 64-bit integer."""
        kind = self.type_of(u32)
        shifted = self.op("ShiftRightLogical", u64, value, self.constant(32, u64))
        return self.m.value("UConvert", kind, value), self.m.value("UConvert", kind, shifted)

    def clz_word(self, word: int) -> int:
        return self.op("ISub", u32, self.constant(31, u32), self.m.glsl("FindUMsb", self.type_of(u32), word))
