"""A mailbox: a ring of slots in device memory, through which units hand each other words.

Layer: support. Every slot keeps the length of what was put into it. Posts and takes keep the order of the units they
touch: words are copied after what was launched before, on the device where both are of one. Invariant: what is taken
is what was posted, whole, in order, once; a full or an empty ring is an error and changes nothing.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from loom.core.errors import DTypeError, ShapeError, StateError
from loom.core.given import text
from loom.core.tracebacks import brief_class
from loom.runtime.memory.storage import Storage, copy_storage
from loom.runtime.port.budget import LEDGER
from loom.runtime.port.device import Device
from loom.runtime.port.values import as_count, as_data, as_read_dtype
from loom.runtime.registry import device, one_device
from loom.runtime.units.unit import Unit, turns

__all__ = ["Mailbox", "mailbox"]

_WORD_NBYTES = 4
_numbers = itertools.count()


def mailbox(
    slot_words: int,
    slots: int,
    *,
    device: str | Device | None = None,
    name: str | None = None,
    on: str | Device | None = None,
) -> Mailbox:
    """Return an empty mailbox of ``slots`` slots of up to ``slot_words`` words, on ``device`` (or ``on``).

    Args:
        slot_words: Most 32-bit words of a message.
        slots: Number of messages that it holds.
        device: Device, or its name; None: the default device.
        name: Name, for errors; None: "mailbox" and a number.
        on: The same as ``device``; one of the two is named.

    Raises:
        ArgumentError: A size below 0 or no whole number; ``device`` and ``on`` differ.
        DTypeError: Not a device; the name is no text.
        ShapeError: A size of 0.
        DeviceError: There is no such device; the device or the budget has no room.

    >>> import loom
    >>> box = loom.mailbox(slot_words=4, slots=2)
    >>> box.post([1, 2, 3])
    >>> box.post([4])
    >>> box.is_full, box.take().tolist(), len(box)
    (True, [1, 2, 3], 1)
    """
    return Mailbox(slot_words, slots, one_device(device, on, "loom.mailbox"), name)


@brief_class
class Mailbox:
    """See ``mailbox``. ``len(box)`` is the number of slots taken; any thread may post and take."""

    def __init__(self, slot_words: int, slots: int, on: str | Device | None, name: str | None) -> None:
        self.name = text(name, "loom.mailbox, name") if name is not None else f"mailbox {next(_numbers)}"
        self.slot_words = self._size(slot_words, "slot_words", "words")
        self.slots = self._size(slots, "slots", "slots")
        self.device = device(on)
        self._storage: Storage | None = LEDGER.allocate(
            self.device, self.slot_words * self.slots * _WORD_NBYTES, f"{self.name}, memory"
        )
        self._lengths = [0] * self.slots
        self._first = 0
        self._count = 0
        self._lock = threading.RLock()

    def _size(self, value: Any, what: str, of: str) -> int:
        count = as_count(value, self.name, what, f"a number of {of}, at least 1")
        if count < 1:
            raise ShapeError(self.name, f"unusable {what}", expected=f"at least 1 of {of}", got=0, remedy="Pass more")
        return count

    def __len__(self) -> int:
        """Return how many slots hold something."""
        return self._count

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to take."""
        return self._count == 0

    @property
    def is_full(self) -> bool:
        """True when there is no slot to post into."""
        return self._count == self.slots

    # posting

    def post(self, data: Any) -> None:
        """Put 32-bit words into the next slot.

        Args:
            data: Words: an array of a 32-bit dtype, or a list as for ``Unit.write``.

        Raises:
            DTypeError: Not an array of 32-bit numbers.
            ShapeError: More words than a slot has.
            StateError: The mailbox is full, or closed.
        """
        array = as_data(data, None, f"{self.name}.post")
        with self._lock, self._next_slot("post", array.nbytes // _WORD_NBYTES) as (storage, offset):
            storage.write(offset, array.reshape(-1).view(np.uint8))

    def post_from(self, unit: Unit, offset: int, count: int, *, binding: str = "registers") -> None:
        """Put ``count`` words of a unit's binding into the next slot, after what was launched on it before.

        Args:
            unit: Unit that has the words.
            offset: Number of words before the first.
            count: Number of words.
            binding: Name of the binding.

        Raises:
            ArgumentError: No binding has this name; a number is below 0 or no whole number.
            DTypeError: Not a unit; the binding holds no 32-bit words that may be written.
            ShapeError: Part of it lies outside the binding; more words than a slot has.
            StateError: The mailbox is full, or closed; the unit is parked, or shut down.
        """
        where = f"{self.name}.post_from"
        source, start, words = self._words_of(unit, binding, offset, count, where)
        with turns([unit], "post_from"), self._lock, self._next_slot("post_from", words) as (storage, at):
            copy_storage(source, start, storage, at, words * _WORD_NBYTES)

    @contextmanager
    def _next_slot(self, verb: str, words: int) -> Generator[tuple[Storage, int], None, None]:
        """Give the memory of the next free slot; it counts once it is filled."""
        storage = self._alive(verb)
        if words > self.slot_words:
            raise ShapeError(
                f"{self.name}.{verb}", "too long for a slot", expected=f"at most {self.slot_words} words", got=words,
                remedy="Post it in parts, or make the slots larger",
            )  # fmt: skip
        if self.is_full:
            raise StateError(
                f"{self.name}.{verb}", "the mailbox is full", expected="a free slot",
                got=f"{self._count} of {self.slots} taken", remedy="Take one first, or ask box.is_full",
            )  # fmt: skip
        place = (self._first + self._count) % self.slots
        yield storage, place * self.slot_words * _WORD_NBYTES
        self._lengths[place] = words
        self._count += 1

    # taking

    def take(self, dtype: Any = None) -> np.ndarray[Any, Any]:
        """Take the words of the oldest slot.

        Args:
            dtype: 32-bit dtype of the result; None: u32.

        Returns:
            Array of as many elements as words were posted.

        Raises:
            DTypeError: Not a dtype of 32 bits.
            StateError: The mailbox is empty, or closed.
        """
        kind = as_read_dtype(dtype, None, f"{self.name}.take")
        if kind.itemsize != _WORD_NBYTES:
            raise DTypeError(
                f"{self.name}.take",
                "slots hold 32-bit words",
                expected="u32, i32 or f32",
                got=kind,
                remedy="Use .view()",
            )
        with self._lock, self._oldest_slot("take") as (storage, at, words):
            return storage.read(at, words * _WORD_NBYTES).view(kind)

    def take_into(self, unit: Unit, offset: int = 0, *, binding: str = "registers") -> int:
        """Take the oldest slot into a unit's binding, for its later launches.

        Args:
            unit: Unit to be given the words.
            offset: Number of words before the first there.
            binding: Name of the binding.

        Returns:
            Number of words.

        Raises:
            ArgumentError: No binding has this name; the offset is below 0 or no whole number.
            DTypeError: Not a unit; the binding holds no 32-bit words that may be written.
            ShapeError: The binding has no room; the slot stays.
            StateError: The mailbox is empty, or closed; the unit is parked, or shut down.
        """
        where = f"{self.name}.take_into"
        self._require_unit(unit, where)
        with turns([unit], "take_into"), self._lock, self._oldest_slot("take_into") as (storage, at, words):
            target, start, _ = self._words_of(unit, binding, offset, words, where)
            copy_storage(storage, at, target, start, words * _WORD_NBYTES)
            return words

    @contextmanager
    def _oldest_slot(self, verb: str) -> Generator[tuple[Storage, int, int], None, None]:
        """Give the memory and the length of the oldest slot; it is free once this ends well."""
        storage = self._alive(verb)
        if self.is_empty:
            raise StateError(
                f"{self.name}.{verb}", "the mailbox is empty", expected="something posted",
                got=f"0 of {self.slots} taken", remedy="Post first, or ask box.is_empty",
            )  # fmt: skip
        yield storage, self._first * self.slot_words * _WORD_NBYTES, self._lengths[self._first]
        self._first = (self._first + 1) % self.slots
        self._count -= 1

    def _words_of(self, unit: Any, binding: str, offset: Any, count: Any, where: str) -> tuple[Storage, int, int]:
        """Return storage, byte offset and length of words of a unit."""
        self._require_unit(unit, where)
        storage = unit.words(binding, where)
        start = as_count(offset, where, "offset", "a number of words, at least 0")
        words = as_count(count, where, "count", "a number of words, at least 0")
        held = storage.nbytes // _WORD_NBYTES
        if start + words > held:
            raise ShapeError(
                where, f"range outside {binding!r} of {unit.name!r}", expected=f"within its {held} words",
                got=f"{start} + {words}", remedy="Check offset and count",
            )  # fmt: skip
        return storage, start * _WORD_NBYTES, words

    def _require_unit(self, unit: Any, where: str) -> None:
        if not isinstance(unit, Unit):
            raise DTypeError(
                where, "not a unit", expected="what loom.boot returned", got=type(unit).__name__,
                remedy="Use post(data) or take() on the host",
            )  # fmt: skip

    # life

    def _alive(self, verb: str) -> Storage:
        if self._storage is None:
            raise StateError(f"{self.name}.{verb}", "the mailbox is closed", remedy="Make a new one: loom.mailbox(...)")
        return self._storage

    def close(self) -> None:
        """Free the memory; calling it again does nothing."""
        with self._lock:
            self._storage = None
            self._count = 0

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<loom mailbox {self.name!r} on {self.device.name}: {self._count} of {self.slots} slots taken>"
