"""Plans memory: which buffers of a draft share a block because no dispatch needs both.

Layer: tensor. Buffers are placed from the largest to the smallest, each in the smallest block that is free while it
lives, else in a new one. Invariant: two buffers of one block are never both between their first and last dispatch.

Source of the strategy: "greedy by size for shared objects" of Pisarchyk and Lee, "Efficient Memory Management for
Deep Neural Net Inference" (2020).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.runtime.memory.order import UNTRACKED
from loom.runtime.memory.storage import Storage
from loom.runtime.port.device import Device
from loom.tensor.record.draft import Draft, DraftBuffer

__all__ = ["MemoryPlan", "plan_memory"]

_UNIT = 256
"""Blocks are multiples of so many bytes."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Block and life of every buffer that is placed, and the sizes of blocks.

    ``peak_nbytes`` is what a program allocates for itself: blocks, constants, results; not parameters and inputs.
    """

    blocks: tuple[int, ...]
    block_of: dict[DraftBuffer, int]
    lives: dict[DraftBuffer, tuple[int, int]]
    constants: tuple[DraftBuffer, ...]
    kept_nbytes: int

    @property
    def peak_nbytes(self) -> int:
        """Bytes of all blocks, constants and results."""
        return sum(self.blocks) + sum(_round_up(c.nbytes) for c in self.constants) + self.kept_nbytes

    @property
    def sum_nbytes(self) -> int:
        """Bytes the buffers would take with a place of its own for each."""
        return self.peak_nbytes - sum(self.blocks) + sum(_round_up(b.nbytes) for b in self.block_of)

    def allocate(self, where: Device) -> dict[DraftBuffer, Storage]:
        """Return storage for every buffer of the plan."""
        blocks = [_own(where, nbytes) for nbytes in self.blocks]
        found: dict[DraftBuffer, Storage] = {buffer: blocks[block] for buffer, block in self.block_of.items()}
        equal: dict[bytes, Storage] = {}
        for constant in self.constants:
            assert constant.content is not None
            key = constant.content.tobytes()
            if key not in equal:
                equal[key] = where.allocate(constant.nbytes, zeroed=False)
                equal[key].write(0, constant.content)
                equal[key].uses = UNTRACKED
            found[constant] = equal[key]
        return found


def _own(where: Device, nbytes: int) -> Storage:
    """Return memory that one program alone has."""
    made = where.allocate(nbytes, zeroed=False)
    made.uses = UNTRACKED
    return made


def plan_memory(draft: Draft, kept_nbytes: int = 0, budget_nbytes: int | None = None) -> MemoryPlan:
    """Return where buffers without a place go; ArgumentError if that takes more than the budget."""
    lives: dict[DraftBuffer, tuple[int, int]] = {}
    constants: dict[DraftBuffer, None] = {}
    for at, dispatch in enumerate(draft.dispatches):
        for buffer in dispatch.buffers:
            if buffer.place is not None:
                continue
            if buffer.content is not None:
                constants[buffer] = None
            else:
                lives[buffer] = (lives.get(buffer, (at, at))[0], at)
    blocks = _Blocks()
    # the largest first; those of one size in the order of their first use
    order = sorted(lives, key=lambda b: (-_round_up(b.nbytes), lives[b][0]))
    block_of = {buffer: blocks.place(_round_up(buffer.nbytes), lives[buffer]) for buffer in order}
    plan = MemoryPlan(tuple(blocks.sizes), block_of, lives, tuple(constants), kept_nbytes)
    if budget_nbytes is not None and plan.peak_nbytes > budget_nbytes:
        raise ArgumentError(
            "tensor.compile", "the program needs more memory than it may have",
            expected=f"at most {budget_nbytes} bytes", got=f"{plan.peak_nbytes} bytes",
            remedy="Use smaller batches or tensor.checkpoint, or allow more; nothing was allocated",
        )  # fmt: skip
    return plan


class _Blocks:
    """Blocks, from the largest to the smallest. Buffers come in that order too, so that all blocks have room."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._lives: list[list[tuple[int, int]]] = []
        self._first = 0
        self._free: list[int] = []
        self._taken: list[tuple[int, int]] = []

    def place(self, nbytes: int, life: tuple[int, int]) -> int:
        """Return the block a buffer goes to: the smallest that is free then, the first of several, or a new one."""
        if self.sizes and self.sizes[-1] != nbytes:  # the first of its size
            self._first, self._free, self._taken = len(self.sizes), [], []
        while self._taken and self._taken[0][0] < life[0]:
            heapq.heappush(self._free, heapq.heappop(self._taken)[1])
        if self._free:
            found = heapq.heappop(self._free)
        else:
            larger = self._larger(life)
            if larger is not None:
                insort(self._lives[larger], life)
                return larger
            found = len(self.sizes)
            self.sizes.append(nbytes)
            self._lives.append([])
        self._lives[found].append(life)
        heapq.heappush(self._taken, (life[1], found))
        return found

    def _larger(self, life: tuple[int, int]) -> int | None:
        """Return the smallest larger block that is free while a buffer lives."""
        best: int | None = None
        for block in range(self._first - 1, -1, -1):
            if best is not None and self.sizes[block] > self.sizes[best]:
                break
            lives = self._lives[block]
            at = bisect_left(lives, life)
            if (at == 0 or lives[at - 1][1] < life[0]) and (at == len(lives) or life[1] < lives[at][0]):
                best = block
        return best


def _round_up(nbytes: int) -> int:
    return -(-max(nbytes, 1) // _UNIT) * _UNIT
