"""Writes the pure operations in WGSL: numbers are carried in words, floats as their bits.

Layer: targets. Integers of 8 and 16 bits are only loaded, stored and converted (see ``ir.passes.words.narrow``). What
can be wrong on a device is a call of a function of the library, of which the device's form is put in later. Invariant:
bits equal ``ir.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import DType
from loom.ir.kernel import Instr
from loom.targets.base.opaque_values import Knowledge
from loom.targets.wgsl.text import word

__all__ = ["EMIT", "Arithmetic"]

_UNITS = (0x3F800000, 0xBF800000)


class Arithmetic:
    """Writes operations; a float that a compiler may know is hidden from it."""

    def __init__(self, knowledge: Knowledge, named: Callable[[str], str]) -> None:
        self.knowledge = knowledge
        self.named = named

    def constant(self, bits: int, dtype: DType) -> str:
        """Return a constant by its bits."""
        if dtype.is_bool:
            return "true" if bits else "false"
        if dtype.bits == 64:
            plain = f"vec2<u32>({word(bits & 0xFFFFFFFF)}, {word(bits >> 32)})"
            return hide(plain, dtype) if dtype.is_float else plain
        return hide(word(bits), dtype) if dtype.is_float else word(bits)

    def emit(self, s: Instr, args: list[str]) -> str:
        """Return the expression of a pure operation."""
        if args and all(a.op.name == "const" and not a.type.is_bool for a in s.args):
            # no compiler is to work on literals alone: some refuse what wraps
            args = [self.named(args[0]), *args[1:]]
        return EMIT[s.op.name](self, s, args)

    def opaque_choice(self, value: str, s: Instr) -> str:
        """Return what is chosen, kept in a variable or stored, hidden if a driver may know it to be 1.0 or -1.0."""
        if s.op.name == "const" and s.type.bits == 64:
            known = s.attr & 0xFFFFFFFF in _UNITS or s.attr >> 32 in _UNITS
        else:
            known = self.knowledge.may_be_one(s)
        return hide(value, s.type) if known else value

    def opaque_float(self, value: str, s: Instr) -> str:
        """Return a float made of an integer, hidden if a compiler may know it."""
        return value if self.knowledge.is_opaque(s) else hide(value, s.type)


def hide(value: str, dtype: DType) -> str:
    """Return a number of 32 or 64 bits as it is, in a way that no compiler sees through."""
    return f"hide_wide({value})" if dtype.bits == 64 else f"hide({value})"


_Emitter = Callable[[Arithmetic, Instr, "list[str]"], str]
EMIT: dict[str, _Emitter] = {}
"""Operation name to what writes it."""


def _emits(*names: str) -> Callable[[_Emitter], _Emitter]:
    def register(fn: _Emitter) -> _Emitter:
        for name in names:
            EMIT[name] = fn
        return fn

    return register


def _call(name: str, dtype: DType, args: list[str]) -> str:
    return f"{name}_{dtype.name}({', '.join(args)})"


def _as_unsigned(name: str, dtype: DType, args: list[str]) -> str:
    """Call what signed and unsigned integers share."""
    return f"{name}_u{dtype.bits}({', '.join(args)})"


def _as_signed(value: str) -> str:
    return f"bitcast<i32>({value})"


@_emits("vector", "extract")
def _short_vector(_a: Arithmetic, s: Instr, _args: list[str]) -> str:
    raise AssertionError(f"scalarize has done {s.op.name}")


_PLAIN = {"add": "+", "sub": "-", "mul": "*"}


@_emits("add", "sub", "mul")
def _plain(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    dtype = s.type
    if dtype.is_float:
        return _call(s.op.name, dtype, args)
    if dtype.bits == 64:
        return _as_unsigned(s.op.name, dtype, args)
    return f"({args[0]} {_PLAIN[s.op.name]} {args[1]})"


@_emits("fma")
def _fma(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    return _call("add", s.type, [_call("mul", s.type, args[:2]), args[2]])


@_emits("div", "idiv", "irem", "mulhi")
def _quotient(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    return _call(s.op.name, s.type, args)


@_emits("dot4_i8", "dot4_u8i8", "dot2_i16")
def _dot(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    return f"{s.op.name}({', '.join(args)})"


@_emits("sqrt", "floor", "ceil", "rint", "trunc")
def _unary(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    return _call(s.op.name, s.type, args)


@_emits("neg")
def _neg(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    if s.type.is_float:
        return f"({args[0]} ^ {'vec2<u32>(0u, 0x80000000u)' if s.type.bits == 64 else '0x80000000u'})"
    return _as_unsigned("neg", s.type, args) if s.type.bits == 64 else f"(0u - {args[0]})"


@_emits("abs")
def _abs(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    if s.type.is_float:
        return f"({args[0]} & {'vec2<u32>(0xffffffffu, 0x7fffffffu)' if s.type.bits == 64 else '0x7fffffffu'})"
    return _call("abs", s.type, args) if s.type.is_signed else args[0]


@_emits("min", "max")
def _extreme(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    dtype, name = s.type, s.op.name
    if dtype.is_float:
        return _call(name, dtype, args)
    if dtype.bits == 64:
        less = _call("lt", dtype, args)
        return f"select({args[1]}, {args[0]}, {less})" if name == "min" else f"select({args[0]}, {args[1]}, {less})"
    if dtype.is_signed:
        return f"bitcast<u32>({name}({_as_signed(args[0])}, {_as_signed(args[1])}))"
    return f"{name}({args[0]}, {args[1]})"


@_emits("and", "or", "xor")
def _logic(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    sign = {"and": "&", "or": "|", "xor": "!=" if s.type.is_bool else "^"}[s.op.name]
    return f"({args[0]} {sign} {args[1]})"


@_emits("not")
def _not(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    return f"!({args[0]})" if s.type.is_bool else f"~({args[0]})"


@_emits("shl", "shr")
def _shift(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    dtype, value = s.type, args[0]
    if dtype.bits == 64:
        kind = dtype.name if s.op.name == "shr" else "u64"
        return f"{s.op.name}_{kind}({value}, ({args[1]}).x & 63u)"
    count = f"({args[1]} & 31u)"
    if s.op.name == "shl":
        return f"({value} << {count})"
    return f"bitcast<u32>({_as_signed(value)} >> {count})" if dtype.is_signed else f"({value} >> {count})"


@_emits("popcount", "clz")
def _count(_a: Arithmetic, s: Instr, args: list[str]) -> str:
    if s.type.bits == 64:
        return _as_unsigned(s.op.name, s.type, args)
    return f"{'countOneBits' if s.op.name == 'popcount' else 'countLeadingZeros'}({args[0]})"


_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@_emits(*_SIGNS)
def _compare(a: Arithmetic, s: Instr, args: list[str]) -> str:
    name, dtype = s.op.name, s.args[0].type
    x, y = args
    x = hide(x, dtype) if a.knowledge.may_wrap(s) else x
    if name == "ne" and (dtype.is_float or dtype.bits == 64):
        return f"!({_equal(dtype, args)})"
    if name == "eq":
        return _equal(dtype, args)
    if dtype.is_float or dtype.bits == 64:
        if name in ("gt", "ge"):
            x, y, name = y, x, {"gt": "lt", "ge": "le"}[name]
        if name == "le" and dtype.is_integer:
            return f"!({_call('lt', dtype, [y, x])})"
        return _call(name, dtype, [x, y])
    if dtype.is_signed and name != "ne":
        x, y = _as_signed(x), _as_signed(y)
    return f"({x} {_SIGNS[name]} {y})"


def _equal(dtype: DType, args: list[str]) -> str:
    if dtype.is_float:
        return _call("eq", dtype, args)
    return _as_unsigned("eq", dtype, args) if dtype.bits == 64 else f"({args[0]} == {args[1]})"


@_emits("select")
def _select(a: Arithmetic, s: Instr, args: list[str]) -> str:
    if s.type.is_bool:
        return f"select({args[2]}, {args[1]}, {args[0]})"
    return f"select({a.opaque_choice(args[2], s.args[2])}, {a.opaque_choice(args[1], s.args[1])}, {args[0]})"


@_emits("bitcast")
def _bitcast(a: Arithmetic, s: Instr, args: list[str]) -> str:
    return a.opaque_float(args[0], s) if s.type.is_float and not s.args[0].type.is_float else args[0]


@_emits("convert")
def _convert(a: Arithmetic, s: Instr, args: list[str]) -> str:
    source, target = s.args[0].type, s.type
    found = _conversion(a, args[0], source, target)
    return a.opaque_float(found, s) if source.is_integer and target.is_float else found


def _conversion(a: Arithmetic, x: str, source: DType, target: DType) -> str:
    if source == target:
        return x
    if target.is_bool:
        none = "vec2<u32>(0u, 0u)" if source.bits == 64 else "0u"
        return f"!({_equal(source, [x, none])})"
    if source.is_bool:
        ones = {"f32": "0x3f800000u", "f64": "vec2<u32>(0u, 0x3ff00000u)"}
        one = hide(ones[target.name], target) if target.is_float else a.constant(1, target)
        return f"select({a.constant(0, target)}, {one}, {x})"
    if source.is_integer and target.is_integer:
        return _resize(x, source, target)
    if source.is_integer and source.bits < 32:
        wide = "i32" if source.is_signed else "u32"
        return f"{target.name}_of_{wide}({_extend(x, source)})"
    return f"{target.name}_of_{source.name}({x})"


def _extend(x: str, source: DType) -> str:
    """Return a narrow integer, as it was loaded, in 32 bits."""
    if not source.is_signed:
        return x
    by = 32 - source.bits
    return f"bitcast<u32>(bitcast<i32>({x} << {by}u) >> {by}u)"


def _resize(x: str, source: DType, target: DType) -> str:
    if source.bits < 32:
        x = _extend(x, source)
    if target.bits == 64:
        if source.bits == 64:
            return x
        return f"wide_i32({x})" if source.is_signed else f"vec2<u32>({x}, 0u)"
    if source.bits == 64:
        x = f"({x}).x"
    return f"({x} & {word((1 << target.bits) - 1)})" if target.bits < 32 else x
