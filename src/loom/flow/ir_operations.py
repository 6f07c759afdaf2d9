"""Public functions that append an operation of one or two values to a kernel under construction.

Layer: flow, over ``draft``. Invariant: an operation is its name in the table of ``ir.ops``; no meaning is added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from loom.core.dtype import DType
from loom.flow.draft import IrBlock, IrValue, open_block

__all__ = ["Record", "of_one", "of_two", "operation", "record_as"]

Record = Callable[..., IrValue]
"""Appends an operation: the function's name, the block, the operands."""


_RAISES = """
Returns:
    Value of the kernel.

Raises:
    DTypeError: Not a block; not a value of this kernel.
    KernelTypeError: A value of another type."""
_LIST_OF_ONE = f"""

Args:
    block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
    a: Value of this kernel.
{_RAISES}"""
_LIST_OF_TWO = _LIST_OF_ONE.replace("kernel.\n\n", "kernel.\n    b: Another of its type.\n\n", 1)


class OfOne(Protocol):
    """An operation of one value."""

    def __call__(self, block: IrBlock, a: IrValue) -> IrValue:
        """Append it."""
        ...


class OfTwo(Protocol):
    """An operation of two values."""

    def __call__(self, block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
        """Append it."""
        ...


def of_one(name: str, record: Record, meaning: str) -> OfOne:
    """Return the public function ``name`` of one value."""

    def append(block: IrBlock, a: IrValue) -> IrValue:
        return record(name, block, a)

    append.__name__ = append.__qualname__ = name
    append.__doc__ = meaning + _LIST_OF_ONE
    return append


def of_two(name: str, record: Record, meaning: str) -> OfTwo:
    """Return the public function ``name`` of two values."""

    def append(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
        return record(name, block, a, b)

    append.__name__ = append.__qualname__ = name
    append.__doc__ = meaning + _LIST_OF_TWO
    return append


def record_as(name: str, dtype: DType) -> Record:
    """Record operation ``name`` of values taken as ``dtype``."""

    def record(where: str, block: Any, *values: Any) -> IrValue:
        return operation(where, block, name, dtype, *values)

    return record


def operation(where: str, block: IrBlock, name: str, dtype: DType, *values: Any) -> IrValue:
    """Append operation ``name`` of values taken as ``dtype`` to a block, for the call named ``where``."""
    target = open_block(block, where)
    return target.value(name, *(target.operand(v, dtype, where) for v in values))
