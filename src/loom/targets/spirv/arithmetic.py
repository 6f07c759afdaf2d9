"""Emits the pure operations in SPIR-V.

Layer: targets. Integers have no sign in their type; operations do. Those of 8 and 16 bits are only loaded, stored and
converted (see ``ir.passes.words.narrow``). Every float operation is decorated NoContraction, and signs of floats are
changed in their bits. Invariant: bits equal ``ir.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import DType, u32, u64
from loom.ir.kernel import Instr
from loom.targets.spirv.conversions import convert
from loom.targets.spirv.instructions import Arithmetic, carrier_of

__all__ = ["EMIT"]

_PACKED_BYTES = 0
"""PackedVectorFormat4x8Bit: how operands of dot products are packed."""


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


def _quotient_or_zero(a: Arithmetic, dtype: DType, x: int, y: int) -> tuple[int, int]:
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
    by_zero, quotient = _quotient_or_zero(a, s.type, *args)
    return a.select(by_zero, a.constant(0, s.type), quotient, s.type)


@_emits("irem")
def _irem(a: Arithmetic, s: Instr, args: list[int]) -> int:
    by_zero, quotient = _quotient_or_zero(a, s.type, *args)
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
        negative = a.compare_order("LessThan", dtype, sign, zero)
        high = a.op("ISub", u64, high, a.select(negative, other, zero, u64))
    return high


@_emits("neg")
def _neg(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if not s.type.is_float:
        return a.op("SNegate", s.type, *args)
    carrier = carrier_of(s.type)
    sign = a.constant(1 << (s.type.bits - 1), carrier)
    return a.cast(a.op("BitwiseXor", carrier, a.cast(args[0], carrier), sign), s.type)


@_emits("abs")
def _abs(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.type.is_float:
        carrier = carrier_of(s.type)
        rest = a.constant((1 << (s.type.bits - 1)) - 1, carrier)
        return a.cast(a.op("BitwiseAnd", carrier, a.cast(args[0], carrier), rest), s.type)
    if not s.type.is_signed:
        return args[0]
    negative = a.compare_order("LessThan", s.type, args[0], a.constant(0, s.type))
    return a.select(negative, a.op("SNegate", s.type, args[0]), args[0], s.type)


@_emits("min", "max")
def _extreme(a: Arithmetic, s: Instr, args: list[int]) -> int:
    assert s.type.is_integer, "expand_extremes has done floats"
    order = "LessThan" if s.op.name == "min" else "GreaterThan"
    return a.select(a.compare_order(order, s.type, args[0], args[1]), args[0], args[1], s.type)


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


@_emits("popcount")
def _popcount(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.type.bits == 64:
        low, high = (a.op("BitCount", u32, h) for h in a.halves(args[0]))
        return a.m.value("UConvert", a.type_of(u64), a.op("IAdd", u32, low, high))
    return a.op("BitCount", u32, args[0])


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
        first = a.hide(args[0], dtype) if a.knowledge.may_wrap(s) else args[0]
        return a.compare_order(_ORDER[name], dtype, first, args[1])
    equal = name == "eq"
    if dtype.is_bool:
        return a.test("LogicalEqual" if equal else "LogicalNotEqual", *args)
    if dtype.is_float:
        return a.test("FOrdEqual" if equal else "FUnordNotEqual", *args)
    return a.test("IEqual" if equal else "INotEqual", *args)


@_emits("select")
def _select(a: Arithmetic, s: Instr, args: list[int]) -> int:
    return a.select(args[0], a.opaque_choice(args[1], s.args[1]), a.opaque_choice(args[2], s.args[2]), s.type)


@_emits("bitcast")
def _bitcast(a: Arithmetic, s: Instr, args: list[int]) -> int:
    if s.args[0].type.is_float == s.type.is_float:
        return args[0]
    found = a.cast(args[0], s.type)
    return a.opaque_float(found, s) if s.type.is_float else found


@_emits("convert")
def _convert(a: Arithmetic, s: Instr, args: list[int]) -> int:
    source, target = s.args[0].type, s.type
    found = convert(a, args[0], source, target)
    return a.opaque_float(found, s) if source.is_integer and target.is_float else found
