"""A language model as what the command line, the server and audits ask: tasks in, tokens with their numbers out.

Layer: models. Invariant: a step has the token and the number that the engine gave, whoever asks beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.errors import ArgumentError
from loom.formats.opening import Checkpoint, open_checkpoint
from loom.models.receipts import ModelIdentity
from loom.models.sampling import SamplingConfig
from loom.models.tasks.identity import identify
from loom.models.tasks.port import Decoder, ServedModel, TextConstraint, TextTask, TextWriting, TokenScore, TokenStep
from loom.nn.spec import to_document

if TYPE_CHECKING:
    from loom.models.embedding import Embedder
    from loom.models.inference import Request
    from loom.models.language import LanguageModel
    from loom.nn.network import Network

__all__ = ["ServedEmbedder", "ServedLanguageModel", "open_served"]

_ANY_OBJECT = {"type": "object"}


def open_served(
    source: Any,
    *,
    name: str | None = None,
    on: Any = None,
    weights: str | None = None,
    compute: str | None = None,
    usual: tuple[str, str] = ("f32", "exact"),
    **settings: Any,
) -> ServedModel:
    """Return a model of a folder, a file or bytes, under a name: without one, that of its file.

    ``weights``, ``compute`` and ``settings`` go to ``loom.models.load``, whose errors these are. ``usual``: weights and
    compute of a model of text where these are None; a model of vectors is computed in f32, whatever is usual.
    """
    from loom.models.architectures import describe
    from loom.models.loading import load

    if settings.get("adapters") is not None:
        raise ArgumentError("loom.models.tasks.open_served, adapters", "receipts tell a model by its files alone",
                            expected="a model that the adapters are merged into", got=repr(settings["adapters"])[:100],
                            remedy="Merge them with PEFT, and serve that model")  # fmt: skip
    checkpoint = open_checkpoint(source)
    called = name or _name_of(checkpoint)
    if describe(checkpoint).task == "embed":
        return _open_embedder(checkpoint, called, on, weights, compute, settings)

    weights, compute = usual[0] if weights is None else weights, usual[1] if compute is None else compute
    model = cast("LanguageModel", load(checkpoint, on=on, weights=weights, compute=compute, **settings))
    return ServedLanguageModel(model, checkpoint, called, weights, compute)


def _open_embedder(
    checkpoint: Checkpoint, name: str, on: Any, weights: str | None, compute: str | None, settings: dict[str, Any]
) -> ServedModel:
    from loom.models.loading import load

    if weights not in (None, "f32") or compute not in (None, "exact"):
        raise ArgumentError("loom.models.tasks.open_served", f"{name} is a model of vectors, computed in f32",
                            expected='weights="f32" and compute="exact"', got=f"{weights!r}, {compute!r}",
                            remedy="Leave them out")  # fmt: skip
    return ServedEmbedder(cast("Embedder", load(checkpoint, on=on, **settings)), checkpoint, name)


def _name_of(checkpoint: Checkpoint) -> str:
    path = Path(checkpoint.source)
    return (path.stem if path.suffix in (".gguf", ".safetensors") else path.resolve().name) or "model"


class ServedLanguageModel:
    """A ``ServedModel`` over a ``LanguageModel``; digests are made when they are first asked for."""

    writes = True
    embeds = False

    def __init__(
        self, model: LanguageModel, checkpoint: Checkpoint, name: str, stored_as: str = "f32", compute: str = "exact"
    ) -> None:
        self.model, self.name, self.created = model, name, int(time.time())
        self.context_length = model.engine.limit
        self.vocabulary_size = model.engine.vocabulary_size
        self.eos = model.tokenizer.eos
        self.device = model.network.model.device.name
        self._pieces = model.tokenizer.pieces  # a decoder that is not known is refused before anyone asks
        self._digests = _Digests(checkpoint, model.network, stored_as, compute)

    @property
    def identity(self) -> ModelIdentity:
        """Digests of the model; the first call reads all of its weights."""
        return self._digests.read()

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self.model.tokenizer.encode(text)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the tokens of a conversation."""
        return self.model.tokenizer.encode_chat(messages)

    def decoder(self, *, continuing: bool) -> Decoder:
        """Return what makes text of tokens, from the beginning or behind a prompt."""
        return _KnownTokens(self.model.tokenizer.stream(continuing=continuing), self.model.tokenizer.size)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token, of one that the tokenizer does not know none."""
        tokenizer = self.model.tokenizer
        if token >= tokenizer.size:
            return b""
        if token in tokenizer.special:
            return tokenizer.token(token).encode()
        return self._pieces.middle[token]

    def write(self, task: TextTask) -> TextWriting:
        """Begin a text."""
        constraint = self._constraint(task.constraint)
        request = self.model.engine.submit(
            task.prompt, SamplingConfig(**task.settings), eos=self.eos, constraint=constraint, top=task.top
        )  # fmt: skip
        return _Writing(request)

    def _constraint(self, asked: TextConstraint | None) -> Any:
        if asked is None:
            return None
        from loom.models.tokens import grammar

        return grammar.json_schema(_ANY_OBJECT if asked.schema is None else asked.schema, self.model.tokenizer)

    def score(self, tokens: Sequence[int], top: int) -> list[TokenScore]:
        """Return what the model thinks of a text that is there."""
        scored = self._after(tokens, top)[:-1] if len(tokens) > 1 else []
        found = [TokenScore(tokens[0], None)]
        for token, (values, tops) in zip(tokens[1:], scored, strict=True):
            found.append(TokenScore(token, float(values[token]), tops))
        return found

    def _after(self, tokens: Sequence[int], top: int) -> list[tuple[Any, tuple[tuple[int, float], ...]]]:
        """Return, for each token, the logarithms of the chances of what follows it, and the best."""
        rows = self.model.engine.logits(tokens)
        found: list[tuple[Any, tuple[tuple[int, float], ...]]] = []
        for row in rows:
            wide = np.asarray(row, np.float64)
            most = wide.max()
            values = (wide - (most + np.log(np.exp(wide - most).sum()))).astype(np.float32)
            best = np.lexsort((np.arange(len(values)), -wide))[:top] if top else ()
            found.append((values, tuple((int(n), float(values[n])) for n in best)))
        return found

    def embed(self, rows: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Raise ArgumentError: it writes text."""
        raise ArgumentError(self.name, "the model writes texts and makes no vectors", expected="an encoder",
                            got=f"{len(rows)} texts", remedy="Load one, such as MiniLM")  # fmt: skip

    def measures(self) -> Mapping[str, float]:
        """Return what the engine counts."""
        from dataclasses import asdict

        return asdict(self.model.engine.statistics)


class ServedEmbedder:
    """A ``ServedModel`` over an ``Embedder``; digests are made when they are first asked for."""

    writes = False
    embeds = True

    def __init__(self, model: Embedder, checkpoint: Checkpoint, name: str) -> None:
        self.model, self.name, self.created = model, name, int(time.time())
        self.context_length = model.most_tokens
        self.vocabulary_size = model.description.vocabulary_size
        self.eos = model.tokenizer.eos
        self.device = model.network.model.device.name
        self._digests = _Digests(checkpoint, model.network, "f32", "exact")

    @property
    def identity(self) -> ModelIdentity:
        """Digests of the model; the first call reads all of its weights."""
        return self._digests.read()

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, special ones included."""
        return self.model.tokenizer.encode(text)

    def embed(self, rows: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return a vector for each text."""
        return self.model.embed_tokens(rows)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Raise ArgumentError: it writes no text."""
        del messages
        raise self._no_text()

    def decoder(self, *, continuing: bool) -> Decoder:
        """Return what makes text of tokens, from the beginning or behind a prompt."""
        return _KnownTokens(self.model.tokenizer.stream(continuing=continuing), self.model.tokenizer.size)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token."""
        return self.model.tokenizer.pieces.middle[token] if token < self.model.tokenizer.size else b""

    def write(self, task: TextTask) -> TextWriting:
        """Raise ArgumentError: it writes no text."""
        del task
        raise self._no_text()

    def score(self, tokens: Sequence[int], top: int) -> list[TokenScore]:
        """Raise ArgumentError: it knows nothing of next tokens."""
        del tokens, top
        raise self._no_text()

    def _no_text(self) -> ArgumentError:
        return ArgumentError(self.name, "the model makes vectors and writes no text", expected="a language model",
                             got="a model of vectors", remedy="Load one, such as SmolLM2")  # fmt: skip

    def measures(self) -> Mapping[str, float]:
        """Return nothing: there is no engine."""
        return {}


class _Digests:
    """The identity of a model, made when it is first asked for."""

    def __init__(self, checkpoint: Checkpoint, network: Network, stored_as: str, compute: str) -> None:
        self._checkpoint, self._network, self._kind = checkpoint, network, (stored_as, compute)
        self._found: ModelIdentity | None = None
        self._lock = threading.Lock()

    def read(self) -> ModelIdentity:
        with self._lock:
            if self._found is None:
                self._found = identify(self._checkpoint, to_document(self._network.spec), *self._kind)
            return self._found


class _KnownTokens:
    """A decoder to which tokens that the tokenizer does not know are nothing: a network may have more rows."""

    def __init__(self, inner: Decoder, size: int) -> None:
        self._inner, self._size = inner, size

    def push(self, token: int) -> str:
        return self._inner.push(token) if token < self._size else ""

    def flush(self) -> str:
        return self._inner.flush()


class _Writing:
    """A request of the engine, step by step."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def finish_reason(self) -> str | None:
        """Why it ended, None before."""
        found = self._request.finish_reason
        return None if found is None else found.value

    def __iter__(self) -> Iterator[TokenStep]:
        request = self._request
        for at, token in enumerate(request):
            yield TokenStep(token, request.logprobs[at], request.likeliest[at])

    def cancel(self) -> None:
        """End it soon."""
        self._request.cancel()
