"""Evaluates tensors when their elements are asked for: one program per structure, kept and run with new arrays.

Layer: tensor. Two records are of one structure if they differ in the elements of their sources alone. What a record
needs of others that are not evaluated is computed with it; only what was asked for is kept. Invariant: evaluating
changes no bit and no shape, only what is known already.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

from loom.core import options
from loom.core.errors import StateError
from loom.runtime.chain import Program
from loom.runtime.device import Device, device
from loom.runtime.storage import HostSlot, HostStorage, Storage
from loom.tensor.draft import Buffer, Draft
from loom.tensor.graph import Node, ancestors
from loom.tensor.lowering import followed, lower, structure
from loom.tensor.memory import plan_memory
from loom.tensor.program import build
from loom.tensor.tensor import INPUT

__all__ = ["evaluate"]

_MOST_KEPT = 256
_lock = threading.Lock()


class _Kept:
    """A program with slots for sources, then results."""

    def __init__(self, program: Program, slots: Sequence[HostSlot]) -> None:
        self.program = program
        self.slots = slots

    def run(self, storages: Sequence[Storage]) -> None:
        for slot, storage in zip(self.slots, storages, strict=True):
            slot.attach(storage)
        try:
            if isinstance(storages[-1], HostStorage):
                self.program.run()
            else:
                self.program.launch().poll()
        finally:
            for slot in self.slots:
                slot.detach()


_kept: OrderedDict[Hashable, _Kept] = OrderedDict()


def evaluate(tensors: Sequence[Any]) -> None:
    """Compute the elements of tensors, in one run."""
    wanted = list({id(t): t for t in tensors if t.data is None}.values())
    if not wanted:
        return
    order = ancestors(wanted, followed)
    sources = [n for n in order if n.data is not None]
    for node in order:
        if node.op is INPUT and node.data is None:
            raise StateError("tensor", f"input {node.name!r} has no elements", expected="tensors made of arrays",
                             got=f"an input of shape {node.shape}", remedy="Compile a program and feed it")  # fmt: skip
    where = next((n.device for n in order if n.device is not None), None) or device(None)
    results = [where.allocate(t.nbytes, zeroed=False) for t in wanted]
    with _lock:
        key = _key(order, wanted, where)
        kept = _kept.get(key)
        if kept is None:
            kept = _kept[key] = _prepared(wanted, sources, where)
            while len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        else:
            _kept.move_to_end(key)
        storages = [*(n.data for n in sources), *results]
        kept.run([s for s in storages if s is not None])
    for tensor, storage in zip(wanted, results, strict=True):
        tensor.data, tensor.device = storage, where


def _key(order: Sequence[Node], wanted: Sequence[Node], where: Device) -> Hashable:
    """Return what the program depends on."""
    numbers = {id(n): k for k, n in enumerate(order)}
    settings = options.thread_count(), options.simd_lanes(), options.check_bounds()
    return where.name, settings, structure(order), tuple(numbers[id(w)] for w in wanted)


def _prepared(wanted: Sequence[Any], sources: Sequence[Node], where: Device) -> _Kept:
    slots = {id(n): Buffer(n.nbytes, HostSlot(n.nbytes)) for n in sources}
    results = [Buffer(t.nbytes, HostSlot(t.nbytes)) for t in wanted]
    draft = Draft(where)
    lower(draft, list(zip(wanted, results, strict=True)), (), lambda node: slots[id(node)])
    program = build(draft, plan_memory(draft), where, "tensor")
    places: list[Any] = [*(b.place for b in slots.values()), *(b.place for b in results)]
    return _Kept(program, places)
