"""Locks over a fork: a child has one thread, and a lock that another had at that moment would stay locked for ever.

Layer: core. Locks of short work are taken before a fork and let go of after it, on both sides, so that what they guard
is whole in the child; objects whose locks may be had for long get new ones there. Python's locks of modules are such,
too: a child never comes to the end of an import that another thread had begun. Invariant: a fork waits for no lock
longer than a minute, and for none in an order that could hold up whoever has it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache, cached_property
from typing import Protocol, TypeVar

__all__ = ["hold_over_forks", "register", "renew_after_forks"]

_LONGEST_SECONDS = 60.0
_PATIENCE_SECONDS = 0.01
"""How long to wait for a lock while others are had, whose turn may be before this one's."""


class _Lock(Protocol):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...


_AnyLock = TypeVar("_AnyLock", bound=_Lock)
_Owner = TypeVar("_Owner")
_locks: list[weakref.ref[_Lock]] = []
_owners: weakref.WeakKeyDictionary[object, Callable[..., None]] = weakref.WeakKeyDictionary()
_taken: list[_Lock] = []


def hold_over_forks(lock: _AnyLock) -> _AnyLock:
    """Return a lock of short work, which no other thread has when this process is forked."""
    _locks[:] = [*(r for r in _locks if r() is not None), weakref.ref(lock)]
    return lock


def renew_after_forks(owner: _Owner, make: Callable[[_Owner], None]) -> None:
    """Have an object make its locks: now, and anew in a child."""
    make(owner)
    _owners[owner] = make


def _take_all() -> None:
    first: _Lock | None = None
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        first = _take(first, deadline)
        if first is None and not _others_import():
            return
        _let_go()
        time.sleep(0.0 if first is not None else _PATIENCE_SECONDS)


def _take(first: _Lock | None, deadline: float) -> _Lock | None:
    """Take all locks, ``first`` before the others; return one that another thread has for longer than a moment."""
    wanted = [lock for lock in (r() for r in _locks) if lock is not None]
    for lock in wanted if first is None else [first, *(lock for lock in wanted if lock is not first)]:
        seconds = _PATIENCE_SECONDS if _taken else deadline - time.monotonic()
        if not lock.acquire(timeout=max(0.0, seconds)):
            return lock
        _taken.append(lock)
    return None


def _others_import() -> bool:
    """Tell whether another thread imports a module, by the locks that Python has for that (and no name)."""
    locks = [found() for found in list(getattr(sys.modules["_frozen_importlib"], "_module_locks", {}).values())]
    return any(getattr(lock, "owner", None) not in (None, threading.get_ident()) for lock in locks)


def _let_go() -> None:
    while _taken:
        _taken.pop().release()


def _begin_child() -> None:
    _let_go()
    if sys.version_info < (3, 12):
        _renew_cached_properties()
    for owner, make in list(_owners.items()):
        make(owner)


def _renew_cached_properties() -> None:
    """Give cached properties new locks, which one thread has while it computes one of any object."""
    for name, module in list(sys.modules.items()):
        for kind in vars(module).values() if name.startswith("loom.") else ():
            for each in vars(kind).values() if isinstance(kind, type) else ():
                if type(each) in (cached_property,):
                    setattr(each, "lock", threading.RLock())  # noqa: B010 - no checker knows it


@cache
def register() -> None:
    """Have forks of this process wait, and begin, as said above."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_take_all, after_in_parent=_let_go, after_in_child=_begin_child)
