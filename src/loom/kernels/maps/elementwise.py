"""Elementwise kernels: operations and Python functions over arrays and scalars, any number of them in one.

Layer: kernels. Buffers are the arrays in order, then the result; parameters the scalars in order, then the
length. Where lanes are vectors of a CPU each makes one element; where they are threads, a number of them, one
workgroup's breadth apart. f16 and bf16 are computed in f32 and rounded after each step. Invariant: element i of the
result depends on element i of the arrays alone, and fusing steps changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.ir.builder import Builder
from loom.ir.frontend.decorator import translated
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.names import Frame
from loom.ir.frontend.source import FunctionSource, function_source
from loom.ir.frontend.translator import Translator
from loom.ir.frontend.values import Operand, describe
from loom.ir.kernel import Access, Block, Instr, Loc, Memory
from loom.ir.ops import OPS, Accepts
from loom.ir.verify import VerifiedKernel, verify
from loom.kernels.functions import FUNCTIONS, function
from loom.kernels.maps.rounding import emit_convert

__all__ = ["ELEMENTWISE", "MAP_LANES", "OPERATIONS", "From", "Step", "fused_kernel", "map_groups", "map_kernel"]

MAP_LANES = 512
"""Elements per workgroup where a lane makes one."""

_THREADS = 256
"""Elements made at once per workgroup where lanes are threads."""
_TELLING = 128
"""The same where what it makes may print or fail: a lane makes one, so that its number is the element's."""
_TURNS = 16
"""Elements a thread makes: on an H200 groups of fewer are begun too slowly to keep its memory busy."""

OPERATIONS: tuple[str, ...] = tuple(
    name for name, op in OPS.items() if op.is_pure and op.accepts not in (Accepts.NONE, Accepts.SPECIAL, Accepts.ANY)
)
"""Operations of the IR that a map takes by name."""
ELEMENTWISE: tuple[str, ...] = (*OPERATIONS, *FUNCTIONS)
"""Everything a map takes by name."""


@dataclass(frozen=True, slots=True)
class From:
    """Where a step takes an operand: array, scalar or earlier step (``kind``) number ``position``."""

    kind: str
    position: int


@dataclass(frozen=True, slots=True)
class Step:
    """``operation`` (one of ``ELEMENTWISE``, a Python function, or a dtype to convert to) of operands."""

    operation: Any
    operands: tuple[From, ...]


def map_groups(kernel: VerifiedKernel, size: int) -> int:
    """Return how many workgroups of a map's kernel ``size`` elements take."""
    lanes = kernel.workgroup[0]
    return -(-size // (lanes * (_TURNS if lanes == _THREADS else 1)))


def map_kernel(
    operation: str | Callable[..., Any], dtype: DType, is_array: Sequence[bool], *, threads: bool = False
) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of ``operation`` over operands of ``dtype``, and the dtype of its result.

    ``is_array`` tells for each operand whether it is an array (else a scalar). ``operation`` is one of
    ``ELEMENTWISE`` or a Python function of that many arguments. KernelError if it cannot be applied.
    """
    counts = {"array": 0, "scalar": 0}
    operands = []
    for array in is_array:
        kind = "array" if array else "scalar"
        operands.append(From(kind, counts[kind]))
        counts[kind] += 1
    step = Step(operation, tuple(operands))
    return fused_kernel((step,), (dtype,) * counts["array"], (dtype,) * counts["scalar"], threads=threads)


def fused_kernel(
    steps: Sequence[Step], arrays: Sequence[DType], scalars: Sequence[DType], *, threads: bool = False
) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of ``steps`` over arrays and scalars of these dtypes, and the dtype of the last step.

    ``threads``: for a device whose lanes are threads.
    """

    def made(lanes: int) -> tuple[VerifiedKernel, DType]:
        return translated("gpu_map", lambda retyped: _Fused(steps, arrays, scalars, retyped, lanes).build())

    found = made(_THREADS if threads else MAP_LANES)
    return made(_TELLING) if threads and found[0].talks else found


def _held(dtype: DType) -> DType:
    """Return the type that elements of ``dtype`` are computed in."""
    return f32 if dtype.storage_only else dtype


class _Fused:
    def __init__(
        self,
        steps: Sequence[Step],
        arrays: Sequence[DType],
        scalars: Sequence[DType],
        retyped: dict[Any, DType],
        lanes: int,
    ) -> None:
        self.steps = steps
        self.arrays = arrays
        self.scalars = scalars
        self.threads = lanes == _THREADS
        self.builder = Builder("map_" + "_".join(_name(s) for s in steps[-3:]), (lanes, 1, 1))
        self.translator = Translator(self.builder, retyped, of_elements="gpu_map")

    def build(self) -> tuple[VerifiedKernel, DType]:
        b = self.builder
        self.buffers = [b.buffer(f"x{i}", dtype, Access.READ) for i, dtype in enumerate(self.arrays)]
        self.params = [b.param(f"a{i}", _held(dtype)) for i, dtype in enumerate(self.scalars, start=1)]
        self.out: Memory | None = None
        length = b.emit("param", attr=b.param("n", u32))
        if self.threads:
            self.each_of_many(length)
        else:
            index = b.emit("global_id", attr=0)
            with b.into(b.if_(b.emit("lt", index, length)).then):
                self.element(index)
        own = not b.arrays  # without arrays of a user's function every access is this file's, and inside
        return verify(b.finish(trusted=own)), self.dtypes["step"][-1]

    def each_of_many(self, length: Instr) -> None:
        """Make this lane's elements, without a test for each in a workgroup that has all of them."""
        b = self.builder
        lanes, many = b.const(_THREADS, u32), b.const(_THREADS * _TURNS, u32)
        start = b.emit("mul", b.emit("group_id", attr=0), many)
        first = b.emit("add", start, b.emit("local_id", attr=0))
        all_there = b.if_(b.emit("ge", b.emit("sub", length, start), many))
        with b.into(all_there.then):
            turns = b.for_(b.const(0, u32), b.const(_TURNS, u32), b.const(1, u32))
            with b.into(turns.body):
                self.element(b.emit("add", first, b.emit("mul", turns.index, lanes)))
        with b.into(all_there.otherwise):
            rest = b.for_(first, length, lanes)
            with b.into(rest.body):
                self.element(rest.index)

    def element(self, index: Instr) -> None:
        """Make one element of the result; arrays of a function start as zero for each."""
        b = self.builder
        made, known = Block(), len(b.arrays)
        with b.into(made):
            self.computed_at(index)
        if self.threads:
            for memory in b.arrays[known:]:
                self.clear(memory)
        self.translator.splice(made)

    def clear(self, memory: Memory) -> None:
        b, dtype = self.builder, memory.dtype
        zero = b.const(0, f32 if dtype.storage_only else dtype.scalar)
        zero = b.emit("vector", *[zero] * dtype.lanes, dtype=zero.type.vector(dtype.lanes)) if dtype.is_vector else zero
        zero = b.emit("convert", zero, dtype=dtype) if dtype.storage_only else zero
        turns = b.for_(b.const(0, u32), b.const(memory.size or 0, u32), b.const(1, u32))
        with b.into(turns.body):
            b.emit("store", turns.index, zero, memory=memory)

    def computed_at(self, index: Instr) -> None:
        b = self.builder
        self.values = {
            "array": [self.widened(b.emit("load", index, memory=m)) for m in self.buffers],
            "scalar": [b.emit("param", attr=p) for p in self.params],
            "step": [],
        }
        self.dtypes = {"array": list(self.arrays), "scalar": list(self.scalars), "step": []}
        results = [self.step(s) for s in self.steps]
        if self.out is None:
            self.out = b.buffer("out", self.dtypes["step"][-1], Access.WRITE)
        b.emit("store", index, results[-1], memory=self.out)

    def step(self, step: Step) -> Instr:
        """Translate a step; return its result, rounded to its dtype."""
        operands = [self.values[o.kind][o.position] for o in step.operands]
        value, dtype = self.apply(step, operands, [self.dtypes[o.kind][o.position] for o in step.operands])
        rounded = value if value.dtype == dtype else self.builder.emit("convert", value, dtype=dtype)
        self.values["step"].append(self.widened(rounded))
        self.dtypes["step"].append(dtype)
        return rounded

    def widened(self, value: Instr) -> Instr:
        """Return a value in the type it is computed in."""
        held = _held(value.type)
        return value if value.dtype == held else self.builder.emit("convert", value, dtype=held)

    def apply(self, step: Step, operands: list[Instr], dtypes: list[DType]) -> tuple[Instr, DType]:
        """Return the value of a step and the dtype it is rounded to: that of the first operand computed in its type."""
        if isinstance(step.operation, DType):
            return emit_convert(self.builder, operands[0], step.operation), step.operation
        value = self.computed(step.operation, operands)
        return value, next((d for d in dtypes if value.type == _held(d)), value.type)

    def computed(self, operation: str | FunctionType, operands: list[Instr]) -> Instr:
        if not isinstance(operation, str):
            return self.call(operation, operands)
        if operation in FUNCTIONS:
            return self.call(function(operation), operands)
        arity = OPS[operation].arity
        if len(operands) != arity:
            raise self.builder.error(f"{operation} takes {arity} operands", arity, len(operands), OPS[operation].doc)
        return self.builder.emit(operation, *operands)

    def call(self, fn: FunctionType | Elementary, operands: list[Instr]) -> Instr:
        """Translate a Python or elementary function of the operands in place."""
        translator = self.translator
        here = function_source(next(iter(fn.definitions.values())) if isinstance(fn, Elementary) else fn)
        self.builder.loc = Loc(here.file, here.line)
        outside = FunctionSource("gpu_map", here.file, here.line, here.arguments, [])
        translator.frames.append(Frame(outside, {}, set(), 0, is_kernel=False))
        result: Operand = translator.calls.function(fn, list(operands))
        translator.frames.pop()
        if isinstance(result, Instr) and not result.type.is_vector:
            return result
        if isinstance(result, (tuple, Instr)):
            raise self.builder.error("the function must return one number", "a number", describe(result), "Return one")
        return translator.typing.typed(result, operands[0].type)


def _name(step: Step) -> str:
    if isinstance(step.operation, FunctionType):
        return step.operation.__name__.strip("<>")
    return str(step.operation)
