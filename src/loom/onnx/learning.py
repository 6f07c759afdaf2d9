"""What a step of training does besides the graph: numbers that are drawn, and new values of running means.

Layer: onnx. Invariant: a number drawn depends on seed, step, and the operator's place in the recording alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from loom.core.late.dataclass import dataclass
from loom.tensor.arrays.tensor import Tensor

__all__ = ["Learning"]

Shape = tuple[int, ...]


@dataclass(slots=True)
class Learning:
    """``keep``: bools of a shape, false with a chance, drawn anew at each call; ``updates``: state, its new value.

    ``batch_statistics``: whether batch normalisation takes the means of the batch or those that run; None: as its graph
    says.
    """

    keep: Callable[[Shape, float], Tensor]
    batch_statistics: bool | None = None
    updates: list[tuple[Tensor, Tensor]] = field(default_factory=list[tuple[Tensor, Tensor]])
