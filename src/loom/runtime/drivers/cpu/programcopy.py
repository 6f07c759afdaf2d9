"""Copies of small programs, to be run by the calling thread without a look at others.

Layer: runtime. A copy has records, bindings, parameters and scratch memory of its own, so that who runs it disturbs no
run of the program. Invariant: it does what the program does, over memory that is put into its cells.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from loom.runtime.memory.storage import HostSlot, HostStorage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.port.device import DirectRun
from loom.targets.base import Site
from loom.targets.llvm.machine.layout import BINDING, RECORD

__all__ = ["direct_run"]

_MOST_DISPATCHES = 16
_MOST_NBYTES = 1 << 20
"""Of scratch memory, which is copied."""


_Words = np.ndarray[Any, Any]
_Tables = tuple[slice, _Words, _Words, Dispatch]
"""The rows of a step's records, and what they point to: bindings, and parameters."""


class _CopiedRange(NamedTuple):
    """A range of memory, and where its copy starts, which is kept."""

    start: int
    nbytes: int
    there: int
    storage: HostStorage


def direct_run(
    records: _Words,
    tables: Sequence[_Tables],
    slots: Sequence[HostSlot],
    sites: tuple[Site, ...],
    operations: float,
    kept: object,
) -> DirectRun | None:
    """Return the copy of a program; None if it does nothing, or much, or one slot has no use.

    No run of it may be under way: what is in its memory is copied, too.
    """
    if len(records) > _MOST_DISPATCHES:
        return None
    storages = [b.storage for *_, dispatch in tables for b in dispatch.bindings]
    blocks = _copy_blocks(sorted({s.extent() for s in storages if not isinstance(s, HostSlot)}))
    if blocks is None or {id(s) for s in storages if isinstance(s, HostSlot)} != {id(slot) for slot in slots}:
        return None
    made = records.copy()
    cells: dict[int, list[int]] = {id(slot): [] for slot in slots}
    moves: list[tuple[int, int, int]] = []
    keep: list[object] = [kept, made, blocks]
    for rows, bindings, params, dispatch in tables:
        own, words = bindings.copy(), params.copy()
        keep += [own, words]
        for position, binding in enumerate(dispatch.bindings):
            if isinstance(binding.storage, HostSlot):
                cells[id(binding.storage)].append(own.ctypes.data + position * BINDING.itemsize)
            else:
                own["address"][position] = _address_in_copy(binding.storage.extent()[0], blocks)
        made["bindings"][rows] = own.ctypes.data
        moves.append((params.ctypes.data, params.nbytes, words.ctypes.data))
    made["params"] = [_address_in_copy(address, moves) for address in made["params"].tolist()]
    kernels, totals = made["kernel"].tolist(), made["total"].tolist()
    places = [made.ctypes.data + n * RECORD.itemsize for n in range(len(made))]
    steps = tuple(each for each in zip(kernels, places, totals, strict=True) if each[2])
    found = tuple(tuple(cells[id(slot)]) for slot in slots)

    def find(address: int) -> int:
        return _address_in_copy(address, moves)

    return DirectRun(steps, found, find, sites, operations, keep) if steps else None


def _copy_blocks(extents: Sequence[tuple[int, int]]) -> list[_CopiedRange] | None:
    """Return copies of ranges of memory, in order, those that meet in one; None if they are too large."""
    whole: list[list[int]] = []
    for start, stop in extents:
        if whole and start < whole[-1][1]:
            whole[-1][1] = max(stop, whole[-1][1])
        else:
            whole.append([start, stop])
    if sum(stop - start for start, stop in whole) > _MOST_NBYTES:
        return None
    found: list[_CopiedRange] = []
    for start, stop in whole:
        made = HostStorage.allocate(stop - start, zeroed=False)
        ctypes.memmove(made.address, start, stop - start)
        found.append(_CopiedRange(start, stop - start, made.address, made))
    return found


def _address_in_copy(address: int, ranges: Sequence[tuple[int, int, int] | _CopiedRange]) -> int:
    """Return where the copy of what is at an address is, of ranges (start, bytes, start of the copy)."""
    start, _, there = next(r[:3] for r in ranges if r[0] <= address < max(r[0] + r[1], r[0] + 1))
    return there + address - start
