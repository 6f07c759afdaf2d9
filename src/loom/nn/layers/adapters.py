"""Weights with adapters beside them, as products take them in place of weights.

Layer: nn. Invariant: the product with the weight has the bits it has without adapters; what they add is added last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom import tensor
from loom.core.late.dataclass import dataclass
from loom.nn.base.random import keep_mask
from loom.tensor import Tensor
from loom.tensor.neural.quantized import QuantizedTensor

__all__ = ["AdaptedWeight"]


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedWeight:
    """A weight (in, out) and its adapters a (in, rank) and b (rank, out); ``rate``: of dropout, by ``draw``."""

    weight: Tensor | QuantizedTensor
    a: Tensor
    b: Tensor
    scale: float
    rate: float
    draw: Callable[[Any], Tensor]

    def add(self, x: Tensor) -> Tensor:
        """Record what the adapters add to the product of ``x`` and the weight."""
        if self.rate:
            x = tensor.where(keep_mask(self.draw(x.shape), self.rate), x / (1 - self.rate), 0)
        found = tensor.matmul(tensor.matmul(x, self.a), self.b)
        return found if self.scale == 1 else found * self.scale
