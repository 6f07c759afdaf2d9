"""What a kernel takes, by name and in order, and what one call gives it.

Layer: runtime. Invariant: no argument is left out, none is given twice, and a number reaches the kernel as
``encode_params`` would encode it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import field
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import is_list
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Memory, Param
from loom.ir.passes.limit import limit
from loom.ir.verified import VerifiedKernel
from loom.runtime.calls.knownlengths import Lengths, Settled
from loom.runtime.chain.arguments import as_verified, bound_shape, encode_params
from loom.runtime.chain.extents import groups_for, groups_of_call, lanes_along, lanes_to_limit, runs_whole, sizes_for
from loom.runtime.chain.kept import Admission

if TYPE_CHECKING:
    from loom.runtime.calls.trials import CallTrial, Trials

__all__ = ["MISSING", "Interface", "interface_of", "tell_conditions"]

MISSING: Any = object()
"""Stands for an argument that was not given."""
_FLOATS = {"f32": (struct.Struct("<f"), struct.Struct("<I")), "f64": (struct.Struct("<d"), struct.Struct("<Q"))}
_ZEROS = 0, 1 << 31
_MOST_SIZES = 256
_known: WeakKeyDictionary[KernelFunction, Interface] = WeakKeyDictionary()


def interface_of(function: KernelFunction) -> Interface:
    """Return what a kernel takes."""
    found = _known.get(function)
    if found is None:
        found = _known[function] = Interface(function)
    return found


def tell_conditions(function: KernelFunction) -> tuple[str, ...]:
    """Return the conditions of the calls of a kernel that were made (see ``KernelFunction.conditions``)."""
    found = _known.get(function)
    return () if found is None else tuple(found.conditions)


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a call of so many elements with such numbers is run: what kernel, the limits of its lanes, how many groups.

    ``settled`` tells whether it may index outside, ``trial`` whether its lanes may meet, ``admission`` how often it
    went the whole way.
    """

    interface: Interface
    limit: tuple[int, int, int] | None
    groups: tuple[int, ...]
    settled: Settled
    trial: CallTrial
    admission: Admission = field(default_factory=Admission)

    def words(self, words: list[int]) -> list[int]:
        """Return the words that the kernel takes."""
        if self.limit is None:
            return words
        own = len(self.interface.params)
        return [*words[:own], *self.limit, *words[own:]]


class Interface:
    """``buffers`` and ``params`` with their places among the arguments; ``written`` tells of each buffer."""

    def __init__(self, function: KernelFunction) -> None:
        self.where = f"kernel {function.name!r}"
        self.kernel: VerifiedKernel = as_verified(function, self.where)
        own = {**{m.name: m for m in self.kernel.bound}, **{p.name: p for p in self.kernel.given}}
        self.names = tuple(name for name in function.parameters if name in own)
        self.places = {name: place for place, name in enumerate(self.names)}
        self.buffers: tuple[tuple[int, Memory], ...] = tuple((self.places[m.name], m) for m in self.kernel.bound)
        self.params: tuple[tuple[int, Param], ...] = tuple((self.places[p.name], p) for p in self.kernel.given)
        self.lengths: tuple[tuple[int, Param], ...] = tuple(
            (self.places[p.extent[0]], p) for p in self.kernel.params if p.extent is not None
        )
        """The parameters that are lengths of what is bound, with the places of the buffers; behind the others."""
        self.written = tuple(m in self.kernel.writes for m in self.kernel.bound)
        self.plain: tuple[tuple[int, np.dtype[Any]], ...] = _plain(self.buffers)
        """Places and numpy dtypes of the buffers, if arrays of the host can be all that they are given; else none."""
        self._sizes: dict[Any, Any] = {}
        self._forms: dict[Any, CallForm] = {}
        self.inside = Lengths(self.kernel)
        self._trials: Trials | None = None
        self._deciding = self.inside.deciding
        self._limited: Interface | None = None

    @property
    def trials(self) -> Trials:
        """What is known of lanes that may meet."""
        if self._trials is None:
            from loom.runtime.calls.trials import Trials  # programs that call no kernel try nothing

            self._trials = Trials(self.kernel)
        return self._trials

    @property
    def conditions(self) -> list[str]:
        """What must be so for the results of the calls that were made to be the same bits everywhere."""
        known = [each._trials for each in (self, self._limited) if each is not None and each._trials is not None]
        return [text for trials in known for text in trials.conditions]

    def with_limit(self) -> Interface:
        """Return the same with a kernel that runs as many lanes as it is told: three numbers behind its own."""
        if self._limited is None:
            made = copy(self)
            made.kernel = limit(self.kernel)
            made.inside = Lengths(made.kernel)
            made._trials = None
            self._limited = made
        return self._limited

    def limit(self, words: Sequence[int], lanes: Sequence[int]) -> list[int]:
        """Return the words that ``with_limit`` takes."""
        own = len(self.params)
        return [*words[:own], *lanes, *words[own:]]

    def bind(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """Return the arguments in order, ``MISSING`` where none was given."""
        names = self.names
        if len(args) > len(names):
            raise ArgumentError(self.where, "too many arguments", expected=self.signature(), got=len(args),
                                remedy="Give one for each parameter, or by name")  # fmt: skip
        values = [*args, *[MISSING] * (len(names) - len(args))]
        for name, value in named.items():
            place = self.places.get(name, -1)
            if place < 0:
                raise ArgumentError(self.where, f"no parameter is called {name!r}", expected=self.signature(),
                                    got=f"{name}=", remedy=near_matches(name, [*names, *SETTINGS]))  # fmt: skip
            if values[place] is not MISSING:
                raise ArgumentError(self.where, f"parameter {name!r} is given twice", expected="one value",
                                    got="one by position and one by name", remedy="Leave one out")  # fmt: skip
            values[place] = value
        for place, param in self.params:
            if values[place] is MISSING and param.default is not None:
                values[place] = param.default
        return values

    def missing(self, names: Sequence[str], given: Sequence[str], remedy: str) -> ArgumentError:
        """Return what says that nothing was given for ``names``, but for the parameters ``given``."""
        what = "nothing was given for " + ", ".join(map(repr, names))
        return ArgumentError(
            self.where,
            what,
            expected=self.signature(),
            got=f"values of {', '.join(given)}" if given else "none",
            remedy=remedy,
        )

    def signature(self) -> str:
        """Return the parameters as they are declared."""
        kinds = {m.name: f"{_ACCESS[m.access.value]}[{_describe_type(m)}]" for _, m in self.buffers}
        kinds |= {p.name: str(p.dtype) + _default(p) for _, p in self.params}
        return ", ".join(f"{name}: {kinds[name]}" for name in self.names) or "none"

    def words(self, values: Sequence[Any]) -> list[int]:
        """Return the parameters, then the lengths of what is bound, as 64-bit words; errors as of a dispatch."""
        found = self._words_of(values)
        if self.lengths:
            shapes = {m.name: bound_shape(m, _like(values[place]), self.where) for place, m in self.buffers if m.ndim}
            found += [shapes[p.extent[0]][p.extent[1]] for _, p in self.lengths if p.extent is not None]
        return found

    def _words_of(self, values: Sequence[Any]) -> list[int]:
        found: list[int] = []
        for place, param in self.params:
            value, dtype = values[place], param.dtype
            if is_list(value) or isinstance(value, range):
                raise ArgumentError(
                    f"{self.where}, parameter {param.name!r}",
                    "a list is given for a number",
                    expected=f"one {dtype}",
                    got=value,
                    remedy="Give the number",
                )
            kind = cast("type[Any]", type(value))
            if kind is float and dtype.name in _FLOATS:
                numbers, bits = _FLOATS[dtype.name]
                try:
                    word = bits.unpack(numbers.pack(value))[0]
                    if word not in _ZEROS or value == 0.0:  # else the thread may be one that flushes what is small
                        found.append(word)
                        continue
                except OverflowError:
                    pass
            elif kind is int and dtype.is_integer and dtype.minimum <= value <= dtype.maximum:
                if value >> 31 and param in self.kernel.index_params:
                    return self._encode(values)  # which refuses it
                found.append(value & ((1 << dtype.bits) - 1))
                continue
            return self._encode(values)
        return found

    def _encode(self, values: Sequence[Any]) -> list[int]:
        given = [values[place] for place, _ in self.params]
        nothing = {m.name: (0,) * m.ndim for _, m in self.buffers if m.ndim}
        return encode_params(self.kernel, given, 1, self.where, nothing)[0].tolist()[: len(given)]

    def form_before(self, sizes: Sequence[int], words: Sequence[int]) -> CallForm | None:
        """Return how a call over so many elements was run before, without a number of groups or lanes."""
        deciding = self._deciding
        return self._forms.get((*sizes, *[words[n] for n in deciding]) if deciding else tuple(sizes))

    def form(
        self, elements: Sequence[int], words: Sequence[int], groups: object = None, lanes: object = None
    ) -> CallForm:
        """Return how a call is run over so many elements, with a number of ``groups`` or ``lanes`` or with neither."""
        sizes = groups_of_call(self.kernel, groups, lanes, self.where)
        key: tuple[object, ...] = (*elements, *[words[n] for n in self._deciding])
        if sizes is not None:
            key = (*key, sizes, None if lanes is None else lanes_along(lanes, self.where))
        found = self._forms.get(key)
        if found is None:
            found = form_of(self, elements, words, sizes, lanes)
            if len(self._forms) >= _MOST_SIZES:
                self._forms.clear()
            self._forms[key] = found
        return found

    def groups(self, elements: Sequence[int], words: Sequence[int]) -> Any:
        """Return how many groups there are without a number given (see ``extents``)."""
        key = (*elements, *words)
        found = self._sizes.get(key)
        if found is None:
            found = groups_for(self.kernel, elements, np.array([words], np.uint64), self.where)
            if len(self._sizes) >= _MOST_SIZES:
                self._sizes.clear()
            self._sizes[key] = found
        return found


def form_of(
    interface: Interface, elements: Sequence[int], words: Sequence[int], groups: tuple[int, ...] | None, lanes: object
) -> CallForm:
    """Return how a call is run; lanes that only index outside are left out, where groups are not whole."""
    kernel, where = interface.kernel, interface.where
    limit = lanes_to_limit(kernel, lanes, elements, words, where)
    spare = None if lanes is None or runs_whole(kernel) else lanes_along(lanes, where)
    if groups is None:
        groups, spare = sizes_for(kernel, elements, words, where)
    groups, inside = (*groups, 1, 1)[:3], interface.inside
    if limit is None:
        settled = inside.standing(elements, words, groups)
        limit = None if settled.is_inside else spare
        if limit is None or not inside.gains(interface.with_limit, elements, words, groups, limit):
            return CallForm(interface, None, groups, settled, interface.trials.trial(elements, groups))
    other = interface.with_limit()
    settled = other.inside.standing(elements, other.limit(words, limit), groups)
    return CallForm(other, limit, groups, settled, other.trials.trial(elements, groups))


def _plain(buffers: Sequence[tuple[int, Memory]]) -> tuple[tuple[int, np.dtype[Any]], ...]:
    if any(memory.dtype.is_vector or memory.record for _, memory in buffers):
        return ()
    return tuple((place, memory.dtype.numpy) for place, memory in buffers)


def _like(given: Any) -> Any:
    """Return what has the shape of what a buffer is given."""
    return given if hasattr(given, "shape") or not is_list(given) else np.empty(np.shape(given), np.bool_)


def _describe_type(memory: Memory) -> str:
    return f"{memory.record or memory.fixed or memory.dtype}{f', {memory.ndim}' * (memory.ndim > 1)}"


def _default(param: Param) -> str:
    return "" if param.default is None else f" = {param.default!r}"


SETTINGS = ("on", "lanes", "groups", "out")
"""What a call takes besides the kernel's own parameters; a parameter of the kernel's of that name comes first."""
_ACCESS = {"read": "In", "write": "Out", "read_write": "InOut"}
