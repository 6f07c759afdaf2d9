"""Copies of tensors, on their device or another: through which gradients go back the same way.

Layer: tensor. A copy is a source of its own, that knows what it is a copy of for the derivative alone: programs take
its elements as they are. Invariant: a copy changes no bit.
"""

from __future__ import annotations

from loom.core.errors import StateError
from loom.runtime.port.device import Device
from loom.tensor.handle.lending import copy_memory, memory_of
from loom.tensor.record.graph import NodeKind, NodeT, TensorOp, same

__all__ = ["MOVED", "copy_to"]

MOVED = TensorOp("copy", NodeKind.SOURCE, takes_complex=True)
"""The elements that a tensor had when it was copied."""


def copy_to(x: NodeT, where: Device) -> NodeT:
    """Return a copy of a tensor on a device, made now; of what programs are fed, which is to come, a record."""
    if x.is_fed:
        if x.device is None or x.device is where:
            return same(x)
        raise StateError(
            "tensor.array", "what a program is fed has no elements to copy to another device yet",
            expected=x.device.name, got=where.name, remedy="Feed a program that is compiled for that device",
        )  # fmt: skip
    memory = copy_memory(memory_of(x), x.nbytes, where)
    return type(x)(MOVED, (x,), x.shape, x.dtype, data=memory, device=where)
