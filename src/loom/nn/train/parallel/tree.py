"""The tree by which sums of micro-batches are added: balanced over their numbers, whoever computed them.

Layer: nn. A node of level l and index i is the sum of the micro-batches i 2^l to (i + 1) 2^l - 1, as many of them as
there are: its left child plus its right child, or its only child (docs/numerics.md, section 5). Invariant: which
additions are made depends on the number of micro-batches alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.errors import StateError

__all__ = ["Sums", "TreeNode", "add_into", "are_siblings", "cover", "join", "root_of", "share_out"]


@dataclass(frozen=True, slots=True, order=True)
class TreeNode:
    """A node of the tree over micro-batches.

    >>> TreeNode(1, 1).span(3)
    (2, 3)
    """

    level: int
    index: int

    def span(self, count: int) -> tuple[int, int]:
        """Return the first of its micro-batches, and the one after its last, of ``count`` in all."""
        return self.index << self.level, min(self.index + 1 << self.level, count)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a node sums up, by name: ``loss``, ``grad/..`` of weights, ``state/..`` of what a pass makes of state."""

    node: TreeNode
    arrays: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in self.arrays.values())


def root_of(count: int) -> TreeNode:
    """Return the node of all ``count`` micro-batches."""
    return TreeNode((count - 1).bit_length(), 0)


def cover(first: int, last: int, count: int) -> list[TreeNode]:
    """Return the largest nodes that together are the micro-batches ``first`` to ``last - 1`` of ``count``, in order.

    >>> cover(0, 3, 8)
    [TreeNode(level=1, index=0), TreeNode(level=0, index=2)]
    >>> cover(4, 5, 5)
    [TreeNode(level=2, index=1)]
    """
    found: list[TreeNode] = []
    top = root_of(count).level
    while first < last:
        level = 0
        while level < top and first % (2 << level) == 0 and min(first + (2 << level), count) <= last:
            level += 1
        found.append(TreeNode(level, first >> level))
        first = found[-1].span(count)[1]
    return found


def share_out(count: int, speeds: Sequence[float]) -> list[tuple[int, int]]:
    """Return a range of micro-batches for each worker, as long as its speed is high; the ranges are all of ``count``.

    What one is given changes no bit. Those of no speed get nothing.

    >>> share_out(8, [1, 1])
    [(0, 4), (4, 8)]
    >>> share_out(3, [1, 0, 2])
    [(0, 1), (1, 1), (1, 3)]
    """
    total, ends, so_far = sum(speeds), [0], 0.0
    for speed in speeds:
        so_far += speed
        ends.append(min(count, round(count * so_far / total)) if total else 0)
    ends[-1] = count
    return list(itertools.pairwise(ends))


def join(parts: Iterable[Sums], count: int) -> list[Sums]:
    """Return as few sums as can be made of ``parts``, in order: siblings are added, an only child is its parent.

    StateError where parts are of the same micro-batch.
    """
    top = root_of(count).level
    held: list[Sums] = []
    end = 0
    for part in sorted(parts, key=lambda p: p.node.span(count)):
        begin, next_end = part.node.span(count)
        if begin < end:
            raise StateError("train, micro_batch", "a micro-batch was summed up twice", expected="each once",
                             got=f"number {begin} again", remedy="Ask again for what is missing")  # fmt: skip
        end = next_end
        held.append(_risen(part, count, top))
        while len(held) > 1 and _are_siblings(held[-2].node, held[-1].node):
            right, left = held.pop(), held.pop()
            parent = TreeNode(left.node.level + 1, left.node.index >> 1)
            held.append(_risen(Sums(parent, _add(left.arrays, right.arrays)), count, top))
    return held


def are_siblings(left: TreeNode, right: TreeNode, count: int) -> bool:
    """Tell whether two nodes of ``count`` micro-batches are added; an only child stands for its parent."""
    return len(join([Sums(left, {}), Sums(right, {})], count)) == 1


def _are_siblings(left: TreeNode, right: TreeNode) -> bool:
    return left.level == right.level and left.index % 2 == 0 and right.index == left.index + 1


def _risen(part: Sums, count: int, top: int) -> Sums:
    """Return a sum as that of the highest node that it is the only child of."""
    node = part.node
    while node.level < top and node.index % 2 == 0 and (node.index + 1) << node.level >= count:
        node = TreeNode(node.level + 1, node.index >> 1)
    return part if node == part.node else Sums(node, part.arrays)


def _add(left: Mapping[str, Array], right: Mapping[str, Array]) -> dict[str, Array]:
    """Return the sums of arrays of the same names: IEEE additions, of numpy where this thread keeps small numbers."""
    if _flushes():
        return {n: (tensor.array(a, on="cpu") + tensor.array(right[n], on="cpu")).numpy() for n, a in left.items()}
    with np.errstate(all="ignore"):
        return {n: np.asarray(a + right[n]) for n, a in left.items()}


def add_into(left: Array, right: Array, out: Array) -> None:
    """Write the sums of two arrays into a third, with the bits of ``join``."""
    if _flushes():
        out[...] = (tensor.array(left, on="cpu") + tensor.array(right, on="cpu")).numpy()
        return
    with np.errstate(all="ignore"):
        np.add(left, right, out=out)


def _flushes() -> bool:
    """Tell whether subnormal numbers are flushed to zero in this thread, as some libraries have it."""
    return bool((_LEAST + _LEAST)[0] == 0)


_LEAST = np.full(8, 2.0**-149, np.float32)
