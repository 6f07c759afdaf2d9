"""Calls of kernels that the native door knows: what their arguments are, and the numbers that decide.

Layer: runtime. A call is offered when it was made the long way; one that comes again is put in the tables, if its
program is one small dispatch and its arguments are of kinds that the door reads. Invariant: an entry says no more than
was proved of the call it was made of; what is in a table stays in memory as long as its kernel has the table.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core import options
from loom.core.arrays import Array
from loom.core.dtype import DType
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Memory, Param
from loom.runtime.calls.native.calltables import (
    ABSENT,
    MOST_PARAMETERS,
    OWN_KIND,
    Argument,
    CallResult,
    CallTable,
    array_argument,
    fits,
    hold_tables,
    is_plain,
)
from loom.runtime.calls.native.layouts import SCALARS, places_of
from loom.runtime.chain.kept import find_kept
from loom.runtime.memory.order import settle_uses
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device

if TYPE_CHECKING:
    from loom.runtime.calls.interface import CallForm, Interface

__all__ = ["offer"]

_WHOLE, _F32, _F64 = 0, 1, 2
_EXACT = {_F32: 1 << 24, _F64: 1 << 53}
"""Up to where whole numbers are those of a float type."""
_INDEXES = (1 << 31) - 1
_LARGEST = (1 << 63) - 1
_DIRECT_WORK = 5e4
"""Operations that a caller runs without a look at others: some ten microseconds."""
_ABSENT = object()
_NOTHING: Mapping[int, Array] = {}
_Words = np.ndarray[Any, Any]


def offer(
    called: KernelFunction,
    form: CallForm,
    key: Hashable,
    where: Device,
    args: Sequence[object],
    named: Mapping[str, object],
    interface: Interface,
    made: Mapping[int, Array] = _NOTHING,
) -> None:
    """Let the door know a call that was made without settings, if it is one that it takes and that came before.

    ``called``: the kernel as it was called, of which ``form`` may be that of an instance. ``key``: of the program that
    was run. ``made``: by the number of a buffer, new arrays of outputs that were left out.
    """
    if where.kind != "cpu":
        return
    for value in (*args, *named.values()):
        if isinstance(value, Readable) and value.direct is not None:
            settle_uses(getattr(value, value.direct.storage))
    if not form.admission.is_due() or not options.native_calls() or sys.is_finalizing():
        return
    is_sure = form.settled.is_inside and form.trial.is_over
    if is_sure and interface.plain and not interface.kernel.is_loose:
        values = [args[n] if n < len(args) else named.get(name, _ABSENT) for n, name in enumerate(interface.names)]
        form.admission.note(is_new=_enter(called, form, key, where, values, interface, made))


def _enter(
    called: KernelFunction,
    form: CallForm,
    key: Hashable,
    where: Device,
    values: Sequence[object],
    interface: Interface,
    made: Mapping[int, Array],
) -> bool:
    """Enter a call in the table of its kernel; False if it is there, or is none that the door takes."""
    from loom.runtime.calls.native.nativedoor import open_door  # few programs call a kernel twice

    with hold_tables() as is_outermost:
        door = open_door() if is_outermost else None
        if door is None:
            return False
        door.renew()
        others = _others(interface, made)
        words = interface.words([p if v is _ABSENT else v for v, p in zip(values, others, strict=True)])
        kept = find_kept(key, where)  # None if settings changed since
        direct = None if kept is None else kept.direct(form.words(words))
        if direct is None or direct.run.operations > _DIRECT_WORK:
            return False
        ranges = _ranges(len(interface.buffers), made)
        arguments = _arguments(interface, values, where, ranges)
        if arguments is None or not all(is_plain(each.dtype) and each.size for each in made.values()):
            return False
        known = _key(interface, values, words)
        if not fits(arguments, known):
            return False
        table: CallTable | None = called.known_calls
        if table is None or not table.is_current(door.generation):
            called.known_calls = table = CallTable(door.generation, interface.names)
        if table.names != interface.names:  # instances of one kernel may have other parameters
            return False
        signature = table.signature(arguments, len(interface.buffers) - len(made))
        if signature.knows(known):
            return False
        cells = [(ranges[n], cell) for n, places in enumerate(direct.run.cells) for cell in places]
        given = {number for number, (place, _) in enumerate(interface.params) if values[place] is not _ABSENT}
        numbers = [(n, cell) for n, cell in direct.numbers if n in given]
        results = [CallResult(ranges[n], each.shape, each.dtype, np.zeros) for n, each in made.items()]
        finish = _several if len(made) > 1 else None
        signature.enter(known, direct._replace(untold=()), cells, numbers, results=results, finish=finish)
        table.entries += 1
        return True


def _several(*results: object) -> tuple[object, ...]:
    return results


def _ranges(count: int, made: Mapping[int, Array]) -> list[int]:
    """Return which range each buffer has: those that are given come first."""
    order = [*(n for n in range(count) if n not in made), *made]
    return [order.index(n) for n in range(count)]


# arguments


def _arguments(
    interface: Interface, values: Sequence[object], where: Device, ranges: Sequence[int]
) -> tuple[Argument, ...] | None:
    """Return the kinds of arguments as the door reads them; None if it cannot read one."""
    if len(values) > MOST_PARAMETERS:
        return None
    found: dict[int, Argument | None] = {}
    own = False
    for number, (place, memory) in enumerate(interface.buffers):
        value, writes = values[place], interface.written[number]
        own = own or isinstance(value, Readable)
        found[place] = _buffer(value, memory, ranges[number], where, interface.plain[number][1], writes=writes)
    if not (own or where is device(None)):
        return None
    for number, (place, param) in enumerate(interface.params):
        found[place] = _number(values[place], param, number, interface)
    ordered = [found.get(place) for place in range(len(values))]
    arguments = tuple(each for each in ordered if each is not None)
    return arguments if len(arguments) == len(values) else None


def _buffer(
    value: Any,
    memory: Memory,
    number: int,
    where: Device,
    dtype: np.dtype[Any],
    *,
    writes: bool,
) -> Argument | None:
    kind = cast("type[Any]", type(value))
    if value is _ABSENT:
        return ABSENT
    if kind is np.ndarray:
        if value.dtype is not dtype or not value.size:
            return None
        return array_argument(value, number, writes=writes)
    if not isinstance(value, Readable) or value.direct is None or value.dtype is not memory.dtype.scalar:
        return None
    conditions = _conditions(kind, where, value.dtype, writes)
    places = places_of(kind, value.direct.storage, value.direct.shape)
    if conditions is None or places is None or not value.size:
        return None
    return (OWN_KIND, id(kind), conditions.ctypes.data, len(conditions), value.ndim, int(writes), number, 0, *places)


@cache
def _conditions(kind: type[Any], where: Device, dtype: DType, writes: bool) -> _Words | None:
    """Return which slots of an array of Loom's must be what, for its memory to be used as it is."""
    use = kind.direct
    asked = (*use.reads, *(use.writes if writes else ()), (use.device, where, True), (use.dtype, dtype, True))
    names = tuple(dict.fromkeys(name for name, _, _ in asked))
    places = places_of(kind, *names)
    if places is None:
        return None
    at = dict(zip(names, places, strict=True))
    return np.array([(at[name], id(wanted), int(sense)) for name, wanted, sense in asked], np.uint64)


def _number(value: object, param: Param, number: int, interface: Interface) -> Argument | None:
    if value is _ABSENT:
        return ABSENT
    its_type = type(value)
    kind, dtype = SCALARS.get(its_type), param.dtype
    form = _F32 if dtype.name == "f32" else _F64 if dtype.name == "f64" else _WHOLE
    if kind is None or dtype.is_vector or (form == _WHOLE and not (dtype.is_integer or dtype.is_bool)):
        return None
    least, most = (0, 1) if dtype.is_bool else (dtype.minimum, dtype.maximum) if form == _WHOLE else (0, 0)
    if form != _WHOLE:
        least, most = -_EXACT[form], _EXACT[form]
    elif param in interface.kernel.index_params:
        least, most = max(least, 0), min(most, _INDEXES)
    decides = int(number in interface.inside.deciding)
    return kind, id(its_type), form, least, min(most, _LARGEST), decides, number, (1 << dtype.bits) - 1, 0, 0


def _others(interface: Interface, made: Mapping[int, Array]) -> list[object]:
    """Return what stands for arguments that are left out: new arrays, and defaults."""
    found: list[object] = [None] * len(interface.names)
    for number, array in made.items():
        found[interface.buffers[number][0]] = array
    for place, param in interface.params:
        found[place] = param.default
    return found


def _key(interface: Interface, values: Sequence[Any], words: Sequence[int]) -> tuple[int, ...]:
    """Return what the door takes the entry by: in order, the lengths of arrays and the numbers that decide."""
    at = {place: number for number, (place, _) in enumerate(interface.params)}
    deciding = interface.inside.deciding
    found: list[int] = []
    for place, value in enumerate(values):
        number = at.get(place)
        if number is None:
            found += () if value is _ABSENT else value.shape
        elif number in deciding and value is not _ABSENT:
            found.append(int(words[number]))
    return tuple(found)
