"""In which order a device's tensor programs run: all on one timeline, so that the host sees parameters in that order.

Layer: tensor. A draft becomes a chain here: its buffers get their memory, its runs their place among the others.
Invariant: there is one timeline for each device in a process.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from loom.runtime.chain import Chain
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.storage import ShapedStorage
from loom.runtime.port.device import Device
from loom.tensor.record.draft import Draft
from loom.tensor.record.memory import MemoryPlan

__all__ = ["build", "settle", "timeline_of"]

_timelines: dict[Device, Timeline] = {}
_lock = threading.RLock()


def _after_fork() -> None:
    """What was under way on them stayed behind, with the threads that had their locks."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _timelines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def timeline_of(where: Device) -> Timeline:
    """Return the timeline of a device's tensor programs."""
    found = _timelines.get(where)
    if found is None:
        with _lock:
            found = _timelines.setdefault(where, Timeline())
    return found


def settle(where: Device | None) -> None:
    """Wait for everything the tensor layer launched on a device."""
    if where is not None:
        timeline_of(where).settle()


def build(draft: Draft, plan: MemoryPlan, where: Device, name: str) -> Chain:
    """Return the chain of a draft, its buffers allocated, to be built; runs are in the order of the device's others."""
    placed = plan.allocate(where)
    chain = Chain(where, name=name)
    chain.timeline = timeline_of(where)
    for d in draft.dispatches:
        storages: list[Any] = [b.place if b.place is not None else placed[b] for b in d.buffers]
        if d.shapes is not None:
            storages = [ShapedStorage(s, shape, size=n) for s, (shape, n) in zip(storages, d.shapes, strict=True)]
        if d.offset is None:
            chain.dispatch(d.kernel, storages, d.params, d.groups)
        else:
            chain.dispatch_indirect(d.kernel, storages[:-1], d.params, storages[-1], d.offset)
    return chain
