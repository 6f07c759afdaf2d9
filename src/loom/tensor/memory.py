"""Plans memory: which buffers of a draft share a block because no dispatch needs both.

Layer: tensor. Buffers are placed from the largest to the smallest, each in the smallest block that is free while it
lives, else in a new one. Invariant: two buffers of one block are never both between their first and last dispatch.

Source of the strategy: "greedy by size for shared objects" of Pisarchyk and Lee, "Efficient Memory Management for
Deep Neural Net Inference" (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loom.core.errors import ArgumentError
from loom.runtime.device import Device
from loom.runtime.order import UNTRACKED
from loom.runtime.storage import Storage
from loom.tensor.draft import Buffer, Draft

__all__ = ["MemoryPlan", "plan_memory"]

_UNIT = 256
"""Blocks are multiples of so many bytes."""


@dataclass(slots=True)
class _Block:
    nbytes: int
    lives: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Block and life of every buffer that is placed, and the sizes of blocks.

    ``peak_nbytes`` is what a program allocates for itself: blocks, constants, results; not parameters and inputs.
    """

    blocks: tuple[int, ...]
    block_of: dict[Buffer, int]
    lives: dict[Buffer, tuple[int, int]]
    constants: tuple[Buffer, ...]
    kept_nbytes: int

    @property
    def peak_nbytes(self) -> int:
        """Bytes of all blocks, constants and results."""
        return sum(self.blocks) + sum(_rounded(c.nbytes) for c in self.constants) + self.kept_nbytes

    @property
    def sum_nbytes(self) -> int:
        """Bytes the buffers would take with a place of its own for each."""
        return self.peak_nbytes - sum(self.blocks) + sum(_rounded(b.nbytes) for b in self.block_of)

    def allocate(self, where: Device) -> dict[Buffer, Storage]:
        """Return storage for every buffer of the plan."""
        blocks = [_own(where, nbytes) for nbytes in self.blocks]
        found: dict[Buffer, Storage] = {buffer: blocks[block] for buffer, block in self.block_of.items()}
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
    lives: dict[Buffer, tuple[int, int]] = {}
    constants: dict[Buffer, None] = {}
    for at, dispatch in enumerate(draft.dispatches):
        for buffer in dispatch.buffers:
            if buffer.place is not None:
                continue
            if buffer.content is not None:
                constants[buffer] = None
            else:
                lives[buffer] = (lives.get(buffer, (at, at))[0], at)
    blocks: list[_Block] = []
    block_of: dict[Buffer, int] = {}
    for buffer in sorted(lives, key=lambda b: -b.nbytes):  # stable: equal sizes in order of use
        block_of[buffer] = _placed(blocks, _rounded(buffer.nbytes), lives[buffer])
    plan = MemoryPlan(tuple(b.nbytes for b in blocks), block_of, lives, tuple(constants), kept_nbytes)
    if budget_nbytes is not None and plan.peak_nbytes > budget_nbytes:
        raise ArgumentError(
            "tensor.compile", "the program needs more memory than it may have",
            expected=f"at most {budget_nbytes} bytes", got=f"{plan.peak_nbytes} bytes",
            remedy="Use smaller batches or tensor.checkpoint, or allow more; nothing was allocated",
        )  # fmt: skip
    return plan


def _placed(blocks: Sequence[_Block], nbytes: int, life: tuple[int, int]) -> int:
    """Return the block a buffer goes to; blocks were made for larger buffers, so all have room."""
    fitting = [n for n, block in enumerate(blocks) if all(life[1] < a or b < life[0] for a, b in block.lives)]
    best = min(fitting, key=lambda n: (blocks[n].nbytes, n)) if fitting else len(blocks)
    if not fitting:
        assert isinstance(blocks, list)
        blocks.append(_Block(nbytes))
    blocks[best].lives.append(life)
    return best


def _rounded(nbytes: int) -> int:
    return -(-max(nbytes, 1) // _UNIT) * _UNIT
