"""Which dispatches of chains surely keep their lanes apart, and what is done about the others.

Layer: runtime. What is not proved for its numbers of groups (``ir.passes.laneorder``) is looked at by the interpreter's
race check: accesses that no data decide when they are recorded, over samples in place of data; the others before the
first run, where what decides them is at hand. Invariant: what was looked at is not looked at again, and what data may
decide otherwise the next time, or of what a trial saw but a part, is told (``Doubt.text``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.errors import KernelFault, RaceDetected
from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.interp import Options
from loom.ir.kernel import Instr, Memory, walk
from loom.ir.verified import VerifiedKernel
from loom.runtime.chain.extents import Array
from loom.runtime.memory.storage import HostSlot
from loom.runtime.plans.dispatch import Binding, Dispatch
from loom.runtime.plans.plan import Plan, Resources

if TYPE_CHECKING:
    from loom.ir.passes.datause import DataUse
    from loom.ir.passes.spacing import Apart

__all__ = [
    "BY_DATA",
    "PARTLY",
    "TRIAL",
    "TRUSTED",
    "UNTRIED",
    "Doubt",
    "condition_of",
    "doubt_of",
    "doubts_of",
    "meetings_of",
]

TRIAL = Options(races=True, equal=True, work=1 << 21)
"""A trial: about a tenth of a second."""
_MOST_KINDS = 8
"""Trials of dispatches that differ in numbers alone."""
_MOST_TRIALS = 64
"""Trials of one kernel, of those when recorded and of those before a run."""
_MOST_KEPT = 4096
_MOST_NBYTES = 1 << 28
"""Memory of a dispatch that is read for a trial."""
_MOST_SAMPLED = 1 << 24
"""Bytes of a buffer beyond which samples stand here and there, among zeros."""
_WINDOWS = 16
_ROW = 65_521
"""Samples after which others follow."""
BY_DATA = "data tell"
BY_GROUPS = "data and groups tell"
UNTRIED = "data and numbers tell"
PARTLY = "data and numbers tell (a part was tried)"
"""Where a trial saw but a part of the lanes or elements."""
TRUSTED = "data and numbers tell (it is trusted, and not tried)"
_Groups = tuple[int, ...]
_Kind = tuple[tuple[int, ...], tuple[int, ...]]
"""The sizes of a dispatch, and with them the numbers that decide where its lanes go."""


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """A dispatch of which data decide whether lanes meet; ``text`` says where, in words of a condition.

    ``by_data``: data decide, not numbers alone. ``given``: the buffers that hold before a run what they hold at the
    dispatch; those else get samples.
    """

    meetings: Meetings
    dispatch: Dispatch
    text: str
    by_data: bool
    given: frozenset[Memory] = frozenset()

    @property
    def is_testable(self) -> bool:
        """Whether what decides is at hand before a run."""
        return self.by_data and self.dispatch.indirect is None and self.meetings.sources <= self.given

    def look(self) -> None:
        """Try it over copies of what its memory holds, if its kind was not; RaceDetected if lanes meet."""
        self.meetings.try_data(self.dispatch, self.given)


class Meetings:
    """What is known of lanes of one kernel that may meet by plain reads and writes."""

    def __init__(self, kernel: VerifiedKernel) -> None:
        self.kernel = kernel
        self._known: dict[tuple[bytes | int, ...], tuple[str, bool]] = {}
        """What was found of dispatches, by groups, parameters and elements."""
        self._doubts: dict[tuple[tuple[Memory, ...], str], str] = {}
        self._tried: tuple[dict[_Kind, bool], dict[_Kind, bool]] = {}, {}
        """The kinds that were tried when recorded, and before a run, and whether all of them was."""

    def doubt(self, dispatch: Dispatch) -> Doubt | None:
        """Return what is left to data; RaceDetected if lanes meet whatever these are."""
        key: tuple[bytes | int, ...] = ()
        text = None
        if len(dispatch.groups) == 1 and dispatch.indirect is None:
            key = (dispatch.groups.tobytes(), dispatch.params.tobytes(), *[b.elements for b in dispatch.bindings])
            text = self._known.get(key)
        if text is None:
            text = self._look(dispatch) if len(dispatch.groups) else ("", False)
            if key and len(self._known) < _MOST_KEPT:
                self._known[key] = text
        return Doubt(self, dispatch, *text) if text[0] else None

    def _look(self, dispatch: Dispatch) -> tuple[str, bool]:
        """Return the text of a doubt, empty for none, and whether it is of data."""
        largest = self._largest(dispatch)
        if not self._suspects(largest):
            return "", False
        if self.kernel.trusted:
            return self.text(largest, TRUSTED), False
        by_data = bool(self.text(largest))
        by = BY_GROUPS if dispatch.indirect is not None else BY_DATA
        if dispatch.indirect is None:
            by = self._try_settled(dispatch) or by
        return self.text(largest, by), by_data

    def _largest(self, dispatch: Dispatch) -> _Groups:
        """Return numbers of groups for which no fewer lanes meet than in any turn."""
        if dispatch.indirect is not None:
            return self.most
        x, y, z = dispatch.groups.max(axis=0).tolist()
        return x, y, z

    @property
    def most(self) -> _Groups:
        """The most groups that there may be along each dimension."""
        return tuple(self.kernel.most_lanes // extent for extent in self.kernel.workgroup)

    @cached_property
    def _conditions(self) -> dict[Memory, tuple[Apart, ...] | None]:
        """What numbers of groups must keep, for each memory that is not proved with all others."""
        from loom.ir.passes.laneorder import conditions_of_plain

        kernel = self.kernel.kernel
        written = {s.memory for s in self._accesses if s.name != "load" and s.memory is not None}
        return {m: conditions_of_plain(kernel, self.kernel.uniformity, m) for m in written if m not in kernel.private}

    def _suspects(self, groups: _Groups) -> list[Memory]:
        """Return the memories of which nothing proves that lanes stay apart."""
        whole = self.kernel.plain_aparts
        if 0 in groups or (whole is not None and all(each.holds(groups) for each in whole)):
            return []
        found = self._conditions.items()
        return [m for m, each in found if each is None or not all(one.holds(groups) for one in each)]

    @cached_property
    def _accesses(self) -> list[Instr]:
        body = walk(self.kernel.kernel.body)
        return [s for s in body if isinstance(s, Instr) and s.memory is not None and s.args]

    @cached_property
    def _use(self) -> DataUse:
        from loom.ir.passes.datause import data_use

        return data_use(self.kernel.kernel)

    @property
    def sources(self) -> frozenset[Memory]:
        """The buffers that decide which lanes meet, where data do."""
        return self._use.sources

    def text(self, groups: _Groups, by: str = BY_DATA) -> str:
        """Return what must be so for the promise to hold, empty where nothing is left to decide.

        ``by``: what decides, which is data, or also what was not tried.
        """
        suspects = tuple(self._suspects(groups))
        found, is_open = self._doubts.get((suspects, by)), by != BY_DATA
        if found is None:
            places: dict[str, int] = {}
            for s in self._accesses:
                if s.memory in suspects and (is_open or s not in self._use.settled):
                    places.setdefault(repr(s.memory.name), s.loc.line if s.loc is not None else 0)
            where = " and ".join(f"{name} (line {line})" if line else name for name, line in places.items())
            if where and self.kernel.is_apart and by in (UNTRIED, BY_GROUPS):
                found = f"kernel {self.kernel.name!r}: its groups are along one dimension"
            elif where:
                found = (
                    f"kernel {self.kernel.name!r}: no lane stores to an element of {where} that another comes to, "
                    f"as {by}, but what that one stores"
                )
            self._doubts[suspects, by] = found = found or ""
        return found

    # trials

    def _try_settled(self, dispatch: Dispatch) -> str:
        """Try the accesses that no data decide, in all turns that differ there; return what is left open by that."""
        settled = self._use.settled
        if not any(s in settled and s.name != "load" for s in self._accesses):
            return ""
        options = replace(TRIAL, watched=settled)
        turns, are_all = _turns(dispatch, self._deciding)
        is_whole, pairs = True, list(zip(self.kernel.buffers, dispatch.bindings, strict=True))
        for turn in turns:
            words, groups = dispatch.params[turn].tolist(), tuple(dispatch.groups[turn].tolist())
            kind = self._kind(dispatch, words, groups)
            if not self._may_try(0, kind):
                return "numbers tell"
            if kind not in self._tried[0] and 0 not in groups:
                memory = [_sample(m, b.elements, reads=m in self.kernel.reads) for m, b in pairs]
                self._tried[0][kind] = self.interpret(memory, words, groups, options)
            is_whole = is_whole and self._tried[0].get(kind, True)
        reads = [m.dtype.nbytes * b.elements for m, b in pairs if m in self.kernel.reads]
        is_whole = is_whole and max(reads, default=0) <= _MOST_SAMPLED  # else some have zeros in place of samples
        return "numbers tell" if not are_all else "" if is_whole else PARTLY

    def try_data(self, dispatch: Dispatch, given: frozenset[Memory]) -> None:
        """Try the first turn of a dispatch with what it is ``given``, where that decides who meets."""
        words, groups = dispatch.params[0].tolist(), tuple(dispatch.groups[0].tolist())
        kind = self._kind(dispatch, words, groups)
        if 0 in groups or kind in self._tried[1] or not self._may_try(1, kind):
            return
        pairs = list(zip(self.kernel.buffers, dispatch.bindings, strict=True))
        if sum(m.dtype.nbytes * b.elements for m, b in pairs if m in given) > _MOST_NBYTES:
            return
        memory = [
            _contents(m, b) if m in given else _sample(m, b.elements, reads=m in self.kernel.reads) for m, b in pairs
        ]
        self._tried[1][kind] = self.interpret(memory, words, groups, TRIAL)

    def _kind(self, dispatch: Dispatch, words: Sequence[int], groups: _Groups) -> _Kind:
        return (*groups, *(b.elements for b in dispatch.bindings)), tuple(words[n] for n in self._deciding)

    @cached_property
    def _deciding(self) -> list[int]:
        from loom.ir.passes.inside import Proof

        kernel = self.kernel.kernel
        params = Proof(kernel).params
        return [n for n, p in enumerate(kernel.params) if p in params]

    def _may_try(self, when: int, kind: _Kind) -> bool:
        """Tell whether a kind was tried, or not yet enough others."""
        tried = self._tried[when]
        return kind in tried or (
            len(tried) < _MOST_TRIALS and sum(sizes == kind[0] for sizes, _ in tried) < _MOST_KINDS
        )

    def interpret(self, memory: Sequence[Array], words: Sequence[int], groups: _Groups, options: Options) -> bool:
        """Run a turn over such memory, watched for lanes that meet; RaceDetected if they do. Tell whether all was."""
        from loom.ir.interp import interpret  # most programs try nothing

        kernel, (x, y, z) = self.kernel.kernel, groups
        params = [
            constant_value(w & ((1 << p.dtype.bits) - 1), p.dtype) for w, p in zip(words, kernel.params, strict=True)
        ]
        try:
            return interpret(kernel, memory, params, (x, y, z), options=options, output=lambda _: None)
        except RaceDetected:
            raise
        except (KernelFault, MemoryError):  # which are the run's to tell; arrays that fill the memory have no copy
            return False


_met: WeakKeyDictionary[VerifiedKernel, Meetings] = WeakKeyDictionary()


def doubt_of(dispatch: Dispatch) -> Doubt | None:
    """Return what data decide about lanes of a dispatch that may meet, None where they surely stay apart.

    RaceDetected if they meet whatever the data.
    """
    return meetings_of(dispatch.kernel).doubt(dispatch)


def condition_of(kernel: VerifiedKernel) -> str:
    """Return what must be so for what is promised of a kernel that anybody may call to hold; empty for nothing.

    Groups along one dimension are taken for granted.
    """
    if kernel.is_vouched or kernel.is_apart:
        return ""
    found = meetings_of(kernel)
    return found.text((found.most[0], 1, 1), TRUSTED if kernel.trusted else UNTRIED)


def meetings_of(kernel: VerifiedKernel) -> Meetings:
    """Return what is known of lanes of a kernel."""
    found = _met.get(kernel)
    if found is None:
        found = _met[kernel] = Meetings(kernel)
    return found


def doubts_of(doubts: Iterable[Doubt], plan: Plan) -> tuple[Doubt, ...]:
    """Return doubts of a plan's dispatches with the buffers that nothing before them writes."""
    waiting = {id(doubt.dispatch): doubt for doubt in doubts}
    if not waiting:
        return ()
    dispatches = [step.dispatch for _, steps in plan.segments for step in steps]
    resources, written, found = Resources(dispatches), set[int](), list[Doubt]()
    for d in dispatches:
        doubt = waiting.pop(id(d), None)
        if doubt is not None:
            pairs = zip(d.kernel.buffers, d.bindings, strict=True)
            given = (m for m, b in pairs if m.data is not None or resources.number(b.storage) not in written)
            found.append(replace(doubt, given=frozenset(given)))
        written |= resources.of(d)[1]
    return tuple(found)


def _turns(dispatch: Dispatch, deciding: Sequence[int]) -> tuple[list[int], bool]:
    """Return turns that differ in what decides where lanes go, and whether there are no others."""
    numbers = np.hstack([dispatch.groups, dispatch.params[:, deciding]])
    if (numbers == numbers[0]).all():
        return [0], True
    turns = np.unique(numbers[:_MOST_KEPT], axis=0, return_index=True)[1]
    return np.sort(turns)[:_MOST_KINDS].tolist(), len(numbers) <= _MOST_KEPT and len(turns) <= _MOST_KINDS


def _contents(memory: Memory, binding: Binding) -> Array:
    """Return a copy of what a buffer holds, flat."""
    if memory.data is not None:
        return np.frombuffer(memory.data, memory.dtype.numpy)
    storage, nbytes = binding.storage, binding.elements * memory.dtype.nbytes
    if isinstance(storage, HostSlot) and storage.storage is not None:
        storage = storage.storage
    return storage.read(0, nbytes).view(memory.dtype.numpy)


def _sample(memory: Memory, elements: int, *, reads: bool) -> Array:
    """Return an array in place of data: small numbers, of which neighbours differ; zeros, if it is only written."""
    if memory.data is not None:
        return np.frombuffer(memory.data, memory.dtype.numpy)
    kind = memory.dtype.numpy
    count = elements * memory.dtype.nbytes // kind.itemsize
    found = np.zeros(count, kind)
    if not reads or not count:
        return found
    small = ((np.arange(_ROW, dtype=np.uint32) * np.uint32(40_503) >> np.uint32(7)) % 126).astype(np.uint8)
    numbers = (small + 1).astype(kind)
    if found.nbytes <= _MOST_SAMPLED:
        rows = -(-count // _ROW)  # each another, lest lanes a row apart are taken to store one value
        return ((small + small[:rows, None]) % 126 + 1).astype(kind).reshape(-1)[:count]
    for n in range(_WINDOWS + 1):
        start = min(count * n // _WINDOWS, count - len(numbers))
        found[start : start + len(numbers)] = numbers
    return found
