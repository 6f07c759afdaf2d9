"""Operands of functions element by element: tensors in the dtype in which they meet.

Layer: tensor. Invariant: Python's numbers take the dtype of the tensors beside them (``core.promotion``).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType
from loom.core.errors import DTypeError
from loom.core.promotion import promote
from loom.tensor.ops.elementwise import apply, cast, constant
from loom.tensor.ops.views import broadcast_to
from loom.tensor.record.graph import Node, NodeT, require_tensor

__all__ = ["everywhere", "of_one", "operands_of"]


def operands_of(where_: str, *operands: Any) -> tuple[list[Any], DType]:
    """Return operands as tensors, cast to the dtype in which they meet, and it."""
    tensors = [x for x in operands if isinstance(x, Node)]
    if not tensors:
        raise DTypeError(where_, "no tensor among the operands", expected="at least one tensor",
                         got=", ".join(type(x).__name__ for x in operands), remedy="Use tensor.array")  # fmt: skip
    dtype = promote(where_, [x.dtype for x in tensors], [x for x in operands if not isinstance(x, Node)])
    return [
        cast(x, dtype) if isinstance(x, Node) else constant(x, dtype, tensors[0], where_) for x in operands
    ], dtype  # fmt: skip


def everywhere(value: Any, like: NodeT, dtype: DType) -> NodeT:
    """Return one number in the shape of a tensor."""
    return broadcast_to(constant(value, dtype, like), like.shape)


def of_one(operation: str, x: Any) -> Any:
    """Return an operation of one tensor."""
    require_tensor(x, operation)
    return apply(operation, x)
