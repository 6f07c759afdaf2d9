"""Where in files a store was put, and which flush of each place it comes from.

Layer: vectors. A flush may take the place of a store that this one comes from, and of no other: what another holder
flushed there meanwhile would be lost. Invariant: of the states of one store the latest stays at a place.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a store opens no file
    from loom.storage.file_lock import FileLock

__all__ = ["KnownPlace", "KnownPlaces"]


class KnownPlace:
    """A place as its store knows it. ``generation``: of the flush that it comes from; 0: it was never there."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.generation = 0
        self.lock: FileLock | None = None
        """That of whoever edits the store, which nobody else may put there."""
        self.is_latest = True
        self._number = 0
        self._digests: set[str] = set()

    def comes_from(self, digest: str) -> bool:
        """Tell whether the store has all that the manifest of a digest is of."""
        return digest in self._digests

    def attempt(self, digest: str) -> None:
        """Take note of a manifest that is about to be put there."""
        self._digests.add(digest)

    def put(self, generation: int, digest: str) -> None:
        """Take note of the manifest that is there now."""
        self.generation, self._digests = generation, {digest}

    @contextmanager
    def at(self, number: int) -> Generator[KnownPlace, None, None]:
        """Give it for state ``number`` of its store, one state after the other."""
        with self.turn:
            self.is_latest = self._number < number
            yield self
            self._number = max(self._number, number)


class KnownPlaces:
    """The places of a store, by the manifest's path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, KnownPlace] = {}

    def __getitem__(self, path: str) -> KnownPlace:
        with self._lock:
            return self._places.setdefault(path, KnownPlace())
