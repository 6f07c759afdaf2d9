"""Reads what running kernels sent to the host and turns it into lines and errors.

Layer: runtime. Invariant: lines come out by dispatch, then by lane, then in the order the lane sent
them, whatever thread ran which lane; the fault raised is the first in that order, of those that had room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.dtype import DType, lookup
from loom.core.errors import DeviceError, KernelFault
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Loc
from loom.targets.base import LOG_HEADER_WORDS, LOG_WORDS_BEFORE_VALUES, Site

__all__ = ["LOG_WORDS", "SILENT", "Outcome", "new_log", "read_log"]

LOG_WORDS = 1 << 16
"""Words of a log that kernels write to (512 KiB); more is dropped and counted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run sent: printed lines, the first fault if there was one, or why the device lost the run."""

    lines: tuple[str, ...] = ()
    fault: KernelFault | None = None
    lost: DeviceError | None = None

    @property
    def error(self) -> KernelFault | DeviceError | None:
        """What whoever waits for the run is to be told."""
        return self.fault if self.lost is None else self.lost


SILENT = Outcome()
"""What a run sent whose kernels send nothing."""


def new_log(words: int) -> np.ndarray[Any, Any]:
    """Return an empty log with room for ``words`` words."""
    log = np.zeros(LOG_HEADER_WORDS + words, np.uint64)
    log[0] = words
    return log


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    lane: int
    site: Site
    words: np.ndarray[Any, Any]


def read_log(log: np.ndarray[Any, Any], sites_of: Callable[[int], tuple[Site, ...]]) -> Outcome:
    """Return what a log holds and empty it; ``sites_of`` gives the sites of a dispatch's kernel."""
    capacity, claimed, faulty = int(log[0]), int(log[1]), bool(log[2])
    if not claimed:
        return SILENT
    entries = _entries(log[LOG_HEADER_WORDS:], min(claimed, capacity), sites_of)
    entries.sort(key=lambda e: (e.number, e.lane))  # stable: a lane's own order is kept
    lines = [_line(e) for e in entries if e.site.kind == "print"]
    faults = [e for e in entries if e.site.kind != "print"]
    if claimed > capacity:
        lines.append(f"[loom] the kernel log was full: {(claimed - capacity) * 8} bytes were dropped")
    log[1:LOG_HEADER_WORDS] = 0
    log[LOG_HEADER_WORDS:] = 0
    if faults:
        return Outcome(tuple(lines), _fault(faults[0]))
    return Outcome(tuple(lines), _unknown_fault() if faulty else None)


def _entries(words: np.ndarray[Any, Any], end: int, sites_of: Callable[[int], tuple[Site, ...]]) -> list[_Entry]:
    entries: list[_Entry] = []
    at = 0
    while at + LOG_WORDS_BEFORE_VALUES <= end:
        head, number, lane = (int(w) for w in words[at : at + LOG_WORDS_BEFORE_VALUES])
        length = head & 0xFFFFFFFF
        if not length or at + length > end:  # claimed but did not fit
            break
        values = words[at + LOG_WORDS_BEFORE_VALUES : at + length].copy()
        entries.append(_Entry(number, lane, sites_of(number)[head >> 32], values))
        at += length
    return entries


def _line(entry: _Entry) -> str:
    dtypes = [lookup(name) for name in entry.site.dtypes]
    values = [_value(w, t) for w, t in zip(entry.words, dtypes, strict=True)]
    from loom.ir.message import format_message

    return format_message(entry.site.pieces, values, dtypes)


def _value(word: np.uint64, dtype: DType) -> Any:
    carrier = np.array([word], np.uint64).view(np.uint8)[: dtype.bits // 8]
    return carrier.view(dtype.numpy)[0]


def _unknown_fault() -> KernelFault:
    return KernelFault(
        "kernel log", "an assert failed or an index lay outside a buffer, and the full log has no room to say where",
        remedy="Print less, or run it in loom.debug()",
    )  # fmt: skip


def _fault(entry: _Entry) -> KernelFault:
    from loom.ir.faults import assertion_failed, out_of_bounds

    site = entry.site
    loc = Loc(site.file, site.line)
    if site.kind == "loops":
        return KernelFault(
            f"kernel {site.kernel!r}", "the device ended a loop before its time",
            expected="a loop of any number of turns", got="a driver that limits them",
            remedy="Let each lane do less, or use another device",
        )  # fmt: skip
    if site.kind == "assert":
        return assertion_failed(site.kernel, loc, entry.lane, _line(entry))
    operation, space = site.pieces
    index, bound = _value(entry.words[0], lookup(site.dtypes[0])), int(entry.words[1])
    return out_of_bounds(site.kernel, loc, entry.lane, operation, space, site.memory, int(index), bound)
