"""Launches of PTX: all at once, or begun before the kernels they depend on are over."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from emulation.ptx.memory import EmulationError, Memory
from emulation.ptx.module import Module
from emulation.ptx.run import Groups

__all__ = ["begin", "launch"]

Sizes = tuple[int, int, int]
_MOST_LANES = 1 << 15


def launch(
    module: Module,
    entry: str,
    grid: Sizes,
    block: Sizes,
    shared_bytes: int,
    arguments: Sequence[bytes],
    memory: Memory,
    drawn: random.Random | None = None,
) -> None:
    """Run an entry; EmulationError for what a GPU would not do. ``drawn``: few groups at a time, in any order."""
    for groups in _cut(module, entry, grid, block, shared_bytes, arguments, memory, drawn, early=False):
        groups.run()


def begin(
    module: Module, entry: str, grid: Sizes, block: Sizes, shared_bytes: int, arguments: Sequence[bytes],
    memory: Memory, drawn: random.Random | None = None,
) -> Callable[[], None]:  # fmt: skip
    """Run the first groups of an entry, before those it depends on are over, to where they wait.

    Return what does the rest once they are. EmulationError for lanes that touch memory before they wait, or that end,
    and later for loads of memory that nobody may write from the begin to the end.
    """
    parts = _cut(module, entry, grid, block, shared_bytes, arguments, memory, drawn, early=True)
    first = next(parts)
    first.ahead = True
    first.run()

    def rest() -> None:
        first.release()
        for groups in (first, *parts):
            groups.run()

    return rest


def _cut(
    module: Module, entry: str, grid: Sizes, block: Sizes, shared_bytes: int, arguments: Sequence[bytes],
    memory: Memory, drawn: random.Random | None, *, early: bool,
) -> Iterator[Groups]:  # fmt: skip
    """Yield the groups of a launch, as many as run side by side."""
    lanes = block[0] * block[1] * block[2]
    asked = module.entries[entry].lanes
    if asked is not None and asked != tuple(block):
        raise EmulationError(f"{entry} is for groups of {asked}, not {block}", 1)
    total, at_once = grid[0] * grid[1] * grid[2], max(1, _MOST_LANES // lanes)
    order = np.arange(total)
    if drawn is not None:
        order, at_once = np.array(drawn.sample(range(total), total), np.int64), drawn.randint(1, 4)
    for first in range(0, total, at_once):
        chosen = order[first : first + at_once]
        yield Groups(module, entry, grid, block, shared_bytes, arguments, memory, chosen, drawn, early)
