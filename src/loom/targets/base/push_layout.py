"""What a dispatch hands to a kernel of SPIR-V or WGSL, in 32-bit words, and where its descriptors are.

Layer: targets. Words: parameters in order (one word each, narrow integers as numbers, two if 64 bits wide), the number
of elements of each buffer, the dispatch's number, its group counts, then where its groups start along each dimension
that a device may have to cut. SPIR-V has them pushed, or, if that is more than a device takes, lie in a table of which
the dispatch pushes its first word; its descriptor set 0 holds the buffers in order, then the log if the kernel has
sites, then that table, then a buffer for each private array in a heap. WGSL has them in a uniform buffer. Invariant:
driver and writer both go by this layout.
"""

from __future__ import annotations

from typing import Protocol

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import For, Kernel, While, walk

__all__ = ["Limits", "PushLayout", "lanes_filled_up", "push_layout"]

_MOST_LANES = 1 << 32
"""Lanes of a dispatch along one dimension."""


class Limits(Protocol):
    """What a layout depends on: the most bytes pushed, and the most groups of a dispatch along each dimension."""

    @property
    def push_nbytes(self) -> int: ...
    @property
    def most_groups(self) -> tuple[int, int, int]: ...


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


def lanes_filled_up(kernel: Kernel, whole: int) -> int:
    """Return how many lanes a workgroup is filled up to, a multiple of ``whole``; 0 if it is left as it is."""
    looping = any(isinstance(s, (For, While)) for s in walk(kernel.body))
    if kernel.workgroup[0] % whole == 0 or not looping:
        return 0
    return -(-kernel.lanes // whole) * whole


def push_layout(kernel: Kernel, features: Limits) -> PushLayout:
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
