"""Where the elements of a tensor lie in a buffer: an offset and a stride for each axis.

Layer: tensor. Views are made of accesses alone; nothing is copied until a kernel needs packed memory. Invariant: an
access names only elements of its buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.core.numbers import is_symbolic

__all__ = ["StridedLayout", "broadcast_shapes", "row_major"]


@dataclass(frozen=True, slots=True)
class StridedLayout:
    """Element (i, j, ..) is number ``offset + i strides[0] + j strides[1] + ..`` of the buffer."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def is_packed(self) -> bool:
        """True if the elements lie in row-major order from the start of the buffer."""
        wanted = _strides(self.shape)
        pairs = zip(self.shape, self.strides, wanted, strict=True)
        return self.offset == 0 and all(size == 1 or own == other for size, own, other in pairs)

    def permute(self, axes: Sequence[int]) -> StridedLayout:
        """Return the access with its axes in another order."""
        return StridedLayout(tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes), self.offset)

    def broadcast(self, shape: tuple[int, ...]) -> StridedLayout:
        """Return the access with axes of length 1 or none repeated, as numpy does."""
        new = len(shape) - len(self.shape)
        kept = zip(self.shape, self.strides, shape[new:], strict=True)
        return StridedLayout(shape, (0,) * new + tuple(0 if own != size else s for own, s, size in kept), self.offset)

    def slice(self, starts: Sequence[int], steps: Sequence[int], shape: tuple[int, ...]) -> StridedLayout:
        """Return the access of every ``steps``-th element from ``starts`` on along each axis."""
        offset = self.offset + sum(a * s for a, s in zip(starts, self.strides, strict=True))
        return StridedLayout(shape, tuple(s * t for s, t in zip(self.strides, steps, strict=True)), offset)

    def reverse(self, axes: Sequence[int]) -> StridedLayout:
        """Return the access with axes counted from their ends."""
        offset = self.offset + sum((self.shape[a] - 1) * self.strides[a] for a in axes)
        strides = tuple(-s if a in axes else s for a, s in enumerate(self.strides))
        return StridedLayout(self.shape, strides, offset)

    def reshape(self, shape: tuple[int, ...]) -> StridedLayout | None:
        """Return the access in another shape of as many elements, None if its elements must be copied for that."""
        if self.shape == shape:
            return self
        if math.prod(shape) == 0:
            return row_major(shape)
        old = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        strides: list[int] = []
        at = 0
        new = list(shape)
        while len(strides) < len(new):
            size = new[len(strides)]
            if size == 1:
                strides.append(0)
                continue
            if at == len(old):
                return None
            first, whole = at, old[at][0]
            at += 1
            part, run = size, [size]
            while part != whole:
                if part < whole:
                    follow = len(strides) + len(run)
                    if follow == len(new):
                        return None
                    run.append(new[follow])
                    part *= new[follow]
                else:
                    if at == len(old):
                        return None
                    whole *= old[at][0]
                    at += 1
            joined = old[first:at]
            if any(joined[k][1] != joined[k + 1][0] * joined[k + 1][1] for k in range(len(joined) - 1)):
                return None
            inner = joined[-1][1]
            strides += [inner * math.prod(run[k + 1 :]) for k in range(len(run))]
        return StridedLayout(shape, tuple(strides), self.offset)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which shapes, tuples of ints, broadcast; ValueError for none."""
    if not any(map(is_symbolic, shapes)):
        return _broadcast_plain(*shapes)
    _broadcast_plain(*(tuple(map(int, shape)) for shape in shapes))
    axes = max(map(len, shapes))
    padded = [(1,) * (axes - len(shape)) + shape for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), sizes[0]) for sizes in zip(*padded, strict=True))


_broadcast_plain = lru_cache(maxsize=4096)(np.broadcast_shapes)


@lru_cache(maxsize=4096)
def row_major(shape: tuple[int, ...]) -> StridedLayout:
    """Return the access of row-major order."""
    return StridedLayout(shape, _strides(shape))


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)
