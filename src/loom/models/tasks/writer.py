"""From tokens to what a reader may see: whole characters, nothing from a stop string on.

Layer: models. Invariant: the parts, put together, are the text whose parts they are; no part is taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.models.tasks.port import Decoder
from loom.models.tokens import StopMatcher

__all__ = ["TextWriter"]


class TextWriter:
    """Text of tokens, part by part; tokens in ``silent``, which end a text, have none."""

    def __init__(self, decoder: Decoder, stops: Sequence[str], silent: frozenset[int]) -> None:
        self._decoder, self._matcher, self._silent = decoder, StopMatcher(stops), silent

    @property
    def stopped(self) -> bool:
        """Whether a stop string came."""
        return self._matcher.stopped is not None

    def push(self, token: int) -> str:
        """Return the text that may be seen after a token."""
        return "" if token in self._silent else self._matcher.push(self._decoder.push(token))

    def flush(self) -> str:
        """Return what is left at the end."""
        return self._matcher.push(self._decoder.flush()) + self._matcher.flush()
