"""Emits the pure operations, for scalars and vectors alike.

Layer: targets. Every entry of ``EMIT`` takes the operand types and values and returns a value. No
fast-math flag is ever set and multiply and add are never joined. Invariant: bits equal ``ir.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType
from loom.ir.kernel import Instr
from loom.targets.llvm.machine import Machine
from loom.targets.llvm.values.dots import Dots
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.types import Repeated, Vectors, scalar_type

__all__ = ["EMIT", "Arithmetic", "suffix"]


class Arithmetic:
    """Emits pure operations with one IRBuilder."""

    def __init__(self, builder: ll.IRBuilder, vectors: Vectors, machine: Machine) -> None:
        self.b = builder
        self.v = vectors
        self.exact_choices = machine.exact_choices
        self.register = machine.fence_register
        self.fused = machine.fused
        self.dots = Dots(builder, self.declare, machine.dots)
        self.divisor: Any = None  # the second operand as a scalar, where all lanes share it

    def emit(self, s: Instr, args: list[Lanes], stride: int | None) -> Lanes:
        """Emit ``s``; ``stride`` says how its result is held."""
        if stride is None and self.v.width > 1:
            values = [self.v.spread(a) for a in args]
            self.divisor = args[1].value if len(args) == 2 and args[1].stride == 0 else None
            return Lanes(EMIT[s.op.name](self, s, values), stride)
        return Lanes(self.apply(s, [a.value for a in args]), stride)

    def apply(self, s: Instr, values: list[Any]) -> Any:
        """Emit ``s`` on values as they are."""
        self.divisor = None
        return EMIT[s.op.name](self, s, values)

    def intrinsic(self, name: str, *args: Any) -> Any:
        """Call an LLVM intrinsic overloaded on its first operand's type."""
        kind = args[0].type
        types = [a.type for a in args]
        return self.b.call(self.declare(f"llvm.{name}.{suffix(kind)}", kind, types), args)

    def declare(self, name: str, result: Any, types: list[Any]) -> Any:
        """Return the declaration of an intrinsic, made once per module."""
        found = self.b.module.globals.get(name)
        return found or ll.Function(self.b.module, ll.FunctionType(result, types), name)

    def constant(self, value: float | int, like: Any) -> Any:
        """Return a constant of the type of the value ``like``."""
        if isinstance(like.type, ll.VectorType):
            return Repeated(like.type.element(value), like.type.count)
        return like.type(value)

    def fence(self, value: Any) -> Any:
        """Return a float that LLVM does not take for the one it is."""
        if not self.register:
            return self.intrinsic("arithmetic.fence", value)
        kind = ll.FunctionType(value.type, [value.type])
        return self.b.asm(kind, "", f"={self.register},0", [value], False)

    def cast(self, method: str, value: Any, dtype: DType) -> Any:
        """Apply one of LLVM's conversions, lane by lane."""
        target = scalar_type(dtype)
        if isinstance(value.type, ll.VectorType):
            target = ll.VectorType(target, value.type.count)
        return getattr(self.b, method)(value, target)


def suffix(kind: Any) -> str:
    """Return how LLVM writes a type in the name of an intrinsic."""
    if isinstance(kind, ll.VectorType):
        return f"v{kind.count}{suffix(kind.element)}"
    if isinstance(kind, ll.IntType):
        return f"i{kind.width}"
    return "f32" if isinstance(kind, ll.FloatType) else "f64"


_Emitter = Callable[[Arithmetic, Instr, list[Any]], Any]
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


@_emits("add", "sub", "mul")
def _plain(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    return getattr(a.b, ("f" if _operand(s).is_float else "") + s.op.name)(*args)


@_emits("div")
def _div(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    return a.b.fdiv(*args)


@_emits("idiv")
def _idiv(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    x, y = args
    zero = a.constant(0, x)
    quotient = _quotient(a, s, x, y) if _divides_in_floats(s, x, y) else _divide(a, s, x, y, "div")
    by_zero = a.b.icmp_unsigned("==", y, zero)
    if not _operand(s).is_signed:
        return a.b.select(by_zero, zero, quotient)
    by_minus = a.b.icmp_unsigned("==", y, a.constant(-1, x))
    return a.b.select(by_zero, zero, a.b.select(by_minus, a.b.sub(zero, x), quotient))


@_emits("irem")
def _irem(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    x, y = args
    if _divides_in_floats(s, x, y):
        rest = a.b.sub(x, a.b.mul(_quotient(a, s, x, y), _safe(a, s, y)))
    else:
        rest = _divide(a, s, x, y, "rem")
    return a.b.select(a.b.icmp_unsigned("==", y, a.constant(0, y)), x, rest)


def _safe(a: Arithmetic, s: Instr, y: Any) -> Any:
    """Return a divisor, or 1 where a machine would trap: 0, and -1 under the least number."""
    special = a.b.icmp_unsigned("==", y, a.constant(0, y))
    if _operand(s).is_signed:
        special = a.b.or_(special, a.b.icmp_unsigned("==", y, a.constant(-1, y)))
    return a.b.select(special, a.constant(1, y), y)


def _divide(a: Arithmetic, s: Instr, x: Any, y: Any, what: str) -> Any:
    return getattr(a.b, ("s" if _operand(s).is_signed else "u") + what)(x, _safe(a, s, y))


def _divides_in_floats(s: Instr, x: Any, y: Any) -> bool:
    """True for vectors of integers that floats hold, by numbers LLVM does not know: no machine divides those."""
    return isinstance(x.type, ll.VectorType) and not isinstance(y, ll.Constant) and _operand(s).bits <= 32


def _quotient(a: Arithmetic, s: Instr, x: Any, y: Any) -> Any:
    """Return ``x / y`` toward zero, anything for a ``y`` of 0 or -1.

    In floats: a number half a unit outward of ``x``, over ``y``, is at least half of ``1 / y`` away from every integer;
    rounding the reciprocal and the product (53 bits, or 24 for operands of up to 16) moves it less.
    """
    dtype = _operand(s)
    wide = ll.DoubleType() if dtype.bits == 32 else ll.FloatType()
    kind = ll.VectorType(wide, x.type.count)
    to_float = a.b.sitofp if dtype.is_signed else a.b.uitofp
    dividend, half = to_float(x, kind), Repeated(wide(0.5), x.type.count)
    if dtype.is_signed:
        half = a.b.call(a.declare(f"llvm.copysign.{suffix(kind)}", kind, [kind, kind]), [half, dividend])
    if a.divisor is not None:  # one for all lanes
        reciprocal = a.v.splat(a.b.fdiv(wide(1.0), to_float(_safe(a, s, a.divisor), wide)))
    else:
        ones = Repeated(wide(1.0), x.type.count)
        reciprocal = a.b.fdiv(ones, to_float(_safe(a, s, y), kind))
    quotient = a.b.fmul(a.b.fadd(dividend, half), reciprocal)
    return (a.b.fptosi if dtype.is_signed else a.b.fptoui)(quotient, x.type)


@_emits("mulhi")
def _mulhi(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    bits = _operand(s).bits
    wide = ll.IntType(2 * bits)
    narrow: Any = ll.IntType(bits)
    if isinstance(args[0].type, ll.VectorType):
        count = args[0].type.count
        wide, narrow = ll.VectorType(wide, count), ll.VectorType(narrow, count)
    extend = a.b.sext if _operand(s).is_signed else a.b.zext
    product = a.b.mul(extend(args[0], wide), extend(args[1], wide))
    return a.b.trunc(a.b.lshr(product, a.constant(bits, product)), narrow)


@_emits("fma")
def _fma(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    if a.fused:
        return a.intrinsic("fma", *args)
    return a.b.fadd(a.b.fmul(*args[:2]), args[2])


@_emits("dot4_i8", "dot4_u8i8")
def _dot_of_bytes(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    x, y, c = args
    return a.dots.bytes(x, y, c, unsigned=s.op.name == "dot4_u8i8")


@_emits("dot2_i16")
def _dot_of_halves(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    return a.dots.pairs(*args)


@_emits("neg")
def _neg(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    return a.b.fneg(args[0]) if _operand(s).is_float else a.b.sub(a.constant(0, args[0]), args[0])


@_emits("abs")
def _abs(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    x = args[0]
    if _operand(s).is_float:
        return a.intrinsic("fabs", x)
    if not _operand(s).is_signed:
        return x
    return a.b.select(a.b.icmp_signed("<", x, a.constant(0, x)), a.b.sub(a.constant(0, x), x), x)


@_emits("min", "max")
def _extreme(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    if _operand(s).is_float:
        return a.intrinsic("minimum" if s.op.name == "min" else "maximum", *args)
    compare = a.b.icmp_signed if _operand(s).is_signed else a.b.icmp_unsigned
    return a.b.select(compare("<" if s.op.name == "min" else ">", *args), *args)


@_emits("floor", "ceil", "trunc", "sqrt")
def _rounding(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    return a.intrinsic(s.op.name, args[0])


@_emits("rint")
def _rint(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    return a.intrinsic("roundeven", args[0])


@_emits("and", "or", "xor")
def _logic(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    return getattr(a.b, {"and": "and_", "or": "or_", "xor": "xor"}[s.op.name])(*args)


@_emits("not")
def _not(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    return a.b.xor(args[0], a.constant(-1, args[0]))


@_emits("shl", "shr")
def _shift(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    x, count = args
    count = a.b.and_(count, a.constant(_operand(s).bits - 1, count))
    if s.op.name == "shl":
        return a.b.shl(x, count)
    return a.b.ashr(x, count) if _operand(s).is_signed else a.b.lshr(x, count)


@_emits("popcount")
def _popcount(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    return a.intrinsic("ctpop", args[0])


@_emits("clz")
def _clz(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    kind = args[0].type
    fn = a.declare(f"llvm.ctlz.{suffix(kind)}", kind, [kind, ll.IntType(1)])
    return a.b.call(fn, [args[0], ll.IntType(1)(0)])


_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


_ORDERING = ("<", "<=", ">", ">=")
"""Compares of which LLVM makes a minimum or maximum where a choice follows: not of what is fenced off from it."""


@_emits(*_COMPARE)
def _compare(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    symbol, dtype = _COMPARE[s.op.name], _operand(s)
    if dtype.is_float:
        if symbol in _ORDERING and not a.exact_choices:
            args = [args[0], a.fence(args[1])]
        return (a.b.fcmp_unordered if symbol == "!=" else a.b.fcmp_ordered)(symbol, *args)
    return (a.b.icmp_signed if dtype.is_signed else a.b.icmp_unsigned)(symbol, *args)


@_emits("select")
def _select(a: Arithmetic, _s: Instr, args: list[Any]) -> Any:
    return a.b.select(*args)


@_emits("bitcast")
def _bitcast(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    source, target = s.args[0].type, s.type
    return args[0] if source.is_float == target.is_float else a.cast("bitcast", args[0], target)


@_emits("convert")
def _convert(a: Arithmetic, s: Instr, args: list[Any]) -> Any:
    source, target, x = s.args[0].type, s.type, args[0]
    if source == target:
        return x
    if target.is_bool:
        return _nonzero(a, source, x)
    if source.is_bool:
        return a.cast("uitofp" if target.is_float else "zext", x, target)
    if source.is_integer and target.is_integer:
        if target.bits < source.bits:
            return a.cast("trunc", x, target)
        extend = "sext" if source.is_signed else "zext"
        return x if target.bits == source.bits else a.cast(extend, x, target)
    if source.is_integer:
        return a.cast("sitofp" if source.is_signed else "uitofp", x, target)
    if target.is_integer:
        return _saturating(a, target, x)
    return a.cast("fpext" if target.bits > source.bits else "fptrunc", x, target)


def _nonzero(a: Arithmetic, source: DType, x: Any) -> Any:
    zero = a.constant(0, x)
    return a.b.fcmp_unordered("!=", x, zero) if source.is_float else a.b.icmp_unsigned("!=", x, zero)


def _saturating(a: Arithmetic, target: DType, x: Any) -> Any:
    result: Any = scalar_type(target)
    if isinstance(x.type, ll.VectorType):
        result = ll.VectorType(result, x.type.count)
    name = f"llvm.fpto{'s' if target.is_signed else 'u'}i.sat.{suffix(result)}.{suffix(x.type)}"
    return a.b.call(a.declare(name, result, [x.type]), [x])
