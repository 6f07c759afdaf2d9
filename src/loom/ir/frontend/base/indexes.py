"""Lane numbers, lengths and what is computed of them: whole numbers that go below zero.

Layer: ir. An index is a u32 while nothing takes it below zero, and an i32 from where something can: a difference, a
number below zero, an i32. So what never goes below zero costs nothing and reaches 2^32 - 1. The library's own code is
written in u32 and stays so. Invariant: an operation on indexes gives the number that Python gives, as long as it is
within the 32 bits of its type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loom.core.dtype import DType, i32, u8, u16, u32, u64
from loom.core.given import is_scalar
from loom.ir.builder import Builder
from loom.ir.constants import constant_value
from loom.ir.frontend.base.values import Operand, Retype, Static, Typing, is_number
from loom.ir.kernel import For, Instr, Param, Variable

__all__ = ["IndexTyping"]

_COUNTED = ("add", "sub", "mul", "idiv", "irem", "min", "max", "abs", "neg")
_KEEPS = frozenset((*_COUNTED, "and", "or", "xor", "shl", "shr", "not", "select"))
"""Operations that make an index of one."""
_NUMBERS = frozenset(("global_id", "local_id", "group_id", "num_groups", "length"))
_HALF = 1 << 31
_OPPOSITE = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


class IndexTyping(Typing):
    """``Typing`` that knows which values are indexes; ``is_own`` tells whether code of the library is translated.

    ``has_met`` tells whether what a key names met an index in an earlier translation (see ``Retype``).
    """

    def __init__(self, builder: Builder, has_met: Callable[[object], bool], is_own: Callable[[], bool]) -> None:
        super().__init__(builder)
        self.has_met = has_met
        self.is_own = is_own
        self.marks: set[Instr | Variable] = set()
        self.keys: dict[Variable, object] = {}
        """Of variables whose type nobody wrote: what to translate again if one turns out to be an index."""

    # which values are indexes

    def is_index(self, operand: object) -> bool:
        """Tell whether an operand is an index here."""
        if not isinstance(operand, Instr) or self.is_own():
            return False
        return (operand.attr if isinstance(operand.attr, Variable) else operand) in self.marks

    def index(self, value: Instr) -> Instr:
        """Make a value an index."""
        if not self.is_own():
            self.marks.add(value)
        return value

    def plain(self, value: Instr) -> Instr:
        """Return an index as a number of its type that is none: the same operation once more."""
        if value.op.is_pure or value.op.name in _NUMBERS or value.op.name == "param":
            self.builder.append(again := Instr(value.op, value.dtype, value.args, value.attr, value.memory, value.loc))
            return again
        return self.builder.emit("bitcast", value, dtype=value.type)

    def as_signed(self, value: Instr) -> Instr:
        """Return a number of 32 bits as an index that may be below zero."""
        if value.dtype != u32:
            return value
        if self._is_natural(value):
            return value.args[0]
        if not self.is_index(value) and not self.is_small(value) and _is_data(value):
            raise self.builder.error(
                "a u32 of memory meets an index that may be below zero",
                "an i32, or a u32 below 2^31",
                u32,
                "Write i32(...) around the element, or u32(...) around the index",
            )
        self.builder.goes_below = True
        if not self.is_index(value) and not self.is_small(value):
            self.builder.index_params |= _params(value)
        return self.index(self.builder.emit("convert", value, dtype=i32))

    def as_natural(self, value: Instr) -> Instr:
        """Return an index that is surely not below zero as such a one."""
        return value if value.dtype == u32 else self.index(self.builder.emit("convert", value, dtype=u32))

    def _is_natural(self, value: Instr) -> bool:
        return value.op.name == "convert" and value.args[0].dtype == i32 and self.is_index(value)

    # one type for several operands

    def unify(self, operands: list[Operand], *, below: bool = False) -> list[Instr]:
        """Return operands as values of one type: i32 if one of indexes (``below``: their result) may be below zero."""
        if not any(self.is_index(o) for o in operands):
            return super().unify(operands)
        operands = [self.as_value(o) if isinstance(o, Static) and is_scalar(o.value) else o for o in operands]
        if not all(map(self._mixes, operands)):
            return super().unify(operands)
        wanted = i32 if below or any(map(self._is_below, operands)) else u32
        return [self._as(o, wanted) for o in operands]

    def _mixes(self, operand: Operand) -> bool:
        """Tell whether an operand can meet an index: a number of 32 bits, or one without a type yet."""
        if isinstance(operand, Static):
            return isinstance(operand.value, int) and not isinstance(operand.value, bool)
        if not isinstance(operand, Instr) or operand.dtype is None:
            return False
        return operand.dtype in (u32, i32) or (self.weak_key(operand) is not None and operand.dtype.is_integer)

    def _is_below(self, operand: Operand) -> bool:
        """Tell whether an operand makes what it meets one that may be below zero."""
        if isinstance(operand, Instr):
            return operand.dtype == i32 and self.weak_key(operand) is None
        return isinstance(operand, Static) and operand.value < 0

    def _as(self, operand: Operand, wanted: DType) -> Instr:
        """Return a number that meets an index as ``wanted``."""
        if not isinstance(operand, Instr):
            return self._constant(operand, wanted)
        key = self.weak_key(operand)
        if key is not None and operand.dtype != wanted and (wanted == u32 or operand.dtype != u32):
            raise Retype(key, wanted, index=True)
        return self.as_signed(operand) if wanted == i32 else self.as_natural(operand)

    def _constant(self, operand: Operand, wanted: DType) -> Instr:
        assert isinstance(operand, Static)
        value = operand.value
        if wanted == i32 and value >= _HALF:
            raise self.builder.error(
                "a number of 2^31 or more meets an index that may be below zero",
                "a number below 2^31",
                value,
                "Write u32(...) around the index to compute without a sign",
            )
        return self.as_value(operand, wanted)

    def settle(self, key: object, dtype: DType | None, values: Sequence[object]) -> DType | None:
        """Return the type that constants without one took, i32 for numbers below zero that met an index."""
        below = any(isinstance(v, int) and v < 0 for v in values)
        return i32 if dtype == u32 and below and self.has_met(key) else dtype

    # operations

    def emit(self, name: str, *args: Instr, dtype: DType | None = None) -> Instr:
        """Emit a pure operation; what is computed of an index is one."""
        found = any(map(self.is_index, args))
        if found and name in ("neg", "not"):
            args = tuple(self.as_signed(a) for a in args)
        result = super().emit(name, *args, dtype=dtype)
        if name in ("sub", "neg") and result.dtype in (u8, u16, u32, u64) and not self.is_own():
            self.builder.differences.add(result)
        if found and name in _KEEPS and result.dtype in (u32, i32) and not self._is_bits(name, args):
            self.index(result)
        elif found and result.dtype == u32:
            self.builder.mixed.add(result)
        return result

    def _is_bits(self, name: str, args: tuple[Instr, ...]) -> bool:
        """Tell whether an operation mixes bits, as hashes do: with a u32 that is no index, or a huge constant."""
        if name in ("shl", "shr"):
            return not self.is_index(args[0])
        others = [a for a in args if not self.is_index(a)]
        if name in ("or", "xor") and any(a.op.name != "const" for a in others):
            return True
        return name in ("add", "mul", "or", "xor") and any(map(_is_huge, others))

    def operands(self, name: str, left: Operand, right: Operand) -> list[Instr]:
        """Return the operands of a binary operator."""
        if not (self.is_index(left) or self.is_index(right)):
            return self.unify([left, right])
        if name in ("shl", "shr"):
            return self._shift(left, right)
        types = {o.dtype for o in (left, right) if isinstance(o, Instr) and self.weak_key(o) is None}
        if name in ("and", "or", "xor") and types == {u32, i32}:
            pair = [o for o in (left, right) if isinstance(o, Instr)]
            strange = any(o.dtype == u32 and not self.is_index(o) for o in pair)
            if strange and name == "and":  # of which no bit is beyond those of the u32
                return [o if o.dtype == u32 else self.builder.emit("convert", o, dtype=u32) for o in pair]
            if strange:
                raise self.builder.error(
                    "bits of an index that may be below zero meet a u32", u32, i32, "Write u32(...) around the index"
                )
        return self.unify([left, right], below=name == "sub")

    def _shift(self, left: Operand, right: Operand) -> list[Instr]:
        """Return a number and how far it is shifted: the number decides on the type."""
        if isinstance(left, Instr) and self.weak_key(left) is None and left.dtype in (u32, i32):
            if isinstance(right, Instr) and self._mixes(right) and self.weak_key(right) is None:
                return [left, self._count(right, left.type)]
            return super().unify([left, right])
        if isinstance(left, Static) and isinstance(right, Instr) and self._mixes(left):
            wanted = i32 if left.value < 0 else u32
            return [self.as_value(left, wanted), self._count(right, wanted)]
        return self.unify([left, right])

    def _count(self, value: Instr, wanted: DType) -> Instr:
        """Return how far to shift, which is taken modulo the width: any type of as many bits will do."""
        return value if value.dtype == wanted else self.builder.emit("convert", value, dtype=wanted)

    def compare(self, name: str, left: Operand, right: Operand) -> Operand:
        """Return what a comparison gives: of an index and any other number of 32 bits, that of the numbers."""
        if not (self.is_index(left) or self.is_index(right)):
            return self.builder.emit(name, *self.unify([left, right]))
        if isinstance(left, Static):
            left, right, name = right, left, _OPPOSITE[name]
        if isinstance(right, Static) and self._mixes(right):
            assert isinstance(left, Instr)
            if right.value < 0 and left.dtype == u32 and right.value >= -(1 << 32):
                return Static(name in ("gt", "ge", "ne"))
            if right.value >= _HALF and left.dtype == i32:
                right = self.as_value(right, u32)
        pair = self._strong([left, right])
        if len(pair) < 2 or pair[0].dtype == pair[1].dtype or all(o.dtype == i32 or self.is_small(o) for o in pair):
            return self.builder.emit(name, *self.unify([left, right]))
        if pair[0].dtype == u32:
            pair, name = pair[::-1], _OPPOSITE[name]
        return self._of_both(name, *pair)

    def _of_both(self, name: str, below: Instr, high: Instr) -> Instr:
        """Compare an i32 with a u32, neither of which can be told as the other."""
        emit = self.builder.emit
        zero = self.builder.const(0, i32)
        same = emit(name, emit("convert", below, dtype=u32), high)
        if name in ("lt", "le", "ne"):
            return emit("or", emit("lt", below, zero), same)
        return emit("and", emit("ge", below, zero), same)

    def extreme(self, name: str, left: Operand, right: Operand) -> Instr:
        """Return ``min`` or ``max``; a maximum with what is not below zero is not below zero."""
        if not (self.is_index(left) or self.is_index(right)):
            return self.emit(name, *self.unify([left, right]))
        pair = self._strong([left, right])
        if {o.dtype for o in pair} == {i32, u32}:
            a, b = pair if pair[0].dtype == i32 else pair[::-1]
            if not self.is_small(b):
                is_a = self._of_both("lt" if name == "min" else "gt", a, b)
                wanted = i32 if name == "min" else u32
                sides = [x if x.dtype == wanted else self.builder.emit("convert", x, dtype=wanted) for x in (a, b)]
                return self.index(self.builder.emit("select", is_a, *sides))
        result = self.emit(name, *self.unify([left, right]))
        is_natural = name == "max" and self.is_index(result) and any(map(_is_natural, (left, right)))
        return self.as_natural(result) if is_natural else result

    def _strong(self, operands: list[Operand]) -> list[Instr]:
        """Return those of operands that are numbers of 32 bits with a type of their own."""
        found = [o for o in operands if isinstance(o, Instr) and self._mixes(o)]
        return [o for o in found if self.weak_key(o) is None]

    def is_small(self, value: Instr) -> bool:
        """Tell whether a u32 is surely below 2^31: a dispatch of a kernel that asks has no more lanes and elements."""
        name, args = value.op.name, value.args
        if name == "const":
            return constant_value(value.attr, value.type) < _HALF
        if name in _NUMBERS or (name == "param" and value.attr.extent is not None) or self._is_natural(value):
            return True
        if name == "convert":
            return not args[0].type.is_signed and args[0].type.bits < 32
        if name == "shr":
            return args[1].op.name == "const" and args[1].attr % 32 > 0
        if name in ("min", "and"):
            return any(map(self.is_small, args))
        if name in ("idiv", "irem"):
            by = args[1].op.name == "const" and 0 < constant_value(args[1].attr, u32) <= _HALF
            return self.is_small(args[0]) or (by and name == "irem")
        return name in ("max", "select") and all(map(self.is_small, args[-2:]))

    def remainder(self, a: Instr, b: Instr) -> Instr | None:
        """Return ``a % b`` of an index by what is surely not below zero; None of others.

        A sum that has ``b`` in it, less 3 at most, needs no sign: it is below zero only where ``b`` is 0, 1 or 2. Those
        leave of 2^32 nothing but 0, which leaves all of a number.
        """
        emit = self.emit
        if a.dtype != i32 or not self.is_index(a):
            return None
        if b.op.name == "const":
            by = int(constant_value(b.attr, i32))
            return emit("and", a, self.builder.const(by - 1, i32)) if by > 0 and not by & (by - 1) else None
        natural = b.op.name == "convert" and b.args[0].dtype == u32 and self.is_index(b)
        if not natural or not (self.is_small(b.args[0]) or b.args[0].op.name == "param"):
            return None
        terms = list[Instr]()
        rest = _sum(a, terms)
        if rest is not None and (rest >= 0 or (rest >= -3 and any(_is_same(t, b.args[0]) for t in terms))):
            return self.index(emit("convert", emit("irem", self.as_natural(a), b.args[0]), dtype=i32))
        left = emit("irem", a, b)
        return emit("select", emit("lt", left, self.builder.const(0, i32)), emit("add", left, b), left)

    # where an index gets to

    def fit(self, value: Instr, wanted: DType | None) -> Instr:
        """Return what is stored or handed on as ``wanted``: any index as i32, a u32 only if it is not below zero."""
        if not self.is_index(value) or value.dtype == wanted:
            return value
        if wanted == i32:
            return self.as_signed(value)
        if wanted == u32:
            raise self.builder.error(
                "an index that may be below zero is taken for a u32",
                u32,
                "a difference of indexes, an i32",
                "Write u32(...) around it, or keep it as i32",
            )
        return value

    def declare(self, value: Instr, wanted: DType) -> Instr:
        """Return what is written down to be a ``wanted``: as such it is no index."""
        value = self.fit(value, wanted)
        return self.plain(value) if self.is_index(value) and value.dtype == wanted else value

    def counts(self, variable: Variable, key: object, operand: Operand) -> None:
        """Take note of a new variable whose type nobody wrote: an index if its first value is, or was found to be."""
        self.keys[variable] = key
        if not self.is_own() and variable.dtype in (u32, i32) and (self.is_index(operand) or self.has_met(key)):
            self.marks.add(variable)

    def count(self, loop: For, start: Operand, is_index: bool) -> bool:
        """Make a loop's counter an index if a bound is, or if it counts from a bare number to a u32.

        Tells whether it is an i32 that is surely not below zero.
        """
        index = loop.index
        is_index = is_index or (index.dtype == u32 and isinstance(start, Static))
        if not is_index or index.dtype not in (u32, i32) or self.weak_key(index) is not None:
            return False
        self.index(index)
        if index.dtype == u32 or loop.down or self.is_own():
            return False
        if isinstance(start, Instr):
            is_const = start.op.name == "const" and start.type.is_integer
            return start.dtype == u32 or (is_const and constant_value(start.attr, start.type) >= 0)
        return isinstance(start, Static) and start.value >= 0

    def assign(self, variable: Variable, operand: Operand) -> Operand:
        """Return what is assigned to a variable, or find out that the variable is an index; see ``Retype``."""
        key, is_marked = self.keys.get(variable), variable in self.marks and not self.is_own()
        if isinstance(operand, Static):
            below = is_number(operand.value) and isinstance(operand.value, int) and operand.value < 0
            if is_marked and below and variable.dtype == u32 and key is not None:
                raise Retype(key, i32, index=True)
            return operand
        if not isinstance(operand, Instr) or not (is_marked or self.is_index(operand)):
            return operand
        weak = self.weak_key(operand)
        if weak is not None and operand.type.is_integer and operand.dtype != variable.dtype:
            raise Retype(weak, variable.dtype, index=True)
        if operand.dtype not in (u32, i32) or weak is not None:
            return operand
        if key is None:
            return self.fit(operand, variable.dtype)
        if variable.dtype == u32 or variable in self.weak:
            if operand.dtype == i32 or not is_marked:
                raise Retype(key, operand.type, index=True)
        return self.as_signed(operand) if variable.dtype == i32 else operand


def _sum(value: Instr, terms: list[Instr]) -> int | None:
    """Return the constant of a sum whose other summands are not below zero, and append those; None for others."""
    name, args = value.op.name, value.args
    if name == "const":
        number = int(constant_value(value.attr, value.type))
        return number if number < _HALF else None
    if name == "sub" and args[1].op.name == "const":
        rest = _sum(args[0], terms)
        return None if rest is None else rest - int(constant_value(args[1].attr, value.type))
    if name == "add":
        sides = [_sum(x, terms) for x in args]
        return None if None in sides else sum(x for x in sides if x is not None)
    if name == "convert" and args[0].dtype == u32:
        return _sum(args[0], terms)
    if value.dtype != u32:
        return None
    terms.append(value)
    return 0


def _is_same(a: Instr, b: Instr) -> bool:
    """Tell whether two operations give the same number: a length may be asked for twice."""
    return a is b or (a.op.name == b.op.name == "length" and (a.attr, a.memory) == (b.attr, b.memory))


def _is_data(value: Instr) -> bool:
    """Tell whether a value is computed of elements of memory, which may be anything."""
    return value.op.name == "load" or (value.op.is_pure and any(map(_is_data, value.args)))


def _params(value: Instr) -> set[Param]:
    """Return the unsigned parameters that a value is computed of."""
    if value.op.name == "param":
        return {value.attr} if value.dtype == u32 else set()
    return set[Param]().union(*map(_params, value.args)) if value.op.is_pure else set()


def _is_natural(operand: Operand) -> bool:
    """Tell whether an operand is surely not below zero."""
    if isinstance(operand, Static):
        return isinstance(operand.value, int) and operand.value >= 0
    return isinstance(operand, Instr) and operand.dtype == u32


def _is_huge(value: Instr) -> bool:
    return value.op.name == "const" and value.dtype == u32 and constant_value(value.attr, u32) >= _HALF
