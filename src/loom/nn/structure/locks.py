"""Turns of networks that share weights: who works with one of them has the turn of all.

Layer: nn. Invariant: locks are taken in one order, so that no two threads wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakSet

from loom.nn.model import Lock, Model

__all__ = ["JoinedLock", "is_shared", "share_turns"]

_SHARED: WeakSet[Model] = WeakSet()
"""Models that have a weight in common with another."""


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

    def __exit__(self, *error: object) -> None:
        self.release()


def share_turns(made: Model, others: Sequence[Model]) -> None:
    """Have a new model, which has weights of others, work only when none of them does."""
    made.lock = JoinedLock([made.lock, *(m.lock for m in others)])
    made.turn = JoinedLock([made.turn, *(m.turn for m in others)])
    for model in (made, *others):
        _SHARED.add(model)


def is_shared(model: Model) -> bool:
    """Tell whether a model has weights in common with another."""
    return model in _SHARED
