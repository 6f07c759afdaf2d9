"""Elementwise kernels over strided memory: operands broadcast, permuted or sliced, several results.

Layer: kernels. A ``LoopNest`` says what is computed for every index of a shape: values loaded from buffers at an
offset and a stride per axis, numbers, coordinates and operations of these, and which of them are stored where. Axes
that lie together in every buffer are merged first. Where lanes are vectors of a CPU they run along the last axis and a
group takes some rows; where they are threads, each takes elements of the whole shape in turn. f16 and bf16 are
computed in f32 and rounded after each operation. Invariant: a result depends on the values of its own index alone, so
that neither the cut nor what else is in the kernel changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from struct import pack, unpack
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.ir.builder import Builder
from loom.ir.constants import constant_bits, constant_value
from loom.ir.frontend.decorator import translated
from loom.ir.frontend.names import Frame
from loom.ir.frontend.source import FunctionSource, function_source
from loom.ir.frontend.translator import Translator
from loom.ir.kernel import Access, Instr, Loc
from loom.ir.verify import VerifiedKernel, verify
from loom.kernels.functions import FUNCTIONS, function
from loom.kernels.maps.rounding import emit_convert

__all__ = [
    "BY_CONSTANTS",
    "Apply",
    "Coordinate",
    "Given",
    "Load",
    "LoopNest",
    "Number",
    "Store",
    "Strided",
    "number",
    "strided",
]

_THREADS = 256
_TURNS = 16
_MANY = 1 << 20
"""Elements from which a thread takes several: groups of fewer are begun too slowly (see ``elementwise``)."""
_LANES = 512
_GROUP_ELEMENTS = 8192
"""Elements a group of a CPU takes, about: some microseconds, so that small work is not shared between threads."""
_FEW = 4
"""Operations an element that weigh as much as a function."""
_MULTIPLE = 16
BY_CONSTANTS = ("idiv", "irem", "shl", "shr")
"""Operations that are many times faster by a number that the compiler knows."""
_NARROW = 8
"""A last axis of fewer elements shares the lanes with the axes before it."""


@dataclass(frozen=True, slots=True)
class Load:
    """The element of a buffer at ``offset`` plus ``strides`` times the index.

    ``begin``: the number of a parameter that is added, set by ``strided``.
    """

    buffer: int
    offset: int
    strides: tuple[int, ...]
    begin: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A number, by the bits it has in the type that ``dtype`` is computed in."""

    bits: int
    dtype: DType

    @property
    def value(self) -> float | int | bool:
        """The Python number."""
        return constant_value(self.bits, _held(self.dtype))


@dataclass(frozen=True, slots=True)
class Given:
    """A number that the kernel gets as a parameter, set by ``strided``: parameter number ``position`` of those."""

    position: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Coordinate:
    """The index along an axis."""

    axis: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation of the IR, a function of ``kernels.functions``, or "convert", of earlier values."""

    operation: str
    operands: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Store:
    """A value and where it goes."""

    value: int
    buffer: int
    offset: int
    strides: tuple[int, ...]
    begin: int | None = None


@dataclass(frozen=True, slots=True)
class LoopNest:
    """What is computed at every index of ``shape``; ``values`` refer to earlier ones by position."""

    shape: tuple[int, ...]
    values: tuple[Load | Number | Given | Coordinate | Apply, ...]
    stores: tuple[Store, ...]
    buffers: tuple[tuple[DType, Access], ...]

    def merged(self) -> LoopNest:
        """Return the same with as few axes as there can be, at least one."""
        accesses = [v for v in (*self.values, *self.stores) if isinstance(v, (Load, Store))]
        named = {v.axis for v in self.values if isinstance(v, Coordinate)}
        groups: list[list[int]] = []
        for axis, size in enumerate(self.shape):
            if size == 1 and axis not in named:
                continue
            last = groups[-1][-1] if groups else None
            if last is None or {last, axis} & named or not _lie_together(accesses, last, axis, size):
                groups.append([axis])
            else:
                groups[-1].append(axis)
        shape = tuple(math.prod(self.shape[a] for a in group) for group in groups) or (1,)
        last_axes = [group[-1] for group in groups]
        places = {axis: place for place, axis in enumerate(last_axes)}

        def moved(value: Any) -> Any:
            if isinstance(value, Coordinate):
                return replace(value, axis=places[value.axis])
            if isinstance(value, (Load, Store)):
                return replace(value, strides=tuple(value.strides[a] for a in last_axes) or (1,))  # one element
            return value

        values, stores = (tuple(moved(v) for v in part) for part in (self.values, self.stores))
        return LoopNest(shape, values, stores, self.buffers)


def _lie_together(accesses: Sequence[Load | Store], outer: int, inner: int, size: int) -> bool:
    return all(a.strides[outer] == a.strides[inner] * size for a in accesses)


@dataclass(frozen=True, slots=True)
class Strided:
    """A kernel with the parameters and groups that do a nest; the last parameters are ``numbers``."""

    kernel: VerifiedKernel
    params: tuple[Any, ...]
    groups: tuple[int, int]
    numbers: tuple[Number, ...] = ()


def number(value: float | int | bool, dtype: DType) -> Number:
    """Return a number of a dtype."""
    return _known_number(pack("<d", value) if type(value) is float else value, type(value), dtype)


@lru_cache(maxsize=1024)
def _known_number(value: Any, kind: type, dtype: DType) -> Number:
    """Return a number, of a float given by its bits: equal numbers may have different ones."""
    value = unpack("<d", value)[0] if kind is float else value
    return Number(constant_bits(value, _held(dtype)), dtype)


def strided(nest: LoopNest, *, threads: bool = False) -> Strided:
    """Return what does ``nest``, which has elements. ``threads``: for a device whose lanes are threads.

    A nest of one axis has one kernel for all lengths, and nests that differ in their numbers, or in where in the
    buffers they begin, as the steps of a recurrent network do, have one kernel. Bools, and what integers are divided or
    shifted by, stay in the code.
    """
    nest, numbers = _numberless(nest.merged())
    flat = len(nest.shape) == 1
    total = math.prod(nest.shape)
    if flat:
        nest = _lengthless(nest, total)
    nest, begins = _begun(nest)
    given = (*begins, *(n.value for n in numbers))
    if threads:
        many = total >= _MANY
        kernel = _kernel(nest, _Cut(_THREADS, _TURNS if many else 1, threads=True), len(begins))
        return Strided(kernel, (total, *given), (-(-total // (_THREADS * (_TURNS if many else 1))), 1), numbers)
    if flat:
        lanes = _LANES if total > _LANES // 2 else max(_MULTIPLE, 1 << (total - 1).bit_length())
        kernel = _kernel(nest, _Cut(lanes), len(begins))
        return Strided(kernel, (total, *given), (-(-total // lanes), 1), numbers)
    tail, inner = 1, nest.shape[-1]
    while inner < _NARROW and tail < len(nest.shape):
        tail += 1
        inner *= nest.shape[-tail]
    rows = total // inner
    lanes = _breadth(inner)
    together = max(1, min(rows, _GROUP_ELEMENTS // (lanes * _weight(nest))))
    kernel = _kernel(nest, _Cut(lanes, together, tail), len(begins))
    return Strided(kernel, (rows, *given), (-(-inner // lanes), -(-rows // together)), numbers)


def _numberless(nest: LoopNest) -> tuple[LoopNest, tuple[Number, ...]]:
    """Return a nest that gets its numbers from parameters, and these."""
    kept = {v.operands[1] for v in nest.values if isinstance(v, Apply) and v.operation in BY_CONSTANTS}
    numbers: list[Number] = []
    values: list[Any] = []
    for n, value in enumerate(nest.values):
        if isinstance(value, Number) and not value.dtype.is_bool and n not in kept:
            values.append(Given(len(numbers), value.dtype))
            numbers.append(value)
        else:
            values.append(value)
    return LoopNest(nest.shape, tuple(values), nest.stores, nest.buffers), tuple(numbers)


def _weight(nest: LoopNest) -> int:
    """Return about how many times the work of a few operations an element is."""
    applied = [v.operation in FUNCTIONS for v in nest.values if isinstance(v, Apply)]
    return 1 + sum(applied) + len(applied) // _FEW


def _begun(nest: LoopNest) -> tuple[LoopNest, tuple[int, ...]]:
    """Return a nest that gets from parameters where in its buffers it begins, and these.

    A buffer has one for all its accesses; one with several stores has one for each, as what tells these apart may be a
    length that the kernel does not know.
    """
    stored = [s.buffer for s in nest.stores]
    accesses = [v for v in (*nest.values, *nest.stores) if isinstance(v, (Load, Store))]
    first = {a.buffer: min(_first(o, nest.shape) for o in accesses if o.buffer == a.buffer) for a in accesses}
    params: dict[tuple[int, int], int] = {}

    def moved(value: Any) -> Any:
        if not isinstance(value, (Load, Store)):
            return value
        many = stored.count(value.buffer) > 1
        begin = _first(value, nest.shape) if many else first[value.buffer]
        if begin == 0:
            return value
        number = params.setdefault((value.buffer, begin), len(params))
        return replace(value, offset=value.offset - begin, begin=number)

    values, stores = (tuple(moved(v) for v in part) for part in (nest.values, nest.stores))
    return LoopNest(nest.shape, values, stores, nest.buffers), tuple(at for _, at in params)


def _first(access: Load | Store, shape: tuple[int, ...]) -> int:
    """Return the lowest place of an access; a length of 0 is unknown, and counted in by ``_lengthless``."""
    pairs = zip(access.strides, shape, strict=True)
    return access.offset + sum(stride * (size - 1) for stride, size in pairs if stride < 0 and size)


def _lengthless(nest: LoopNest, size: int) -> LoopNest:
    """Return a nest of one axis without its length; what is read backwards is counted from its last element."""

    def moved(value: Any) -> Any:
        if isinstance(value, (Load, Store)) and value.strides[0] < 0:
            return replace(value, offset=value.offset + value.strides[0] * (size - 1))
        return value

    values, stores = (tuple(moved(v) for v in part) for part in (nest.values, nest.stores))
    return LoopNest((0,), values, stores, nest.buffers)


def _breadth(inner: int) -> int:
    """Return lanes for rows of ``inner`` elements: a divisor if there is one, so that no lane is idle."""
    for lanes in range(_LANES - _LANES % _MULTIPLE, 2 * _MULTIPLE, -_MULTIPLE):
        if inner % lanes == 0:
            return lanes
    return min(_LANES, -(-inner // _MULTIPLE) * _MULTIPLE)


def _held(dtype: DType) -> DType:
    """Return the type that elements of ``dtype`` are computed in."""
    return f32 if dtype.storage_only else dtype


@dataclass(frozen=True, slots=True)
class _Cut:
    """``tail``: how many of the last axes the lanes run along."""

    lanes: int
    turns: int = 1
    tail: int = 1
    threads: bool = False


@lru_cache(maxsize=4096)
def _kernel(nest: LoopNest, cut: _Cut, begins: int) -> VerifiedKernel:
    return translated("a tensor operation", lambda retyped: _Build(nest, cut, begins, retyped).kernel())


class _Build:
    """Builds the kernel of a nest. Its parameters: the length, or with several axes on a CPU the number of rows, and
    where ``count`` accesses begin, and numbers."""

    def __init__(self, nest: LoopNest, cut: _Cut, count: int, retyped: dict[Any, DType]) -> None:
        self.nest = nest
        self.cut = cut
        self.count = count
        names = [v.operation for v in nest.values if isinstance(v, Apply)]
        self.b = Builder("_".join(["tensor", *names[-3:]]) if names else "tensor_copy", (cut.lanes, 1, 1))
        self.translator = Translator(self.b, retyped)

    def kernel(self) -> VerifiedKernel:
        b = self.b
        self.buffers = [b.buffer(f"x{i}", dtype, access) for i, (dtype, access) in enumerate(self.nest.buffers)]
        self.length = length = b.emit("param", attr=b.param("n", u32))
        self.begins = [b.emit("param", attr=b.param(f"begin{i}", u32)) for i in range(self.count)]
        given = [v for v in self.nest.values if isinstance(v, Given)]
        self.numbers = [b.emit("param", attr=b.param(f"number{v.position}", _held(v.dtype))) for v in given]
        if self.cut.threads:
            self.threads(length)
        elif len(self.nest.shape) == 1:
            index = b.emit("global_id", attr=0)
            with b.into(b.if_(b.emit("lt", index, length)).then):
                self.element([index])
        else:
            self.rows(length)
        return verify(b.finish(trusted=True))

    def word(self, value: int) -> Instr:
        return self.b.const(value % (1 << 32), u32)

    def threads(self, length: Instr) -> None:
        """Take elements a group's breadth apart."""
        b, cut = self.b, self.cut
        start = b.emit("mul", b.emit("group_id", attr=0), self.word(cut.lanes * cut.turns))
        first = b.emit("add", start, b.emit("local_id", attr=0))
        if cut.turns == 1:
            with b.into(b.if_(b.emit("lt", first, length)).then):
                self.element(self.coordinates(first, self.nest.shape))
            return
        stop = b.emit("min", length, b.emit("add", start, self.word(cut.lanes * cut.turns)))
        loop = b.for_(first, stop, self.word(cut.lanes))
        with b.into(loop.body):
            self.element(self.coordinates(loop.index, self.nest.shape))

    def rows(self, rows: Instr) -> None:
        """Take some rows, a lane for each place in them."""
        b, cut = self.b, self.cut
        outer, last = self.nest.shape[: -cut.tail], self.nest.shape[-cut.tail :]
        inner = math.prod(last)
        column = b.emit("global_id", attr=0)
        block = b.block
        if inner % cut.lanes:
            block = b.if_(b.emit("lt", column, self.word(inner))).then
        with b.into(block):
            columns = self.coordinates(column, last)
            if not outer:
                self.element(columns)
                return
            first = b.emit("mul", b.emit("group_id", attr=1), self.word(cut.turns))
            stop = b.emit("min", rows, b.emit("add", first, self.word(cut.turns)))
            loop = b.for_(first, stop, self.word(1))
            with b.into(loop.body):
                self.element([*self.coordinates(loop.index, outer), *columns])

    def coordinates(self, index: Instr, shape: Sequence[int]) -> list[Instr]:
        """Return the coordinates of an index in row-major order."""
        found: list[Instr] = []
        for size in reversed(shape[1:]):
            found.append(self.b.emit("irem", index, self.word(size)))
            index = self.b.emit("idiv", index, self.word(size))
        return [index, *reversed(found)]

    def element(self, at: list[Instr]) -> None:
        """Compute and store what there is at an index."""
        values: list[Instr] = []
        for value in self.nest.values:
            values.append(self.value(value, at, values))
        for store in self.nest.stores:
            value, memory = values[store.value], self.buffers[store.buffer]
            if value.type != memory.dtype and not memory.dtype.storage_only:
                raise AssertionError(f"{value.type} stored as {memory.dtype}")
            if memory.dtype.storage_only:
                value = self.b.emit("convert", value, dtype=memory.dtype)
            self.b.emit("store", self.place(store, at), value, memory=memory)

    def place(self, access: Load | Store, at: list[Instr]) -> Instr:
        """Return the index into a buffer."""
        b, offset = self.b, access.offset
        total = None if access.begin is None else self.begins[access.begin]
        for stride, coordinate, size in zip(access.strides, at, self.nest.shape, strict=True):
            if stride < 0:  # counted from the end, so that no partial sum is negative
                last = self.word(size - 1) if size else b.emit("sub", self.length, self.word(1))
                coordinate = b.emit("sub", last, coordinate)
                if size:
                    offset += stride * (size - 1)
            if stride:
                term = coordinate if abs(stride) == 1 else b.emit("mul", coordinate, self.word(abs(stride)))
                total = term if total is None else b.emit("add", total, term)
        if total is None:
            return self.word(offset)
        return total if offset == 0 else b.emit("add", total, self.word(offset))

    def value(self, value: Load | Number | Given | Coordinate | Apply, at: list[Instr], values: list[Instr]) -> Instr:
        """Return a value in the type it is computed in, rounded to its own."""
        b = self.b
        if isinstance(value, Load):
            return self.widened(b.emit("load", self.place(value, at), memory=self.buffers[value.buffer]))
        if isinstance(value, Number):
            held = b.emit("const", attr=value.bits, dtype=_held(value.dtype))
            return self.rounded(held, value.dtype)
        if isinstance(value, Given):
            return self.rounded(self.numbers[value.position], value.dtype)
        if isinstance(value, Coordinate):
            return self.rounded(at[value.axis], value.dtype)
        operands = [values[o] for o in value.operands]
        if value.operation == "convert":
            return self.rounded(operands[0], value.dtype)
        if value.operation in FUNCTIONS:
            return self.rounded(self.call(value.operation, operands), value.dtype)
        return self.rounded(b.emit(value.operation, *operands), value.dtype)

    def rounded(self, value: Instr, dtype: DType) -> Instr:
        """Return a value as one of ``dtype``, in the type that is computed in."""
        return self.widened(value if value.dtype == dtype else emit_convert(self.b, value, dtype))

    def widened(self, value: Instr) -> Instr:
        held = _held(value.type)
        return value if value.dtype == held else self.b.emit("convert", value, dtype=held)

    def call(self, name: str, operands: list[Instr]) -> Instr:
        """Translate an elementary function in place."""
        fn, translator = function(name), self.translator
        here = function_source(next(iter(fn.definitions.values())))
        self.b.loc = Loc(here.file, here.line)
        outside = FunctionSource("tensor", here.file, here.line, here.arguments, [])
        translator.frames.append(Frame(outside, {}, set(), 0, is_kernel=False))
        result = translator.calls.function(fn, list(operands))
        translator.frames.pop()
        assert isinstance(result, Instr), "an elementary function returns one number"
        return result
