"""What a model must offer to be asked: text written token by token, or vectors of texts.

Layer: models. ``loom.models.tasks.adapter`` makes one of a language model or an embedder; tests of the server have one
that computes nothing. Invariant: what a model writes depends on what it is given here and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.models.receipts import ModelIdentity

__all__ = ["Decoder", "ServedModel", "TextConstraint", "TextTask", "TextWriting", "TokenScore", "TokenStep"]


@dataclass(frozen=True, slots=True)
class TextConstraint:
    """What a text must be: ``kind`` is ``json`` or ``json_schema``; the schema is a text of JSON."""

    kind: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class TextTask:
    """A text to write: what stands before it, how tokens are chosen (names of ``SamplingConfig``), what it must be."""

    prompt: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    constraint: TextConstraint | None = None
    top: int = 0


@dataclass(frozen=True, slots=True)
class TokenStep:
    """A token written: its logarithmic probability (of f32), and the likeliest ones with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token of a text that was there: its logarithmic probability after those before it, None for the first."""

    token: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


class Decoder(Protocol):
    """Tokens to text, whole characters only."""

    def push(self, token: int, /) -> str:
        """Return the text that a token completes."""
        ...

    def flush(self) -> str:
        """Return what is left, half a character as U+FFFD."""
        ...


class TextWriting(Protocol):
    """A text that is being written: iterated by one thread, stopped by any."""

    @property
    def finish_reason(self) -> str | None:
        """``stop`` or ``length`` when the iteration is over."""
        ...

    def __iter__(self) -> Iterator[TokenStep]: ...

    def cancel(self) -> None:
        """End the iteration soon."""
        ...


class ServedModel(Protocol):
    """A model under a name. Methods may be called by any thread; LoomErrors are told to the client."""

    name: str
    created: int
    writes: bool
    embeds: bool
    context_length: int
    vocabulary_size: int
    eos: frozenset[int]
    device: str

    @property
    def identity(self) -> ModelIdentity:
        """Digests of the model."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, special ones as the model wants them."""
        ...

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the tokens of a conversation, up to where the answer begins."""
        ...

    def decoder(self, *, continuing: bool) -> Decoder:
        """Return what makes text of tokens; ``continuing``: of those behind a prompt, whose first space is kept."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token stands for."""
        ...

    def write(self, task: TextTask) -> TextWriting:
        """Begin a text."""
        ...

    def score(self, tokens: Sequence[int], top: int) -> list[TokenScore]:
        """Return what the model thinks of a text that is there."""
        ...

    def embed(self, rows: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return a vector for each text."""
        ...

    def measures(self) -> Mapping[str, float]:
        """Return what the engine counts: pages of its cache, say."""
        ...
