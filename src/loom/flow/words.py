"""Numbers in a unit's words: a number written takes the type that kernels say, and is read back as a number.

Layer: flow. Callers know one kind of number, a float; kernels know integers too (docs/guide/flow.md, "Numbers"). So
what ``loom_write`` was given stays a number until ``loom_build`` shows what the kernels take a binding's words for:
where all agree on one 32-bit type, the numbers become that type (a number with a fraction is no integer: an error),
else they keep their own (floats f32, integers u32, or i32 with negative ones). Invariant: a number never changes its
value but by rounding to f32.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.arrays import Array, read_array
from loom.core.conversions import widen
from loom.core.dtype import DType, f32, i32, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.flow.roles import buffer_types
from loom.ir.verified import VerifiedKernel
from loom.runtime.units.unit import Unit

__all__ = ["Words", "as_words", "words_of"]

_TYPES = (f32, u32, i32)
_CHANGED, _KIND = 0x80, 0x7F
"""Marks a word that was given another type than its number's own; the rest is 1 + its place in ``_TYPES``."""

_units: WeakKeyDictionary[Unit, Words] = WeakKeyDictionary()


def words_of(unit: Unit) -> Words:
    """Return what is known of a unit's words."""
    found = _units.get(unit)
    if found is None:
        found = _units[unit] = Words()
    return found


def as_words(data: Any, where: str) -> np.ndarray[Any, Any]:
    """Return numbers as one of f32, u32 or i32: 32-bit arrays as they are, floats as f32, integers by their signs.

    DTypeError for what are no numbers, or integers beyond 32 bits.
    """
    array = widen(*read_array(data, where))
    if array.dtype.kind in "iuf" and array.itemsize == 4 and array.dtype.isnative:
        return array.reshape(-1)
    if array.dtype.kind not in "iuf":
        raise _no_words(where, "memory is 32-bit words", array.dtype)
    with ordinary_arithmetic(), np.errstate(over="ignore"):
        kind = np.float32 if array.dtype.kind == "f" else np.int32 if array.size and array.min() < 0 else np.uint32
        narrow = array.astype(kind)
        lost = (narrow != array) if kind is not np.float32 else np.isinf(narrow) & ~np.isinf(array)
    if lost.any():
        raise _no_words(where, "memory is 32-bit words", repr(array.reshape(-1)[int(np.argmax(lost.reshape(-1)))]))
    return narrow.reshape(-1)


def _no_words(where: str, what: str, got: Any) -> DTypeError:
    return DTypeError(
        where, what, expected="uint32, int32 or float32, or numbers that fit them", got=got,
        remedy="Convert with array.astype(...); unit.write copies raw words",
    )  # fmt: skip


class Words:
    """What is known of one unit's bindings: the types kernels take them for, and what the host wrote."""

    __slots__ = ("_kinds", "_recorded", "_taken")

    def __init__(self) -> None:
        self._kinds: dict[str, np.ndarray[Any, Any]] = {}
        self._taken: dict[str, dict[DType, str]] = {}
        self._recorded: list[tuple[str, DType, str]] = []

    def record(self, kernel: VerifiedKernel, names: list[str]) -> None:
        """Take note of a dispatch of ``kernel`` over the bindings called ``names``."""
        types = buffer_types(kernel)
        for memory, name in zip((m for m in kernel.kernel.buffers if m.data is None), names, strict=True):
            self._recorded += [(name, dtype, kernel.name) for dtype in types[memory]]

    def record_type(self, name: str, dtype: DType, user: str) -> None:
        """Take note that ``user`` takes words of a binding as ``dtype``."""
        self._recorded.append((name, dtype, user))

    def take(
        self, unit: Unit, name: str, offset: int, others: Words, source: Unit, place: tuple[str, int, int], where: str
    ) -> None:
        """Copy numbers from another unit's binding, start and count; raw words where its kernels take several types."""
        origin, start, count = place
        if len(others._taken.get(origin, {})) > 1:
            unit.copy_from(source, source=origin, start=start, count=count, target=name, offset=offset)
            return
        self.write(unit, name, offset, as_words(others.read(source, origin, start, count, where), where), where)

    def forget(self, name: str) -> None:
        """The binding is another one now, and empty."""
        self._kinds.pop(name, None)

    # writing

    def write(self, unit: Unit, name: str, offset: int, words: np.ndarray[Any, Any], where: str) -> None:
        """Write numbers, as the type that built kernels take the binding for, if they agree."""
        own = _TYPES.index(_dtype(words)) + 1
        taken = self._taken.get(name, {})
        mark = own
        if len(taken) == 1:
            (wanted, kernel), *_ = taken.items()
            words = _convert(words, wanted, offset, name, kernel, where)
            mark = _mark(own, wanted)
        unit.write(words.view(np.uint32), offset, binding=name)
        kinds = self._kinds_of(name, offset + words.size)
        kinds[offset : offset + words.size] = mark

    def expect(
        self, unit: Unit, name: str, offset: int, count: int, dtype: DType, where: str
    ) -> Callable[[Array], None]:
        """Take note of numbers of a type that another thread will write, and return what writes them."""
        if name not in unit.memory():
            raise ArgumentError(where, f"the unit has no {name}", remedy="Call loom_set_heap(unit, data) first")
        held = unit.memory()[name][0].nbytes // 4
        if offset + count > held:
            raise ShapeError(
                where,
                f"range outside {name!r}",
                expected=f"within its {held} words",
                got=f"{offset} + {count}",
                remedy="Boot the unit with more, or read fewer",
            )
        taken = self._taken.get(name, {})
        wanted, kernel = next(iter(taken.items())) if len(taken) == 1 else (dtype, "")
        self._kinds_of(name, offset + count)[offset : offset + count] = _mark(_TYPES.index(dtype) + 1, wanted)

        def take(words: Array) -> None:
            unit.write(_convert(words, wanted, offset, name, kernel, where).view(np.uint32), offset, binding=name)

        return take

    def _kinds_of(self, name: str, least: int) -> np.ndarray[Any, Any]:
        kinds = self._kinds.get(name)
        if kinds is None or kinds.size < least:
            grown = np.zeros(max(least, 0 if kinds is None else 2 * kinds.size), np.uint8)
            if kinds is not None:
                grown[: kinds.size] = kinds
            kinds = self._kinds[name] = grown
        return kinds

    def settle(self, unit: Unit, where: str) -> None:
        """Before a build: give numbers the type that the kernels recorded since the last one take them for."""
        for name in dict.fromkeys(name for name, _, _ in self._recorded):
            taken = dict(self._taken.get(name, {}))
            for found, dtype, kernel in self._recorded:
                if found == name:
                    taken.setdefault(dtype, kernel)
            if len(taken) == 1:
                (wanted, kernel), *_ = taken.items()
                self._convert(unit, name, wanted, kernel, where)
            else:
                self._refuse_changed(name, taken, where)
            self._taken[name] = taken
        self._recorded = []

    def _convert(self, unit: Unit, name: str, wanted: DType, kernel: str, where: str) -> None:
        kinds = self._kinds.get(name)
        if kinds is None:
            return
        others = (kinds != 0) & (kinds & _KIND != _TYPES.index(wanted) + 1)
        for start, stop in _runs(np.where(others, kinds, 0)):
            own = int(kinds[start])
            words = unit.read(start, stop - start, binding=name).view(_numpy(own))
            unit.write(_convert(words, wanted, start, name, kernel, where).view(np.uint32), start, binding=name)
            kinds[start:stop] = _mark(own, wanted)

    def _refuse_changed(self, name: str, taken: dict[DType, str], where: str) -> None:
        kinds = self._kinds.get(name)
        if kinds is None or not (kinds & _CHANGED).any():
            return
        uses = " and ".join(f"{dtype} by {kernel!r}" for dtype, kernel in taken.items())
        raise ArgumentError(
            where, f"the numbers at word {int(np.argmax(kinds & _CHANGED > 0))} of the {name} have one type already",
            expected="kernels that take them as one type", got=uses,
            remedy="Record both kernels before the first loom_build, or write numpy arrays of the types meant",
        )  # fmt: skip

    # reading

    def read(self, unit: Unit, name: str, offset: int, count: int, where: str) -> np.ndarray[Any, Any]:
        """Return words as the numbers they are; ArgumentError if kernels take the binding for several types."""
        words = unit.read(offset, count, binding=name)
        taken = dict(self._taken.get(name, {}))
        if len(taken) > 1:
            uses = " and ".join(f"{dtype} by {kernel!r}" for dtype, kernel in taken.items())
            raise ArgumentError(
                where, f"the {name} hold numbers of several types", expected="dtype=loom.f32, u32 or i32",
                got=f"none, and words taken as {uses}", remedy="Say which: loom_read(..., dtype=loom.u32)",
            )  # fmt: skip
        if taken:
            return words.view(next(iter(taken)).numpy)
        kinds = self._kinds.get(name, np.zeros(0, np.uint8))[offset : offset + count]
        found = [int(kind) for kind in np.unique(kinds) if kind]
        if len(found) < 2:
            return words.view(_numpy(found[0]) if found else np.float32)
        values = np.zeros(count, np.float64)
        for start, stop in _runs(kinds):
            values[start:stop] = words[start:stop].view(_numpy(int(kinds[start])))
        return values


def _dtype(words: np.ndarray[Any, Any]) -> DType:
    return f32 if words.dtype.kind == "f" else i32 if words.dtype.kind == "i" else u32


def _numpy(kind: int) -> np.dtype[Any]:
    return _TYPES[(kind & _KIND) - 1].numpy


def _mark(own: int, wanted: DType) -> int:
    kind = _TYPES.index(wanted) + 1
    return kind if own & _KIND == kind else kind | _CHANGED


def _runs(kinds: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Return (start, stop) of the stretches of one kind, those of none left out."""
    edges = np.flatnonzero(np.diff(kinds, prepend=0, append=0))
    return [(int(a), int(b)) for a, b in pairwise(edges) if kinds[a]]


@ordinary_arithmetic()
def _convert(
    words: np.ndarray[Any, Any], wanted: DType, offset: int, name: str, kernel: str, where: str
) -> np.ndarray[Any, Any]:
    """Return numbers as ``wanted``: floats are rounded, integers must be the same number."""
    if words.dtype == wanted.numpy:
        return words
    with np.errstate(all="ignore"):
        result = words.astype(wanted.numpy)
        lost = np.zeros(words.size, np.bool_)
        if wanted.is_integer:
            exact = words.astype(np.float64)
            lost = ~((exact >= wanted.minimum) & (exact <= wanted.maximum) & (exact == np.floor(exact)))
    if lost.any():
        at = int(np.argmax(lost))
        raise ArgumentError(
            where, f"word {offset + at} of the {name} is no {wanted}, which kernel {kernel!r} takes it for",
            expected=f"a whole number from {wanted.minimum} to {wanted.maximum}", got=words[at].item(),
            remedy="Write whole numbers there, or change the kernel's type",
        )  # fmt: skip
    return result
