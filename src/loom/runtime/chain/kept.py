"""Programs kept between calls: recorded and built once per kind and size, run with new memory.

Layer: runtime. The one home for those of patterns and of tensors. A kept program is recorded over ``HostSlot``s; each
run attaches memory and lets go of it, so that nothing of a caller's is held. What programs have for themselves is
bounded, in number and in bytes: the least recently used go first, and one that alone has more is not kept. Invariant: a
kept program is started by one call at a time; a second one waits for it, unless the same thread is in both: a finalizer
or a handler of signals that calls Loom in the middle of a call gets a program of its own.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence, Sized
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from loom.core import options
from loom.core.process.forks import hold_over_forks
from loom.ir.interp import current_debug
from loom.runtime.chain.program import Program, Submission
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.storage import HostSlot, HostStorage, Storage
from loom.runtime.port.device import Device, DirectRun
from loom.runtime.port.profile import active_profile

__all__ = [
    "Admission",
    "Direct",
    "Kept",
    "KeptPrograms",
    "NumberPlace",
    "find_kept",
    "keep",
    "program_cache",
    "shares_memory",
]

_MOST_KEPT = 512
_MOST_NBYTES = 256 << 20
_OFTEN, _SELDOM = 4, 16
"""So many calls of a form that go the whole way are looked at in vain, before only every so-manieth one is."""
_NOTHING = np.empty(0, np.uint8)
_sharing: WeakKeyDictionary[Device, bool] = WeakKeyDictionary()


def shares_memory(device: Device) -> bool:
    """Tell whether a device uses host memory in place."""
    found = _sharing.get(device)
    if found is None:
        found = _sharing[device] = device.adopt(_NOTHING) is not None
    return found


class NumberPlace(NamedTuple):
    """Where number ``position`` of those given to a run goes: a column of a dispatch's parameters."""

    params: np.ndarray[Any, Any]
    column: int
    position: int


class Direct(NamedTuple):
    """A copy of a kept program: where each of its numbers goes, and what must be empty before it is run."""

    run: DirectRun
    numbers: Sequence[tuple[int, int]]
    untold: tuple[Sized, ...]


class Admission:
    """How often a form of call came the long way, and was looked at in vain."""

    __slots__ = ("_calls", "_long", "_vain")

    def __init__(self) -> None:
        self._calls = self._vain = self._long = 0

    def is_due(self) -> bool:
        """Tell whether a call that was just made is to be looked at: not the first, and not all if that is in vain."""
        self._calls += 1
        return self._calls > 1 and self._long < _OFTEN and (self._vain < _OFTEN or not self._calls % _SELDOM)

    def note(self, *, is_new: bool) -> None:
        """Take note of whether it was something new."""
        self._vain = 0 if is_new else self._vain + 1

    def note_long(self) -> None:
        """Take note that it took too long; after some times none is looked at any more."""
        self._long += 1


class Kept:
    """A program with slots, and places for numbers.

    ``in_place``: the device uses host memory, and parameters, where they are, and a ``run`` is over when it returns;
    elsewhere it may go on, and what reads the results waits.
    """

    def __init__(self, program: Program, slots: Sequence[HostSlot], *, in_place: bool = True,
                 numbers: Sequence[NumberPlace] = ()) -> None:  # fmt: skip
        self._program = program
        self.slots = tuple(slots)
        self._numbers = tuple(numbers)
        self._lock = threading.RLock()
        self._thread = 0
        self._last: Submission | None = None
        self.in_place = in_place
        self._is_plain = in_place and program.takes(self.slots)
        self.note: Any = None
        """What who keeps it knows of it."""
        self.admission = Admission()
        """Of what is kept for calls of functions (``runtime.calls.native``)."""

    @property
    def is_plain(self) -> bool:
        """Tell whether all that it uses is its slots' and its own, and it tells nothing."""
        return self._is_plain

    @property
    def nbytes(self) -> int:
        """Bytes the program has for itself."""
        return self._program.nbytes

    @property
    def is_busy(self) -> bool:
        """True while a call is starting it, or a run that reads its slots is under way."""
        return self._thread != 0 or (self.in_place and self._last is not None and not self._last.done)

    @property
    def is_busy_here(self) -> bool:
        """True in a call that comes in the middle of another that starts it in the same thread."""
        return self._thread == threading.get_ident()

    def direct(self, numbers: Sequence[int] = ()) -> Direct | None:
        """Return a copy of what it runs, with such numbers, if that is little; None, too, while it is in use."""
        if not self.in_place or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._thread:  # in the middle of a call of this thread
                return None
            self._thread = threading.get_ident()
            try:
                self._let_go()
                for params, column, position in self._numbers:
                    params[0, column] = numbers[position]
                run = self._program.direct(self.slots)
            finally:
                self._thread = 0
        finally:
            self._lock.release()
        if run is None:
            return None
        places = [(n, run.moved(params[0, column:].ctypes.data)) for params, column, n in self._numbers]
        return Direct(run, places, self._program.untold)

    def run(self, *memory: np.ndarray[Any, Any] | Storage, numbers: Sequence[int] = (), wait: bool = False) -> None:
        """Run over one contiguous array or storage per slot; ``numbers`` are 64-bit words.

        ``wait``: it is over when this returns, whatever the device.
        """
        with self._lock:
            try:
                self._attach(memory, numbers)
                if self.in_place:
                    self._program.run()
                elif wait:
                    self._program.launch().wait()
                else:
                    self._program.launch().poll()  # what may fault is over, and says so now
            finally:
                self._detach()

    def run_over(self, memory: Sequence[Storage], numbers: Sequence[int] = ()) -> None:
        """Run over storage that nobody else writes until this returns, and whose last writer is over.

        What the program writes nobody else uses until then.
        """
        if not self._is_plain or active_profile() is not None or current_debug() is not None:
            self.run(*memory, numbers=numbers)
            return
        with self._lock:
            try:
                self._thread = threading.get_ident()
                if self._last is not None:
                    self._let_go()
                for params, column, position in self._numbers:
                    params[0, column] = numbers[position]
                self._program.run_over(memory)
            finally:
                self._thread = 0

    def run_at(self, arrays: Sequence[np.ndarray[Any, Any]], starts: Sequence[int], numbers: Sequence[int]) -> None:
        """Run over contiguous arrays that no program is bound to, whose memory starts there."""
        if self._is_plain and current_debug() is None:
            self.run_over(
                [HostStorage(array, array, start) for array, start in zip(arrays, starts, strict=True)], numbers
            )
        else:
            self.run(*arrays, numbers=numbers)

    def launch(
        self, memory: Sequence[np.ndarray[Any, Any] | Storage], numbers: Sequence[int], timeline: Timeline,
        *, wait: bool = False,
    ) -> Submission | None:  # fmt: skip
        """Start a run, after those given to a timeline before, and return at once.

        ``wait``: the caller is going to wait, so that the run may be done here; None if it is.
        """
        with self._lock:
            try:
                self._attach(memory, numbers)
                self._program.move(timeline)
                if wait and self.in_place:
                    self._program.run()
                    return None
                self._last = self._program.launch()
            finally:
                self._detach()
            return self._last

    def start(self, *memory: np.ndarray[Any, Any] | Storage) -> Submission:
        """Start a run and return at once; the memory is the caller's to keep until it is over."""
        with self._lock:
            try:
                self._attach(memory, ())
                self._last = self._program.launch()
            finally:
                self._detach()
            return self._last

    def _let_go(self) -> None:
        """Forget the last run."""
        if self._last is not None and self.in_place:  # it reads what is attached until it is over
            self._last.finish()
        self._last = None

    def _attach(self, memory: Sequence[np.ndarray[Any, Any] | Storage], numbers: Sequence[int]) -> None:
        self._thread = threading.get_ident()
        self._let_go()
        for slot, given in zip(self.slots, memory, strict=True):
            slot.attach(given)
        for params, column, position in self._numbers:
            params[0, column] = numbers[position]

    def _detach(self) -> None:
        for slot in self.slots:
            slot.detach()
        self._thread = 0


class KeptPrograms:
    """Programs by what they depend on; at most ``most``, and ``most_nbytes`` of memory of their own."""

    def __init__(self, most: int = _MOST_KEPT, most_nbytes: int = _MOST_NBYTES) -> None:
        self.most = most
        self.most_nbytes = most_nbytes
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()
        self._lock = hold_over_forks(threading.RLock())

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes that those kept have for themselves."""
        return sum(nbytes for _, nbytes in [*self._kept.values()])

    def keys(self) -> list[Hashable]:
        """Return what those kept depend on, the least recently used first."""
        with self._lock:
            return list(self._kept)

    def find(self, key: Hashable) -> Kept | None:
        """Return the program kept for a key; None in the middle of a call of this thread that starts it."""
        with self._lock:
            found = self._kept.get(key)
            if found is None or found[0].is_busy_here:
                return None
            with suppress(KeyError):  # let go of by a finalizer that came just now
                self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, made: Kept) -> Kept:
        """Keep a program, unless there is one by now; return the one to use."""
        entry = made, made.nbytes
        old: list[tuple[Kept, int]] = []
        """They go when the lock is free: what they had may have finalizers."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                return made if found[0].is_busy_here else found[0]
            if entry[1] <= self.most_nbytes:
                self._kept[key] = entry
            while self._kept and (len(self._kept) > self.most or self.nbytes > self.most_nbytes):
                old.append(self._kept.popitem(last=False)[1])
        return made

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._kept = OrderedDict()

    def after_fork(self) -> None:
        """Forget all: a thread that stayed behind may have been starting one."""
        self.clear()


_programs = KeptPrograms()


def program_cache() -> KeptPrograms:
    """Return the programs that this process keeps."""
    return _programs


def keep(key: Hashable, device: Device, make: Callable[[], Kept]) -> Kept:
    """Return the program kept for ``key`` on ``device``, making it if there is none.

    The settings that programs are built under are part of the key; so is the device itself, which one opened anew
    after a loss is not.
    """
    whole = _whole(key, device)
    programs = program_cache()
    return programs.find(whole) or programs.put(whole, make())


def find_kept(key: Hashable, device: Device) -> Kept | None:
    """Return the program kept for ``key`` on ``device`` (see ``keep``), None if there is none."""
    return program_cache().find(_whole(key, device))


def _whole(key: Hashable, device: Device) -> Hashable:
    return id(device), *options.build_key(), key


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: program_cache().after_fork())
