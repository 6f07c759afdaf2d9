"""What a run sends to the host: the log of its kernels, and the status of its indirect dispatches.

Layer: runtime. Invariant: when a run was collected both are empty, for the next one.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from loom.core.errors import KernelFault
from loom.runtime.drivers.rows.counts import STATUS_WORDS
from loom.runtime.drivers.rows.table import RowTable
from loom.runtime.plans.groups import excess_groups
from loom.runtime.port.log import LOG_WORDS, SILENT, Outcome, new_log, read_log

__all__ = ["SentMemory", "SentWords"]

Array = np.ndarray[Any, Any]
_FLAG = 16
"""Byte of the log's fault flag."""
_HEADER_NBYTES = 32
Place = TypeVar("Place")


class SentMemory(Protocol[Place]):
    """Device memory that kernels write and the host reads, as bytes."""

    def hold(self, data: Array) -> Place:
        """Return memory that holds this."""
        ...

    def fetch(self, place: Place, offset: int, nbytes: int) -> Array:
        """Return a part of it when all that was handed to the device before is done."""
        ...

    def peek(self, place: Place, offset: int, nbytes: int) -> Array:
        """Return a part of it as it is: what writes it is over."""
        ...

    def refill(self, place: Place, data: Array) -> None:
        """Have it hold something else."""
        ...


class SentWords(Generic[Place]):
    """``log`` and ``status`` of what has one run at a time; None where no kernel of the table sends anything."""

    def __init__(self, memory: SentMemory[Place], table: RowTable[Any], name: str) -> None:
        self.memory = memory
        self.table = table
        self.name = name
        """The device's."""
        self.log: Place | None = None
        self.status: Place | None = None
        self.log_nbytes = 0
        self.status_nbytes = 4 * STATUS_WORDS * len(table.checked)
        if table.checked:
            self.status = memory.hold(np.zeros(self.status_nbytes, np.uint8))
        if any(item.kernel.sites for item in table.items):
            empty = new_log(LOG_WORDS).view(np.uint8)
            self.log, self.log_nbytes = memory.hold(empty), empty.nbytes

    @property
    def any(self) -> bool:
        """Whether a run may leave something to read."""
        return self.log is not None or self.status is not None

    def has_failed(self) -> bool:
        """Tell whether a lane of what has been handed over raised the fault flag."""
        return self.log is not None and self.memory.fetch(self.log, _FLAG, 8).any().item()

    def collect(self) -> Outcome:
        """Return what a run that is over sent, and empty log and status."""
        outcome = SILENT
        if self.log is not None:
            _, claimed, faulty, _ = self.memory.peek(self.log, 0, _HEADER_NBYTES).view(np.uint64).tolist()
            if claimed or faulty:
                words = self.memory.peek(self.log, 0, self.log_nbytes).view(np.uint64).copy()
                outcome = read_log(words, self.table.sites_of)
                self.memory.refill(self.log, words.view(np.uint8))
        excess = None if self.status is None else self._excess(self.status)
        return outcome if excess is None else Outcome(outcome.lines, excess)

    def _excess(self, status: Place) -> KernelFault | None:
        """Return the fault of the first indirect dispatch whose counts were beyond the limits."""
        slots = self.memory.peek(status, 0, self.status_nbytes).view(np.uint32).reshape(-1, STATUS_WORDS)
        wrong = np.flatnonzero(slots[:, 0])
        if not len(wrong):
            return None
        number, slot = min((self.table.checked[n], n) for n in wrong.tolist())
        kernel = self.table.plan.step_of(number).dispatch.kernel
        verdict, x, y, z = slots[slot].tolist()
        self.memory.refill(status, np.zeros(self.status_nbytes, np.uint8))
        if verdict == 1:
            return excess_groups(kernel, (x, y, z))
        return KernelFault(
            f"kernel {kernel.name!r} on device {self.name!r}",
            "more groups in an indirect dispatch than the device takes",
            expected=f"at most {self.table.limits}", got=(x, y, z),
            remedy="Let each lane do more, or dispatch with counts known to the host, which are cut in parts",
        )  # fmt: skip
