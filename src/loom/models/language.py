"""``LanguageModel``: text from text, by a network, its tokenizer and an engine.

Layer: models. Invariant: what is made of a prompt depends on the model, the prompt, the settings and their seed alone:
not on the device, on other requests, or on how it is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from typing import TYPE_CHECKING, Any

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import text
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.models.inference import InferenceEngine, Request
from loom.models.sampling import SamplingConfig
from loom.models.tokens import StopMatcher, Tokenizer

if TYPE_CHECKING:
    import numpy as np

    from loom.nn.network import Network

__all__ = ["Generation", "LanguageModel", "TextStream"]

MOST_TOKENS = 256
"""Tokens that are made if nothing says how many."""
_SETTINGS = tuple(f.name for f in fields(SamplingConfig))
_OF_ENGINES = tuple(name for name in signature(InferenceEngine).parameters if name not in ("network", "context_length"))

Prompt = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Generation:
    """A text that was made.

    ``text``: up to the stop string, if one ended it; ``tokens``: all that were made, those of a stop string among them,
    an end token not; ``logprobs``: the logarithm of each one's chance by the model, before any setting;
    ``finish_reason``: "stop" (an end token, a stop string, the end of a grammar), "length" or "cancelled".
    ``prompt``: the tokens given; ``reused``: how many of them were known from earlier prompts. Seconds from the
    question to the first token (None: there was none) and to the end.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    prompt: tuple[int, ...]
    reused: int
    seconds_to_first: float | None
    seconds: float

    def __str__(self) -> str:
        return self.text


class TextStream:
    """A text in the making: an iterator over its pieces, of whole characters each, some of them empty.

    ``generation``: the whole, once the iteration is over. Leaving it early (``close``, or a ``with``) ends the work.
    """

    def __init__(self, request: Request, listener: _Listener) -> None:
        self.request = request
        self._listener = listener
        self._pieces = self._read()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def _read(self) -> Iterator[str]:
        try:
            for n, _ in enumerate(self.request):
                yield self._listener.pieces[n]
            yield self._listener.rest
        finally:
            self.request.cancel()

    def close(self) -> None:
        """End the work, if it is not over."""
        self.request.cancel()
        self._pieces.close()  # type: ignore[attr-defined]

    def __enter__(self) -> TextStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def generation(self) -> Generation:
        """The whole text, for which it waits."""
        tokens, request = self.request.result(), self.request
        reason, seconds = request.finish_reason, request.timings.total
        assert reason is not None
        assert seconds is not None
        return Generation(
            text="".join(self._listener.pieces[: len(tokens)]) + self._listener.rest, tokens=tuple(tokens),
            logprobs=tuple(request.logprobs), finish_reason=reason.value, prompt=request.prompt, reused=request.reused,
            seconds_to_first=request.timings.to_first, seconds=seconds,
        )  # fmt: skip


class _Listener:
    """Turns tokens into text in the engine's thread, and ends a text at its stop strings."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self._size = tokenizer.size
        self._decoder = tokenizer.stream(continuing=True)  # a prompt stands before it
        self._matcher = StopMatcher(stops)
        self._lock = threading.Lock()
        self._rest: str | None = None
        self.pieces: list[str] = []

    def __call__(self, token: int) -> bool:
        text = self._decoder.push(token) if token < self._size else ""
        self.pieces.append(self._matcher.push(text))
        return self._matcher.stopped is not None

    @property
    def rest(self) -> str:
        """What the last token left, once all are there."""
        with self._lock:
            if self._rest is None:
                self._rest = self._matcher.push(self._decoder.flush()) + self._matcher.flush()
            return self._rest


class LanguageModel:
    """A network that continues texts: made by ``loom.models.load``, or of a network and a tokenizer.

    All methods may be called by several threads at once: their texts are computed side by side, and each is the text
    that it would be alone.

    Args:
        network: Network of tokens.
        tokenizer: Its tokenizer.
        context_length: Most tokens of prompt and text together.
        name: Name that it calls itself.
        **settings: Settings of the engine (``InferenceEngine``), which is made when first used.

    Raises:
        ArgumentError: A length below 1; there is no such setting.
        DTypeError: The name is no text.
    """

    def __init__(
        self, network: Network, tokenizer: Tokenizer, *, context_length: int, name: str = "model", **settings: Any
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.context_length = whole(context_length, "LanguageModel, context_length", least=1)
        self.name = text(name, "LanguageModel, name")
        _require_known(settings, _OF_ENGINES, "LanguageModel")
        self._settings = settings
        self._engine: InferenceEngine | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<LanguageModel {self.name!r} on {self.network.model.device.name}, context {self.context_length:,}>"

    @property
    def engine(self) -> InferenceEngine:
        """What computes texts, many at a time: ``engine.submit(tokens, SamplingConfig(..))``."""
        with self._lock:
            if self._engine is None:
                self._engine = InferenceEngine(self.network, context_length=self.context_length, **self._settings)
            return self._engine

    # text

    def generate(self, prompt: Prompt, *, constraint: Any = None, **settings: Any) -> Generation:
        """Return the continuation of a prompt.

        Args:
            prompt: Text, or tokens.
            constraint: Constraint of the text, of ``loom.models.tokens.grammar``; None: none.
            **settings: Settings of ``loom.models.sampling.SamplingConfig`` (temperature, top_p, seed, stop ..), with
                ``max_tokens=256`` unless told; None: as many as the context holds.

        Raises:
            ArgumentError: A prompt that does not fit the context, or has no tokens; a setting is unknown or unusable.
        """
        return self.generate_stream(prompt, constraint=constraint, **settings).generation

    def generate_stream(self, prompt: Prompt, *, constraint: Any = None, **settings: Any) -> TextStream:
        """Return the same text piece by piece, as it is made: joined, the pieces are ``generate``'s text.

        Args:
            prompt: Text, or tokens.
            constraint: Constraint of the text, as of ``generate``.
            **settings: Settings, as of ``generate``.

        Raises:
            ArgumentError: A prompt that does not fit the context, or has no tokens; a setting is unknown or unusable.
        """
        tokens = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        return self._begin(tokens, constraint, settings)

    def chat(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None,
        constraint: Any = None, **settings: Any,
    ) -> Generation:  # fmt: skip
        """Return the answer to a conversation.

        Args:
            messages: Mappings of ``role`` and ``content``.
            tools: Descriptions of functions that the answer may call; None: none.
            constraint: Constraint of the text, as of ``generate``.
            **settings: Settings, as of ``generate``.

        Raises:
            ArgumentError: Messages that the model's template refuses; a model without a template; a conversation that
                does not fit the context; a setting is unknown or unusable.
        """
        return self.chat_stream(messages, tools=tools, constraint=constraint, **settings).generation

    def chat_stream(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None,
        constraint: Any = None, **settings: Any,
    ) -> TextStream:  # fmt: skip
        """Return the same answer piece by piece.

        Args:
            messages: Mappings of ``role`` and ``content``.
            tools: Descriptions of functions that the answer may call; None: none.
            constraint: Constraint of the text, as of ``generate``.
            **settings: Settings, as of ``generate``.

        Raises:
            ArgumentError: As of ``chat``.
        """
        return self._begin(self.tokenizer.encode_chat(messages, tools), constraint, settings)

    def _begin(self, tokens: Sequence[int], constraint: Any, settings: dict[str, Any]) -> TextStream:
        config = _config(settings)
        self._require_own(constraint)
        listener = _Listener(self.tokenizer, config.stop)
        request = self.engine.submit(
            tokens, config, eos=self.tokenizer.eos, constraint=constraint, until=listener
        )  # fmt: skip
        return TextStream(request, listener)

    def _require_own(self, constraint: Any) -> None:
        """Raise ArgumentError for a grammar over the tokens of another tokenizer: the text would not be held to it."""
        other = getattr(constraint, "tokenizer", self.tokenizer)
        if other is not self.tokenizer and other.pieces.middle != self.tokenizer.pieces.middle:
            raise ArgumentError("LanguageModel.generate, constraint", "the grammar is over another tokenizer's tokens",
                                expected="the model's own", got=f"one of {other.size:,} tokens",
                                remedy="Make it with model.tokenizer")  # fmt: skip

    # numbers

    def logits(self, prompt: Prompt) -> np.ndarray[Any, Any]:
        """Return the logits after each token of a prompt, f32 (tokens, vocabulary): ``network.forward``'s bits.

        Args:
            prompt: Text, or tokens.

        Raises:
            ArgumentError: A prompt that does not fit the context, or has no tokens.
        """
        return self.engine.logits(self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)

    def embed(self, texts: Any) -> Any:
        """Raise ArgumentError: this is a model of text, not of embeddings.

        Args:
            texts: Texts.

        Returns:
            Nothing.

        Raises:
            ArgumentError: Always.
        """
        del texts
        raise ArgumentError(f"{self.name}.embed", "the model writes texts and makes no embeddings",
                            expected="an encoder", got="a language model", remedy="Load one, such as MiniLM",
                            )  # fmt: skip

    # its end

    def close(self) -> None:
        """End the engine and all its requests; the next use makes another."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> LanguageModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _config(settings: dict[str, Any]) -> SamplingConfig:
    _require_known(settings, _SETTINGS, "LanguageModel.generate")
    given: dict[str, Any] = {"max_tokens": MOST_TOKENS, **settings}
    return SamplingConfig(**given)


def _require_known(settings: dict[str, Any], known: Sequence[str], where: str) -> None:
    for name in settings:
        if name not in known:
            remedy = near_matches(name, known) or f"Use one of {', '.join(known)}"
            raise ArgumentError(where, f"there is no setting {name!r}", remedy=remedy)
