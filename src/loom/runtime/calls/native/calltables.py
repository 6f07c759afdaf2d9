"""What the native door knows of calls: signatures of those that were made, and what runs those of each size.

Layer: runtime. Who offers a call lays out what its arguments are (``kernelkeys``, ``functionkeys``). Invariant: an
entry says no more than was proved of the call it was made of; what is in a table stays in memory as long as the table.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from loom.core.process.critical import CRITICAL
from loom.core.process.forks import hold_over_forks
from loom.runtime.chain.kept import Direct

__all__ = [
    "ABSENT",
    "ALL_BITS",
    "ARRAY_KIND",
    "MOST_PARAMETERS",
    "MOST_RESULTS",
    "OWN_KIND",
    "Argument",
    "CallResult",
    "CallTable",
    "Cells",
    "array_argument",
    "fits",
    "hold_tables",
    "is_plain",
]

MOST_PARAMETERS, MOST_RESULTS, _MOST_KEY, _MOST_SIGNATURES, _MOST_ENTRIES = 16, 8, 79, 64, 1024
_BUCKETS = 64
ARRAY_KIND, OWN_KIND = 1, 2
_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_PLAIN = "?bhilqBHILQefd"
"""Codes of numpy's types whose elements are taken and given as they are."""
ALL_BITS = (1 << 64) - 1
_SEED, _FACTOR = 14695981039346656037, 1099511628211
Argument = tuple[int, ...]
"""The ten words that say of an argument what it is to be (``door.ll``)."""
Cells = Sequence[tuple[int, int]]
"""Numbers of ranges, or of numbers, and where each goes."""
ABSENT: Argument = (0,) * 10
_lock = hold_over_forks(threading.RLock())
_entries: list[bool] = []
"""Whether a call is being entered: whoever has the lock and finds this comes in the middle, in the same thread."""


@contextmanager
def hold_tables() -> Generator[bool]:
    """Hold all tables to enter a call; False in the middle of another entry of this thread, of a finalizer."""
    with CRITICAL, _lock:
        if _entries:
            yield False
            return
        _entries.append(True)
        try:
            yield True
        finally:
            _entries.clear()


class CallResult(NamedTuple):
    """A new array of a call: which range it has, what makes it of shape and dtype, and how it is given.

    ``way``: 0 as it is, 1 as a number, 2 as memory that begins at a multiple of 64, behind the call's first argument.
    """

    place: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    maker: object
    way: int = 0


def array_argument(array: np.ndarray[Any, Any], place: int, *, writes: bool = False) -> Argument:
    """Return what an array of numpy is to be: of this dtype and number of axes, packed; it has range ``place``."""
    flags = _CONTIGUOUS | _ALIGNED | (_WRITEABLE if writes else 0)
    dtype = array.dtype
    return ARRAY_KIND, id(np.ndarray), id(dtype), flags, array.ndim, int(writes), place, dtype.itemsize, 0, 0


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Tell whether a type is numpy's own object for elements that are taken and given as they are."""
    return dtype.char in _PLAIN and dtype is np.dtype(dtype.char)


def fits(arguments: Sequence[Argument], key: Sequence[int]) -> bool:
    """Tell whether there is room for arguments and what their key has."""
    return len(arguments) <= MOST_PARAMETERS and len(key) <= _MOST_KEY


class CallTable:
    """The signatures of calls; ``place`` is where the door finds them.

    ``slow``: of a function what answers all others; ``context``: variables, and what each is to have.
    """

    __slots__ = ("_keep", "_name_places", "_pairs", "_signatures", "_words", "entries", "names", "place", "slow")

    def __init__(
        self,
        generation: int,
        names: Sequence[str],
        slow: object = None,
        context: Sequence[tuple[ContextVar[Any], object]] = (),
    ) -> None:
        self.names = tuple(sys.intern(name) for name in names)
        self._name_places = np.array([*map(id, self.names), 0], np.uint64)
        self._pairs = np.array([*[id(each) for pair in context for each in pair], 0], np.uint64)
        self._keep, self.slow = context, slow
        self._words = np.array(
            [
                generation,
                0,
                len(names),
                self._name_places.ctypes.data,
                id(slow),
                len(context),
                self._pairs.ctypes.data,
            ],
            np.uint64,
        )
        self._signatures: dict[tuple[Argument, ...], Signature] = {}
        self.entries = 0
        self.place: int = self._words.ctypes.data

    @property
    def generation(self) -> int:
        """The number of the settings that its calls were made under."""
        return int(self._words[0])

    def is_current(self, generation: int) -> bool:
        """Tell whether others may be put in: the settings are as they were, and it is not full."""
        is_full = len(self._signatures) >= _MOST_SIGNATURES or self.entries >= _MOST_ENTRIES
        return not is_full and self.generation == generation

    def clear(self, generation: int) -> None:
        """Forget all calls; those to come are made under other settings."""
        self._words[1] = 0  # the door looks at no other word before
        self._signatures, self.entries = {}, 0
        self._words[0] = generation

    def signature(self, arguments: tuple[Argument, ...], buffers: int, kept: object = None) -> Signature:
        """Return the signature of arguments, made now if it is not there; ``kept`` are the objects they name."""
        found = self._signatures.get(arguments)
        if found is None:
            found = Signature(arguments, buffers, int(self._words[1]), kept)
            self._signatures[arguments] = found
            self._words[1] = found.address
        return found


class Signature:
    """Kinds of arguments, with an entry for each key: lengths, and the numbers that decide."""

    def __init__(self, arguments: tuple[Argument, ...], buffers: int, following: int, kept: object) -> None:
        self._kept = kept
        self._arguments = np.array([[word & ALL_BITS for word in each] for each in arguments], np.uint64)
        self._buckets = np.zeros(_BUCKETS, np.uint64)
        self._entries: dict[tuple[int, ...], object] = {}
        self._words = np.array(
            [following, self._arguments.ctypes.data, _BUCKETS - 1, self._buckets.ctypes.data, buffers], np.uint64
        )

    @property
    def address(self) -> int:
        """Where the door finds it."""
        return self._words.ctypes.data

    def knows(self, key: tuple[int, ...]) -> bool:
        """Tell whether calls of a key are known."""
        return key in self._entries

    def enter(
        self,
        key: tuple[int, ...],
        direct: Direct,
        cells: Cells,
        numbers: Cells = (),
        *,
        results: Sequence[CallResult] = (),
        finish: object = None,
        kept: object = None,
    ) -> None:
        """Let calls of a key be run by a program: ``finish``, if there is one, is called with the results.

        ``kept`` is what else the program needs.
        """
        assert len(results) <= MOST_RESULTS
        mixed, words = _SEED, [word & ALL_BITS for word in key]
        for word in words:
            mixed = ((mixed ^ word) * _FACTOR) & ALL_BITS
        bucket = (mixed ^ (mixed >> 32)) & (_BUCKETS - 1)
        run = direct.run
        rows = [(r.place, id(r.shape), id(r.dtype), id(r.maker), r.way) for r in results]
        contents = sum(run.steps, ()), sum(cells, ()), sum(numbers, ()), sum(rows, ()), [*map(id, direct.untold)]
        tables = [np.array([*each, 0], np.uint64) for each in contents]
        steps, places, columns, made, untold = (table.ctypes.data for table in tables)
        entry = np.array(
            [
                self._buckets[bucket],
                mixed,
                steps,
                len(run.steps),
                places,
                len(cells),
                columns,
                len(numbers),
                id(run.sites) if run.sites else 0,
                made,
                len(results),
                0 if finish is None else id(finish),
                untold,
                len(direct.untold),
                *words,
            ],
            np.uint64,
        )
        self._entries[key] = entry, tables, direct, tuple(results), finish, kept
        self._buckets[bucket] = entry.ctypes.data
