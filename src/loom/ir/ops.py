"""The one table of operations, read by builder, verifier, printer, interpreter, targets and docs.

Layer: ir. A row says how many operands an operation takes, which types it accepts, what type it gives,
what it does to memory and, if it is pure, which numpy function defines it. To add an operation, add a
row here and an emit case per target (``tests/architecture`` tells which target still lacks it).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from loom.core.dtype import DType, i32
from loom.core.late.dataclass import dataclass
from loom.ir import evaluate as ev

__all__ = ["OPS", "Accepts", "Effect", "Narrow", "Op", "Result"]


class Accepts(enum.Enum):
    """Operand types an operation takes; the value is the text used in errors."""

    NUMBER = "an integer, f32 or f64"
    FLOAT = "f32 or f64"
    INTEGER = "an integer"
    BITS = "an integer or bool"
    WORDS = "i32"
    ANY = "any type"
    COMPARABLE = "bool, an integer, f32 or f64"
    NONE = "no operand"
    SPECIAL = "operands by its own rule"

    def allows(self, dtype: DType) -> bool:
        """Tell whether a value of ``dtype`` (or, by component, a vector) may be an operand."""
        return _ALLOWED[self._name_](dtype)


_ALLOWED: dict[str, Callable[[DType], bool]] = {
    "NUMBER": lambda t: t.is_integer or (t.is_float and not t.storage_only),
    "FLOAT": lambda t: t.is_float and not t.storage_only,
    "INTEGER": lambda t: t.is_integer,
    "BITS": lambda t: t.is_integer or t.is_bool,
    "WORDS": lambda t: t.scalar == i32,
    "ANY": lambda t: not t.is_complex,
    "COMPARABLE": lambda t: not (t.storage_only or t.is_complex),
    "NONE": lambda _t: False,
    "SPECIAL": lambda _t: True,
}
"""By name, whose hash is at hand: every operation of every kernel is asked about twice."""


class Result(enum.Enum):
    """How the result type follows from the operands."""

    SAME = "the operand type"
    BOOL = "bool"
    ATTR = "the type named"
    ELEMENT = "the element type of the memory"
    U32 = "u32"
    NOTHING = "no result"


class Effect(enum.Enum):
    """What executing the operation does besides giving a value."""

    PURE = "nothing"
    IDENTITY = "tells a lane who it is"
    READ = "reads memory or a variable"
    WRITE = "writes memory or a variable"
    ATOMIC = "reads and writes memory in one step"
    SYNC = "orders the lanes of a workgroup"
    DEBUG = "talks to the host"


class Narrow(enum.Enum):
    """What an operation on integers gives, if their numbers are held in more bits."""

    KEEPS = "a number in the range of the operands"
    WRAPS = "the number, but for a multiple of the range"


@dataclass(frozen=True)
class Op:
    """One row: ``evaluate`` takes the operand arrays (and, for convert and bitcast, the types).

    ``narrow`` says how 8 and 16 bits are computed in 32; what is ``named`` is a function of that name in kernels.
    """

    name: str
    arity: int
    accepts: Accepts
    result: Result
    effect: Effect
    doc: str
    evaluate: Callable[..., Any] | None = None
    narrow: Narrow | None = None
    named: bool = False

    @property
    def is_pure(self) -> bool:
        """True when the operation only computes."""
        return self.effect is Effect.PURE


def _pure(
    name: str, arity: int, accepts: Accepts, result: Result, doc: str, fn: Callable[..., Any] | None,
    narrow: Narrow | None = None, *, named: bool = False,
) -> Op:  # fmt: skip
    return Op(name, arity, accepts, result, Effect.PURE, doc, fn, narrow, named)


def _atomic(name: str, arity: int, doc: str) -> Op:
    return Op(name, arity, Accepts.SPECIAL, Result.ELEMENT, Effect.ATOMIC, doc, named=True)


_A, _R, _E = Accepts, Result, Effect
_KEEPS, _WRAPS = Narrow.KEEPS, Narrow.WRAPS

_ROWS = (
    # arithmetic
    _pure("add", 2, _A.NUMBER, _R.SAME, "a + b; integers wrap", ev.add, _WRAPS),
    _pure("sub", 2, _A.NUMBER, _R.SAME, "a - b; integers wrap", ev.sub, _WRAPS),
    _pure("mul", 2, _A.NUMBER, _R.SAME, "a * b; integers wrap", ev.mul, _WRAPS),
    _pure("div", 2, _A.FLOAT, _R.SAME, "a / b, correctly rounded", ev.div),
    _pure("fma", 3, _A.SPECIAL, _R.SAME, "a * b + c, where a * b is exact", ev.fma, named=True),
    _pure("idiv", 2, _A.INTEGER, _R.SAME, "a / b toward zero; x / 0 = 0", ev.idiv, _WRAPS, named=True),
    _pure("irem", 2, _A.INTEGER, _R.SAME, "a - (a / b) b; x % 0 = x", ev.irem, _KEEPS, named=True),
    _pure("mulhi", 2, _A.INTEGER, _R.SAME, "high half of the product", ev.mulhi, named=True),
    _pure("neg", 1, _A.NUMBER, _R.SAME, "-a; integers wrap", ev.neg, _WRAPS),
    _pure("abs", 1, _A.NUMBER, _R.SAME, "absolute value; integers wrap", ev.abs_, _WRAPS),
    _pure("min", 2, _A.NUMBER, _R.SAME, "smaller; NaN wins, -0 < +0", ev.minimum, _KEEPS),
    _pure("max", 2, _A.NUMBER, _R.SAME, "larger; NaN wins, -0 < +0", ev.maximum, _KEEPS),
    _pure("floor", 1, _A.FLOAT, _R.SAME, "round toward minus infinity", ev.floor, named=True),
    _pure("ceil", 1, _A.FLOAT, _R.SAME, "round toward plus infinity", ev.ceil, named=True),
    _pure("rint", 1, _A.FLOAT, _R.SAME, "round to nearest, halves to even", ev.rint, named=True),
    _pure("trunc", 1, _A.FLOAT, _R.SAME, "round toward zero", ev.trunc, named=True),
    _pure("sqrt", 1, _A.FLOAT, _R.SAME, "square root, correctly rounded", ev.sqrt, named=True),
    # packed small integers: parts of a and b from the lowest bits on, products and sums that wrap
    _pure("dot4_i8", 3, _A.WORDS, _R.SAME, "c + the sum of four products of i8", ev.dot4_i8, named=True),
    _pure(
        "dot4_u8i8", 3, _A.WORDS, _R.SAME, "c + the sum of four products, u8 of a by i8 of b", ev.dot4_u8i8, named=True
    ),
    _pure("dot2_i16", 3, _A.WORDS, _R.SAME, "c + the sum of two products of i16", ev.dot2_i16, named=True),
    # bits
    _pure("and", 2, _A.BITS, _R.SAME, "bitwise and", ev.and_, _KEEPS),
    _pure("or", 2, _A.BITS, _R.SAME, "bitwise or", ev.or_, _KEEPS),
    _pure("xor", 2, _A.BITS, _R.SAME, "bitwise exclusive or", ev.xor, _KEEPS),
    _pure("not", 1, _A.BITS, _R.SAME, "bitwise complement", ev.not_, _WRAPS),
    _pure("shl", 2, _A.INTEGER, _R.SAME, "a << (b mod width)", ev.shl),
    _pure("shr", 2, _A.INTEGER, _R.SAME, "a >> (b mod width)", ev.shr),
    _pure("popcount", 1, _A.INTEGER, _R.SAME, "number of one bits", ev.popcount, named=True),
    _pure("clz", 1, _A.INTEGER, _R.SAME, "number of leading zeros", ev.clz, named=True),
    # comparison and choice
    _pure("eq", 2, _A.COMPARABLE, _R.BOOL, "a == b", ev.eq),
    _pure("ne", 2, _A.COMPARABLE, _R.BOOL, "a != b; true for NaN", ev.ne),
    _pure("lt", 2, _A.NUMBER, _R.BOOL, "a < b; false for NaN", ev.lt),
    _pure("le", 2, _A.NUMBER, _R.BOOL, "a <= b; false for NaN", ev.le),
    _pure("gt", 2, _A.NUMBER, _R.BOOL, "a > b; false for NaN", ev.gt),
    _pure("ge", 2, _A.NUMBER, _R.BOOL, "a >= b; false for NaN", ev.ge),
    _pure("select", 3, _A.SPECIAL, _R.SAME, "condition ? a : b", ev.select, _KEEPS),
    # types
    _pure("const", 0, _A.NONE, _R.ATTR, "a bit pattern", None),
    _pure("convert", 1, _A.ANY, _R.ATTR, "value conversion; floats saturate", ev.convert),
    _pure("bitcast", 1, _A.ANY, _R.ATTR, "same bits, other type", ev.bitcast),
    _pure("vector", -1, _A.SPECIAL, _R.ATTR, "a short vector from components", None),
    _pure("extract", 1, _A.SPECIAL, _R.ATTR, "one component of a short vector", None),
    # who and where
    Op("global_id", 0, _A.NONE, _R.U32, _E.IDENTITY, "index of the lane in the dispatch"),
    Op("local_id", 0, _A.NONE, _R.U32, _E.IDENTITY, "index of the lane in its workgroup"),
    Op("group_id", 0, _A.NONE, _R.U32, _E.IDENTITY, "index of the workgroup"),
    Op("num_groups", 0, _A.NONE, _R.U32, _E.IDENTITY, "number of workgroups"),
    Op("param", 0, _A.NONE, _R.ATTR, _E.IDENTITY, "a push constant"),
    Op("length", 0, _A.NONE, _R.U32, _E.IDENTITY, "elements in a buffer"),
    Op("index", 0, _A.NONE, _R.ATTR, _E.IDENTITY, "the counter of a for loop"),
    # memory
    Op("load", 1, _A.SPECIAL, _R.ELEMENT, _E.READ, "memory[i]; outside gives 0"),
    Op(
        "tile_product",
        3,
        _A.SPECIAL,
        _R.SAME,
        _E.READ,
        "sums + rows of bytes by rows of bytes: a lane's four of 16 by 8 of each 32 lanes",
    ),
    Op(
        "wide_product",
        2,
        _A.SPECIAL,
        _R.NOTHING,
        _E.WRITE,
        "private sums of rows of bytes by rows of bytes: a lane's share of 64 rows of each 128 lanes",
    ),
    Op("fetch", 3, _A.SPECIAL, _R.NOTHING, _E.WRITE, "copy words of a buffer to shared memory, under a ticket"),
    Op("store", 2, _A.SPECIAL, _R.NOTHING, _E.WRITE, "memory[i] = value; outside is dropped"),
    Op("get", 0, _A.NONE, _R.ATTR, _E.READ, "value of a local variable"),
    Op("set", 1, _A.SPECIAL, _R.NOTHING, _E.WRITE, "assign a local variable"),
    _atomic("atomic_add", 2, "memory[i] += v; gives the old value"),
    _atomic("atomic_and", 2, "memory[i] &= v; gives the old value"),
    _atomic("atomic_or", 2, "memory[i] |= v; gives the old value"),
    _atomic("atomic_xor", 2, "memory[i] ^= v; gives the old value"),
    _atomic("atomic_min", 2, "memory[i] = min; gives the old value"),
    _atomic("atomic_max", 2, "memory[i] = max; gives the old value"),
    _atomic("atomic_exchange", 2, "memory[i] = v; gives the old"),
    _atomic("atomic_compare_exchange", 3, "memory[i] = v if it equals the expected value; gives the old value"),
    # order and host
    Op("barrier", 0, _A.NONE, _R.NOTHING, _E.SYNC, "all lanes of the workgroup arrive, then go on"),
    Op("near_barrier", 0, _A.NONE, _R.NOTHING, _E.SYNC, "the 32 lanes side by side arrive, then go on"),
    Op("fetched", 1, _A.SPECIAL, _R.NOTHING, _E.SYNC, "go on when all that was fetched under a ticket is there"),
    Op("release", 1, _A.SPECIAL, _R.NOTHING, _E.SYNC, "what was fetched under a ticket is read no more"),
    Op("print", -1, _A.SPECIAL, _R.NOTHING, _E.DEBUG, "a line of text to the host"),
    Op("assert", -1, _A.SPECIAL, _R.NOTHING, _E.DEBUG, "stop the program unless the condition holds"),
    Op(
        "within", 2, _A.SPECIAL, _R.NOTHING, _E.DEBUG, "tell the host, if it checks, of an index at or beyond an extent"
    ),
    Op("breakpoint", -1, _A.SPECIAL, _R.NOTHING, _E.DEBUG, "stop in the debugger; nothing elsewhere"),
)

OPS: dict[str, Op] = {row.name: row for row in _ROWS}
"""All operations by name."""
