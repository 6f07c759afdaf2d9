"""Evaluates tensors when their elements are asked for: one program per structure, kept and run with new memory.

Layer: tensor. Two records are of one structure if they differ in the elements of their sources, and in numbers, alone.
What a record needs of others that are not evaluated is computed with it; only what was asked for is kept. Invariant:
evaluating changes no bit and no shape, only what is known already.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from loom.core.errors import StateError
from loom.kernels.maps.nest import BY_CONSTANTS
from loom.runtime.chain.kept import Kept, NumberPlace, keep, shares_memory
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor.ops.elementwise import NUMBER
from loom.tensor.ops.releasing import release
from loom.tensor.ops.views import DETACH, ROUTE
from loom.tensor.record.draft import Draft, DraftBuffer
from loom.tensor.record.graph import Node, ancestors, refuse_freed
from loom.tensor.record.memory import plan_memory
from loom.tensor.record.timelines import build
from loom.tensor.record.versions import record_lock
from loom.tensor.run.lowering import follow, lower

__all__ = ["Work", "evaluate", "work_of"]

_ALIASES = (DETACH, ROUTE)


class Work(NamedTuple):
    """What computes a record: its structure, the storages of its sources, and its numbers as 64-bit words.

    ``nbytes``: how much of each source is read, which the structure tells (a storage may be longer). ``numbers`` tells
    by the identity of a number which of the words it is.
    """

    key: Hashable
    sources: list[Storage]
    nbytes: list[int]
    words: list[int]
    numbers: dict[int, int]


def evaluate(tensors: Sequence[Any]) -> None:
    """Compute the elements of tensors, in one run."""
    with record_lock():
        wanted = list({id(t): t for t in tensors if t.data is None}.values())
        if not wanted:
            return
        order = ancestors(wanted, follow)
        where = next((n.device for n in order if n.device is not None), None) or device(None)
        work = work_of(order, wanted, where)
        read = [n for n in order if n.data is not None]
        results = [where.allocate(t.nbytes, zeroed=False) for t in wanted]
        keep(work.key, where, lambda: prepare(work, wanted, where)).run(*work.sources, *results, numbers=work.words)
        for tensor, storage in zip(wanted, results, strict=True):
            tensor.data, tensor.device = storage, where
        del order
        release(read)


def work_of(order: Sequence[Node], wanted: Sequence[Node], where: Device, target: Storage | None = None) -> Work:
    """Return what computes ``wanted``, the last of ``order``; StateError if that depends on what a program is fed.

    ``target``: storage that the result goes to, which a source may have.
    """
    in_place = shares_memory(where)
    places: dict[int, int] = {}
    known: dict[Any, int] = {}
    numbers: dict[int, int] = {}
    ids: dict[int, int] = {}
    sources: list[Storage] = []
    nbytes: list[int] = []
    words: list[int] = []
    rows: list[Any] = []
    exact = any(n.op.name in BY_CONSTANTS for n in order)
    for node in order:
        places[id(node)] = len(places)
        if node.data is not None:
            at = ids.setdefault(id(node.data), len(sources))
            if at == len(sources):
                sources.append(node.data)
                nbytes.append(0)
            nbytes[at] = max(nbytes[at], node.nbytes)
            rows.append((node.shape, node.dtype, at))
            continue
        op = node.op
        if op.is_fed:
            raise StateError("tensor", f"input {node.name!r} has no elements", expected="tensors made of arrays",
                             got=f"an input of shape {node.shape}", remedy="Compile a program and feed it")  # fmt: skip
        if op.is_written:
            raise refuse_freed("tensor", node)
        if op is NUMBER and in_place and (node.dtype.is_float or not (exact or node.dtype.is_bool)):
            number = node.attributes[0]
            at = known.setdefault(number, len(words))
            if at == len(words):
                words.append(number.bits)
            numbers[id(number)] = at
            rows.append((op, at, node.dtype))
            continue
        inputs = follow(node)
        rows.append((op, *[places[id(i)] for i in inputs], node.shape, node.dtype,
                     () if op in _ALIASES else node.attributes))  # fmt: skip
    ends = tuple(places[id(w)] for w in wanted)
    aim = None if target is None else ids.get(id(target), -1)
    return Work(("tensor", tuple(rows), ends, aim), sources, nbytes, words, numbers)


def prepare(work: Work, wanted: Sequence[Any], where: Device, target: Node | None = None) -> Kept:
    """Return the program that computes ``wanted``, with slots for sources, then results: the target, if there is one.

    The new elements of the target are those of ``wanted``, one tensor.
    """
    slots = {id(s): DraftBuffer(n, HostSlot(n)) for s, n in zip(work.sources, work.nbytes, strict=True)}

    def source(node: Node) -> DraftBuffer:
        found = slots.get(id(node.data))
        if found is None:
            assert node is target
            found = slots[id(node.data)] = DraftBuffer(node.nbytes, HostSlot(node.nbytes))
        return found

    draft = Draft(where, is_passing=True)
    if target is None:
        results = [DraftBuffer(t.nbytes, HostSlot(t.nbytes)) for t in wanted]
        lower(draft, list(zip(wanted, results, strict=True)), (), source)
    else:
        source(target)
        results = []
        lower(draft, (), [(target, wanted[0])], source)
    chain = build(draft, plan_memory(draft), where, "tensor")
    places: list[Any] = [b.place for b in (*slots.values(), *results)]
    numbers = _places_of(work, draft, [d.params for d in chain.recorded])
    return Kept(chain.build(), places, in_place=shares_memory(where), numbers=numbers)


def _places_of(work: Work, draft: Draft, params: Sequence[Any]) -> list[NumberPlace]:
    """Return where the record's numbers are among the parameters of its dispatches."""
    found: list[NumberPlace] = []
    for recorded, row in zip(draft.dispatches, params, strict=True) if work.words else ():
        first = len(recorded.params) - len(recorded.numbers)
        known = [(first + k, work.numbers.get(id(n))) for k, n in enumerate(recorded.numbers)]
        found += [NumberPlace(row, column, at) for column, at in known if at is not None]
    return found
