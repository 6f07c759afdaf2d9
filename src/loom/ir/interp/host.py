"""Handlers of the operations that talk to the host: print, assert, within, breakpoint.

Layer: ir. Invariant: lines are kept with their lane and put in dispatch order by ``in_order``, so what a
kernel prints does not depend on how lanes are batched. A lane whose assert fails is done; the others go on, and the
fault of the lowest lane is raised when the dispatch is over.
"""

from __future__ import annotations

from collections.abc import Iterable

from loom.ir.faults import assertion_failed, out_of_bounds
from loom.ir.interp.batch import Batch, Handler
from loom.ir.interp.masks import Mask
from loom.ir.kernel import Instr
from loom.ir.message import format_message

__all__ = ["HOST", "in_order"]


def _messages(batch: Batch, instr: Instr, args: tuple[Instr, ...], lanes: Iterable[int]) -> list[tuple[int, str]]:
    values = [batch.spread(batch.values[a]) for a in args]
    dtypes = [a.type for a in args]
    return [(batch.first_lane + lane, format_message(instr.attr, [v[lane] for v in values], dtypes)) for lane in lanes]


def _print(batch: Batch, instr: Instr, mask: Mask) -> None:
    batch.dispatch.lines += _messages(batch, instr, instr.args, mask.lanes.tolist())


def _assert(batch: Batch, instr: Instr, mask: Mask) -> None:
    failed = mask.narrow(~batch.values[instr.args[0]])
    if not failed.count:
        return
    ((lane, message),) = _messages(batch, instr, instr.args[1:], [int(failed.lanes[0])])
    batch.keep(assertion_failed(batch.dispatch.kernel.name, instr.loc, lane, message))
    batch.stop(failed)


def _within(batch: Batch, instr: Instr, mask: Mask) -> None:
    """Raise OutOfBounds for the lowest lane whose index is at or beyond the extent, if bounds are watched."""
    if not batch.dispatch.options.bounds:
        return
    index, extent = (batch.spread(batch.values[a]) for a in instr.args)
    outside = mask.narrow((index < 0) | (index >= extent) if instr.args[0].type.is_signed else index >= extent)
    if outside.count:
        row, (what, name) = int(outside.lanes[0]), instr.attr
        batch.report(out_of_bounds(
            batch.dispatch.kernel.name, instr.loc, batch.first_lane + row, "access", what, name,
            int(index[row]), int(extent[row]),
        ))  # fmt: skip


def _breakpoint(batch: Batch, instr: Instr, mask: Mask) -> None:
    """Nothing: the tracer, if there is one, has stopped before this."""


def in_order(lines: list[tuple[int, str]]) -> list[str]:
    """Return printed lines by lane, and by program order within a lane."""
    return [text for _, text in sorted(lines, key=lambda line: line[0])]


HOST: dict[str, Handler] = {"print": _print, "assert": _assert, "within": _within, "breakpoint": _breakpoint}
"""A handler for each operation that talks to the host."""
