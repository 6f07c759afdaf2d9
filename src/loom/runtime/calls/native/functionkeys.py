"""Calls of functions that the native door knows: of arrays of the host to new arrays, by a small kept program.

Layer: runtime. A function is called through the cell of its ``brief`` form (``core.tracebacks``), in which the door
puts itself. Invariant: what is entered was made the long way before, with arguments of these kinds, dtypes and lengths,
and options that are the same objects or numbers; all other calls are the function's own.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core import options
from loom.core.arrays import Array
from loom.core.dtype import DType
from loom.core.tracebacks import inner_of, replace_inner
from loom.runtime.calls.native.calltables import (
    ABSENT,
    ALL_BITS,
    MOST_PARAMETERS,
    MOST_RESULTS,
    Argument,
    CallResult,
    CallTable,
    array_argument,
    fits,
    hold_tables,
    is_plain,
)
from loom.runtime.calls.native.nativedoor import Door, open_door
from loom.runtime.chain.kept import Kept
from loom.runtime.memory.order import BOUNDS, is_tracked
from loom.runtime.memory.storage import HostStorage, Storage

__all__ = ["FunctionCall", "Wanted", "address_of", "enter", "offer_function", "table_of"]

_OBJECT_KIND, _INT_KIND, _FLOAT_KIND = 14, 15, 16
_MOST_SECONDS = 2e-5
"""A program that takes no longer is run by its caller alone: sharing it between threads would take as long."""
_Type = np.dtype[Any]
_Context = Sequence[tuple[ContextVar[Any], object]]


class FunctionCall(NamedTuple):
    """A call that was made the long way, and what was run.

    ``names`` are those of all parameters, ``given`` the arguments by name, ``operands`` the names of those whose memory
    the program reads. ``sources`` tell of each slot before those of the results whether it is the memory of an operand,
    by number, or a constant's. ``finish`` makes what is returned of the results, None where that is the one result.
    ``context``: variables on which the program depends, with what they had.
    """

    function: object
    names: Sequence[str]
    given: Mapping[str, object]
    operands: Sequence[str]
    program: Kept
    sources: Sequence[int | Storage]
    words: Sequence[int]
    results: Sequence[tuple[tuple[int, ...], _Type]]
    finish: Callable[..., object] | None
    context: _Context


def offer_function(call: FunctionCall) -> None:
    """Let the door know a call of a function, if it is one that it takes."""
    is_small = len(call.names) <= MOST_PARAMETERS and 0 < len(call.results) <= MOST_RESULTS
    if not (is_small and call.program.is_plain and options.native_calls()) or sys.is_finalizing():
        call.program.admission.note(is_new=False)
        return
    with hold_tables() as is_outermost:
        if not is_outermost:
            return
        is_free = _let_go_of_bounds(call)
        call.program.admission.note(is_new=_enter(call) or not is_free)


def _let_go_of_bounds(call: FunctionCall) -> bool:
    """Forget which programs that are gone were bound to operands; False if there were any, or are."""
    before = len(BOUNDS)
    operands = [cast("Any", call.given[name]) for name in call.operands]
    starts = [(each.__array_interface__["data"][0], each.nbytes) for each in operands if type(each) is np.ndarray]
    is_bound = [is_tracked(start, start + nbytes) for start, nbytes in starts]
    return len(BOUNDS) == before and not any(is_bound)


def _enter(call: FunctionCall) -> bool:
    """Enter a call in the table of its function; False if it is there, or is none that the door takes."""
    door, told = open_door(), _arguments(call)
    if door is None or told is None or any(not is_plain(dtype) or 0 in shape for shape, dtype in call.results):
        return False
    arguments, key = told
    if not fits(arguments, key) or any(variable.get() is not value for variable, value in call.context):
        return False
    is_number = call.finish is None and not call.results[0][0]
    first = len(call.operands)
    results = [
        CallResult(first + n, shape, dtype, np.empty, int(is_number)) for n, (shape, dtype) in enumerate(call.results)
    ]
    memory = [address_of(call.given[name]) for name in call.operands]
    wanted = Wanted(arguments, key, [*call.given.values()], memory, call.sources, call.words, results, call.finish)
    return enter(door, table_of(door, call.function, call.names, call.context), call.program, wanted)


class Wanted(NamedTuple):
    """What is to be entered: arguments and key as the door reads them, with the objects that they name.

    ``memory``: where operands are now; the others are as of ``FunctionCall``.
    """

    arguments: tuple[Argument, ...]
    key: tuple[int, ...]
    named: object
    memory: Sequence[int]
    sources: Sequence[int | Storage]
    words: Sequence[int]
    results: Sequence[CallResult]
    finish: Callable[..., object] | None


def enter(door: Door, table: CallTable, program: Kept, wanted: Wanted) -> bool:
    """Enter a call in a table, to be run by a copy of a program; False if it is there, or that is no small one."""
    signature = table.signature(wanted.arguments, len(wanted.memory), wanted.named)
    direct = None if signature.knows(wanted.key) else program.direct(wanted.words)
    if direct is None:
        return False
    first = len(wanted.memory)
    numbers = [*wanted.sources, *range(first, first + len(wanted.results))]
    tried = [np.empty(each.shape, each.dtype) for each in wanted.results]
    ranges = [*wanted.memory, *map(address_of, tried)]
    cells: list[tuple[int, int]] = []
    for source, places in zip(numbers, direct.run.cells, strict=True):
        for cell in places:  # those of constants stay as they are put now
            is_range = isinstance(source, int)
            ctypes.c_uint64.from_address(cell).value = ranges[source] if is_range else address_of(source)
            cells += [(source, cell)] if is_range else []
    if door.seconds(direct.run) > _MOST_SECONDS:
        program.admission.note_long()
        return False
    kept = wanted.sources
    signature.enter(wanted.key, direct, cells, results=wanted.results, finish=wanted.finish, kept=kept)
    table.entries += 1
    return True


def address_of(held: object) -> int:
    """Return where an array's elements are, or storage of the host."""
    return held.address if isinstance(held, HostStorage) else cast("Array", held).ctypes.data


def table_of(door: Door, function: object, names: Sequence[str], context: _Context) -> CallTable:
    """Return the table of a ``brief`` function, which the door serves from now on."""
    door.renew()
    known = cast("Any", function)
    table: CallTable | None = getattr(known, "known_calls", None)
    if table is None:
        table = CallTable(door.generation, names, inner_of(known), context)
        known.known_calls = table
        replace_inner(known, door.function(table))
    elif not table.is_current(door.generation):
        table.clear(door.generation)
    return table


def _arguments(call: FunctionCall) -> tuple[tuple[Argument, ...], tuple[int, ...]] | None:
    """Return the kinds of arguments as the door reads them, and what it takes the entry by; None if it cannot."""
    found: list[Argument] = []
    key: list[int] = []
    for name in call.names:
        value: Any = call.given.get(name, _ABSENT)
        if name in call.operands:
            if type(value) is not np.ndarray or not (is_plain(value.dtype) and value.size):
                return None
            found.append(array_argument(value, call.operands.index(name)))
            key += value.shape
        elif value is _ABSENT:
            found.append(ABSENT)
        else:
            kind = _option_kind(value)
            if kind is None:
                return None
            of = cast("type[object]", type(value))
            found.append((kind, id(of), id(value) if kind == _OBJECT_KIND else 0, *ABSENT[3:]))
            if kind != _OBJECT_KIND:
                key.append(value if kind == _INT_KIND else struct.unpack("<Q", struct.pack("<d", value))[0])
    return tuple(found), tuple(word & ALL_BITS for word in key)


_ABSENT = object()


def _option_kind(value: Any) -> int | None:
    """Return how an argument that is no operand is told: as an object, or as a number; None if not at all."""
    kind = cast("type[object]", type(value))
    if value is None or kind in (bool, DType) or (kind is str and sys.intern(value) is value):
        return _OBJECT_KIND
    if kind is int:
        return _INT_KIND if -(1 << 63) <= value < 1 << 63 else None
    return _FLOAT_KIND if kind is float else None
