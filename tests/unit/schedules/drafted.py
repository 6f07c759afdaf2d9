"""Runs what a schedule records into a draft of the tensors, or into a chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom.runtime.chain import Chain
from loom.runtime.registry import device
from loom.schedules.recorder import Recorder, StorageLike
from loom.tensor.record.draft import Draft, DraftBuffer
from loom.tensor.record.memory import plan_memory
from loom.tensor.record.timelines import build

Array = np.ndarray[Any, Any]
Record = Callable[[Recorder, Sequence[StorageLike]], None]


def drafted(record: Record, inputs: Sequence[Array], outs: Sequence[Array], on: str = "cpu") -> list[Array]:
    """Return what a recording over buffers of ``inputs``, then of the size of ``outs``, leaves in the latter."""
    where = device(on)
    draft = Draft(where)
    places = _places(inputs, outs, on)
    record(draft, [DraftBuffer(place.nbytes, place) for place in places])
    with build(draft, plan_memory(draft), where, "test").build() as program:
        program.run()
    return _found(places[len(inputs) :], outs)


def chained(record: Record, inputs: Sequence[Array], outs: Sequence[Array], on: str = "cpu") -> list[Array]:
    """Return the same of a recording into a chain."""
    chain, places = Chain(on), _places(inputs, outs, on)
    record(chain, places)
    chain.build().run()
    return _found(places[len(inputs) :], outs)


def _places(inputs: Sequence[Array], outs: Sequence[Array], on: str) -> list[Any]:
    places = [device(on).allocate(a.nbytes) for a in (*inputs, *outs)]
    for place, array in zip(places, inputs, strict=False):
        place.write(0, array.reshape(-1).view(np.uint8))
    return places


def _found(places: Sequence[Any], outs: Sequence[Array]) -> list[Array]:
    return [p.read(0, o.nbytes).view(o.dtype).reshape(o.shape) for p, o in zip(places, outs, strict=True)]
