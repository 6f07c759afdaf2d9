"""What a recorded tensor costs: multiply-adds, operations, dispatches.

Layer: nn. A multiply-add is two operations; an elementwise operation is one for each element; a fold one for each
element that it reads. Moving elements costs bytes and counts as none. Invariant: counts follow from the record alone,
but for dispatches, which follow from it and the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.program import Drafted
from loom.tensor.record.graph import NodeKind, ancestors

__all__ = ["Cost", "cost_of"]

_READS_ALL = ("sum", "max", "min", "argmax", "cumulative", "sum_by_index", "histogram")
"""Operations that take one step for each element of their first input."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run takes; ``nbytes``: memory for all that is neither a weight nor known beforehand."""

    multiply_adds: int
    operations: int
    dispatches: int
    nbytes: int


def cost_of(ends: Sequence[Tensor], where: Device) -> Cost:
    """Return what it takes to compute tensors on a device; nothing runs."""
    nodes = ancestors(ends)
    products = sum(_multiply_adds(node) for node in nodes)
    others = sum(_steps(node) for node in nodes)
    drafted = Drafted(ends, [], where)
    return Cost(products, 2 * products + others, len(drafted.draft.dispatches), drafted.plan.peak_nbytes)


def _multiply_adds(node: Any) -> int:
    if node.op.name == "matmul":
        return node.size * node.inputs[0].shape[-1]
    if node.op.name == "product_of_rows":
        return node.size * math.prod(node.inputs[0].shape[node.attributes[0] :])
    if node.op.name == "product_of_columns":
        return node.inputs[0].size * math.prod(node.shape[1:])
    return 0


def _steps(node: Any) -> int:
    if node.op.kind is NodeKind.MAP:
        return node.size
    return node.inputs[0].size if node.op.name in _READS_ALL else 0
