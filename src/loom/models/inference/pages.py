"""Which pages of the cache are free, whose they are, and which hold the beginning of texts met before.

Layer: models. A page that is full is never written again, so that sequences with the same beginning share it: it is
known by a digest of all tokens up to its end. Pages nobody uses stay known, and go to whoever needs one, the one used
longest ago first. Invariant: a page is free, idle (known, used by nobody), or used by as many as hold it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from loom.kernels.attention.cached import PAGE

__all__ = ["PagePool"]


class PagePool:
    """``count`` pages. ``reuse``: whether full pages are known by their tokens."""

    def __init__(self, count: int, *, reuse: bool = True) -> None:
        self.count = count
        self.reuse = reuse
        self._free = list(range(count - 1, -1, -1))
        self._users = [0] * count
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._known: dict[bytes, int] = {}
        self._digest_of: dict[int, bytes] = {}

    @property
    def available(self) -> int:
        """Pages that somebody can be given now."""
        return len(self._free) + len(self._idle)

    @property
    def used(self) -> int:
        """Pages that somebody holds."""
        return self.count - self.available

    def take(self) -> int | None:
        """Return a page to write, None if all are in use."""
        if self._free:
            page = self._free.pop()
        elif self._idle:
            page, _ = self._idle.popitem(last=False)
            self._forget(page)
        else:
            return None
        self._users[page] = 1
        return page

    def find(self, tokens: Sequence[int]) -> list[int]:
        """Return, and hold, the pages known for the beginning of a text, all but its last token at most."""
        found: list[int] = []
        if not self.reuse:
            return found
        digest = b""
        for first in range(0, (len(tokens) - 1) // PAGE * PAGE, PAGE):
            digest = _extend(digest, tokens[first : first + PAGE])
            page = self._known.get(digest)
            if page is None:
                break
            self._users[page] += 1
            self._idle.pop(page, None)
            found.append(page)
        return found

    def publish(self, pages: Sequence[int], tokens: Sequence[int], begin: int) -> None:
        """Make full pages known from number ``begin`` on: those of ``tokens``, which are all computed."""
        if not self.reuse:
            return
        for n in range(begin, len(tokens) // PAGE):
            before = self._digest_of.get(pages[n - 1]) if n else b""
            if before is None:  # its twin is the one that is known
                before = b""
                for first in range(0, n * PAGE, PAGE):
                    before = _extend(before, tokens[first : first + PAGE])
            digest = _extend(before, tokens[n * PAGE : (n + 1) * PAGE])
            if digest not in self._known and pages[n] not in self._digest_of:
                self._known[digest] = pages[n]
                self._digest_of[pages[n]] = digest

    def release(self, pages: Sequence[int]) -> None:
        """Hold pages no longer; what is known stays until its place is needed, the ends of texts going first."""
        for page in reversed(pages):
            self._users[page] -= 1
            if self._users[page]:
                continue
            if page in self._digest_of:
                self._idle[page] = None
            else:
                self._free.append(page)

    def forget_all(self) -> None:
        """Know no page any more; those in use stay in use."""
        for page in list(self._idle):
            self._free.append(page)
        self._idle.clear()
        self._known.clear()
        self._digest_of.clear()

    def _forget(self, page: int) -> None:
        digest = self._digest_of.pop(page)
        del self._known[digest]


def _extend(digest: bytes, tokens: Sequence[int]) -> bytes:
    return hashlib.sha256(digest + np.asarray(tokens, np.int64).tobytes()).digest()
