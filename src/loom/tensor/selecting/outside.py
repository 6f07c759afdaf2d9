"""``IndexLimits``: indices that a program computes, told where they are outside.

Layer: tensor. Invariant: what is looked up is not changed; a program gives the least and the largest index besides,
and who reads its outputs refuses those that there are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import IndexOutside
from loom.core.late.dataclass import dataclass
from loom.tensor.arrays.tensor import Tensor

__all__ = ["IndexLimits"]


@dataclass(frozen=True)
class _Limit:
    least: Array
    lengths: Array
    where: str
    ends: tuple[Tensor, Tensor]

    def require(self, low: Array, high: Array) -> None:
        outside = np.concatenate([low[low < self.least].ravel(), high[high >= self.lengths].ravel()])
        if outside.size:
            expected = " and ".join(
                f"{a} to {n - 1}" if n else "none, of an axis without elements"
                for a, n in zip(self.least.ravel().tolist(), self.lengths.ravel().tolist(), strict=True)
            )
            raise IndexOutside(
                self.where,
                "an index that there is not",
                expected=expected,
                got=int(outside[0]),
                remedy="Correct the inputs that it is made of",
            )


class IndexLimits:
    """What indices of one recording may be: ``ends`` are outputs of its program, ``require`` judges their values."""

    def __init__(self) -> None:
        self._limits: dict[tuple[int, bytes, bytes], _Limit] = {}

    @property
    def ends(self) -> list[Tensor]:
        """The least and the largest of each, to be outputs of the program."""
        return [end for limit in self._limits.values() for end in limit.ends]

    def note(self, index: Tensor, length: int | Sequence[int], where: str, *, wraps: bool = True) -> None:
        """Note that indices are below a length, or below one for each of the last axis; ``wraps``: -1 is the last."""
        if not math.prod(index.shape):
            return
        lengths = np.asarray(length, np.int64)
        axes = tuple(range(index.ndim - lengths.ndim))
        low, high = (index.min(axes), index.max(axes)) if axes else (index, index)
        least = -lengths if wraps else np.zeros_like(lengths)
        limit = _Limit(least, lengths, where, (low, high))
        self._limits.setdefault((id(index), least.tobytes(), lengths.tobytes()), limit)

    def require(self, values: Sequence[Array]) -> None:
        """Raise IndexOutside if values of ``ends`` tell of an index that there is not."""
        for limit, low, high in zip(self._limits.values(), values[::2], values[1::2], strict=True):
            limit.require(np.asarray(low), np.asarray(high))
