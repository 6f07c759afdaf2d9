"""Runs blocks, branches and loops of a kernel under masks.

Layer: ir. A block is run once for all lanes that reach it; lanes that break, continue or return leave the
mask until the paths meet again. Invariant: running a statement returns the lanes that go on to the next
one, and returns the very mask it was given when no lane left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.ir.interp.batch import Batch
from loom.ir.interp.masks import Array, Mask
from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Return, While

__all__ = ["run_block", "trip_counts"]


def run_block(batch: Batch, block: Block, mask: Mask) -> Mask:
    """Run the statements of ``block`` for the lanes of ``mask``; return the lanes that reach its end."""
    handlers, tracer = batch.dispatch.handlers, batch.dispatch.tracer
    for statement in block.statements:
        if tracer is not None:
            tracer.before(batch, statement, mask)
        if type(statement) is Instr:
            handlers[statement.op.name](batch, statement, mask)
            if not batch.stopped:
                continue
            batch.stopped = False
            mask = mask.without(batch.returned)
        else:
            mask = _CONTROL[type(statement)](batch, statement, mask)
        if not mask.count:
            break
    return mask


def _if(batch: Batch, branch: If, mask: Mask) -> Mask:
    condition = batch.values[branch.condition]
    then, otherwise = mask.narrow(condition), mask.narrow(~condition)
    after_then = run_block(batch, branch.then, then) if then.count else then
    after_otherwise = run_block(batch, branch.otherwise, otherwise) if otherwise.count else otherwise
    if after_then is then and after_otherwise is otherwise:
        return mask
    return after_then.union(after_otherwise)


def _for(batch: Batch, loop: For, mask: Mask) -> Mask:
    start, stop, step = (batch.values[v] for v in (loop.start, loop.stop, loop.step))
    turns, index = trip_counts(start, stop, step, loop.down), start
    longest, turn, alive = int(turns.max()), 0, mask
    while turn < longest:
        alive = alive.narrow(turns > np.uint64(turn))
        if not alive.count:
            break
        batch.values[loop.index] = index
        alive = _turn(batch, loop, alive)
        index = index + step
        turn += 1
    return mask.without(batch.returned)


def _while(batch: Batch, loop: While, mask: Mask) -> Mask:
    alive = mask
    while alive.count:
        alive = run_block(batch, loop.test, alive)
        if not alive.count:
            break
        alive = alive.narrow(batch.values[loop.condition])
        if not alive.count:
            break
        alive = _turn(batch, loop, alive)
    return mask.without(batch.returned)


def _turn(batch: Batch, loop: For | While, alive: Mask) -> Mask:
    """Run the body once; return the lanes that may take another turn."""
    if batch.dispatch.tracer is not None:
        batch.dispatch.tracer.before(batch, loop, alive)
    batch.left.append(None)
    after = run_block(batch, loop.body, alive)
    left = batch.left.pop()
    return alive if after is alive else alive.without(left).without(batch.returned)


def _break(batch: Batch, _: Break, mask: Mask) -> Mask:
    batch.left[-1] = _join(batch.left[-1], mask)
    return batch.nobody


def _continue(batch: Batch, _: Continue, mask: Mask) -> Mask:  # noqa: ARG001
    return batch.nobody


def _return(batch: Batch, _: Return, mask: Mask) -> Mask:
    batch.returned = _join(batch.returned, mask)
    return batch.nobody


def _join(gone: Array | None, mask: Mask) -> Array:
    return mask.active if gone is None else gone | mask.active


_CONTROL: dict[type, Callable[[Batch, Any, Mask], Mask]] = {
    If: _if,
    For: _for,
    While: _while,
    Break: _break,
    Continue: _continue,
    Return: _return,
}


def trip_counts(start: Array, stop: Array, step: Array, down: bool) -> Array:
    """Return how often ``start, start + step, ...`` stays below ``stop`` (above it when ``down``), as u64.

    A step of 0, or one that leads away from ``stop``, gives 0. Exact for every integer type: distances
    are taken modulo 2**64, where they are never ambiguous.
    """
    low, high = (stop, start) if down else (start, stop)
    runs = (step < 0 if down else step > 0) & (low < high)
    distance, size = _wide(high) - _wide(low), _wide(step)
    size = np.where(runs, np.uint64(0) - size if down else size, np.uint64(1))
    return np.where(runs, (distance - np.uint64(1)) // size + np.uint64(1), np.uint64(0))


def _wide(a: Array) -> Array:
    return a.astype(np.int64).view(np.uint64) if a.dtype.kind == "i" else a.astype(np.uint64)
