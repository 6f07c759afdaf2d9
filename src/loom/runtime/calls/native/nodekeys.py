"""Evaluations that the native door knows: of a recorded tensor, one operation of tensors whose elements are there.

Layer: runtime. The tensor layer tells which slots its nodes have and how they must be for their memory to be read.
Invariant: what is entered was evaluated the long way before, of the same operation and attributes, and of operands of
these dtypes and lengths, each in memory of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core import options
from loom.runtime.calls.native.calltables import ABSENT, ALL_BITS, OWN_KIND, Argument, CallResult, fits, hold_tables
from loom.runtime.calls.native.functionkeys import Wanted, address_of, enter, table_of
from loom.runtime.calls.native.layouts import places_of
from loom.runtime.calls.native.nativedoor import open_door
from loom.runtime.chain.kept import Kept
from loom.runtime.memory.storage import HostStorage

__all__ = ["NodeForm", "offer_evaluation"]

_NODE_KIND = 17
_SLOTS = ("op", "inputs", "attributes", "shape", "dtype", "data")
_ALIGNMENT, _BYTES = 64, np.dtype(np.uint8)
_Condition = tuple[str, object, bool]


class NodeForm(NamedTuple):
    """What is alike of all nodes: their class, the operation that is another shape of its input, and what must hold.

    ``node`` is asked of what is evaluated, ``operand`` of what it is made of: a slot, an object, whether it is that.
    """

    kind: type[object]
    reshape: object
    node: Sequence[_Condition]
    operand: Sequence[_Condition]


def offer_evaluation(
    function: object, form: NodeForm, base: Any, nbytes: int, program: Kept, finish: Callable[..., object]
) -> None:
    """Let the door know the evaluation of a node whose operation is ``base``, of so many bytes, if it takes it.

    ``finish`` is given the node that is to be evaluated, and the array of bytes that has the elements from its first
    multiple of 64 on.
    """
    if not (program.is_plain and options.native_calls()) or sys.is_finalizing():
        program.admission.note(is_new=False)
        return
    with hold_tables() as is_outermost:
        if is_outermost:
            program.admission.note(is_new=_enter(function, form, base, nbytes, program, finish))


def _enter(
    function: object, form: NodeForm, base: Any, nbytes: int, program: Kept, finish: Callable[..., object]
) -> bool:
    door, storages = open_door(), [each.data for each in base.inputs]
    is_apart = len({*map(id, storages)}) == len(storages)
    if door is None or not is_apart or not all(type(each) is HostStorage for each in storages):
        return False
    operands = [_operand(form, each, n) for n, each in enumerate(base.inputs)]
    found = [each for each in operands if each is not None]
    node = _node(form, base, [words for words, _ in found]) if len(found) == len(operands) else None
    key = (*base.shape, *[n for each in base.inputs for n in each.shape])
    if node is None or not fits([words for words, _ in found], key):
        return False
    argument: Argument = (_NODE_KIND, id(form.kind), node[0], *ABSENT[3:])
    result = CallResult(len(storages), (nbytes + _ALIGNMENT,), _BYTES, np.empty, 2)
    memory, sources = [*map(address_of, storages)], [*range(len(storages))]
    wanted = Wanted((argument,), key, (node, found, base.op, base.attributes), memory, sources, (), [result], finish)
    return enter(door, table_of(door, function, ("x",), ()), program, wanted)


_Words = np.ndarray[Any, Any]
_nodes: dict[tuple[object, ...], tuple[_Words, object]] = {}
_conditions: dict[tuple[object, ...], _Words] = {}
_MOST_KNOWN = 256


def _node(form: NodeForm, base: Any, operands: Sequence[Argument]) -> tuple[int, object] | None:
    """Return where the row of a node is, and what it points to; None of attributes that no one object stands for."""
    places = places_of(form.kind, *_SLOTS)
    told = _condition_words(form.kind, (*form.node, ("device", base.device, True)))
    are_known = [_is_one(each) for each in base.attributes]  # all are taken note of
    if places is None or told is None or not all(are_known):
        return None
    attributes = np.array([*map(id, base.attributes), 0], np.uint64)
    known = (id(base.op), base.dtype, attributes.tobytes(), told.ctypes.data, *operands, len(base.shape))
    found = _nodes.get(known)
    if found is None:
        if len(_nodes) >= _MOST_KNOWN:
            _nodes.clear()
        rows = np.array([[word & ALL_BITS for word in each] for each in operands], np.uint64)
        numbers = (len(base.attributes), attributes.ctypes.data, len(operands), rows.ctypes.data, len(base.shape))
        words = np.array(
            [*places, id(form.reshape), told.ctypes.data, len(told), id(base.op), id(base.dtype), *numbers], np.uint64
        )
        found = _nodes[known] = words, (rows, attributes, told, base.op)
    return found[0].ctypes.data, found


_seen: dict[int, object] = {}
"""Attributes that came before, by identity: one that comes again is not made for each call."""


def _is_one(value: object) -> bool:
    """Tell whether a value that is equal to this one is this object in all likelihood."""
    if isinstance(value, str):
        return type(value) is str and sys.intern(value) is value
    if isinstance(value, int):
        return type(value) in (bool, int) and 0 <= value <= 256
    if value is None or _seen.get(id(value)) is value:
        return True
    if len(_seen) >= _MOST_KNOWN:
        _seen.clear()
    _seen[id(value)] = value
    return False


def _operand(form: NodeForm, x: Any, number: int) -> tuple[Argument, object] | None:
    """Return what a node of known elements is to be, and what that points to."""
    told = _condition_words(form.kind, (*form.operand, ("device", x.device, True), ("dtype", x.dtype, True)))
    places = places_of(form.kind, "data", "shape")
    is_one = cast("type[object]", type(x)) is form.kind
    if told is None or places is None or not (is_one and x.size):
        return None
    return (OWN_KIND, id(form.kind), told.ctypes.data, len(told), len(x.shape), 0, number, 0, *places), told


def _condition_words(kind: type[object], conditions: tuple[_Condition, ...]) -> _Words | None:
    """Return conditions as the door reads them: place, object, and whether it is to be that one."""
    key = kind, tuple((name, id(wanted), sense) for name, wanted, sense in conditions)
    found = _conditions.get(key)
    if found is None:
        names = tuple(dict.fromkeys(name for name, _, _ in conditions))
        places = places_of(kind, *names)
        if places is None:
            return None
        at = dict(zip(names, places, strict=True))
        if len(_conditions) >= _MOST_KNOWN:
            _conditions.clear()
        words = np.array([(at[name], id(wanted), int(sense)) for name, wanted, sense in conditions], np.uint64)
        found = _conditions[key] = words
    return found
