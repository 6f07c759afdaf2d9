"""From tokens to what a client may see: whole characters, nothing from a stop string on.

Layer: serve. Invariant: the parts, put together, are the text whose parts they are; no part is taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.serve.port import Decoder

__all__ = ["StopScanner", "TextWriter"]


class StopScanner:
    """Lets text through up to a stop string, and holds back what may be the beginning of one.

    >>> scanner = StopScanner(["END"])
    >>> scanner.push("the E"), scanner.push("ND of")
    ('the ', '')
    >>> scanner.stopped
    True
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Return what may be seen of all that came so far and was not seen yet."""
        if self.stopped:
            return ""
        held = self._held + text
        found = [at for at in (held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        cut = len(held) - keep
        self._held = held[cut:]
        return held[:cut]

    def flush(self) -> str:
        """Return what was held back: no stop string came of it."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text are the beginning of a stop string."""
    for count in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:count]):
            return count
    return 0


class TextWriter:
    """Text of tokens, part by part; the token that ends a text has none."""

    def __init__(self, decoder: Decoder, stops: Sequence[str], silent: frozenset[int]) -> None:
        self._decoder, self._scanner, self._silent = decoder, StopScanner(stops), silent

    @property
    def stopped(self) -> bool:
        """Whether a stop string came."""
        return self._scanner.stopped

    def push(self, token: int) -> str:
        """Return the text that may be seen after a token."""
        if token in self._silent:
            return ""
        return self._scanner.push(self._decoder.push(token))

    def flush(self) -> str:
        """Return what is left at the end."""
        last = self._scanner.push(self._decoder.flush())
        return last + self._scanner.flush()
