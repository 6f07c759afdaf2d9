"""Which function writes an operation, and what operands are without what ONNX does by itself.

Layer: export. Invariant: a function asks for all its operands before it writes a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.export.onnx.writing.lengths import Size
from loom.export.onnx.writing.records import ALIASES, RecordedValue
from loom.export.onnx.writing.writer import WHERE, GraphWriter
from loom.importers.operatorrows import register
from loom.tensor.ops.views import BROADCAST
from loom.tensor.record.graph import TensorOp

__all__ = ["EMITTERS", "REFUSED", "WriteOperation", "broadcast", "emits", "refusal", "unwrap"]

WriteOperation = Callable[[GraphWriter, RecordedValue], str]
EMITTERS: dict[TensorOp, WriteOperation] = {}
REFUSED: dict[str, tuple[str, str]] = {}
"""Names of operations that ONNX has nothing for: what they are, and what to do."""


def emits(*operations: TensorOp) -> Callable[[WriteOperation], WriteOperation]:
    """Enter the function that writes these operations."""

    return register(EMITTERS, operations, lambda emit: emit)


def refusal(value: RecordedValue, what: str, *, expected: Any = None, got: Any = None, remedy: str) -> ArgumentError:
    """Return the error that names an operation and, where it is known, the layer around it."""
    where = f"{WHERE}, {value.op.name}" + (f" of {value.layer!r}" if value.layer else "")
    return ArgumentError(where, what, expected=expected, got=got, remedy=remedy)


def unwrap(value: RecordedValue) -> RecordedValue:
    """Return what a value is a mere repetition or another handle of: ONNX broadcasts by itself."""
    while not value.is_known and (value.op is BROADCAST or value.op in ALIASES):
        value = value.inputs[-1]
    return value


def resolve_alias(value: RecordedValue) -> RecordedValue:
    """Return what a value is another handle of."""
    while not value.is_known and value.op in ALIASES:
        value = value.inputs[-1]
    return value


def broadcast(shapes: Sequence[Sequence[Size]]) -> tuple[Size, ...]:
    """Return the shape to which shapes broadcast, which they do."""
    rank = max((len(s) for s in shapes), default=0)
    found: list[Size] = []
    for axis in range(rank):
        lengths = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        found.append(next((n for n in lengths if n != 1), 1))
    return tuple(found)
