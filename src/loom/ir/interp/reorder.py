"""Runs a dispatch once more with its lanes in another order, and compares what is left.

Layer: ir. The lanes of each group are dealt into a few bundles, the last lane into the first and the first lane into
the last; a bundle runs up to a barrier, or to its end, before the next one does, and later groups run before earlier
ones. Invariant: the first run's memory is what stays; what the second leaves else is told, by buffer and element.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from loom.core.errors import RaceDetected
from loom.core.numerics import canonical_bits
from loom.ir.faults import make_fault
from loom.ir.interp.batch import Batch, DispatchState
from loom.ir.interp.cells import Cells
from loom.ir.interp.control import run_block
from loom.ir.interp.masks import Array, Mask
from loom.ir.kernel import Instr, Space, operations
from loom.ir.ops import Effect

__all__ = ["refuse_differences", "run_reordered"]

_BUNDLES = 4


def run_reordered(dispatch: DispatchState, total: int, size: int) -> None:
    """Run ``total`` groups, ``size`` at a time, in another order; the dispatch is one that nothing was run of."""
    waits = any(s.op.effect is Effect.SYNC for s in operations(dispatch.kernel.body))
    for first in reversed(range(0, total, size)):
        bundles = _bundles(dispatch, first, min(size, total - first))
        if waits:
            _InTurn(dispatch, bundles).run()
        else:
            for batch, mask in bundles:
                run_block(batch, dispatch.kernel.body, mask)


def refuse_differences(dispatch: DispatchState, buffers: Sequence[Array], others: Sequence[Array]) -> None:
    """Raise RaceDetected for the first element that the two orders left unlike each other."""
    kernel = dispatch.kernel
    for memory, one, other in zip(kernel.buffers, buffers, others, strict=True):
        unlike = np.flatnonzero(canonical_bits(one) != canonical_bits(other))
        if unlike.size:
            at = int(unlike[0])
            raise make_fault(
                RaceDetected,
                kernel.name,
                kernel.loc,
                f"{memory.name}[{at // memory.dtype.lanes}] depends on the order of lanes",
                lane=None,
                expected="the same in any order",
                got=f"{one[at]} and {other[at]}",
                remedy="Give each lane its own elements, or put a barrier between those of a group",
                memory=memory.name,
                index=at // memory.dtype.lanes,
            )


def _bundles(dispatch: DispatchState, first: int, count: int) -> list[tuple[Batch, Mask]]:
    """Return the bundles of some groups, in the order in which they run; each has lanes of every group."""
    lanes, rng = dispatch.kernel.lanes, np.random.default_rng(first)
    bundles = min(_BUNDLES, lanes)
    ranks = rng.permuted(np.tile(np.arange(lanes), (count, 1)), axis=1)
    for lane, rank in ((0, lanes - 1), (lanes - 1, 0)):
        rows, held = np.arange(count), np.argmax(ranks == rank, axis=1)
        ranks[rows, held], ranks[rows, lane] = ranks[rows, lane], rank
    bundle = (ranks * bundles // lanes).reshape(-1)
    found = [(Batch(dispatch, first, count), Mask(bundle == n)) for n in range(bundles)]
    for batch, _ in found[1:]:
        batch.cells |= {m: c for m, c in found[0][0].cells.items() if m.space is Space.SHARED}
    return found


class _EndOfBundle(BaseException):
    """Ends a bundle whose dispatch is over."""


class _InTurn:
    """Runs bundles one at a time, each in a thread of its own that waits at barriers for its turn."""

    is_whole = True

    def __init__(self, dispatch: DispatchState, bundles: Sequence[tuple[Batch, Mask]]) -> None:
        self._body, self._bundles = dispatch.kernel.body, bundles
        self._turns = [threading.Semaphore(0) for _ in bundles]
        self._back = threading.Semaphore(0)
        self._current = 0
        self._over = [False] * len(bundles)
        self._errors: list[BaseException] = []
        dispatch.watch = self

    def run(self) -> None:
        """Run all to the end; raise what one raises."""
        threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(len(self._bundles))]
        for thread in threads:
            thread.start()
        order = list(range(len(threads)))
        while order:
            for number in order:
                self._current = number
                self._turns[number].release()
                self._back.acquire()
            order = [n for n in reversed(order) if not self._over[n] and not self._errors]
        for turn, over in zip(self._turns, self._over, strict=True):
            if not over:
                turn.release()  # it finds an error, and stops
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, number: int) -> None:
        self._turns[number].acquire()
        try:
            if not self._errors:
                with np.errstate(all="ignore"):
                    run_block(self._bundles[number][0], self._body, self._bundles[number][1])
        except _EndOfBundle:
            return
        except BaseException as error:
            self._errors.append(error)
        self._over[number] = True
        self._back.release()

    # an AccessWatch, for its barriers

    def begin(self, batch: Batch) -> None:
        """Nothing: no access is looked at."""

    def access(
        self, batch: Batch, instr: Instr, cells: Cells, index: Array, mask: Mask, effect: Effect | None = None
    ) -> None:
        """Nothing."""

    def barrier(self, batch: Batch, mask: Mask) -> None:  # noqa: ARG002
        """Let the other bundles come here, too."""
        self._wait()

    def near_barrier(self, mask: Mask) -> None:  # noqa: ARG002
        """The same: what waits for more lanes is ordered as well."""
        self._wait()

    def _wait(self) -> None:
        turn = self._turns[self._current]
        self._back.release()
        turn.acquire()
        if self._errors:
            raise _EndOfBundle
