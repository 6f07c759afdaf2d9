"""What the native door knows of each kernel: signatures of calls that were made, and what runs those of each size.

Layer: runtime. A call is offered when it was made the long way; one that comes again is put in the tables, if its
program is one small dispatch and its arguments are of kinds that the door reads. Invariant: an entry says no more than
was proved of the call it was made of; what is in a table stays in memory as long as its kernel has the table.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core import options
from loom.core.dtype import DType
from loom.core.process.critical import CRITICAL
from loom.core.process.forks import hold_over_forks
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Memory, Param
from loom.runtime.calls.native.layouts import SCALARS, places_of
from loom.runtime.chain.kept import find_kept
from loom.runtime.memory.order import settle_uses
from loom.runtime.port.device import Device, DirectDispatch
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device

if TYPE_CHECKING:
    from loom.runtime.calls.interface import CallForm, Interface

__all__ = ["offer"]

_MOST_PARAMETERS, _MOST_KEY, _MOST_SIGNATURES, _MOST_ENTRIES = 16, 79, 64, 1024
_BUCKETS = 64
_ABSENT_KIND, _ARRAY_KIND, _OWN_KIND = 0, 1, 2
_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_WHOLE, _F32, _F64 = 0, 1, 2
_EXACT = {_F32: 1 << 24, _F64: 1 << 53}
"""Up to where whole numbers are those of a float type."""
_INDEXES = (1 << 31) - 1
_LARGEST = (1 << 63) - 1
_ALL_BITS = (1 << 64) - 1
_SEED, _FACTOR = 14695981039346656037, 1099511628211
_ABSENT = object()
_Argument = tuple[int, ...]
_Words = np.ndarray[Any, Any]


def offer(
    called: KernelFunction,
    form: CallForm,
    key: Hashable,
    where: Device,
    args: Sequence[object],
    named: Mapping[str, object],
    interface: Interface,
) -> None:
    """Let the door know a call that was made without settings, if it is one that it takes and that came before.

    ``called``: the kernel as it was called, of which ``form`` may be that of an instance. ``key``: of the program that
    was run.
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
        form.admission.note(is_new=_enter(called, form, key, where, values, interface))


def _enter(
    called: KernelFunction, form: CallForm, key: Hashable, where: Device, values: Sequence[object], interface: Interface
) -> bool:
    """Enter a call in the table of its kernel; False if it is there, or is none that the door takes."""
    from loom.runtime.calls.native.nativedoor import opened  # few programs call a kernel twice

    with CRITICAL, _lock, ExitStack() as end:
        if _entering:  # a finalizer called this
            return False
        end.callback(_entering.clear)
        _entering.append(called)
        door = opened(_CallTable)
        if door is None:
            return False
        door.renew()
        kept = find_kept(key, where)  # None if settings changed since
        dispatch = None if kept is None else kept.direct()
        arguments = None if dispatch is None else _arguments(interface, values, where)
        if dispatch is None or arguments is None:
            return False
        table: _CallTable | None = called.known_calls
        if table is None or table.is_full or table.generation != door.generation:
            called.known_calls = table = _CallTable(door.generation, interface.names)
        if table.names != interface.names:  # instances of one kernel may have other parameters
            return False
        words = interface.words([p if v is _ABSENT else v for v, p in zip(values, _defaults(interface), strict=True)])
        signature = table.signature(arguments, dispatch.rows)
        is_new = signature.enter(_key(interface, values, words), dispatch, form.words(words))
        table.entries += is_new
        return is_new


_lock = hold_over_forks(threading.RLock())
_entering: list[KernelFunction] = []
"""Of what a call is being entered: whoever has the lock and finds one comes in the middle, in the same thread."""


class _CallTable:
    """The signatures of one kernel's calls; ``place`` is where the door finds them."""

    __slots__ = ("_name_places", "_signatures", "_words", "entries", "generation", "names", "place")

    def __init__(self, generation: int, names: Sequence[str]) -> None:
        self.names = tuple(sys.intern(name) for name in names)
        self._name_places = np.array([*map(id, self.names), 0], np.uint64)
        self._words = np.array([generation, 0, len(names), self._name_places.ctypes.data], np.uint64)
        self._signatures: dict[tuple[_Argument, ...], _Signature] = {}
        self.entries = 0
        self.generation = generation
        self.place: int = self._words.ctypes.data

    @property
    def is_full(self) -> bool:
        """Whether another is to be begun."""
        return len(self._signatures) >= _MOST_SIGNATURES or self.entries >= _MOST_ENTRIES

    def signature(self, arguments: tuple[_Argument, ...], rows: Sequence[int]) -> _Signature:
        """Return the signature of arguments, made now if it is not there."""
        found = self._signatures.get(arguments)
        if found is None:
            found = self._signatures[arguments] = _Signature(arguments, rows, int(self._words[1]))
            self._words[1] = found.address
        return found


class _Signature:
    """Kinds of arguments, with an entry for each key: lengths, and the numbers that decide."""

    def __init__(self, arguments: tuple[_Argument, ...], rows: Sequence[int], following: int) -> None:
        self._arguments = np.array([[word & _ALL_BITS for word in each] for each in arguments], np.uint64)
        self._rows = np.array([*rows, 0], np.uint64)
        self._buckets = np.zeros(_BUCKETS, np.uint64)
        self._entries: dict[tuple[int, ...], object] = {}
        self._words = np.array(
            [
                following,
                self._arguments.ctypes.data,
                _BUCKETS - 1,
                self._buckets.ctypes.data,
                len(rows),
                self._rows.ctypes.data,
            ],
            np.uint64,
        )

    @property
    def address(self) -> int:
        """Where the door finds it."""
        return self._words.ctypes.data

    def enter(self, key: tuple[int, ...], dispatch: DirectDispatch, words: Sequence[int]) -> bool:
        """Let calls of a key be run by a dispatch, with ``words`` where no argument says others; False: they are."""
        if key in self._entries:
            return False
        mixed = _SEED
        for word in key:
            mixed = ((mixed ^ word) * _FACTOR) & _ALL_BITS
        bucket = (mixed ^ (mixed >> 32)) & (_BUCKETS - 1)
        record, bindings = dispatch.record.copy(), dispatch.bindings.copy()
        params = np.array([*words, 0], np.uint64)
        record["bindings"], record["params"] = bindings.ctypes.data, params.ctypes.data
        sites = id(dispatch.sites) if dispatch.sites else 0
        entry = np.array(
            [
                self._buckets[bucket],
                mixed,
                record["kernel"][0],
                record.ctypes.data,
                record["total"][0],
                bindings.ctypes.data,
                params.ctypes.data,
                sites,
                *key,
            ],
            np.uint64,
        )
        self._entries[key] = entry, record, bindings, params, dispatch
        self._buckets[bucket] = entry.ctypes.data
        return True


# arguments


def _arguments(interface: Interface, values: Sequence[object], where: Device) -> tuple[_Argument, ...] | None:
    """Return the kinds of arguments as the door reads them; None if it cannot read one."""
    if len(values) > _MOST_PARAMETERS:
        return None
    found: dict[int, _Argument | None] = {}
    own = False
    for number, (place, memory) in enumerate(interface.buffers):
        value, writes = values[place], interface.written[number]
        own = own or isinstance(value, Readable)
        found[place] = _buffer(value, memory, number, where, interface.plain[number][1], writes=writes)
    if not (own or where is device(None)):
        return None
    for number, (place, param) in enumerate(interface.params):
        found[place] = _number(values[place], param, number, interface)
    ordered = [found.get(place) for place in range(len(values))]
    arguments = tuple(each for each in ordered if each is not None)
    decides = sum(each[5] for each in arguments if each[0] > _OWN_KIND)
    axes = sum(each[4] for each in arguments if each[0] in (_ARRAY_KIND, _OWN_KIND))
    return arguments if len(arguments) == len(values) and decides + axes <= _MOST_KEY else None


def _buffer(
    value: Any,
    memory: Memory,
    number: int,
    where: Device,
    dtype: np.dtype[Any],
    *,
    writes: bool,
) -> _Argument | None:
    kind = cast("type[Any]", type(value))
    if kind is np.ndarray:
        if value.dtype is not dtype or not value.size:
            return None
        flags = _CONTIGUOUS | _ALIGNED | (_WRITEABLE if writes else 0)
        return _ARRAY_KIND, id(kind), id(dtype), flags, value.ndim, int(writes), number, dtype.itemsize, 0, 0
    if not isinstance(value, Readable) or value.direct is None or value.dtype is not memory.dtype.scalar:
        return None
    conditions = _conditions(kind, where, value.dtype, writes)
    places = places_of(kind, value.direct.storage, value.direct.shape)
    if conditions is None or places is None or not value.size:
        return None
    return (_OWN_KIND, id(kind), conditions.ctypes.data, len(conditions), value.ndim, int(writes), number, 0, *places)


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


def _number(value: object, param: Param, number: int, interface: Interface) -> _Argument | None:
    if value is _ABSENT:
        return _ABSENT_KIND, 0, 0, 0, 0, 0, number, 0, 0, 0
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


def _defaults(interface: Interface) -> list[object]:
    found: list[object] = [None] * len(interface.names)
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
            found += value.shape
        elif number in deciding and value is not _ABSENT:
            found.append(int(words[number]))
    return tuple(found)
