"""Runs a whole dispatch in numpy: the reference every device is compared with.

Layer: ir. Workgroups are run in batches, all lanes of a batch in lockstep, batches in dispatch order.
Invariant: the outcome of a kernel without races does not depend on the size of the batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.errors import ArgumentError, StateError
from loom.ir.interp.batch import Batch, DispatchState, Handler
from loom.ir.interp.binding import bind_buffers, bind_params
from loom.ir.interp.checks import MemoryWatch
from loom.ir.interp.control import run_block
from loom.ir.interp.host import HOST, in_order
from loom.ir.interp.masks import Array
from loom.ir.interp.memory import MEMORY
from loom.ir.interp.operations import COMPUTE, NAN_CHECKED
from loom.ir.interp.options import Options
from loom.ir.interp.worklimit import EndOfWork, WorkLimit, spread_out
from loom.ir.kernel import Instr, Kernel, LaneOrder, Space, While, operands, operations, walk, walk_blocks
from loom.ir.ops import Effect

__all__ = ["HANDLERS", "interpret"]

HANDLERS: dict[str, Handler] = {**COMPUTE, **MEMORY, **HOST}
"""The meaning of each operation, by name (``index`` is computed by its loop)."""

_CHECKED_HANDLERS = {**HANDLERS, **NAN_CHECKED}
_BATCH_LANES = 65_536
_BATCH_VALUES = 1 << 24
"""Values alive in a batch at most: one per lane and operation (64 to 128 MiB)."""
_LIMITED_LANES = 4096
"""Lanes of a batch at most where the work is limited, so that some groups are run to their end."""
_BATCH_NBYTES = 1 << 26
"""Bytes of shared and private memory in a batch at most."""


@ordinary_arithmetic()
def interpret(
    kernel: Kernel,
    buffers: Sequence[Array],
    params: Sequence[int | float | bool],
    groups: tuple[int, int, int],
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    output: Callable[[str], None] = print,
) -> bool:
    """Run ``groups`` workgroups of ``kernel`` on ``buffers``, in place; tell whether all was run and watched.

    ``buffers``: one 1-D contiguous array per buffer of the kernel, of its element type's numpy dtype
    (bf16: uint16); a short vector type takes flat components, ``lanes`` of them per element. ``params``:
    Python numbers, rounded to the parameter's type if it is a float, exact if not. ``output`` gets the
    printed lines by lane, each lane's in program order. With ``work`` it may be less than all. A kernel
    that races, or whose lanes wait for each other in a loop, has no defined outcome.

    Raises ArgumentError, ShapeError or DTypeError for arguments that do not fit; AssertionFailed, when all lanes are
    done, for the lowest lane whose ``assert`` failed, each such lane having stopped there; and at once the faults
    ``options`` asks for, buffers then keeping what was written so far.

    >>> from loom.ir.text import parse_kernel
    >>> k = parse_kernel('''kernel @twice workgroup 2 1 1 {
    ...   buffer x: u32 read_write
    ...   %0 = global_id 0 : u32
    ...   %1 = load x %0 : u32
    ...   %2 = add %1 %1 : u32
    ...   store x %0 %2
    ... }''')
    >>> x = np.array([5, 6], np.uint32)
    >>> interpret(k, [x], [], (1, 1, 1))
    True
    >>> x.tolist()
    [10, 12]
    """
    _check_groups(kernel, groups)
    if options.differences:
        from loom.ir.passes.differences import tell_differences  # only where the host checks

        kernel = tell_differences(kernel)
    again = [b.copy() for b in buffers] if options.order and _is_comparable(kernel, options) else None
    dispatch = _prepare(kernel, buffers, params, groups, options)
    total, size, is_whole = math.prod(groups), _groups_per_batch(kernel), True
    starts: Iterable[int] = range(0, total, size)
    if options.work is not None:
        size = min(size, max(1, _LIMITED_LANES // kernel.lanes))
        starts = (size * n for n in spread_out(-(-total // size)))
    with np.errstate(all="ignore"):
        _check_subnormals(kernel)
        for first in starts:
            batch = Batch(dispatch, first, min(size, total - first))
            try:
                _run(batch)
            except EndOfWork:
                is_whole = False
                break
            finally:
                for line in in_order(dispatch.lines):
                    output(line)
                dispatch.lines.clear()
    if dispatch.fault is not None:
        raise dispatch.fault
    if again is not None:
        from loom.ir.interp.reorder import refuse_differences, run_reordered

        other = _prepare(kernel, again, params, groups, Options())
        with np.errstate(all="ignore"):
            run_reordered(other, total, size)
        refuse_differences(dispatch, buffers, again)
    return is_whole and (dispatch.watch is None or dispatch.watch.is_whole)


def _is_comparable(kernel: Kernel, options: Options) -> bool:
    """Tell whether a second run should leave the same: nobody wants any order, or assigns to memory in between."""
    stops = options.breakpoints or any(s.name == "breakpoint" for s in operations(kernel.body))
    return kernel.order is not LaneOrder.ANY and not stops


def _run(batch: Batch) -> None:
    if batch.dispatch.watch is not None:
        batch.dispatch.watch.begin(batch)
    run_block(batch, batch.dispatch.kernel.body, batch.all)


def _prepare(
    kernel: Kernel,
    buffers: Sequence[Array],
    params: Sequence[int | float | bool],
    groups: tuple[int, int, int],
    options: Options,
) -> DispatchState:
    dispatch = DispatchState(
        kernel=kernel,
        options=options,
        groups=groups,
        buffers=bind_buffers(kernel, buffers),
        params=bind_params(kernel, params),
        handlers=_CHECKED_HANDLERS if options.nan else HANDLERS,
        used=frozenset(a for s in walk(kernel.body) for a in operands(s)),
        watch=MemoryWatch(options) if options.watches else None,
    )
    if options.stops:
        from loom.ir.interp.tracing import StopTracer

        dispatch.tracer = StopTracer(options, kernel)
    elif options.work is not None:
        dispatch.tracer = WorkLimit(options.work)
    return dispatch


def _groups_per_batch(kernel: Kernel) -> int:
    """Choose how many workgroups run together: many, within bounds on memory."""
    statements = list(walk(kernel.body))
    if any(isinstance(s, While) and _waits(s) for s in statements):
        return 1  # a group may wait for an earlier one to come out of the loop
    lanes = min(_BATCH_LANES, _BATCH_VALUES // max(1, len(statements)))
    private = sum(m.dtype.nbytes * (m.size or 0) for m in kernel.private) * kernel.lanes
    shared = sum(m.dtype.nbytes * (m.size or 0) for m in kernel.shared)
    return max(1, min(lanes // kernel.lanes, _BATCH_NBYTES // max(1, private + shared)))


def _waits(loop: While) -> bool:
    inner = (s for block in walk_blocks(loop) for s in walk(block) if isinstance(s, Instr))
    return any(s.op.effect is Effect.ATOMIC and s.memory is not None and s.memory.space is Space.BUFFER for s in inner)


def _check_groups(kernel: Kernel, groups: tuple[int, int, int]) -> None:
    if len(groups) != len(kernel.workgroup) or any(g < 0 for g in groups):
        raise ArgumentError(
            kernel.where(None), "unusable number of workgroups",
            expected="three counts of at least 0", got=groups, remedy="Give groups as (x, y, z)",
        )  # fmt: skip


def _check_subnormals(kernel: Kernel) -> None:
    tiny = np.array([1e-45], np.float32)
    if not (tiny * np.float32(1)).view(np.uint32)[0]:
        raise StateError(
            kernel.where(None), "this thread flushes subnormal floats to zero",
            expected="IEEE 754 arithmetic",
            remedy="Undo it (torch.set_flush_denormal(False), or a library built with -ffast-math did it)",
        )  # fmt: skip
