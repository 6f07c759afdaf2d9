"""Which operation has which derivative: ``vjp(node, g)`` gives a part of the gradient for each input of ``node``.

Layer: tensor. Who defines an operation of its own tells its derivative here; those of all others are in
``arrays.derivatives``, which loads when a gradient is asked for. Invariant: an operation has one derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.tensor.record.graph import TensorOp

__all__ = ["VJPS", "Vjp", "derivative"]

Vjp = Callable[[Any, Any], Sequence[Any]]

VJPS: dict[TensorOp, Vjp] = {}


def derivative(*ops: TensorOp) -> Callable[[Vjp], Vjp]:
    """Make the function below the derivative of operations."""

    def register(vjp: Vjp) -> Vjp:
        VJPS.update(dict.fromkeys(ops, vjp))
        return vjp

    return register
