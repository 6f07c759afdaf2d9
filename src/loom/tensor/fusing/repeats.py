"""Leaves out dispatches that would make again what one shortly before them has made.

Layer: tensor. Records of products turn an operand into factors each time it is multiplied: three times where queries,
keys and values are made of the same rows. Two dispatches are the same if kernel, parameters, groups and what they read
are; then whoever reads what the later one writes reads what the first has written. Elements of tensors are made as
often as the record says, which ``checkpoint`` asks for to have memory. Invariant: a dispatch is left out only if it
writes scratch memory alone, which nothing else writes, and nothing has written what both read in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from loom.ir.frontend.decorator import KernelFunction
from loom.ir.verified import VerifiedKernel
from loom.runtime.port.known import recall
from loom.tensor.record.draft import Draft, DraftBuffer, Recorded

__all__ = ["leave_out_repeats"]

_NEAR = 32
"""Dispatches after which results are made again, as keeping them takes memory."""


def leave_out_repeats(draft: Draft) -> None:
    """Leave out of a draft, all of which is recorded, what is made twice."""
    writers = Counter(b for d in draft.dispatches for b in _outputs_of(d))
    versions = Counter[DraftBuffer]()
    instead: dict[DraftBuffer, DraftBuffer] = {}
    known: dict[Hashable, tuple[int, Recorded]] = {}
    kept: list[Recorded] = []
    for found in draft.dispatches:
        dispatch = replace(found, buffers=tuple(instead.get(b, b) for b in found.buffers))
        written = _outputs_of(dispatch)
        if _may_be_left_out(dispatch, written, writers):
            key = _key(dispatch, written, versions)
            at, earlier = known.get(key, (-1, dispatch))
            if earlier is not dispatch and len(kept) - at <= _NEAR:
                instead.update(zip(dispatch.buffers, earlier.buffers, strict=True))
                continue
            known[key] = len(kept), dispatch
        versions.update(written)
        kept.append(dispatch)
    draft.dispatches[:] = kept


def _kernel(dispatch: Recorded) -> VerifiedKernel:
    kernel = dispatch.kernel
    return recall(kernel) if isinstance(kernel, KernelFunction) else kernel


def _outputs_of(dispatch: Recorded) -> list[DraftBuffer]:
    """Return the buffers that a dispatch may write."""
    kernel = _kernel(dispatch)
    return [b for m, b in zip(kernel.bound, dispatch.buffers, strict=False) if m in kernel.writes]


def _may_be_left_out(dispatch: Recorded, written: list[DraftBuffer], writers: Counter[DraftBuffer]) -> bool:
    """Tell whether all that a dispatch does is to write buffers that are its alone, and that it does not read."""
    if dispatch.offset is not None or not written or _kernel(dispatch).talks:
        return False
    bound = Counter(dispatch.buffers)
    own = all(b.is_scratch and b.content is None and writers[b] == bound[b] == 1 for b in written)
    kernel = _kernel(dispatch)
    return own and not kernel.reads & kernel.writes


def _key(dispatch: Recorded, written: list[DraftBuffer], versions: Counter[DraftBuffer]) -> Hashable:
    """Return what two dispatches that do the same have in common."""
    kernel = _kernel(dispatch)
    read = [
        None if b in written else (b, versions[b]) if b.content is None else b.content.tobytes()
        for b in dispatch.buffers
    ]
    sizes = tuple(b.nbytes for b in dispatch.buffers)
    numbers = tuple(_bits(n) for n in (*dispatch.params, dispatch.groups))
    return kernel.hash, kernel.name, tuple(read), sizes, numbers, dispatch.numbers, dispatch.shapes


def _bits(value: Any) -> Hashable:
    """Return a parameter, or groups, as its bits: 0.0 is not -0.0."""
    array = np.asarray(value)
    return type(value).__name__, array.dtype.str, array.shape, array.tobytes()
