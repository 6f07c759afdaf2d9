"""``StreamDecoder``: text from tokens as they come; ``StopMatcher``: the end of a text that stop strings make.

Layer: models. Invariant: what a decoder gives, joined, is the text decoded at once, and no piece ends within a
character; what a matcher gives, joined, holds no part of a stop string, however the text was cut into pieces.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import field

from loom.core.given import items, text
from loom.core.late.dataclass import dataclass
from loom.models.tokens.pieces import TokenBytes

__all__ = ["StopMatcher", "StreamDecoder"]


class StreamDecoder:
    """Text of tokens, one after the other, in constant time each; made by ``Tokenizer.stream``."""

    def __init__(self, pieces: TokenBytes, skipped: frozenset[int], *, continuing: bool = False) -> None:
        self._pieces, self._skipped = pieces, skipped
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = continuing

    def push(self, token: int) -> str:
        """Return the text that this token completes, without the bytes of a character that is not whole yet."""
        if token in self._skipped:
            return ""
        pieces = self._pieces
        found = pieces.middle[token] if self._begun or pieces.first is None else pieces.first[token]
        if not self._begun:
            if pieces.strips and found[:1] == b" ":
                found, self._begun = found[1:], True
            elif found or pieces.first is not None:
                self._begun = True
        return self._decoder.decode(found)

    def flush(self) -> str:
        """Return what is left at the end: U+FFFD for a character that was never whole."""
        return self._decoder.decode(b"", final=True)


@dataclass(slots=True)
class _State:
    """A prefix of stop strings: what follows, the longest other prefix it ends with, the longest stop it ends with."""

    depth: int
    following: dict[str, int] = field(default_factory=dict[str, int])
    fallback: int = 0
    stop: str | None = None


def _automaton(stops: Iterable[str]) -> list[_State]:
    """Build the automaton of A. Aho and M. Corasick, "Efficient string matching" (1975)."""
    states = [_State(0)]
    for stop in stops:
        at = 0
        for depth, character in enumerate(stop, 1):
            if character not in states[at].following:
                states[at].following[character] = len(states)
                states.append(_State(depth))
            at = states[at].following[character]
        states[at].stop = stop
    row = list(states[0].following.values())
    while row:
        below: list[int] = []
        for number in row:
            for character, child in states[number].following.items():
                states[child].fallback = _next(states, states[number].fallback, character)
                shorter = states[states[child].fallback].stop
                states[child].stop = states[child].stop or shorter
                below.append(child)
        row = below
    return states


def _next(states: list[_State], at: int, character: str) -> int:
    while at and character not in states[at].following:
        at = states[at].fallback
    return states[at].following.get(character, 0)


class StopMatcher:
    """Gives text on until a stop string is whole; the first to end counts, of several that end there the longest.

    >>> matcher = StopMatcher(["END"])
    >>> matcher.push("the E"), matcher.push("N"), matcher.push("Dx"), matcher.stopped
    ('the ', '', '', 'END')
    """

    def __init__(self, stops: str | Iterable[str]) -> None:
        where = "StopMatcher, stops"
        found = [stops] if isinstance(stops, str) else items(stops, where, "texts")
        self._states = _automaton(each for each in found if text(each, where))
        self._at = 0
        self._held = ""
        self.stopped: str | None = None
        """The stop string that ended the text; None while there is none."""

    def push(self, piece: str) -> str:
        """Return text that can be no part of a stop string; nothing once the text has ended."""
        if self.stopped is not None:
            return ""
        if len(self._states) == 1:
            return piece
        at, states = self._at, self._states
        for count, character in enumerate(piece, 1):
            at = _next(states, at, character)
            stop = states[at].stop
            if stop is not None:
                self.stopped = stop
                whole = self._held + piece[:count]
                self._held, self._at = "", 0
                return whole[: -len(stop)]
        whole, keep = self._held + piece, states[at].depth
        self._at, self._held = at, whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def flush(self) -> str:
        """Return what was held back, at the end of a text that no stop string ended."""
        found, self._held, self._at = self._held, "", 0
        return found
