"""Who uses storage, and in which order: the last writer, and the readers since.

Layer: runtime. Every run of a program, and every copy between host and device, enters here with the storages it reads
and writes before it begins, and waits for those that came before it in another domain: a reader for the last writer, a
writer for it and for the readers since. A domain (a timeline, or a queue of a device) keeps its own runs in order.
Invariant: uses are entered one after the other and wait for earlier ones only, so that none wait for each other.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol
from weakref import ref

from loom.core.errors import StateError
from loom.core.process.critical import CRITICAL
from loom.core.process.forks import hold_over_forks

__all__ = [
    "BOUNDS",
    "UNTRACKED",
    "CallerRange",
    "Use",
    "Uses",
    "enter",
    "is_settled",
    "is_tracked",
    "settle_uses",
    "touching",
    "uses_at",
    "using",
]

_SLICE_SECONDS = 0.05
_FEW = 4
"""Readers that are listed without a look whether they are over."""
_lock = hold_over_forks(threading.RLock())
_changing = False
"""Whether uses are half entered: whoever has the lock and finds this comes in the middle, in the same thread."""
_process = object()
"""Stands for this process; a fork gets another."""


class _Ends(Protocol):
    def wait(self, seconds: float) -> bool: ...


class Tracked(Protocol):
    """Storage, or memory of the caller."""

    uses: Uses | None


class Use:
    """What uses storage: a program, by the last of its runs, or one copy. ``domain`` keeps its own uses in order.

    ``fresh``: it stands where it entered, but for what it ``lost``: storages upon which another use came since. Only
    one that is ``lasting``, which enters the same storages each time, keeps account of those; others enter all anew.
    """

    __slots__ = (
        "__weakref__",
        "_before",
        "_gate",
        "_is_inner",
        "_process",
        "_run",
        "_thread",
        "domain",
        "fresh",
        "lost",
        "written",
    )

    def __init__(self, domain: Any, *, lasting: bool = False) -> None:
        self.domain = domain
        self.fresh = False
        self.lost: set[Uses] | None = set() if lasting else None
        self.written: set[Uses] | None = None
        """Of a lasting one, what it writes, once it was asked for."""
        self._gate: Any = None
        self._run: Any = None
        self._thread = 0
        self._process = _process
        self._before: list[Use] = []
        """Of one that is about to begin: what it comes after."""
        self._is_inner = False
        """Whether it comes in the middle of another of its thread, and is over before that goes on."""

    def lose(self, uses: Uses) -> None:
        """Take note that another use came upon storage."""
        if self.lost is None:
            self.fresh = False
        else:
            self.lost.add(uses)

    def open(self, before: list[Use]) -> None:
        """Tell that a run is about to begin: whoever waits from now on waits for it."""
        gate = threading.Lock()
        gate.acquire()
        self._thread, self._process = threading.get_ident(), _process
        self._before, self._is_inner = before, False
        self._gate = gate

    def began(self, run: _Ends | None) -> None:
        """Tell what is under way; None: nothing, it is over or did not begin."""
        if run is not None:
            self._run = ref(run)  # a device keeps what is under way
            while self._is_inner and not run.wait(_SLICE_SECONDS):
                CRITICAL.look()
        self._before = []
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.release()

    @property
    def is_open(self) -> bool:
        """Whether a run is about to begin, and nobody knows yet what that is."""
        return self._gate is not None

    @property
    def is_open_here(self) -> bool:
        """Whether a run is about to begin in this thread, in the middle of which this is asked."""
        return self._gate is not None and self._thread == threading.get_ident()

    def stand_in(self) -> None:
        """Come in the middle of another use of its thread, which may be about to begin: end before that goes on."""
        self._is_inner = True
        self._before += [each for use in tuple(self._before) if use.is_open_here for each in use._before]

    def follow(self, inner: Use) -> None:
        """Be over when what is under way of another is, too."""
        self._run = inner._run

    def note_end(self, run: _Ends) -> None:
        """Take note that a run is over, if it is the last that began: nobody has to ask it."""
        found = self._run
        if found is not None and found() is run:
            self._run = None

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether it is over.

        A thread never waits for what it is about to do itself, but for what that comes after.
        """
        return self._wait(self._gate, seconds)

    def _wait(self, gate: threading.Lock | None, seconds: float) -> bool:
        if gate is not None and self._thread == threading.get_ident():
            for use in tuple(self._before):
                if not (use.run_over(seconds) if use.is_open_here else use.wait(seconds)):
                    return False
        elif gate is not None:
            if self._process is not _process:
                raise StateError(
                    "storage", "it was in use when this process was forked, and what used it stayed behind",
                    remedy="Wait for runs before a fork, or make the memory anew after it",
                )  # fmt: skip
            if not gate.acquire(timeout=seconds) if seconds > 0 else not gate.acquire(blocking=False):
                return False
            gate.release()
        return self.run_over(seconds)

    def run_over(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the last run that began; tell whether it is over."""
        run = None if self._run is None else self._run()
        return run is None or run.wait(seconds)

    def last(self) -> tuple[Use, threading.Lock | None]:
        """Return it with what stands for the last of its runs, as ``finish`` takes it; under the lock."""
        return self, self._gate

    def finish(self, gate: threading.Lock | None) -> None:
        """Wait to the end of that run; StateError if it stayed behind in the process that this one was forked from.

        The next one, which may be about to begin, comes after who waits here, and may wait for that.
        """
        while not self._wait(gate, _SLICE_SECONDS):
            pass

    def has_read(self, seconds: float = 0.0) -> bool:
        """Do as ``wait`` for what only reads: if that stayed behind, nothing reads here."""
        try:
            return self.wait(seconds)
        except StateError:
            return True


class Uses:
    """Who uses one storage, or memory of the caller that several storages share."""

    __slots__ = ("__weakref__", "merged", "older", "readers", "writer")

    def __init__(self) -> None:
        self.writer: Use | None = None
        self.readers: list[Use] = []
        self.older: list[Use] = []
        """Writers of memory that was taken for several until now."""
        self.merged: Uses | None = None
        """What stands for it since other memory turned out to be part of it."""

    def absorb(self, other: Uses) -> None:
        """Stand for ``other`` from now on."""
        for use in (*self.uses(), *other.uses()):
            use.fresh = False
        self.older += other.older if other.writer is None else [*other.older, other.writer]
        self.readers += other.readers
        other.merged, other.writer, other.readers, other.older = self, None, [], []

    def uses(self) -> list[Use]:
        """Return all that are remembered."""
        return [*self.older, *self.readers] if self.writer is None else [*self.older, *self.readers, self.writer]

    def read(self, use: Use, waits: list[Use]) -> None:
        """Take note of a reader."""
        if self.writer is not None or self.older:
            self._after_writer(use, waits)
        if use not in self.readers:
            if len(self.readers) >= _FEW:
                over = [r for r in self.readers if not r.is_open and r.has_read()]
                for reader in over:
                    reader.lose(self)
                self.readers = [r for r in self.readers if r not in over]
            self.readers.append(use)

    def write(self, use: Use, waits: list[Use]) -> None:
        """Take note of a writer."""
        if self.writer is not None or self.older:
            self._after_writer(use, waits)
        for reader in self.readers:
            if reader is not use:
                reader.lose(self)
                if reader.is_open_here or not reader.has_read():
                    waits.append(reader)
        older = [other for other in self.uses() if other is not use and other.is_open_here]  # they begin after this
        readers: list[Use] = []
        self.writer, self.readers, self.older = use, readers, older

    def _after_writer(self, use: Use, waits: list[Use]) -> None:
        for old in self.older:
            old.lose(self)
            waits.append(old)
        writer = self.writer
        if writer is not None and writer is not use:
            writer.lose(self)
            waits.append(writer)

    def settle(self) -> None:
        """Forget uses if all of them are over."""
        uses = self.uses()
        if not any(use.is_open for use in uses) and all(use.wait(0.0) for use in uses):
            for use in uses:
                use.lose(self)
            self.writer, self.readers, self.older = None, [], []


class _Used(Protocol):
    """A storage, as far as the order is concerned."""

    uses: Uses | None


class _Untracked(Uses):
    """Stands for the uses of memory that one program alone has."""

    __slots__ = ()

    def read(self, use: Use, waits: list[Use]) -> None:
        """Nothing is to be noted."""

    write = read


UNTRACKED = _Untracked()


def enter(use: Use, reads: Iterable[Any], writes: Iterable[Any]) -> None:
    """Open a use of storages, and wait for all it must come after. ``began`` is to be called in any case.

    What a use that is ``fresh`` had entered before, and did not lose, stands for it now. One that comes in the middle
    of another's entry in the same thread (of a finalizer, or a handler of signals) leaves no note: it waits for all
    that is noted, and is over before anybody else can enter.
    """
    global _changing  # noqa: PLW0603
    before: list[Use] = []
    outer: using | None = getattr(_threads, "outer", None)
    with _lock:
        use.open(before)
        if outer is not None and use.lost is None:
            reads, writes = outer.without_own(use, reads, before), outer.without_own(use, writes, before)
        if _changing:
            use.fresh = False
            for storage in (*reads, *writes):
                before += _all_uses(storage)
            use.stand_in()
        else:
            _changing = True
            try:
                _enter(use, reads, writes, before)
            finally:
                _changing = False
            if before and any(other.is_open_here for other in before):
                use.stand_in()
        earlier = [other.last() for other in before if other is not use]
    for other, gate in earlier:
        if other.domain is not use.domain or other.is_open_here:
            other.finish(gate)


def _enter(use: Use, reads: Iterable[_Used], writes: Iterable[_Used], before: list[Use]) -> None:
    if use.fresh and use.lost:
        if use.written is None:
            use.written = {_of(storage) for storage in writes}
        for uses in use.lost:
            if uses in use.written:
                uses.write(use, before)
            else:
                uses.read(use, before)
        use.lost.clear()
    while not use.fresh:  # until no memory of it turned out to be part of other memory meanwhile
        use.fresh = True
        for storage in reads:
            _of(storage).read(use, before)
        for storage in writes:
            _of(storage).write(use, before)
        if use.lost is not None:
            use.lost.clear()
            use.written = None
        all_uses = [storage.uses for storage in (*reads, *writes)]
        if any(uses is not None and uses.merged is not None for uses in all_uses):
            use.fresh = False


def _all_uses(storage: _Used) -> list[Use]:
    """Return all uses of storage, also where they are about to be those of other memory."""
    found: list[Use] = []
    uses: Uses | None = storage.uses
    while uses is not None:
        found += uses.uses()
        uses = uses.merged
    return found


def _of(storage: _Used) -> Uses:
    found: Uses | None = storage.uses
    if found is None:
        found = storage.uses = Uses()
    while found.merged is not None:
        found = storage.uses = found.merged
    return found


def is_settled(storage: Any) -> bool:
    """Tell whether nothing that writes storage is under way."""
    uses: Uses | None = storage.uses
    if uses is None:
        return True
    writer = uses.writer
    return not uses.older and uses.merged is None and (writer is None or writer.has_read())


BOUNDS: list[int] = []
"""Where the callers' memory that programs are bound to starts and ends, in order: every second one is an end.

It is changed in one step, so that the native door looks without the lock.
"""
_owners: list[ref[Uses]] = []
"""Who uses each of these ranges, none of which overlap."""
_FEW_RANGES = 256
_changes = 0
"""How often they changed: by it, what comes in the middle of a change in the same thread is noticed."""


def uses_at(start: int, stop: int) -> Uses:
    """Return who uses the addresses from ``start`` to ``stop``, memory of the caller: the same for all that overlaps.

    Programs are told apart by storage, and each makes its own of an array of the caller's; whoever binds the same
    array, or a view of it, gets the same answer here as long as the one before is alive.
    """
    with _lock:
        kept: Uses | None = None
        while True:
            now = _changes
            first, last = _ranges_at(start, stop)
            begin, end = start, stop
            for n in range(first, last):
                found = _owners[n]()
                if found is not None and found is not kept:
                    begin, end = min(begin, BOUNDS[2 * n]), max(end, BOUNDS[2 * n + 1])
                    kept = found if kept is None else _join(kept, found)
            kept = Uses() if kept is None else kept
            if _replace(now, first, last, [begin, end], [ref(kept)]):
                break
        if len(_owners) % _FEW_RANGES == 0:
            now, count = _changes, len(_owners)
            alive = [n for n, uses in enumerate(_owners) if uses() is not None]
            _replace(now, 0, count, [BOUNDS[n] for k in alive for n in (2 * k, 2 * k + 1)], [_owners[n] for n in alive])
        return kept


def _join(kept: Uses, other: Uses) -> Uses:
    """Let one stand for another as well; return it."""
    global _changing  # noqa: PLW0603
    before, _changing = _changing, True
    try:
        kept.absorb(other)
    finally:
        _changing = before
    return kept


def _replace(now: int, first: int, last: int, bounds: list[int], owners: list[ref[Uses]]) -> bool:
    """Put ranges in the place of others; False, and nothing is done, if any changed after ``now`` changes."""
    global _changes  # noqa: PLW0603
    of_bounds, of_owners = slice(2 * first, 2 * last), slice(first, last)
    if now != _changes:
        return False
    BOUNDS[of_bounds] = bounds  # no finalizer or handler of signals comes between these lines: they call nothing,
    _owners[of_owners] = owners  # and make nothing
    _changes += 1
    return True


def _ranges_at(start: int, stop: int) -> tuple[int, int]:
    """Return the first of the ranges that overlap another, and the one behind the last."""
    return bisect_right(BOUNDS, start) // 2, (bisect_left(BOUNDS, stop) + 1) // 2


def is_tracked(start: int, stop: int) -> bool:
    """Tell whether a program is bound to memory of the caller between two addresses."""
    if not BOUNDS:
        return False
    with _lock:
        now = _changes
        first, last = _ranges_at(start, stop)
        if any(uses() is not None for uses in _owners[first:last]):
            return True
        if first < last:  # those programs are gone
            return not _replace(now, first, last, [], [])
        return now != _changes


def settle_uses(storage: Any) -> None:
    """Forget who used storage if that is over, so that the native door need not ask."""
    uses: Uses | None = getattr(storage, "uses", None)
    if uses is not None and uses.merged is None and uses is not UNTRACKED:
        with _lock, suppress(StateError):  # of what a fork left behind
            if not _changing:
                uses.settle()


class touching:  # noqa: N801 - used as a function is
    """Let the host read and write storages in a ``with`` block, after all that used them before."""

    __slots__ = ("_reads", "_use", "_writes")

    def __init__(self, reads: Iterable[Any] = (), writes: Iterable[Any] = ()) -> None:
        self._reads, self._writes = reads, writes
        self._use = Use(None)
        self._use.domain = self._use

    def __enter__(self) -> None:
        try:
            enter(self._use, self._reads, self._writes)
        except BaseException:
            self._use.began(None)
            raise

    def __exit__(self, *_exc: object) -> None:
        self._use.began(None)


class CallerRange:
    """Memory of the caller between two addresses, as one who uses it has it."""

    __slots__ = ("uses",)

    def __init__(self, start: int, stop: int) -> None:
        self.uses: Uses | None = uses_at(start, stop)


_Extent = tuple[int, int]
_threads = threading.local()
"""``outer``: the block of ``using`` that a thread is in."""


class using(touching):  # noqa: N801 - as touching
    """Let a call use storages, and ranges of the caller's memory, in a ``with`` block, in order with all else.

    All are entered at once, and a run that the thread starts in the block does not enter them again: one that entered
    some of them before the others could wait for who waits for it. They are in use until the block ends.
    """

    __slots__ = ("_inner", "_outer", "_own", "_ranges")

    def __init__(
        self,
        reads: Iterable[Tracked] = (),
        writes: Iterable[Tracked] = (),
        *,
        reads_at: Iterable[_Extent] = (),
        writes_at: Iterable[_Extent] = (),
    ) -> None:
        read, written = [r for r in reads_at if r[0] < r[1]], [r for r in writes_at if r[0] < r[1]]
        self._ranges = read + written
        super().__init__([*reads, *(CallerRange(*r) for r in read)], [*writes, *(CallerRange(*r) for r in written)])
        self._own: list[Tracked] = [*self._reads, *self._writes]
        self._inner: Use | None = None
        self._outer: using | None = getattr(_threads, "outer", None)

    def __enter__(self) -> None:
        super().__enter__()
        _threads.outer = self

    def __exit__(self, *exc: object) -> None:
        _threads.outer = self._outer
        if self._inner is not None:
            self._use.follow(self._inner)
        super().__exit__(*exc)
        self._reads, self._writes, self._own = (), (), []
        for start, stop in self._ranges:
            is_tracked(start, stop)  # so that nobody asks for what is over

    def without_own(self, use: Use, storages: Iterable[Tracked], before: list[Use]) -> list[Tracked]:
        """Return the storages that the block does not have in use, for a ``use`` in it; under the lock.

        It comes after another use in the block, of a finalizer, say: that is put into ``before``.
        """
        own, given = {id(_of(each)) for each in self._own}, list(storages)
        left = [each for each in given if id(_of(each)) not in own]
        if len(left) < len(given):
            if self._inner is not None and self._inner is not use:
                before.append(self._inner)
            self._inner = use
        return left


def _after_fork() -> None:
    """What other threads of the parent were about to do is not done here."""
    global _process  # noqa: PLW0603
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
