"""Evaluates tensors when their elements are asked for: one program per structure, kept and run with new memory.

Layer: tensor. Two records are of one structure if they differ in the elements of their sources, and in numbers, alone.
What a record needs of others that are not evaluated is computed with it; only what was asked for is kept. Invariant:
evaluating changes no bit and no shape, only what is known already.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loom.core.errors import StateError
from loom.core.late import late
from loom.core.tracebacks import brief
from loom.kernels.maps.nest import BY_CONSTANTS
from loom.runtime.chain.kept import Kept, NumberPlace, keep, shares_memory
from loom.runtime.memory.order import is_settled
from loom.runtime.memory.storage import HostSlot, HostStorage, Storage
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor.ops.elementwise import NUMBER
from loom.tensor.ops.views import BROADCAST, DETACH, RESHAPE, ROUTE
from loom.tensor.record.composite import results_beside
from loom.tensor.record.draft import Draft, DraftBuffer
from loom.tensor.record.graph import PARAMETER, Node, refuse_freed
from loom.tensor.record.memory import plan_memory
from loom.tensor.record.timelines import build
from loom.tensor.record.versions import record_lock
from loom.tensor.run.lowering import SEEN_THROUGH, follow, lower

if TYPE_CHECKING:
    from loom.tensor.ops import releasing
else:
    releasing = late("loom.tensor.ops", "releasing")

__all__ = ["Work", "evaluate", "evaluate_one", "work_of"]

_ALIASES = (DETACH, ROUTE)


class Work(NamedTuple):
    """The operands of a record's program: the storages of its sources, and its numbers as 64-bit words.

    ``nbytes``: how much of each source is read, which the structure tells (a storage may be longer). ``numbers`` tells
    by the identity of a number which of the words it is. ``read``: the nodes that have the elements which are
    read; ``known``: the place of each storage among the sources.
    """

    sources: list[Storage]
    nbytes: list[int]
    words: list[int]
    numbers: dict[int, int]
    read: list[Node]
    known: dict[int, int]


def evaluate(tensors: Sequence[Any]) -> None:
    """Compute the elements of tensors, in one run."""
    with record_lock():
        wanted = _without_elements(tensors)
        if not wanted:
            return
        where = wanted[0].device or next((t.device for t in wanted if t.device is not None), None) or device(None)
        results = [where.allocate(t.nbytes, zeroed=False) for t in wanted]
        read = _run_one(wanted, results, where) or _run(wanted, results, where)
        for tensor, storage in zip(wanted, results, strict=True):
            tensor.data, tensor.device = storage, where
        releasing.release(read)


@brief
def evaluate_one(x: Any) -> None:
    """Compute the elements of a tensor."""
    evaluate([x])


def _offer(base: Node, where: Device, kept: Kept) -> None:
    """Let evaluations like that of a node, one operation of known elements, be done without Python."""
    from loom.runtime.calls.native.nodekeys import NodeForm, offer_evaluation  # few evaluate anything twice

    def finish(x: Any, block: np.ndarray[Any, Any]) -> None:
        storage = HostStorage.within(block, x.nbytes)
        with record_lock():
            if x.data is None:
                x.data, x.device = storage, where

    offer_evaluation(evaluate_one, NodeForm(type(base), RESHAPE, _UNCHANGED, _OURS), base, base.nbytes, kept, finish)


_UNCHANGED = (("shared", False, True), ("lent", None, True), ("is_fed", False, True))
"""How a node is about which nobody else is doing anything."""
_OURS = (*_UNCHANGED, ("op", PARAMETER, False), ("is_fast", False, True))
"""How one is whose elements may be read as they are."""


def _without_elements(tensors: Sequence[Any]) -> list[Any]:
    """Return those of tensors, and of the results that are computed with them, that have no elements, each once."""
    if len(tensors) == 1 and tensors[0].op.unfold is None:
        return [] if tensors[0].data is not None else [*tensors]
    asked: dict[int, Any] = {}
    for tensor in tensors:
        for each in (tensor,) if tensor.op.unfold is None else results_beside(tensor):
            if each.data is None:
                asked[id(each)] = each
    return list(asked.values())


def _run(wanted: Sequence[Any], results: Sequence[Storage], where: Device) -> list[Node]:
    """Run the program that computes ``wanted``; return the nodes that have the elements which were read."""
    key, work = work_of(wanted, where)
    kept = keep(key, where, lambda: prepare(work, wanted, where))
    _start(kept, [*work.sources, *results], work.words, is_ours=all(map(_is_ours, work.read)))
    return work.read


def _is_ours(node: Node) -> bool:
    """Tell whether nobody writes a node's elements while ``record_lock`` is held, and nobody is about to."""
    return node.lent is None and not (node.shared or node.op.is_written) and is_settled(node.data)


def _run_one(wanted: Sequence[Any], results: Sequence[Storage], where: Device) -> list[Node] | None:
    """Do the same for one operation of known elements, or one call of a composite; None if it is more than that.

    Its own name, attributes and operands are the whole structure. What it gives in another shape is the same program.
    """
    base = wanted[0]
    while base.op is RESHAPE and base.data is None:
        base = base.inputs[0]
    op, attributes, read = base.op, base.attributes, [*base.inputs]
    if base.data is not None or not read or op in SEEN_THROUGH:
        return None
    ends = wanted if base is wanted[0] else [base]
    if len(ends) < len(wanted):
        return None
    if op.unfold is not None and all(t.op is op and t.attributes[2] is attributes[2] for t in ends):
        attributes = attributes[1], *[t.attributes[0] for t in ends]
    elif len(ends) > 1:
        return None
    key: list[Any] = ["operation", op, attributes, base.shape, base.dtype]
    memory: list[Storage] = []
    words: dict[Any, int] = {}
    is_ours = True
    for each in read:
        data = each.data
        if data is None:
            number = each.inputs[0] if each.op is BROADCAST else each
            if number.op is not NUMBER or number.data is not None:
                return None
            in_place = shares_memory(where)
            key += each.op, each.shape, *_number_row(number, words, in_place, not in_place or op.name in BY_CONSTANTS)
            continue
        key += each.shape, each.dtype
        if data in memory:
            key.append(memory.index(data))
        else:
            memory.append(data)
        is_ours = is_ours and _is_ours(each)
    kept = keep(tuple(key), where, lambda: prepare(work_of(ends, where)[1], ends, where))
    _start(kept, [*memory, *results], [bits for bits, _ in words], is_ours=is_ours)
    is_plain = len(ends) == 1 and op.unfold is None and not (words or op.runs_users)
    if is_plain and is_ours and all(n.nbytes < releasing.LEAST_NBYTES for n in read):
        if kept.admission.is_due():
            _offer(base, where, kept)
    return read


def _start(kept: Kept, memory: Sequence[Storage], words: Sequence[int], *, is_ours: bool) -> None:
    if is_ours:
        kept.run_over(memory, words)
    else:
        kept.run(*memory, numbers=words)


def work_of(wanted: Sequence[Node], where: Device, target: Storage | None = None) -> tuple[Hashable, Work]:
    """Return the structure of a record, and what computes ``wanted``; StateError if it has what a program is fed.

    ``target``: storage that the result goes to, which a source may have.
    """
    places: dict[int, int] = {}
    rows: list[Any] = []
    plain: list[Node] = []
    work = Work([], [], [], {}, [], {})
    for end in wanted:
        waiting = [] if id(end) in places else [(end, iter(follow(end)))]
        while waiting:
            node, left = waiting[-1]
            for each in left:
                if id(each) in places:
                    continue
                if each.data is None:
                    waiting.append((each, iter(follow(each))))
                    break
                places[id(each)] = len(rows)
                rows.append(_source_row(work, each))
            else:
                waiting.pop()
                places[id(node)] = len(rows)
                if node.op is NUMBER:
                    plain.append(node)
                    rows.append(None)
                else:
                    rows.append(_row(node, places) if node.data is None else _source_row(work, node))
    if plain:
        _number_rows(work, rows, [(places[id(n)], n) for n in plain], in_place=shares_memory(where))
    aim = None if target is None else next((n for n, s in enumerate(work.sources) if s is target), -1)
    return ("tensor", tuple(rows), tuple([places[id(w)] for w in wanted]), aim), work


def _source_row(work: Work, node: Node) -> tuple[Any, ...]:
    """Return what the structure tells of a node that has elements, and take note of them."""
    data, nbytes = node.data, node.nbytes
    assert data is not None
    work.read.append(node)
    at = work.known.setdefault(id(data), len(work.sources))
    if at == len(work.sources):
        work.sources.append(data)
        work.nbytes.append(nbytes)
    elif work.nbytes[at] < nbytes:
        work.nbytes[at] = nbytes
    return node.shape, node.dtype, at


def _row(node: Node, places: dict[int, int]) -> tuple[Any, ...]:
    """Return what the structure tells of an operation; StateError for what has no elements."""
    op, inputs = node.op, follow(node)
    if not inputs and op.is_fed:
        raise StateError("tensor", f"input {node.name!r} has no elements", expected="tensors made of arrays",
                         got=f"an input of shape {node.shape}", remedy="Compile a program and feed it")  # fmt: skip
    if not inputs and op.is_written:
        raise refuse_freed("tensor", node)
    attributes = node.attributes if op.unfold is None else node.attributes[:2]
    if len(inputs) == 1:
        return op, places[id(inputs[0])], node.shape, node.dtype, () if op in _ALIASES else attributes
    return op, *[places[id(i)] for i in inputs], node.shape, node.dtype, attributes


def _number_rows(work: Work, rows: list[Any], plain: Sequence[tuple[int, Node]], *, in_place: bool) -> None:
    """Fill in what the structure tells of numbers: which of the words each is, or the number itself."""
    exact = not in_place
    for row in rows:
        exact = exact or (row is not None and getattr(row[0], "name", "") in BY_CONSTANTS)
    words: dict[Any, int] = {}
    for place, node in plain:
        row = rows[place] = _number_row(node, words, in_place, exact)
        if row[1] is not node.dtype:
            work.numbers[id(node.attributes[0])] = row[1]
    work.words.extend(bits for bits, _ in words)


def _number_row(node: Node, words: dict[Any, int], in_place: bool, exact: bool) -> tuple[Any, ...]:
    """Return what the structure tells of a number, which is noted if it is but one of the words."""
    number, dtype = node.attributes[0], node.dtype
    if in_place and (dtype.is_float or not (exact or dtype.is_bool)):
        return node.op, words.setdefault((number.bits, number.dtype), len(words)), dtype
    return node.op, dtype, number


def prepare(
    work: Work, wanted: Sequence[Any], where: Device, target: Node | None = None, *, name: str = "tensor"
) -> Kept:
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
        draft.ends = {id(t): b for t, b in zip(wanted, results, strict=True)}
        lower(draft, list(zip(wanted, results, strict=True)), (), source)
    else:
        source(target)
        results = []
        lower(draft, (), [(target, wanted[0])], source)
    chain = build(draft, plan_memory(draft), where, name)
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
