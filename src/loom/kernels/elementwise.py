"""Elementwise kernels: one operation, or a Python function, over arrays and scalars.

Layer: kernels. Buffers are the array operands in order, then the result; parameters the scalar operands
in order, then the length. f16 and bf16 are computed in f32 and rounded once. Invariant: element i of the
result depends on element i of the operands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from loom.core.dtype import DType, bool_, f32, u32
from loom.ir.builder import Builder
from loom.ir.frontend.decorator import translated
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.names import Frame
from loom.ir.frontend.source import FunctionSource, function_source
from loom.ir.frontend.translator import Translator
from loom.ir.frontend.values import Operand, describe
from loom.ir.kernel import Access, Instr, Loc
from loom.ir.ops import OPS, Accepts
from loom.ir.verify import VerifiedKernel, verify
from loom.kernels.functions import FUNCTIONS, function

__all__ = ["ELEMENTWISE", "MAP_LANES", "map_kernel"]

MAP_LANES = 512
"""Elements per workgroup."""

_OPERATIONS = tuple(
    name for name, op in OPS.items() if op.is_pure and op.accepts not in (Accepts.NONE, Accepts.SPECIAL, Accepts.ANY)
)
ELEMENTWISE: tuple[str, ...] = (*_OPERATIONS, *FUNCTIONS)
"""Operations and elementary functions a map takes by name."""


def map_kernel(
    operation: str | Callable[..., Any], dtype: DType, is_array: Sequence[bool]
) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of ``operation`` over operands of ``dtype``, and the dtype of its result.

    ``is_array`` tells for each operand whether it is an array (else a scalar). ``operation`` is one of
    ``ELEMENTWISE`` or a Python function of that many arguments. KernelError if it cannot be applied.
    """
    return translated("gpu_map", lambda retyped: _Map(operation, dtype, is_array, retyped).build())


class _Map:
    def __init__(
        self, operation: str | Callable[..., Any], dtype: DType, is_array: Sequence[bool], retyped: dict[Any, DType]
    ) -> None:
        self.operation = operation
        self.dtype = dtype
        self.is_array = is_array
        name = operation if isinstance(operation, str) else operation.__name__.strip("<>")
        self.builder = Builder(f"map_{name}", (MAP_LANES, 1, 1))
        self.retyped = retyped

    def build(self) -> tuple[VerifiedKernel, DType]:
        b, held = self.builder, f32 if self.dtype.storage_only else self.dtype
        buffers = [b.buffer(f"x{i}", self.dtype, Access.READ) if a else None for i, a in enumerate(self.is_array)]
        scalars = [None if a else b.param(f"a{i}", held) for i, a in enumerate(self.is_array)]
        length = b.emit("param", attr=b.param("n", u32))
        index = b.emit("global_id", attr=0)
        guard = b.if_(b.emit("lt", index, length))
        with b.into(guard.then):
            operands = []
            for memory, scalar in zip(buffers, scalars, strict=True):
                value = b.emit("load", index, memory=memory) if memory else b.emit("param", attr=scalar)
                operands.append(value if value.dtype == held else b.emit("convert", value, dtype=held))
            value = self.apply(operands)
            result = bool_ if value.type.is_bool else self.dtype if value.dtype == held else value.type
            if value.dtype != result:
                value = b.emit("convert", value, dtype=result)
            b.emit("store", index, value, memory=b.buffer("out", result, Access.WRITE))
        return verify(b.finish(trusted=True)), result

    def apply(self, operands: list[Instr]) -> Instr:
        if not isinstance(self.operation, str):
            return self.call(self.operation, operands)
        if self.operation in FUNCTIONS:
            return self.call(function(self.operation), operands)
        arity = OPS[self.operation].arity
        if len(operands) != arity:
            raise self.builder.error(
                f"{self.operation} takes {arity} operands", arity, len(operands), OPS[self.operation].doc
            )
        return self.builder.emit(self.operation, *operands)

    def call(self, fn: FunctionType | Elementary, operands: list[Instr]) -> Instr:
        """Translate a Python or elementary function of the operands in place."""
        translator = Translator(self.builder, self.retyped)
        here = function_source(fn if isinstance(fn, FunctionType) else next(iter(fn.definitions.values())))
        self.builder.loc = Loc(here.file, here.line)
        outside = FunctionSource("gpu_map", here.file, here.line, here.arguments, [])
        translator.frames.append(Frame(outside, {}, set(), 0, is_kernel=False))
        result: Operand = translator.calls.function(fn, list(operands))
        if isinstance(result, Instr) and not result.type.is_vector:
            return result
        if isinstance(result, (tuple, Instr)):
            raise self.builder.error("the function must return one number", "a number", describe(result), "Return one")
        return translator.typing.typed(result, operands[0].type)
