"""Turns of networks that share weights: who works with one of them has the turn of all.

Layer: nn. Invariant: locks are taken in one order, so that no two threads wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

__all__ = ["JoinedLock", "Lock"]


class Lock(Protocol):
    """What threads take turns by."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False if another has it and ``blocking`` is False."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class JoinedLock:
    """Several locks that are taken and given back as one."""

    def __init__(self, locks: Sequence[Lock]) -> None:
        each = {id(part): part for lock in locks for part in (lock.parts if isinstance(lock, JoinedLock) else [lock])}
        self.parts = [each[number] for number in sorted(each)]

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take all of them, or none and return False."""
        for number, lock in enumerate(self.parts):
            if not lock.acquire(blocking, timeout):
                for held in reversed(self.parts[:number]):
                    held.release()
                return False
        return True

    def release(self) -> None:
        """Give all back."""
        for lock in reversed(self.parts):
            lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.release()
