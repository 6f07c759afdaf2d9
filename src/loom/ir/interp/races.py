"""Finds lanes that meet at an element without order between them.

Layer: ir. Two accesses by different lanes race when one is a plain store, or one is atomic and the other
is not, unless both lanes are of one workgroup and a barrier lies between, or of the same 32 and a near
barrier does. Invariant: nothing is missed: per element and kind of access the lowest and highest lane since
the last barrier of the workgroup, or of their 32 lanes, are kept, and lanes of two workgroups, once met at
an element, stay on record for the whole dispatch. Where equal stores are no race, the last value is kept too.
"""

from __future__ import annotations

import numpy as np

from loom.core.errors import RaceDetected
from loom.core.late.dataclass import dataclass
from loom.ir.faults import make_fault
from loom.ir.interp.batch import Batch
from loom.ir.interp.cells import Cells
from loom.ir.interp.masks import Array, Mask
from loom.ir.kernel import Instr, Memory, Space
from loom.ir.ops import Effect

__all__ = ["RaceRecords"]

_NEAR = 32
_MOST_SLOTS = 1 << 18
"""Elements of a memory of which records are kept, where only a part of a dispatch is run."""
_NEVER = np.iinfo(np.int64).max
_ROW = np.dtype([(name, np.int64) for name in ("low", "high", "epoch", "near", "site")])

_CONFLICTS: dict[Effect, tuple[Effect, ...]] = {
    Effect.READ: (Effect.WRITE, Effect.ATOMIC),
    Effect.WRITE: (Effect.WRITE, Effect.READ, Effect.ATOMIC),
    Effect.ATOMIC: (Effect.WRITE, Effect.READ),
}
_DOES = {Effect.READ: "loads", Effect.WRITE: "stores to", Effect.ATOMIC: "atomically updates"}
_DID = {Effect.READ: "loaded", Effect.WRITE: "stored to", Effect.ATOMIC: "atomically updated"}


class _Record:
    """Who made one kind of access to each element: lowest and highest lane, epoch of group and 32 lanes, and where.

    A pair of lanes is kept so that zeros are nobody, and all of an element in one place: pages of a large array that
    no lane touches are never made, and of those that one touches there are few.
    """

    def __init__(self, size: int, group_lanes: int, values: Array | None) -> None:
        self.group_lanes = group_lanes
        rows = np.zeros(size, _ROW)
        self._low, self._high, self.epoch, self.near, self.site = (rows[name] for name in _ROW.names or ())
        self._values = values

    def lanes(self, address: Array) -> tuple[Array, Array]:
        """Return the lowest and the highest lane on record, -1 the highest where there is none."""
        return self._low[address] + _NEVER, self._high[address] - 1

    def same_group(self, address: Array, lane: Array) -> Array:
        """Tell where all lanes on record are of the workgroup of ``lane``."""
        group, (low, high) = lane // self.group_lanes, self.lanes(address)
        return (low // self.group_lanes == group) & (high // self.group_lanes == group)

    def is_past(self, address: Array, lane: Array, epoch: Array, near: Array) -> Array:
        """Tell where a barrier lies between ``lane`` and all lanes on record."""
        part, (low, high) = near_part(lane, self.group_lanes), self.lanes(address)
        beside = near_part(low, self.group_lanes) == part
        beside &= near_part(high, self.group_lanes) == part
        passed = (self.epoch[address] != epoch) | (beside & (self.near[address] != near))
        return self.same_group(address, lane) & passed

    def clashes(self, address: Array, lane: Array, epoch: Array, near: Array) -> Array:
        """Tell where another lane is on record with no barrier since."""
        low, high = self.lanes(address)
        return (high >= 0) & ((low != lane) | (high != lane)) & ~self.is_past(address, lane, epoch, near)

    def differs(self, address: Array, values: Array) -> Array:
        """Tell where other bits were stored last than ``values``."""
        assert self._values is not None
        last = self._values[address]
        return (_bytes(last) != _bytes(values.astype(last.dtype, copy=False))).any(axis=1)

    def keep(self, address: Array, values: Array) -> None:
        """Put on record what is stored."""
        if self._values is not None:
            self._values[address] = values

    def note(self, address: Array, lane: Array, epoch: Array, near: Array, site: int) -> None:
        """Put the accesses on record."""
        past = address[self.is_past(address, lane, epoch, near)]
        self._low[past], self._high[past] = 0, 0
        np.minimum.at(self._low, address, lane - _NEVER)
        np.maximum.at(self._high, address, lane + 1)
        self.epoch[address], self.near[address], self.site[address] = epoch, near, site


class _LowBits:
    """Elements of a large memory by their lowest bits: of those that are alike there the first is looked at."""

    def __init__(self) -> None:
        self._owners = np.zeros(_MOST_SLOTS, np.int64)

    def take(self, address: Array) -> tuple[Array, Array]:
        """Return where elements are kept, and which are."""
        slot = address % _MOST_SLOTS
        free = self._owners[slot] == 0
        self._owners[slot[free]] = address[free] + 1
        return slot, self._owners[slot] == address + 1


def _bytes(values: Array) -> Array:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def near_part(lane: Array, group_lanes: int) -> Array:
    """Return a number for the 32 lanes side by side that ``lane`` is of."""
    return lane // group_lanes * -(-group_lanes // _NEAR) + lane % group_lanes // _NEAR


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The accesses of one statement: elements and where records of them are, global lane numbers, barriers passed."""

    batch: Batch
    instr: Instr
    effect: Effect
    cells: Cells
    element: Array
    address: Array
    lane: Array
    epoch: Array
    near: Array
    stored: Array | None = None
    """What the lanes store, where that matters."""


class RaceRecords:
    """The accesses of one dispatch: to buffers since its start, to shared memory since the batch's.

    With ``equal`` lanes that store the same value do not race; ``partly`` leaves out elements of large buffers.
    """

    def __init__(self, *, equal: bool = False, partly: bool = False) -> None:
        self._equal, self._partly = equal, partly
        self.is_whole = True
        """Nothing was left out so far."""
        self._slots: dict[Memory, _LowBits] = {}
        self._records: dict[tuple[Memory, Effect], _Record] = {}
        self._sites: dict[Instr, int] = {}
        self._epochs = np.zeros(0, np.int64)
        self._parts = np.zeros(0, np.int64)
        self._nears = np.zeros(0, np.int64)

    def begin(self, batch: Batch) -> None:
        """Start a batch: fresh shared memory, no barrier passed yet."""
        self._records = {k: r for k, r in self._records.items() if k[0].space is Space.BUFFER}
        self._epochs = np.zeros(batch.groups, np.int64)
        lanes = batch.dispatch.kernel.lanes
        self._parts = near_part(np.arange(batch.lanes), lanes)
        self._nears = np.zeros(self._parts[-1] + 1, np.int64)

    def barrier(self, batch: Batch, mask: Mask) -> None:
        """Begin a new epoch in every workgroup that arrives."""
        self._epochs[np.unique(batch.group_of_lane[mask.active])] += 1

    def near_barrier(self, mask: Mask) -> None:
        """Begin a new epoch of every 32 lanes that arrive."""
        self._nears[np.unique(self._parts[mask.active])] += 1

    def access(
        self, batch: Batch, instr: Instr, cells: Cells, lanes: Array, address: Array, kind: Effect
    ) -> None:  # fmt: skip
        """Check and record the accesses of ``lanes`` (numbers in the batch); RaceDetected names two."""
        if not cells.memory.access.writes:
            return
        element = address
        if self._partly and cells.memory.space is Space.BUFFER and len(cells.data) > _MOST_SLOTS:
            slot, seen = self._slots.setdefault(cells.memory, _LowBits()).take(address)
            self.is_whole = self.is_whole and bool(seen.all())
            element, address, lanes = address[seen], slot[seen], lanes[seen]
        lane, epoch = batch.first_lane + lanes, self._epochs[batch.group_of_lane[lanes]]
        near = self._nears[self._parts[lanes]]
        stored = batch.spread(batch.values[instr.args[1]])[lanes] if self._equal and instr.name == "store" else None
        here = _Meeting(batch, instr, kind, cells, element, address, lane, epoch, near, stored)
        for other in _CONFLICTS[kind]:
            self._check(here, other)
        own = self._record(here, kind)
        own.note(address, lane, epoch, near, self._sites.setdefault(instr, len(self._sites)))
        if stored is not None:
            own.keep(address, stored)
        if kind is Effect.WRITE:  # lanes that meet in this very statement
            self._check(here, kind)

    def _record(self, here: _Meeting, kind: Effect) -> _Record:
        key = here.cells.memory, kind
        if key not in self._records:
            data = here.cells.data
            if here.cells.memory in self._slots:
                data = data[:_MOST_SLOTS]
            values = np.zeros_like(data) if self._equal and kind is Effect.WRITE else None
            self._records[key] = _Record(len(data), here.batch.dispatch.kernel.lanes, values)
        return self._records[key]

    def _check(self, here: _Meeting, kind: Effect) -> None:
        record = self._records.get((here.cells.memory, kind))
        if record is None:
            return
        clash = record.clashes(here.address, here.lane, here.epoch, here.near)
        if kind is Effect.WRITE and here.stored is not None and clash.any():
            clash[clash] = record.differs(here.address[clash], here.stored[clash])
        if clash.any():
            first = int(np.argmax(clash))
            at, lane = int(here.address[first]), int(here.lane[first])
            low, high = (int(end[0]) for end in record.lanes(here.address[first : first + 1]))
            site = list(self._sites)[int(record.site[at])]
            raise _race(here, int(here.element[first]), site, kind, lane, low if low != lane else high)


def _race(here: _Meeting, element: int, site: Instr, did: Effect, lane: int, other: int) -> RaceDetected:
    kernel, memory, base = here.batch.dispatch.kernel, here.cells.memory, here.cells.base
    index = element if base is None else element - int(base[lane - here.batch.first_lane])
    apart = lane // kernel.lanes != other // kernel.lanes
    whose = f"lane {other} of another workgroup" if apart else f"lane {other}"
    place = f" at {site.loc}" if site.loc is not None else ""
    return make_fault(
        RaceDetected, kernel.name, here.instr.loc,
        f"lane {lane} {_DOES[here.effect]} {memory.name}[{index}], which {whose} "
        f"{_DID[did]}{place} with no order between them",
        remedy="Give each lane its own elements, use atomics for all of them, or "
        + ("split the kernel in two dispatches" if apart else "put a barrier between"),
        lane=lane, memory=memory.name, index=index, bound=here.cells.size,
        other_lane=other, other_line=site.loc.line if site.loc is not None else None,
    )  # fmt: skip
