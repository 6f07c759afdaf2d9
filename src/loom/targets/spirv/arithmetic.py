"""Emits the pure operations in SPIR-V.

Layer: targets. Integers have no sign in their type; operations do. Those of 8 and 16 bits are only loaded, stored and
converted (see ``ir.passes.words.narrow``). Every float operation is decorated NoContraction, and signs of floats are
changed in their bits. Invariant: bits equal ``ir.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import DType, u32, u64
from loom.ir.constants import constant_bits
from loom.ir.kernel import Instr
from loom.targets.known import Knowledge
from loom.targets.spirv.conversions import convert
from loom.targets.spirv.features import Features
from loom.targets.spirv.module import Module

__all__ = ["EMIT", "Arithmetic"]

_PACKED_BYTES = 0
"""PackedVectorFormat4x8Bit: how operands of dot products are packed."""


class Arithmetic:
    """Emits operations into a module; ``type_of`` gives the type of values in registers."""

    def __init__(self, module: Module, features: Features) -> None:
        self.m = module
        self.features = features
        self.hidden_zero: Callable[[], int]
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
            return self.hidden_constant(bits, dtype)
        return self.m.constant(self.type_of(dtype), bits, dtype.bits)

    def hidden_constant(self, bits: int, dtype: DType) -> int:
        """Return a float whose bits no compiler knows, made once at the function's start."""
        found = self._hidden.get((bits, dtype))
        if found is None:
            m, carrier = self.m, self.type_of(_carrier(dtype))
            word = self.hidden_zero()
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
            return self.hidden(found, dtype)
        return found

    def hidden(self, value: int, dtype: DType) -> int:
        """Return a number of 32 or 64 bits as it is, in a way that no compiler sees through.

        By "or", since "xor" with the same word would show what was hidden before.
        """
        carrier = _carrier(dtype)
        word = self.hidden_zero()
        zero = word if dtype.bits == 32 else self.m.value("UConvert", self.type_of(u64), word)
        if not dtype.is_float:
            return self.op("BitwiseOr", carrier, value, zero)
        return self.cast(self.op("BitwiseOr", carrier, self.cast(value, carrier), zero), dtype)

    def made_float(self, value: int, s: Instr) -> int:
        """Return a float made of an integer, hidden where a driver computes wrongly with one it may know."""
        if self.features.exact_literals or self.knowledge.is_opaque(s):
            return value
        return self.hidden(value, s.type)

    def chosen(self, value: int, s: Instr) -> int:
        """Return what is chosen, kept in a variable or stored, hidden if a driver may know it to be 1.0 or -1.0."""
        return self.hidden(value, s.type) if self.knowledge.may_be_one(s) else value

    def leading_zeros(self, value: int, dtype: DType) -> int:
        """Return how many of the highest bits of a 32- or 64-bit integer are 0."""
        if dtype.bits == 32:
            return _clz_word(self, value)
        low, high = _halves(self, value)
        below = self.op("IAdd", u32, self.constant(32, u32), _clz_word(self, low))
        count = self.select(self.test("IEqual", high, self.constant(0, u32)), below, _clz_word(self, high), u32)
        return self.m.value("UConvert", self.type_of(u64), count)

    def test(self, name: str, *args: int) -> int:
        """Append an operation that gives a bool."""
        return self.m.value(name, self.m.bool(), *args)

    def ordered(self, order: str, dtype: DType, x: int, y: int) -> int:
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

    def emit(self, s: Instr, args: list[int]) -> int:
        """Emit a pure operation."""
        return EMIT[s.op.name](self, s, args)


_Emitter = Callable[[Arithmetic, Instr, "list[int]"], int]
EMIT: dict[str, _Emitter] = {}
"""Operation name to emitter."""


def _emits(*names: str) -> Callable[[_Emitter], _Emitter]:
    def register(fn: _Emitter) -> _Emitter:
        for name in names:
            EMIT[name] = fn
        return fn

    return register


def _operand(s: Instr) -> DType:
    return s.args[-1].type


def _carrier(dtype: DType) -> DType:
    """Return the unsigned integer of a float's width."""
    return u32 if dtype.bits == 32 else u64


@_emits("vector")
def _vector(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.m.value("CompositeConstruct", a.type_of(s.type), *args)


@_emits("extract")
def _extract(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.m.value("CompositeExtract", a.type_of(s.type), args[0], s.attr)


@_emits("add", "sub", "mul")
def _plain(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.op(("F" if s.type.is_float else "I") + s.op.name.capitalize(), s.type, *args)


@_emits("fma")
def _fma(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.op("FAdd", s.type, a.op("FMul", s.type, *args[:2]), args[2])


@_emits("div")
def _div(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.op("FDiv", s.type, *args)


def _guarded_quotient(a: Arithmetic, dtype: DType, x: int, y: int) -> tuple[int, int]:
    """Return whether y is 0, and x / y where that is defined (x / -1 wraps)."""
    zero, one = a.constant(0, dtype), a.constant(1, dtype)
    by_zero = a.test("IEqual", y, zero)
    if not dtype.is_signed:
        return by_zero, a.op("UDiv", dtype, x, a.select(by_zero, one, y, dtype))
    by_minus = a.test("IEqual", y, a.constant(-1, dtype))
    safe = a.select(a.m.value("LogicalOr", a.m.bool(), by_zero, by_minus), one, y, dtype)
    quotient = a.op("SDiv", dtype, x, safe)
    return by_zero, a.select(by_minus, a.op("ISub", dtype, zero, x), quotient, dtype)


@_emits("idiv")
def _idiv(a: Arithmetic, s: Instr, args: list[int]) -> int:
    by_zero, quotient = _guarded_quotient(a, s.type, *args)
    return a.select(by_zero, a.constant(0, s.type), quotient, s.type)


@_emits("irem")
def _irem(a: Arithmetic, s: Instr, args: list[int]) -> int:
    by_zero, quotient = _guarded_quotient(a, s.type, *args)
    rest = a.op("ISub", s.type, args[0], a.op("IMul", s.type, quotient, args[1]))
    return a.select(by_zero, args[0], rest, s.type)


@_emits("mulhi")
def _mulhi(a: Arithmetic, s: Instr, args: list[int]) -> int:
    dtype = s.type
    if dtype.bits == 64:
        return _mulhi_64(a, dtype, *args)
    kind = a.type_of(dtype)
    pair = a.m.declare("TypeStruct", kind, kind)
    both = a.m.value("SMulExtended" if dtype.is_signed else "UMulExtended", pair, *args)
    return a.m.value("CompositeExtract", kind, both, 1)


@_emits("dot4_i8", "dot4_u8i8", "dot2_i16")
def _dot(a: Arithmetic, s: Instr, args: list[int]) -> int:
    x, y, total = args
    unsigned, bits = s.op.name == "dot4_u8i8", 16 if s.op.name == "dot2_i16" else 8
    if a.features.dots and bits == 8:
        a.m.extension("SPV_KHR_integer_dot_product")
        for capability in ("DotProduct", "DotProductInput4x8BitPacked"):
            a.m.capability(capability)
        operands = ("SUDot", y, x) if unsigned else ("SDot", x, y)
        return a.op("IAdd", s.type, a.op(*operands[:1], s.type, *operands[1:], _PACKED_BYTES), total)
    for at in range(0, 32, bits):
        left, right = (
            _part(a, word, at, bits, "Logical" if plain else "Arithmetic")
            for word, plain in ((x, unsigned), (y, False))
        )
        total = a.op("IAdd", s.type, total, a.op("IMul", s.type, left, right))
    return total


def _part(a: Arithmetic, word: int, at: int, bits: int, how: str) -> int:
    """Return the bits of a word from ``at`` on as a number."""
    up, down = (a.constant(n, u32) for n in (32 - bits - at, 32 - bits))
    shifted = a.op("ShiftLeftLogical", u32, word, up) if at + bits < 32 else word
    return a.op(f"ShiftRight{how}", u32, shifted, down)


def _mulhi_64(a: Arithmetic, dtype: DType, x: int, y: int) -> int:
    """High half of a 64-bit product from halves (Hacker's Delight, 8-2)."""
    low, half = a.constant(0xFFFFFFFF, u64), a.constant(32, u64)

    def split(v: int) -> tuple[int, int]:
        return a.op("BitwiseAnd", u64, v, low), a.op("ShiftRightLogical", u64, v, half)

    (x0, x1), (y0, y1) = split(x), split(y)
    first = a.op("ShiftRightLogical", u64, a.op("IMul", u64, x0, y0), half)
    middle = a.op("IAdd", u64, a.op("IMul", u64, x1, y0), first)
    middle_low, middle_high = split(middle)
    cross = a.op("IAdd", u64, a.op("IMul", u64, x0, y1), middle_low)
    top = a.op("IAdd", u64, a.op("IMul", u64, x1, y1), middle_high)
    high = a.op("IAdd", u64, top, a.op("ShiftRightLogical", u64, cross, half))
    if not dtype.is_signed:
        return high
    zero = a.constant(0, u64)
    for sign, other in ((x, y), (y, x)):
        negative = a.ordered("LessThan", dtype, sign, zero)
        high = a.op("ISub", u64, high, a.select(negative, other, zero, u64))
    return high


@_emits("neg")
def _neg(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if not s.type.is_float:
        return a.op("SNegate", s.type, *args)
    carrier = _carrier(s.type)
    sign = a.constant(1 << (s.type.bits - 1), carrier)
    return a.cast(a.op("BitwiseXor", carrier, a.cast(args[0], carrier), sign), s.type)


@_emits("abs")
def _abs(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.type.is_float:
        carrier = _carrier(s.type)
        rest = a.constant((1 << (s.type.bits - 1)) - 1, carrier)
        return a.cast(a.op("BitwiseAnd", carrier, a.cast(args[0], carrier), rest), s.type)
    if not s.type.is_signed:
        return args[0]
    negative = a.ordered("LessThan", s.type, args[0], a.constant(0, s.type))
    return a.select(negative, a.op("SNegate", s.type, args[0]), args[0], s.type)


@_emits("min", "max")
def _extreme(a: Arithmetic, s: Instr, args: list[int]) -> int:
    assert s.type.is_integer, "expand_extremes has done floats"
    order = "LessThan" if s.op.name == "min" else "GreaterThan"
    return a.select(a.ordered(order, s.type, args[0], args[1]), args[0], args[1], s.type)


@_emits("floor", "ceil", "rint", "trunc", "sqrt")
def _rounding(a: Arithmetic, s: Instr, args: list[int]) -> int:
    name = {"rint": "RoundEven"}.get(s.op.name, s.op.name.capitalize())
    return a.m.glsl(name, a.type_of(s.type), *args)


@_emits("and", "or", "xor")
def _logic(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.type.is_bool:
        name = {"and": "LogicalAnd", "or": "LogicalOr", "xor": "LogicalNotEqual"}[s.op.name]
        return a.test(name, *args)
    return a.op({"and": "BitwiseAnd", "or": "BitwiseOr", "xor": "BitwiseXor"}[s.op.name], s.type, *args)


@_emits("not")
def _not(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.test("LogicalNot", *args) if s.type.is_bool else a.op("Not", s.type, *args)


@_emits("shl", "shr")
def _shift(a: Arithmetic, s: Instr, args: list[int]) -> int:
    count = a.op("BitwiseAnd", s.type, args[1], a.constant(s.type.bits - 1, s.type))
    if s.op.name == "shl":
        return a.op("ShiftLeftLogical", s.type, args[0], count)
    return a.op("ShiftRightArithmetic" if s.type.is_signed else "ShiftRightLogical", s.type, args[0], count)


def _halves(a: Arithmetic, value: int) -> tuple[int, int]:
    """Return the low and the high word of a 64-bit integer."""
    kind = a.type_of(u32)
    shifted = a.op("ShiftRightLogical", u64, value, a.constant(32, u64))
    return a.m.value("UConvert", kind, value), a.m.value("UConvert", kind, shifted)


@_emits("popcount")
def _popcount(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.type.bits == 64:
        low, high = (a.op("BitCount", u32, h) for h in _halves(a, args[0]))
        return a.m.value("UConvert", a.type_of(u64), a.op("IAdd", u32, low, high))
    return a.op("BitCount", u32, args[0])


def _clz_word(a: Arithmetic, word: int) -> int:
    return a.op("ISub", u32, a.constant(31, u32), a.m.glsl("FindUMsb", a.type_of(u32), word))


@_emits("clz")
def _clz(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.leading_zeros(args[0], u64 if s.type.bits == 64 else u32)


_ORDER = {"lt": "LessThan", "le": "LessThanEqual", "gt": "GreaterThan", "ge": "GreaterThanEqual"}


@_emits("eq", "ne", *_ORDER)
def _compare(a: Arithmetic, s: Instr, args: list[int]) -> int:
    name, dtype = s.op.name, _operand(s)
    if name in _ORDER:
        if dtype.is_float:
            return a.test("FOrd" + _ORDER[name], *args)
        first = a.hidden(args[0], dtype) if a.knowledge.may_wrap(s) else args[0]
        return a.ordered(_ORDER[name], dtype, first, args[1])
    equal = name == "eq"
    if dtype.is_bool:
        return a.test("LogicalEqual" if equal else "LogicalNotEqual", *args)
    if dtype.is_float:
        return a.test("FOrdEqual" if equal else "FUnordNotEqual", *args)
    return a.test("IEqual" if equal else "INotEqual", *args)


@_emits("select")
def _select(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.select(args[0], a.chosen(args[1], s.args[1]), a.chosen(args[2], s.args[2]), s.type)


@_emits("bitcast")
def _bitcast(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.args[0].type.is_float == s.type.is_float:
        return args[0]
    found = a.cast(args[0], s.type)
    return a.made_float(found, s) if s.type.is_float else found


@_emits("convert")
def _convert(a: Arithmetic, s: Instr, args: list[int]) -> int:
    source, target = s.args[0].type, s.type
    found = convert(a, args[0], source, target)
    return a.made_float(found, s) if source.is_integer and target.is_float else found
