"""Plans laid out as rows, in the order in which a GPU is handed them.

Layer: runtime. Python handles each distinct dispatch once, however often it is repeated. A dispatch of more groups than
the device takes becomes several rows, which tell kernels where their groups start. Where words are handed over that a
kernel may complete (``WordTable``), before an indirect dispatch comes ``check_counts``, which puts the counts there and
reports those beyond the limits. Invariant: rows are in the plan's order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.rows.counts import STATUS_WORDS, check_counts
from loom.runtime.drivers.rows.words import cut_groups, fill_words
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.groups import largest_groups
from loom.runtime.plans.plan import Plan, PlanStep
from loom.runtime.port.times import MOST_TIMED, sample
from loom.targets.base import Site
from loom.targets.base.push_layout import PushLayout

__all__ = ["STATUS", "WORDS", "RowItem", "RowTable", "WordTable", "memory_of"]

Array = np.ndarray[Any, Any]
WORDS, STATUS = "words", "status"
"""What a check binds beside the counts: the words of indirect dispatches, and what it found."""
_FROM_0 = np.zeros((1, 3), np.int64)


class Loaded(Protocol):
    """A kernel that a device has loaded."""

    @property
    def verified(self) -> VerifiedKernel: ...
    @property
    def sites(self) -> tuple[Site, ...]: ...


class LoadedWords(Loaded, Protocol):
    """One that reads words of 32 bits."""

    @property
    def push(self) -> PushLayout: ...


Kernel = TypeVar("Kernel", bound=Loaded)
WordKernel = TypeVar("WordKernel", bound=LoadedWords)
Memory = TypeVar("Memory", bound="OwnedStorage")


class OwnedStorage(Storage, Protocol):
    """Memory of a device, whose ``memory.owner`` it is."""

    @property
    def memory(self) -> Any: ...


@dataclass(eq=False)
class RowItem(Generic[Kernel]):
    """The rows of one distinct ``dispatch``, or of the check before one (None); arrays have an entry per row.

    ``bound`` are (storage or WORDS or STATUS, elements); ``numbers`` are those of dispatches in the plan; rows do
    ``groups`` of ``whole``, from ``starts`` on. ``first`` is where their words begin in a table of words, in
    which there are ``stride`` of them from one row's to the next one's.
    """

    dispatch: Dispatch | None
    bound: tuple[tuple[Storage | str, int], ...]
    numbers: Array
    waits: Array
    params: Array
    groups: Array
    whole: Array
    starts: Array = field(default_factory=lambda: _FROM_0)
    first: int = 0
    stride: int = 0
    is_cut: bool = False
    kernel: Kernel = field(init=False)

    @property
    def verified(self) -> VerifiedKernel:
        """The kernel before it is loaded."""
        return check_counts.verified if self.dispatch is None else self.dispatch.kernel

    @property
    def indirect(self) -> bool:
        """Whether the groups are read from memory."""
        return self.dispatch is not None and self.dispatch.indirect is not None

    def cut(self, most: Array) -> None:
        """Give dispatches of more groups than ``most`` (three) several rows."""
        parts = cut_groups(self.groups, most)
        if parts is None:
            return
        origin = parts.origin
        self.whole, self.groups, self.starts = self.groups[origin].astype(np.int64), parts.groups, parts.starts
        self.numbers, self.params = self.numbers[origin], self.params[origin]
        self.waits = self.waits[origin] & (parts.turn == 0)
        self.is_cut = True


Item = TypeVar("Item", bound="RowItem[Any]")


class RowTable(Generic[Item]):
    """``items``, and of each row, in order, its item (``owners``) and which row it is there (``turns``).

    ``ranks`` gives the place that each row has among those of all items, one after the other.
    """

    kind: type[Item]
    limits = ""
    """The most groups that the device takes, as errors of indirect dispatches say it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.items: list[Item] = []
        self.checked: list[int] = []
        """Of each slot of the status the number of the dispatch that is checked."""
        number = 0
        for repeats, steps in plan.segments:
            for position, step in enumerate(steps):
                self._add(step, np.arange(number + position, number + repeats * len(steps), len(steps)))
            number += repeats * len(steps)
        if not self.items:
            self.ranks = self.owners = np.zeros(0, np.int64)
            return
        numbers = np.concatenate([item.numbers for item in self.items])  # a check comes before what it is made for
        self.ranks = np.argsort(numbers, kind="stable")
        counts = [len(item.numbers) for item in self.items]
        self.owners = np.repeat(np.arange(len(counts)), counts)[self.ranks]

    def lay(self, item: Item) -> None:
        """Cut an item where the device takes less, and give it its kernel and its words."""
        raise NotImplementedError

    def _add(self, step: PlanStep, numbers: Array) -> None:
        """Append the item of a step, whose dispatches have these numbers."""
        dispatch = step.dispatch
        bound = tuple((b.storage, b.elements) for b in dispatch.bindings)
        groups = dispatch.groups
        item = self.kind(dispatch, bound, numbers, step.waits, dispatch.params, groups, groups)
        self.lay(item)
        self.items.append(item)

    def in_order(self, columns: Sequence[Array]) -> Array:
        """Return an entry for each row, given those of each item."""
        return np.concatenate(columns)[self.ranks] if columns else np.zeros((0, 3), np.int64)

    @cached_property
    def turns(self) -> Array:
        """Which row of its item each row is."""
        return self.in_order([np.arange(len(item.numbers)) for item in self.items])

    @cached_property
    def does(self) -> Array:
        """Whether each row does something."""
        indirect = np.array([item.indirect for item in self.items], np.bool_)
        return self.in_order([item.groups for item in self.items]).astype(np.bool_).all(-1) | indirect[self.owners]

    def rows(self, first: int, last: int) -> Iterator[tuple[int, Item, int]]:
        """Yield the number of each row that does something, its item, and which row it is there."""
        here = first + np.flatnonzero(self.does[first:last])
        places: tuple[list[int], ...] = here.tolist(), self.owners[here].tolist(), self.turns[here].tolist()
        for row, owner, turn in zip(*places, strict=True):
            yield row, self.items[owner], turn

    def sites_of(self, number: int) -> tuple[Site, ...]:
        """Return the sites of the kernel of dispatch ``number``."""
        dispatch = self.plan.step_of(number).dispatch
        return next(item.kernel.sites for item in self.items if item.dispatch is dispatch)

    def fault_cuts(self, kinds: Collection[str]) -> list[int]:
        """Return where parts begin, so that each row that waits comes in a later part than any before it that may fail.

        ``kinds`` of sites are those at which a kernel fails.
        """
        may_fail = [any(site.kind in kinds for site in item.kernel.sites) for item in self.items]
        cuts = [0]
        if any(may_fail):
            failing = np.concatenate([[0], np.cumsum(np.array(may_fail)[self.owners])])
            for row in np.flatnonzero(self.in_order([item.waits for item in self.items])).tolist():
                if failing[row] > failing[cuts[-1]]:
                    cuts.append(row)
        return cuts

    def rows_to_time(self, most: int = MOST_TIMED, *, empty: bool = False) -> tuple[Array, Array, Array]:
        """Return which rows a profile tells the time of, the numbers of their dispatches, and how many each stands for.

        Those of checks are none of them, nor, unless they are asked for, those that do nothing (``empty``).
        """
        own = np.flatnonzero(np.array([item.dispatch is not None for item in self.items], np.bool_)[self.owners])
        picked, weights = sample(self.owners[own], most)
        rows = own[picked]
        kept = self.does[rows] | np.bool_(empty)
        return rows[kept], self.in_order([item.numbers for item in self.items])[rows[kept]], weights[kept]


class WordTable(RowTable[Item]):
    """Rows that hand words of 32 bits over, laid out as the push layout of their kernels says.

    ``most``: the most groups that the device takes along x, y and z.
    """

    def __init__(self, plan: Plan, most: Sequence[int]) -> None:
        self.most = np.array(most, np.int64)
        super().__init__(plan)

    # what each driver has its own way of

    def load(self, item: Item) -> None:
        """Load an item's kernel, tell the stride, and cut the item where the device takes less."""
        raise NotImplementedError

    def place(self, item: Item, words: int) -> int:
        """Take room for words; return the first."""
        raise NotImplementedError

    @property
    def completed_words(self) -> int:
        """How many words there are where checks complete them."""
        raise NotImplementedError

    # what they do alike

    def lay(self, item: Item) -> None:
        self.load(item)
        item.first = self.place(item, item.stride * len(item.numbers))
        if item.dispatch is not None and item.dispatch.indirect is not None:
            self.items.append(self._check(item, item.dispatch.kernel, *item.dispatch.indirect))

    def _check(self, item: Item, kernel: VerifiedKernel, storage: Storage, offset: int) -> Item:
        """Return the check before an indirect dispatch."""
        count = len(item.numbers)
        turns = np.arange(count)
        params = np.zeros((count, len(check_counts.verified.kernel.params)), np.uint64)
        params[:, 0] = offset // 4
        params[:, 1] = item.first + item.kernel.push.groups + turns * item.stride
        params[:, 2] = len(self.checked) + turns
        params[:, 3:6] = largest_groups(kernel)
        params[:, 6:9] = self.most
        self.checked += item.numbers.tolist()
        bound = ((storage, storage.nbytes // 4), (WORDS, 0), (STATUS, 0))
        ones = np.ones((count, 3), np.int64)
        check = self.kind(None, bound, item.numbers, ones[:, 0] > 0, params, ones, ones)
        self.lay(check)
        return check

    def words_of(self, item: Item) -> Array:
        """Return the words of every row of an item; all items must be there."""
        sizes = {WORDS: self.completed_words, STATUS: STATUS_WORDS * len(self.checked)}
        lengths = [sizes[s] if isinstance(s, str) else n for s, n in item.bound]
        words = np.zeros((len(item.numbers), item.stride), np.uint32)
        kernel = item.kernel
        fill_words(
            words, kernel.verified.kernel, kernel.push, item.params, lengths, item.numbers, item.whole, item.starts
        )
        return words


def memory_of(storage: Storage, kind: type[Memory], device: Any) -> Memory:
    """Return a storage, or what is attached to a slot; DeviceError if it is another device's."""
    found = storage.storage if isinstance(storage, HostSlot) else storage
    if not isinstance(found, kind) or found.memory.owner is not device:
        raise DeviceError(
            f"device {device.name!r}", "memory of another device", expected="memory it allocated",
            got=type(found).__name__, remedy="Allocate with chain.device.allocate",
        )  # fmt: skip
    return found
