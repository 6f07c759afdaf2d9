"""The kernels of loop nests.

Layer: kernels. Buffers are those of the nest; parameters the length (of several axes on a CPU: the number of rows), the
other lengths and the strides that it is told, where accesses begin, and numbers. Where lanes are vectors of a CPU they
run along the last axes and a group takes some rows; where they are threads, each takes elements of the whole shape in
turn. f16 and bf16 are computed in f32 and rounded after each operation. Invariant: neither the cut nor what else is in
the kernel changes a bit of a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any, cast

from loom.core.dtype import DType, u32
from loom.core.late.dataclass import dataclass
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import Operand, describe
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.names import FunctionNames
from loom.ir.frontend.source import FunctionSource, function_source
from loom.ir.frontend.translation import settle_types
from loom.ir.frontend.translator import Translator
from loom.ir.kernel import Block, Instr, Loc, walk
from loom.ir.ops import OPS
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.kernels.functions import EXACT, FUNCTIONS, function
from loom.kernels.maps.nest import Apply, Coordinate, Given, Load, LoopNest, NestCut, Number, Store, Told, Value
from loom.kernels.maps.rounding import emit_convert, emit_moved
from loom.kernels.types import compute_type

__all__ = ["MAP", "Made", "NestWriter", "name_of", "write_loops"]

MAP = "gpu_map"
"""What takes functions of the user."""


def write_loops(nest: LoopNest, cut: NestCut) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of a nest, and the type of its last value. KernelError if a function cannot be applied."""
    return settle_types(MAP, lambda retyped: NestWriter(nest, cut, retyped).kernel())


@dataclass(frozen=True, slots=True)
class Made:
    """A value as it is computed with, as it may be stored (16 bits that were only loaded are rounded once more), and
    what it is rounded to."""

    computed: Instr
    kept: Instr
    dtype: DType


class NestWriter:
    """Writes the kernel of a nest."""

    def __init__(self, nest: LoopNest, cut: NestCut, retyped: dict[Any, DType], rows: int = 1) -> None:
        self.nest = nest
        self.cut = cut
        self.b = Builder(name_of(nest), (cut.lanes, rows, 1))
        self.translator = Translator(self.b, retyped, of_elements=MAP)
        self.made: list[Made] = []
        """The values of an element."""

    def kernel(self) -> tuple[VerifiedKernel, DType]:
        """Return the kernel, and the type of its last value."""
        b, nest, length = self.b, self.nest, self.declare()
        if self.cut.threads:
            self.threads(length)
        elif len(nest.shape) == 1:
            index = b.emit("global_id", attr=0)
            with b.into(b.if_(b.emit("lt", index, length)).then):
                self.element([index])
        else:
            self.rows(length)
        return self.finish(), self.made[-1].dtype

    def finish(self, own: int = 0) -> VerifiedKernel:
        """Return what was written, with ``own`` arrays; trusted where no function of a user's indexes anything."""
        from loom.ir.frontend.unsigned import refuse_unsigned  # only where a kernel is translated

        kernel = refuse_unsigned(self.b.finish(), self.b.mixed)
        asks = (s for s in walk(kernel.body) if isinstance(s, Instr) and s.name == "within")
        trusted = len(self.b.arrays) == own and not self.b.tables and next(asks, None) is None
        return verify(replace(kernel, trusted=trusted))

    def declare(self) -> Instr:
        """Declare buffers and parameters; return the length."""
        b, nest = self.b, self.nest
        named = [(f"x{i}", dtype, access) for i, (dtype, access) in enumerate(nest.buffers)]
        self.buffers = [None if dtype is None else b.buffer(name, dtype, access) for name, dtype, access in named]
        self.length = length = b.emit("param", attr=b.param("n", u32))
        self.sizes = self.lengths(length)
        accesses = [a for a in (*nest.values, *nest.stores) if isinstance(a, (Load, Store))]
        told = 1 + max((s.position for a in accesses for s in a.strides if isinstance(s, Told)), default=-1)
        self.steps = [b.emit("param", attr=b.param(f"step{i}", u32)) for i in range(told)]
        begins = 1 + max((a.begin for a in accesses if a.begin is not None), default=-1)
        self.begins = [b.emit("param", attr=b.param(f"begin{i}", u32)) for i in range(begins)]
        given = [v for v in nest.values if isinstance(v, Given)]
        self.numbers = [b.emit("param", attr=b.param(f"a{v.position + 1}", compute_type(v.dtype))) for v in given]
        return length

    def word(self, value: int) -> Instr:
        """Return a number as u32."""
        return self.b.const(value % (1 << 32), u32)

    def lengths(self, length: Instr) -> list[Instr]:
        """Return the lengths of the axes; of those that are told the first is only known where it is the only one."""
        shape = self.nest.shape
        if all(shape):
            return [self.word(size) for size in shape]
        params = (self.b.param(f"size{axis}", u32) for axis in range(1, len(shape)))
        return [length, *(self.b.emit("param", attr=param) for param in params)]

    # the cut

    def threads(self, length: Instr) -> None:
        """Take elements a group's breadth apart."""
        b, cut = self.b, self.cut
        lanes, many = self.word(cut.lanes), self.word(cut.lanes * cut.turns)
        start = b.emit("mul", b.emit("group_id", attr=0), many)
        first = b.emit("add", start, b.emit("local_id", attr=0))
        if cut.turns == 1:
            with b.into(b.if_(b.emit("lt", first, length)).then):
                self.element(self.coordinates(first, self.sizes))
            return
        block, stop = b.block, length
        if cut.twice:
            all_there = b.if_(b.emit("ge", b.emit("sub", length, start), many))
            block = all_there.otherwise
            with b.into(all_there.then):
                turns = b.for_(self.word(0), self.word(cut.turns), self.word(1))
                with b.into(turns.body):
                    self.element([b.emit("add", first, b.emit("mul", turns.index, lanes))])
        else:
            stop = b.emit("min", length, b.emit("add", start, many))
        with b.into(block):
            loop = b.for_(first, stop, lanes)
            with b.into(loop.body):
                self.element(self.coordinates(loop.index, self.sizes))

    def rows(self, rows: Instr) -> None:
        """Take some rows, a lane for each place in them."""
        b, cut = self.b, self.cut
        outer, last = self.sizes[: -cut.tail], self.sizes[-cut.tail :]
        inner = math.prod(self.nest.shape[-cut.tail :])
        column = b.emit("global_id", attr=0)
        block = b.block
        if inner == 0 or inner % cut.lanes:
            block = b.if_(b.emit("lt", column, self.word(inner) if inner else last[-1])).then
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

    def coordinates(self, index: Instr, sizes: Sequence[Instr]) -> list[Instr]:
        """Return the coordinates of an index in row-major order."""
        found: list[Instr] = []
        for size in reversed(sizes[1:]):
            found.append(self.b.emit("irem", index, size))
            index = self.b.emit("idiv", index, size)
        return [index, *reversed(found)]

    # elements

    def element(self, at: list[Instr]) -> None:
        """Compute and store what there is at an index; arrays of a function start as zero for each element."""
        b = self.b
        made, known = Block(), len(b.arrays)
        with b.into(made):
            self.compute(at)
        if self.cut.turns > 1:
            for memory in b.arrays[known:]:
                b.clear(memory)
        self.translator.splice(made)

    def compute(self, at: list[Instr]) -> None:
        """Compute and store what there is at an index."""
        self.made = []
        for value in self.nest.values:
            operands = [self.made[o] for o in value.operands] if isinstance(value, Apply) else []
            self.made.append(self.value(value, at, operands))
        for store in self.nest.stores:
            self.put(store, self.made[store.value], at)

    def put(self, store: Store, made: Made, at: list[Instr]) -> None:
        """Store a value."""
        value, memory = made.kept, self.buffers[store.buffer]
        if memory is None:
            memory = self.b.buffer("out", made.dtype, self.nest.buffers[store.buffer][1])
            self.buffers[store.buffer] = memory
        if value.type != memory.dtype:
            assert memory.dtype.storage_only, f"{value.type} stored as {memory.dtype}"
            value = self.b.emit("convert", value, dtype=memory.dtype)
        self.b.emit("store", self.place(store, at), value, memory=memory)

    def place(self, access: Load | Store, at: list[Instr]) -> Instr:
        """Return the index into a buffer."""
        b, offset = self.b, access.offset
        total = None if access.begin is None else self.begins[access.begin]
        lengths = zip(self.nest.shape, self.sizes, strict=True)
        for stride, coordinate, (size, length) in zip(access.strides, at, lengths, strict=True):
            if isinstance(stride, Told):
                term = b.emit("mul", coordinate, self.steps[stride.position])
                total = term if total is None else b.emit("add", total, term)
                continue
            if stride < 0:  # counted from the end, so that no partial sum is negative
                last = self.word(size - 1) if size else b.emit("sub", length, self.word(1))
                coordinate = b.emit("sub", last, coordinate)
                if size:
                    offset += stride * (size - 1)
            if stride:
                term = coordinate if abs(stride) == 1 else b.emit("mul", coordinate, self.word(abs(stride)))
                total = term if total is None else b.emit("add", total, term)
        if total is None:
            return self.word(offset)
        return total if offset == 0 else b.emit("add", total, self.word(offset))

    def value(self, value: Value, at: list[Instr], operands: Sequence[Made]) -> Made:
        """Return a value, of an operation that of its operands."""
        b = self.b
        if isinstance(value, Load):
            memory = self.buffers[value.buffer]
            assert memory is not None, "what is read has a type"
            found, dtype = b.emit("load", self.place(value, at), memory=memory), memory.dtype
        elif isinstance(value, Number):
            found, dtype = b.emit("const", attr=value.bits, dtype=compute_type(value.dtype)), value.dtype
        elif isinstance(value, Given):
            found, dtype = self.numbers[value.position], value.dtype
        elif isinstance(value, Apply):
            operation = cast("str | FunctionType", value.operation)  # a function in a field is no method
            found = self.apply(operation, [o.computed for o in operands])
            kinds = (o.dtype for o in operands)
            dtype = value.dtype or next((d for d in kinds if found.type == compute_type(d)), found.type)
            if operation in FUNCTIONS and len(operands) == 1 and dtype.storage_only and operands[0].dtype == dtype:
                found = emit_moved(b, str(operation), operands[0].computed, found, dtype)
        else:
            assert isinstance(value, Coordinate), "a fold is of rows"
            found, dtype = at[value.axis], value.dtype
        rounded = found if found.dtype == dtype else emit_convert(b, found, dtype)
        held = compute_type(dtype)
        computed = rounded if rounded.dtype == held else b.emit("convert", rounded, dtype=held)
        return Made(computed, rounded if isinstance(value, Apply) else computed, dtype)

    def apply(self, operation: str | FunctionType, operands: list[Instr]) -> Instr:
        """Return what an operation or function makes of operands."""
        if not isinstance(operation, str):
            return self.call(operation, operands)
        if operation == "convert":
            return operands[0]
        if operation in FUNCTIONS or operation in EXACT:
            return self.call(function(operation), operands)
        op = OPS[operation]
        if len(operands) != op.arity:
            raise self.b.error(f"{operation} takes {op.arity} operands", op.arity, len(operands), op.doc)
        return self.b.emit(operation, *operands)

    def call(self, fn: FunctionType | Elementary, operands: list[Instr]) -> Instr:
        """Translate a Python or elementary function of the operands in place."""
        translator = self.translator
        here = function_source(next(iter(fn.definitions.values())) if isinstance(fn, Elementary) else fn)
        self.b.loc = Loc(here.file, here.line)
        outside = FunctionSource(MAP, here.file, here.line, here.arguments, [])
        translator.frames.append(FunctionNames(outside, {}, set(), 0, is_kernel=False))
        result: Operand = translator.calls.function(fn, list(operands))
        translator.frames.pop()
        if isinstance(result, Instr) and not result.type.is_vector:
            return result
        if isinstance(result, (tuple, Instr)):
            raise self.b.error("the function must return one number", "a number", describe(result), "Return one")
        return translator.typing.as_value(result, operands[0].type)


def name_of(nest: LoopNest) -> str:
    """Return what a nest's kernel is called, after its last operations."""
    operations = [v.operation for v in nest.values if isinstance(v, Apply)]
    names = [o if isinstance(o, str) else o.__name__.strip("<>") for o in operations[-3:]]
    is_map = any(dtype is None for dtype, _ in nest.buffers)
    return "_".join(["map" if is_map else "tensor", *(names or ["copy"])])
