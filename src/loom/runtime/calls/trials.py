"""Which calls surely keep their lanes apart; the others are tried by the interpreter before they are first run.

Layer: runtime. What keeps lanes apart is asked of a kernel once (``ir.passes.laneorder``) and holds for numbers of
groups. A trial runs over copies, in the interpreter, as much of a call as takes a moment, groups from all over it.
Invariant: a trial changes nothing of the caller's, and a kind of call is tried once; what is left open by it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from loom.core.errors import KernelFault, RaceDetected
from loom.ir.constants import constant_value
from loom.ir.kernel import Memory
from loom.ir.verified import VerifiedKernel
from loom.runtime.calls.data import CallBuffer
from loom.runtime.chain.extents import Array
from loom.runtime.chain.meetings import BY_DATA, PARTLY, TRIAL, TRUSTED, UNTRIED, meetings_of

__all__ = ["CallTrial", "Trials"]

_MOST_NUMBERS = 8
"""Trials of calls that differ in numbers alone, after which others of these sizes and groups are run untried."""
_MOST_TRIALS = 64
"""Trials of one kernel."""


class CallTrial:
    """Whether calls of a kind need no trial any more."""

    __slots__ = ("_groups", "_sizes", "_trials", "is_over")

    def __init__(self, trials: Trials | None = None, sizes: tuple[int, ...] = (), groups: tuple[int, ...] = ()) -> None:
        self._trials, self._sizes, self._groups = trials, sizes, groups
        self.is_over = trials is None

    def run(self, operands: Sequence[CallBuffer], words: Sequence[int], groups: tuple[int, ...]) -> None:
        """Run over copies; RaceDetected if lanes meet. Any other fault is left to the call itself."""
        trials = self._trials
        if trials is None:
            return
        open_by = UNTRIED
        if not trials.is_enough(self._sizes):
            try:
                open_by = BY_DATA if trials.interpret(operands, words, groups) else PARTLY
            except RaceDetected:
                raise
            except KernelFault:
                return
            trials.count(self._sizes)
        trials.note(self._groups, open_by)
        self.is_over = True


class Trials:
    """The trials of one kernel's calls."""

    def __init__(self, kernel: VerifiedKernel) -> None:
        self.kernel = kernel
        self._counts: dict[tuple[int, ...], int] = {}
        self.conditions: dict[str, None] = {}
        """What must be so for the results of the calls that were made to be the same bits everywhere."""

    def trial(self, elements: Sequence[int], groups: tuple[int, ...]) -> CallTrial:
        """Return the trial of calls over so many elements, one that is over where nothing is to be tried."""
        from loom.runtime.drivers.proofs import is_provable

        if 0 in groups or not (is_provable(self.kernel) or (self.kernel.trusted and not self.kernel.is_vouched)):
            return CallTrial()
        conditions = self.kernel.plain_aparts
        if conditions is not None and all(each.holds(groups) for each in conditions):
            return CallTrial()
        if self.kernel.trusted:
            self.note(groups, TRUSTED)
            return CallTrial()
        return CallTrial(self, (*groups, *elements), groups)

    def note(self, groups: tuple[int, ...], by: str) -> None:
        """Take note of what tells whether lanes of a call with so many groups meet, which is left open."""
        text = "" if self.kernel.is_loose else meetings_of(self.kernel).text((*groups, 1, 1)[:3], by)
        if text:
            self.conditions[text] = None

    def is_enough(self, sizes: tuple[int, ...]) -> bool:
        """Tell whether so many calls were tried that others are taken as they are."""
        return self._counts.get(sizes, 0) >= _MOST_NUMBERS or sum(self._counts.values()) >= _MOST_TRIALS

    def count(self, sizes: tuple[int, ...]) -> None:
        """Take note of a trial in which no lanes met."""
        self._counts[sizes] = self._counts.get(sizes, 0) + 1

    def interpret(self, operands: Sequence[CallBuffer], words: Sequence[int], groups: tuple[int, ...]) -> bool:
        """Run a call over copies of what it writes, and watch for lanes that meet; tell whether all of it was."""
        from loom.ir.interp import interpret  # most programs try nothing

        kernel = self.kernel.kernel
        params = [
            constant_value(w & ((1 << p.dtype.bits) - 1), p.dtype) for w, p in zip(words, kernel.params, strict=True)
        ]
        given, (x, y, z) = iter(operands), (*groups, 1, 1)[:3]
        with suppress(MemoryError):  # arrays that fill the memory have no copy
            buffers = [
                _copy(m, next(given) if m.data is None else None, writes=m in self.kernel.writes)
                for m in self.kernel.buffers
            ]
            return interpret(kernel, buffers, params, (x, y, z), options=TRIAL, output=lambda _: None)
        return False


def _copy(memory: Memory, operand: CallBuffer | None, *, writes: bool) -> Array:
    """Return the elements of a buffer, flat; a copy if the kernel writes them."""
    if operand is None:
        assert memory.data is not None
        return np.frombuffer(memory.data, memory.dtype.numpy)
    where, nbytes = operand.memory, operand.elements * memory.dtype.nbytes
    if not isinstance(where, np.ndarray):
        return where.read(0, nbytes).view(memory.dtype.numpy)
    array = where.reshape(-1).view(np.uint8)[:nbytes]
    return (array.copy() if writes else array).view(memory.dtype.numpy)
