"""Decides before which statements the debugger opens, and what the lane's names stand for there.

Layer: ir. Lanes run in lockstep, so a stop is at a statement, seen through the eyes of one lane. A line
is reached when the lane comes from another one; a loop's header is passed again at every turn.
Invariant: a name is shown only if the lane itself has computed it.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.dtype import DType, bf16, f32
from loom.ir import evaluate as ev
from loom.ir.interp.batch import Batch
from loom.ir.interp.masks import Array, Mask
from loom.ir.interp.options import Options
from loom.ir.kernel import For, Instr, Kernel, Loc, Memory, Space, Statement
from loom.ir.records import record_of

if TYPE_CHECKING:
    from loom.ir.interp.session import Session

__all__ = ["StopTracer"]


_REPEATED = re.compile(r"(\.\d+)+$")


class StopTracer:
    """Follows one lane through a dispatch: ``lane`` if chosen, else the lowest at each stop.

    ``stepping`` is the lane that stops at its next line; ``lines`` are the breakpoints.
    """

    def __init__(self, options: Options, kernel: Kernel) -> None:
        self.options = options
        self.kernel = kernel
        self.lane = options.lane
        self.lines = set(options.breakpoints)
        self.stepping: int | None = None
        self._last: Loc | None = None
        self._batch: Batch | None = None
        self._computed: dict[Instr, Mask] = {}
        self._session: Session | None = None

    def before(self, batch: Batch, statement: Statement, mask: Mask) -> None:
        """Open the debugger if the lane followed stops here."""
        if batch is not self._batch:
            self._batch, self._last = batch, None
            self._computed.clear()
        lane = self.stepping if self.stepping is not None else self.lane
        if lane is None or self._holds(batch, mask, lane):
            stops = self._stops(statement)
            self._last = statement.loc or self._last
            if stops:
                self._open(batch, statement.loc, int(mask.lanes[0]) + batch.first_lane if lane is None else lane)
        self._remember(statement, mask)

    def _holds(self, batch: Batch, mask: Mask, lane: int) -> bool:
        row = lane - batch.first_lane
        return 0 <= row < batch.lanes and bool(mask.active[row])

    def _stops(self, statement: Statement) -> bool:
        if isinstance(statement, Instr) and statement.op.name == "breakpoint":
            return True
        loc = statement.loc
        if loc is None or loc == self._last:
            return False
        return self.stepping is not None or (loc.line in self.lines and self._is_own(loc))

    def _is_own(self, loc: Loc) -> bool:
        return self.kernel.loc is None or loc.file == self.kernel.loc.file

    def _remember(self, statement: Statement, mask: Mask) -> None:
        value = statement.index if isinstance(statement, For) else statement
        if isinstance(value, Instr) and (value in self.kernel.names or value.op.name == "set"):
            self._computed.pop(value, None)  # the latest last, so that it wins a shared name
            self._computed[value] = mask

    def _open(self, batch: Batch, loc: Loc | None, lane: int) -> None:
        if self._session is None:
            from loom.ir.interp.session import Session

            self._session = Session(self, self.options.stdin, self.options.stdout)
        self._session.open(batch, loc or Loc(f"<kernel {self.kernel.name}>", 1), lane)

    def names(self, batch: Batch, lane: int) -> dict[str, Any]:
        """Return what the kernel's names mean for the lane with global number ``lane``."""
        row = lane - batch.first_lane
        names: dict[str, Any] = {"num_groups": batch.dispatch.groups}
        for what in ("global_id", "local_id", "group_id"):
            names[what] = tuple(int(getattr(batch, what)(d)[row]) for d in range(3))
        for param, value in batch.dispatch.params.items():
            if param.extent is None:
                names[_plain(param.name)] = _lane_value(value, 0, param.dtype)
        for memory in batch.cells:
            if memory.data is None:
                names[_plain(memory.name)] = _elements(batch, memory, row)
        for value, mask in self._computed.items():
            if mask.active[row]:
                names.update(self._name_value(batch, value, row))
        return _with_records(names)

    def _name_value(self, batch: Batch, value: Instr, row: int) -> dict[str, Any]:
        if value.op.name == "set":
            return {_plain(value.attr.name): _lane_value(batch.variables[value.attr], row, value.attr.dtype)}
        if value not in batch.values:
            return {}
        return {_plain(self.kernel.names[value]): _lane_value(batch.values[value], row, value.type)}


def _plain(name: str) -> str:
    return _REPEATED.sub("", name)  # the builder tells apart names used twice as x.2, x.3


def _with_records(names: dict[str, Any]) -> dict[str, Any]:
    """Return names with the fields of records, ``p.x``, as attributes of one."""
    found = {name: value for name, value in names.items() if "." not in name}
    records: dict[str, SimpleNamespace] = {}
    for name, value in names.items():
        if "." not in name:
            continue
        root, *path = name.split(".")
        owner = records.setdefault(root, SimpleNamespace())
        for part in path[:-1]:
            vars(owner).setdefault(part, SimpleNamespace())
            owner = getattr(owner, part)
        setattr(owner, path[-1], value)
    return {**found, **{name: record for name, record in records.items() if name not in found}}


def _elements(batch: Batch, memory: Memory, row: int) -> Array:
    cells = batch.cells[memory]
    if memory.ndim:
        lengths = {p.extent: int(v[0]) for p, v in batch.dispatch.params.items() if p.extent is not None}
        shape = [lengths.get((memory.name, axis), -1) for axis in range(memory.ndim)]
        data = cells.data.view(record_of(memory.record).numpy) if memory.record else cells.data
        return data.reshape(*shape, *([memory.dtype.lanes] if memory.dtype.is_vector else []))
    if memory.space is Space.BUFFER or cells.base is None:
        return cells.data
    first = int(cells.base[row])
    return cells.data[first : first + cells.size]


def _lane_value(value: Array, row: int, dtype: DType) -> Any:
    """Return one lane's value as a numpy scalar, or an array of a short vector's components."""
    if dtype.scalar is bf16:
        value = ev.convert(value, dtype, f32.vector(dtype.lanes))
    one = value[row if value.shape[0] > 1 else 0]
    return np.array(one) if dtype.is_vector else one
