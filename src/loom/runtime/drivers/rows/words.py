"""What a device without a walker of its own is handed for each dispatch: the words of its kernel, its groups in parts.

Layer: runtime. Shared by the drivers whose kernels read words (``targets.base.push_layout``). Invariant: a row of words
says all that a dispatch's kernel asks of the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Kernel
from loom.targets.base.push_layout import PushLayout

__all__ = ["GroupParts", "cut_groups", "fill_words"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class GroupParts:
    """Dispatches cut in parts: ``origin`` (a row of groups given), ``turn`` in it, ``starts``, ``groups``."""

    origin: Array
    turn: Array
    starts: Array
    groups: Array


def cut_groups(groups: Array, most: Array) -> GroupParts | None:
    """Return rows of group counts cut where a device takes fewer; None if all fit."""
    if groups.max(initial=0) <= most.min() or (groups.max(axis=0) <= most).all():
        return None
    whole = groups.astype(np.int64)
    parts = np.maximum(1, -(-whole // most))
    parts[(whole == 0).any(axis=1)] = 1
    total = parts.prod(axis=1)
    origin = np.repeat(np.arange(len(total)), total)
    turn = np.arange(len(origin)) - np.repeat(np.cumsum(total) - total, total)
    nx, ny = parts[origin, 0], parts[origin, 1]
    starts = np.stack([turn % nx, turn // nx % ny, turn // (nx * ny)], axis=1) * most
    return GroupParts(origin, turn, starts, np.minimum(whole[origin] - starts, most))


def fill_words(
    words: Array, kernel: Kernel, push: PushLayout, params: Array, lengths: list[int], numbers: Array, whole: Array,
    starts: Array,
) -> None:  # fmt: skip
    """Write the words of rows.

    ``params``: a column a parameter; ``lengths`` of the buffers; ``numbers`` of dispatches; ``whole``: the group counts
    of the whole dispatch; ``starts``: where a part's groups begin.
    """
    words[:, push.lengths : push.number] = lengths
    for param, start, column in zip(kernel.params, push.params, params.T, strict=True):
        values = column.astype(np.uint64, copy=False)
        kind = param.dtype
        if kind.bits < 32:  # the number in 32 bits, or the bits of what is no integer
            number = values.astype(kind.numpy if kind.is_integer else f"u{kind.nbytes}")
            values = number.astype(np.int64).view(np.uint64)
        words[:, start] = values & np.uint64(0xFFFF_FFFF)
        if kind.bits == 64:
            words[:, start + 1] = values >> np.uint64(32)
    words[:, push.number] = numbers
    words[:, push.groups : push.groups + 3] = whole
    for start, column in zip(push.starts, starts.T, strict=True):
        if start >= 0:
            words[:, start] = column
