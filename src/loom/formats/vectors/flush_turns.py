"""Whose turn it is to put a store at a place, and whether what lies there may be replaced.

Layer: formats. Invariant: what lies at a place is only ever replaced by a store that comes from it, while nobody else
puts one there, unless the caller insists.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from loom.core.errors import FileError, StateError
from loom.formats.vectors.manifest import digest_of, read_manifest
from loom.storage.file_lock import FileLock

__all__ = ["FLUSH", "FlushPlace", "busy", "lock_of", "next_generation", "turn_at"]

FLUSH = "vectors.flush"
_TURN_SECONDS = 10.0


class FlushPlace(Protocol):
    """A place in files as a store knows it."""

    lock: FileLock | None
    """That of whoever edits the store."""

    @property
    def is_latest(self) -> bool:
        """Whether no later state of the store was put there."""
        ...

    @property
    def generation(self) -> int:
        """The flush that the store comes from; 0: none."""
        ...

    def comes_from(self, digest: str) -> bool:
        """Tell whether the store has all that the manifest of a digest is of."""
        ...

    def attempt(self, digest: str) -> None:
        """Take note of a manifest that is about to be put there."""
        ...

    def put(self, generation: int, digest: str) -> None:
        """Take note of the manifest that is there now."""
        ...


def lock_of(manifest: Path) -> FileLock:
    """Return the lock of the store of a manifest, not acquired."""
    return FileLock(manifest.with_name(f"{manifest.name}.lock"))


def busy(manifest: Path, lock: FileLock, seconds: float, where: str) -> StateError:
    """Return the error of a store that another is writing."""
    return StateError(
        where,
        f"the store at {str(manifest)!r} is being written by {lock.holder()}",
        expected=f"a turn within {seconds:g} seconds",
        got="none",
        remedy="Wait until it is done, or name another place",
    )


@contextmanager
def turn_at(manifest: Path, own: FileLock | None) -> Generator[bool, None, None]:
    """Keep others from putting a store there, and tell whether that is certain: not every file system has locks.

    ``own``: the lock that the caller has already, if any.
    """
    if own is not None and own.is_mine:
        yield True
        return
    lock = lock_of(manifest)
    if not lock.acquire(_TURN_SECONDS):
        raise busy(manifest, lock, _TURN_SECONDS, FLUSH)
    try:
        yield lock.is_real
    finally:
        lock.release()


def next_generation(manifest: Path, place: FlushPlace, *, replace: bool) -> int:
    """Return the generation of the next flush; StateError if it would drop what the store does not come from."""
    try:
        before = read_manifest(manifest) if manifest.exists() else None
    except FileError as error:
        if not replace:
            raise StateError(
                FLUSH,
                f"what lies at {str(manifest)!r} is no store that can be read ({error.what})",
                expected="a store that this one comes from, or nothing",
                got="something else",
                remedy="Name another place, or pass replace=True to put the store in its place",
            ) from None
        before = None
    if before is None:
        return place.generation + 1
    generation: int = before.get("generation", 0)
    if not (replace or place.comes_from(digest_of(before))):
        raise _overtaken(manifest, place.generation, generation)
    return max(generation, place.generation) + 1


def _overtaken(manifest: Path, known: int, generation: int) -> StateError:
    remedy = "Restore it and make the changes there, name another place, or pass replace=True to drop what is there"
    if known:
        return StateError(
            FLUSH,
            f"the store at {str(manifest)!r} was flushed by another since this one was",
            expected=f"generation {known}",
            got=generation,
            remedy=remedy,
        )
    return StateError(
        FLUSH,
        f"there is a store at {str(manifest)!r} that this one does not come from",
        expected="nothing, or the store that this one was restored from",
        got=f"generation {generation} of another",
        remedy=remedy,
    )
