"""What a dispatch hands to a SPIR-V kernel, in 32-bit words, and where its descriptors are.

Layer: targets. Words: parameters in order (one word each, narrow integers as numbers, two if 64 bits wide), the number
of elements of each buffer, the dispatch's number, its group counts, then where its groups start along each dimension
that a device may have to cut. They are pushed, or, if that is more than a device takes, lie in a table of which the
dispatch pushes its first word. Descriptor set 0 holds the buffers in order, then the log if the kernel has sites, then
that table. Invariant: driver and writer both go by this layout.
"""

from __future__ import annotations

from dataclasses import dataclass

from loom.ir.kernel import Kernel
from loom.targets.spirv.features import Features

__all__ = ["PushLayout", "push_layout"]

_MOST_LANES = 1 << 32
"""Lanes of a dispatch along one dimension."""


@dataclass(frozen=True, slots=True)
class PushLayout:
    """First words: of each parameter, of lengths, number and groups, and of each dimension's start (-1: none).

    ``words`` counts them all; ``in_table`` tells that they lie in a table.
    """

    params: tuple[int, ...]
    lengths: int
    number: int
    groups: int
    starts: tuple[int, int, int]
    words: int
    in_table: bool

    @property
    def nbytes(self) -> int:
        """Bytes pushed."""
        return 4 if self.in_table else 4 * self.words


def push_layout(kernel: Kernel, features: Features) -> PushLayout:
    """Return the layout of a kernel for a device."""
    at = 0
    firsts: list[int] = []
    for param in kernel.params:
        firsts.append(at)
        at += 2 if param.dtype.bits == 64 else 1
    lengths = at
    number = lengths + len(kernel.buffers)
    at = number + 4
    starts: list[int] = []
    for lanes, most in zip(kernel.workgroup, features.most_groups, strict=True):
        cut = most < _MOST_LANES // lanes
        starts.append(at if cut else -1)
        at += cut
    return PushLayout(
        tuple(firsts), lengths, number, number + 1, (starts[0], starts[1], starts[2]), at, 4 * at > features.push_nbytes
    )
