"""Records in kernels: made, taken apart, kept in locals, loaded from words and stored to them.

Layer: ir. Invariant: every field of a ``StructValue`` is a typed value of its field's type, half-width floats as f32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from loom.core.dtype import DType, bool_, f32, lookup, u32, u64
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import Method, Operand, RecordPlace, Static, StructValue, StructVariable, describe
from loom.ir.frontend.data.structs import info_of, is_struct, no_field
from loom.ir.frontend.host.plain import attribute
from loom.ir.kernel import Instr, Variable
from loom.ir.records import Field

if TYPE_CHECKING:
    from loom.ir.frontend.base.indexes import IndexTyping

__all__ = ["Fields", "is_record", "leaves", "rebuilt"]


def leaves(operand: Operand) -> list[Operand]:
    """Return what an operand is made of: the fields of records and the items of tuples, however deep."""
    if isinstance(operand, StructValue):
        return [leaf for value in operand.values.values() for leaf in leaves(value)]
    if isinstance(operand, tuple):
        return [leaf for item in operand for leaf in leaves(item)]
    return [operand]


def rebuilt(like: Operand, values: Iterator[Operand]) -> Operand:
    """Return an operand of the form of ``like``, made of other leaves."""
    if isinstance(like, StructValue):
        return StructValue(like.kind, {name: rebuilt(value, values) for name, value in like.values.items()})
    if isinstance(like, tuple):
        return tuple(rebuilt(item, values) for item in like)
    return next(values)


def is_record(operand: object) -> TypeGuard[Static]:
    """Tell whether an operand is a record of the host, known at compile time."""
    return isinstance(operand, Static) and is_struct(cast("object", type(operand.value)))


class Fields:
    """What can be done with records; ``convert`` makes a short vector of its components."""

    def __init__(
        self, builder: Builder, typing: IndexTyping, convert: Callable[[DType, list[Operand]], Operand]
    ) -> None:
        self.b = builder
        self.typing = typing
        self.convert = convert

    # values

    def construct(self, kind: type, args: list[Operand], keywords: dict[str, Operand]) -> StructValue:
        """Make a record of values by position and by name; the rest takes its defaults."""
        info = info_of(kind)
        names = list(info.kinds)
        given = dict(zip(names, args))  # noqa: B905 - too many are refused next
        twice = next((n for n in keywords if n in given), None)
        stray = next((n for n in keywords if n not in info.kinds), None)
        if stray is not None:
            raise self.b.error(*no_field(stray, kind))
        if len(args) > len(names) or twice is not None:
            what = f"{kind.__name__} is given {twice!r} twice" if twice else f"{kind.__name__} has {len(names)} fields"
            raise self.b.error(what, ", ".join(names), f"{len(args)} by position", "Give each field once")
        given |= keywords
        missing = [n for n in names if n not in given and n not in info.defaults]
        if missing:
            raise self.b.error(
                f"{kind.__name__} needs {', '.join(missing)}", ", ".join(names), ", ".join(given) or "nothing",
                "Give every field without a default",
            )  # fmt: skip
        values = {n: given[n] if n in given else Static(info.defaults[n]) for n in names}
        return StructValue(kind, {n: self.as_field(v, info.kinds[n], f"field {n!r}") for n, v in values.items()})

    def as_field(self, operand: Operand, kind: DType | type, what: str) -> Operand:
        """Return an operand as a value of a field's type; constants take it."""
        if not isinstance(kind, DType):
            return self.as_struct(operand, kind, what)
        wanted = f32.vector(kind.lanes) if kind.storage_only else kind
        parts: Any = operand.value if isinstance(operand, Static) else None
        if isinstance(parts, tuple) and kind.is_vector:
            operand = self.convert(wanted, [Static(v) for v in cast("tuple[Any, ...]", parts)])
        value = self.typing.as_value(operand, wanted)
        self.typing.retype_weak(value, wanted.scalar)
        value = self.typing.widen(self.typing.fit(value, wanted), wanted)
        if value.dtype != wanted:
            raise self.b.error(f"{what} has another type", wanted, value.dtype, f"Convert with {wanted}(...)")
        return value

    def as_struct(self, operand: Operand, kind: type, what: str) -> StructValue:
        """Return an operand that must be a record of a class."""
        if isinstance(operand, RecordPlace):
            operand = self.load(operand)
        if isinstance(operand, StructValue) and operand.kind is kind:
            return operand
        if isinstance(operand, Static) and type(operand.value) is kind:
            return self.of_host(operand.value)
        raise self.b.error(
            f"{what} is another type", kind.__name__, describe(operand), f"Make one: {kind.__name__}(...)"
        )

    def of_host(self, value: Any) -> StructValue:
        """Return a record of the host as constants."""
        kind = cast("type[Any]", type(value))
        given = {n: Static(attribute(value, n)) for n in info_of(kind).kinds}
        return self.construct(kind, [], dict(given))

    def attribute(self, base: Operand | StructVariable, name: str) -> Operand | StructVariable:
        """Return a field, or a method, of a record."""
        if isinstance(base, Static):
            base = self.of_host(base.value)
        assert isinstance(base, (StructValue, StructVariable, RecordPlace)), "a record"
        info = info_of(base.kind)
        if name in info.methods:
            owner = self.values_of(base) if isinstance(base, StructVariable) else base
            return Method(info.methods[name], self.load(owner) if isinstance(owner, RecordPlace) else owner)
        if name not in info.kinds:
            raise self.b.error(*no_field(name, base.kind))
        if isinstance(base, StructValue):
            return base.values[name]
        if isinstance(base, StructVariable):
            field = base.fields[name]
            return field if isinstance(field, StructVariable) else self.b.emit("get", attr=field)
        return self.part(base, self.field(base, name))

    # locals

    def variable_for(self, name: str, value: StructValue) -> StructVariable:
        """Declare a variable for each field of a record."""
        fields: dict[str, Variable | StructVariable] = {}
        for n, v in value.values.items():
            if isinstance(v, StructValue):
                fields[n] = self.variable_for(f"{name}.{n}", v)
            else:
                fields[n] = self.b.variable(f"{name}.{n}", self.typing.as_value(v).type)
        return StructVariable(value.kind, fields)

    def set_variable(self, variable: StructVariable, value: StructValue) -> None:
        """Assign all fields of a local."""
        for n, field in variable.fields.items():
            part = value.values[n]
            if isinstance(field, StructVariable):
                assert isinstance(part, StructValue)
                self.set_variable(field, part)
            else:
                self.b.emit("set", self.typing.as_value(part), attr=field)

    def values_of(self, variable: StructVariable) -> StructValue:
        """Return what a local holds now."""
        values: dict[str, Operand] = {}
        for n, field in variable.fields.items():
            values[n] = self.values_of(field) if isinstance(field, StructVariable) else self.b.emit("get", attr=field)
        return StructValue(variable.kind, values)

    def assign(self, owner: StructVariable | RecordPlace, name: str, operand: Operand) -> None:
        """Assign one field of a local, or of a record in memory."""
        kind = info_of(owner.kind).kinds.get(name)
        if kind is None:
            raise self.b.error(*no_field(name, owner.kind))
        value = self.as_field(operand, kind, f"field {name!r} of {owner.kind.__name__}")
        if isinstance(owner, RecordPlace):
            self.store_field(owner, self.field(owner, name), value)
            return
        field = owner.fields[name]
        if isinstance(field, StructVariable):
            assert isinstance(value, StructValue)
            self.set_variable(field, value)
        else:
            self.b.emit("set", self.typing.as_value(value), attr=field)

    # words

    def field(self, place: RecordPlace, name: str) -> Field:
        return next(f for f in info_of(place.kind).record.fields if f.name == name)

    def part(self, place: RecordPlace, field: Field) -> Operand:
        """Return a field of a record in memory: loaded, or the place of a record in it."""
        kind = info_of(place.kind).kinds[field.name]
        if is_struct(kind):
            return RecordPlace(place.memory, place.index, kind, place.word + field.word)
        assert isinstance(kind, DType)
        words = [self.load_word(place, place.word + field.word + n) for n in range(field.words)]
        return self.unpack(words, kind)

    def load(self, place: RecordPlace) -> StructValue:
        """Load all fields of a record."""
        values: dict[str, Operand] = {}
        for field in info_of(place.kind).record.fields:
            part = self.part(place, field)
            values[field.name] = self.load(part) if isinstance(part, RecordPlace) else part
        return StructValue(place.kind, values)

    def store(self, place: RecordPlace, value: StructValue) -> None:
        """Store all fields of a record."""
        for field in info_of(place.kind).record.fields:
            self.store_field(place, field, value.values[field.name])

    def store_field(self, place: RecordPlace, field: Field, value: Operand) -> None:
        if isinstance(value, StructValue):
            self.store(RecordPlace(place.memory, place.index, value.kind, place.word + field.word), value)
            return
        assert isinstance(field.kind, DType)
        for n, word in enumerate(self.pack(self.typing.as_value(value), field.kind)):
            self.b.emit("store", self.word_at(place, place.word + field.word + n), word, memory=place.memory)

    def word_at(self, place: RecordPlace, word: int) -> Instr:
        if not word:
            return place.index
        return self.b.emit("add", place.index, self.b.const(word, place.index.type))

    def load_word(self, place: RecordPlace, word: int) -> Instr:
        return self.b.emit("load", self.word_at(place, word), memory=place.memory)

    def unpack(self, words: list[Instr], dtype: DType) -> Instr:
        """Return a value of ``dtype`` from its words, half-width floats as f32."""
        parts = [self.component(words, dtype.scalar, c) for c in range(dtype.lanes)]
        if not dtype.is_vector:
            return parts[0]
        wanted = f32.vector(dtype.lanes) if dtype.storage_only else dtype
        return self.b.emit("vector", *parts, dtype=wanted)

    def component(self, words: list[Instr], dtype: DType, number: int) -> Instr:
        emit, first = self.b.emit, number * dtype.bits // 32
        if dtype.bits == 64:
            low, high = (emit("convert", w, dtype=u64) for w in words[first : first + 2])
            whole = emit("or", low, emit("shl", high, self.b.const(32, u64)))
            return whole if dtype == u64 else emit("bitcast", whole, dtype=dtype)
        if dtype.bits == 32:
            return words[first] if dtype == u32 else emit("bitcast", words[first], dtype=dtype)
        shift = number * dtype.bits % 32
        word = emit("shr", words[first], self.b.const(shift, u32)) if shift else words[first]
        if dtype.is_bool:
            return emit("ne", emit("and", word, self.b.const(255, u32)), self.b.const(0, u32))
        narrow = emit("convert", word, dtype=lookup(f"u{dtype.bits}"))
        found = narrow if narrow.dtype == dtype else emit("bitcast", narrow, dtype=dtype)
        return emit("convert", found, dtype=f32) if dtype.storage_only else found

    def pack(self, value: Instr, dtype: DType) -> list[Instr]:
        """Return the words of a value that is to be held as ``dtype``; what is left of the last word is zero."""
        emit, scalar = self.b.emit, dtype.scalar
        parts = [value] if not dtype.is_vector else [emit("extract", value, attr=c) for c in range(dtype.lanes)]
        if scalar.bits == 64:
            whole = [p if scalar == u64 else emit("bitcast", p, dtype=u64) for p in parts]
            halves = [(w, emit("shr", w, self.b.const(32, u64))) for w in whole]
            return [emit("convert", half, dtype=u32) for pair in halves for half in pair]
        if scalar.bits == 32:
            return [p if scalar == u32 else emit("bitcast", p, dtype=u32) for p in parts]
        words: list[Instr] = []
        for c, part in enumerate(parts):
            shift = c * scalar.bits % 32
            bits = self.low_bits(part, scalar)
            bits = emit("shl", bits, self.b.const(shift, u32)) if shift else bits
            if shift:
                words[-1] = emit("or", words[-1], bits)
            else:
                words.append(bits)
        return words

    def low_bits(self, part: Instr, scalar: DType) -> Instr:
        """Return a narrow value as the low bits of a word."""
        emit = self.b.emit
        if part.type == bool_:
            return emit("convert", part, dtype=u32)
        if scalar.storage_only:
            part = emit("convert", part, dtype=scalar)
        unsigned = lookup(f"u{scalar.bits}")
        held = part if part.dtype == unsigned else emit("bitcast", part, dtype=unsigned)
        return emit("convert", held, dtype=u32)
