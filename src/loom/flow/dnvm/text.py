"""Tokenizers and language models by the older names: ``load_tokenizer_from_bytes``, ``generate_text_stream``, ...

Layer: flow, over ``loom.models``. One tokenizer and one model are the current ones: those that the thread loaded last;
in a thread that loaded none, those loaded last in any. Invariant: a seed gives the same text on every device, and a
temperature has an effect.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.flow.dnvm.current import device_of_new

if TYPE_CHECKING:
    from loom.models.language import LanguageModel, TextStream
    from loom.models.tokens import Tokenizer
    from loom.nn.network import Network

__all__ = [
    "decode_tokens", "encode_text", "generate_stream", "generate_text", "generate_text_stream",
    "load_tokenizer_from_bytes", "load_transformer_from_bytes",
]  # fmt: skip

_MOST_TOKENS, _TEMPERATURE = 50, 0.7


class _LoadedText:
    """What was loaded last, and the model that is made of both when a text is asked for."""

    tokenizer: Tokenizer | None = None
    network: Network | None = None
    context_length = 0
    model: LanguageModel | None = None


_latest = _LoadedText()
_own = threading.local()
_making = threading.Lock()


def _last_text() -> _LoadedText:
    """Return what this thread loaded last, else what any did."""
    return getattr(_own, "loaded", _latest)


def _keep(**changes: Any) -> None:
    """Make something current, for this thread and those that loaded nothing; a model of others is made anew."""
    made = _LoadedText()
    vars(made).update({**vars(_last_text()), **changes, "model": None})
    _own.loaded = made
    vars(_latest).update({**changes, "model": None})


def load_tokenizer_from_bytes(data: bytes) -> Tokenizer:
    """Make the tokenizer of a ``tokenizer.json`` the current one, and return it; ArgumentError if it is none."""
    from loom.models.tokens import Tokenizer

    text = _bytes(data, "load_tokenizer_from_bytes, data").decode("utf-8", "replace")
    made = Tokenizer.of(_TokenizerFile(text))
    _keep(tokenizer=made)
    return made


class _TokenizerFile:
    """A checkpoint that holds a tokenizer and nothing else."""

    config = metadata = None

    def __init__(self, text: str) -> None:
        self._text = text

    def text(self, name: str) -> str | None:
        return self._text if name == "tokenizer.json" else None


def load_transformer_from_bytes(config: bytes, weights: bytes) -> Network:
    """Make the model of a ``config.json`` and a ``model.safetensors`` the current one, and return its network.

    It takes tokens and gives logits. The bytes of the weights are not copied: leave them as they are. ArgumentError for
    a family of models that is not known, FileError for files that are damaged or do not belong together.
    """
    from loom.formats.opening import open_checkpoint
    from loom.models.architectures import build, describe

    where = "load_transformer_from_bytes"
    files = {"config.json": _bytes(config, f"{where}, config"), "model.safetensors": weights}
    _bytes(weights, f"{where}, weights")
    checkpoint = open_checkpoint(files)
    description = describe(checkpoint)
    if description.task != "generate":
        raise ArgumentError(where, "the model writes no text", expected="a language model", got=description.family,
                            remedy="Use loom.models.load")  # fmt: skip
    network = build(checkpoint, on=device_of_new(), description=description)
    _keep(network=network, context_length=description.context_length)
    return network


def encode_text(text: str, add_special: bool = True) -> list[int]:
    """Return a text's tokens by the current tokenizer; ``add_special``: with those that texts begin or end with."""
    return _tokenizer().encode(text, add_special)


def decode_tokens(tokens: Sequence[int], skip_special: bool = True) -> str:
    """Return the text of tokens by the current tokenizer; ``skip_special``: without control tokens."""
    return _tokenizer().decode(tokens, skip_special)


def generate_text(prompt: str, max_tokens: int = _MOST_TOKENS, temperature: float = _TEMPERATURE, seed: int = 0) -> str:
    """Return what the current model writes after a prompt; of one ``seed`` always the same."""
    return _model().generate(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed).text


def generate_text_stream(
    prompt: str, max_tokens: int = _MOST_TOKENS, temperature: float = _TEMPERATURE, seed: int = 0
) -> Iterator[str]:
    """Return the same text, part by part as it is written; whoever leaves early ends the work."""
    stream = _model().generate_stream(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)
    return _parts(stream)


generate_stream = generate_text_stream
"""The same, as some documents call it."""


def _parts(stream: TextStream) -> Iterator[str]:
    with stream:
        yield from filter(None, stream)


def _tokenizer() -> Tokenizer:
    found = _last_text().tokenizer
    if found is None:
        raise StateError("loom.flow.dnvm", "there is no tokenizer", expected="load_tokenizer_from_bytes first",
                         got="none", remedy="Load one")  # fmt: skip
    return found


def _model() -> LanguageModel:
    """Return the current model with the current tokenizer."""
    from loom.models.language import LanguageModel

    loaded, tokenizer = _last_text(), _tokenizer()
    if loaded.network is None:
        raise StateError("loom.flow.dnvm", "there is no language model", expected="load_transformer_from_bytes first",
                         got="none", remedy="Load one")  # fmt: skip
    with _making:
        if loaded.model is None:
            tokenizer.check(_vocabulary(loaded.network))
            loaded.model = LanguageModel(loaded.network, tokenizer, context_length=loaded.context_length)
        return loaded.model


def _vocabulary(network: Network) -> int:
    """Return how many tokens a network gives logits of."""
    return network.spec.shapes()[network.spec.outputs[0]][-1]


def _bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise DTypeError(where, "not bytes", expected="what a file holds", got=type(value).__name__,
                         remedy='Read the file with open(path, "rb")')  # fmt: skip
    return value if isinstance(value, bytes) else bytes(cast("Any", value))
