"""``Embedder``: texts as vectors, by a model of text and the way of pooling that its files tell.

Layer: models. Texts of like length share a batch, padded to a few lengths, so that few programs are compiled.
Invariant: a text's vector has the same bits whatever stands beside it and however far it is padded.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag, items
from loom.formats.opening import open_checkpoint
from loom.models.architectures import ModelDescription, describe
from loom.models.architectures.sources import CheckpointWeights
from loom.models.tokens import Tokenizer
from loom.nn.network import Network
from loom.nn.spec import parse
from loom.runtime.port.device import Device
from loom.tensor import TensorProgram

__all__ = ["POOLING", "Embedder"]

POOLING = ("mean", "first", "last", "max")
"""Ways to make one vector of a text's tokens."""

_LENGTHS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
_STEP = 256
"""Beyond these lengths, multiples of this."""
_TOKENS = 1024
"""Of a batch, about."""
_OF_A_BATCH, _OF_A_PROGRAM = 128, 256
"""What a batch and a program that is not compiled yet cost, in tokens, when texts are shared out among batches."""
_MOST_PROGRAMS = 64
_MASK = "mask"


class Embedder:
    """A model that makes a vector of a text.

    ``width``: numbers of a vector; ``most_tokens``: of a text, special ones included; ``tokenizer``, ``network`` and
    ``description``: what it is made of. ``of`` makes one of a checkpoint. Several threads may use one.
    """

    def __init__(self, network: Network, tokenizer: Tokenizer, description: ModelDescription, most_tokens: int) -> None:
        self.network, self.tokenizer, self.description = network, tokenizer, description
        self.most_tokens = most_tokens
        (self._output,) = network.spec.outputs
        self.width: int = network.spec.shapes()[self._output][-1]
        self._programs: OrderedDict[tuple[int, int], TensorProgram] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls, source: Any, *, on: str | Device | None = None, pooling: str | None = None,
        normalize: bool | None = None, config: Mapping[str, Any] | None = None,
    ) -> Embedder:  # fmt: skip
        """Return the embedder of a checkpoint.

        Args:
            source: Open checkpoint, or what ``open_checkpoint`` takes.
            on: Device, or its name; None: the default device.
            pooling: Way in which tokens' features become one vector ("mean", "first", "last" or "max"), where the
                model's files say none; None: these do.
            normalize: Whether vectors get the length 1, with ``pooling``; None: no.
            config: Settings in place of those of the checkpoint's config; None: these.

        Raises:
            ArgumentError: A model of images, or of a task that gives no features; nothing says how to pool; a
                checkpoint of an architecture that is not done, or broken.
            FileError: The files cannot be read.
        """
        checkpoint = open_checkpoint(source)
        description = describe(checkpoint, config=config)
        document = _pooling_document(description, pooling, normalize)
        description.warn()
        network = Network(
            parse(document), on=on, weights=CheckpointWeights(checkpoint, _sources_left(description, document))
        )
        most = _most_tokens(checkpoint.text("sentence_bert_config.json"), description.context_length)
        return cls(network, Tokenizer.of(checkpoint), description, most)

    def __repr__(self) -> str:
        """Return the family, the size of vectors and the device."""
        device = self.network.model.device.name
        return f"<Embedder {self.description.family}: texts of {self.most_tokens} tokens to {self.width}, on {device}>"

    def embed(self, texts: str | Iterable[str], *, truncate: bool = False) -> Array:
        """Return a vector for each text.

        Args:
            texts: Text, or several.
            truncate: Whether of texts longer than ``most_tokens`` the beginning is taken, as sentence-transformers
                does.

        Returns:
            Array (n, width) of f32; of one text (width,).

        Raises:
            ArgumentError: A text is too long; ``truncate`` is no truth; not several texts.
            DTypeError: Not a text.
        """
        where = "Embedder.embed"
        is_cut = flag(truncate, f"{where}, truncate")
        is_one = isinstance(texts, str)
        listed: list[Any] = [texts] if is_one else items(texts, where, "texts")
        for number, text in enumerate(listed):
            if not isinstance(text, str):
                raise DTypeError(where, f"text {number} is no text", expected="str", got=type(text).__name__,
                                 remedy="Pass a list of texts")  # fmt: skip
        rows = [self.encode(text, truncate=is_cut) for text in listed]
        found = self.embed_tokens(rows)
        return found[0] if is_one else found

    def encode(self, text: str, *, truncate: bool = False) -> list[int]:
        """Return a text's tokens with the special ones.

        Args:
            text: Text.
            truncate: Whether of a text longer than ``most_tokens`` the beginning is taken.

        Raises:
            ArgumentError: The text is too long.
        """
        ids = self.tokenizer.encode(text)
        if len(ids) <= self.most_tokens:
            return ids
        if not truncate:
            raise ArgumentError("Embedder.embed", "a text is too long", expected=f"at most {self.most_tokens} tokens",
                                got=len(ids), remedy="Cut it into parts, or pass truncate=True to take its beginning",
                                )  # fmt: skip
        plain = self.tokenizer.encode(text, special=False)
        return _cut(ids, plain, self.most_tokens)

    def embed_tokens(self, rows: Sequence[Sequence[int]]) -> Array:
        """Return a vector for each list of tokens.

        Args:
            rows: Lists of tokens, special ones among them.

        Returns:
            Array (n, width) of f32.

        Raises:
            ArgumentError: No tokens, or too many; a token that there is not.
        """
        checked = [self._check_tokens(row, number) for number, row in enumerate(rows)]
        found = np.empty((len(checked), self.width), np.float32)
        order = sorted(range(len(checked)), key=lambda n: (len(checked[n]), n))
        lengths = [self._padding_length(len(checked[n])) for n in order]
        for begin, end, size in _batches(lengths, set(self._programs)):
            batch = order[begin:end]
            found[batch] = self._run([checked[n] for n in batch], size, lengths[end - 1])
        return found

    def _check_tokens(self, row: Sequence[int], number: int) -> Array:
        where = "Embedder.embed_tokens"
        ids = np.asarray(row)
        if ids.ndim != 1 or ids.dtype.kind not in "iu" or not 1 <= len(ids) <= self.most_tokens:
            raise ArgumentError(f"{where}, row {number}", "not the tokens of a text", got=f"{ids.dtype} {ids.shape}",
                                expected=f"1 to {self.most_tokens} whole numbers", remedy="See Embedder.encode",
                                )  # fmt: skip
        most = self.description.vocabulary_size
        if ids.min() < 0 or ids.max() >= most:
            raise ArgumentError(f"{where}, row {number}", "a token that the model has not", expected=f"0 to {most - 1}",
                                got=int(ids[(ids < 0) | (ids >= most)][0]), remedy="Use its own tokenizer")  # fmt: skip
        return ids.astype(np.int32)

    def _padding_length(self, length: int) -> int:
        """Return the length that texts so long are padded to."""
        wanted = next((n for n in _LENGTHS if n >= length), -(-length // _STEP) * _STEP)
        return min(wanted, self.network.spec.inputs[0].shape[0])

    def _run(self, rows: Sequence[Array], size: int, length: int) -> Array:
        """Return the vectors of texts up to a length, by the program of so many; rows without a text are padding."""
        given = {i.name: np.zeros((size, length), i.dtype.numpy) for i in self.network.spec.inputs}
        for number, row in enumerate(rows):
            given["tokens"][number, : len(row)] = row
            if _MASK in given:
                given[_MASK][number, : len(row)] = 1
        with self._lock, self.network.model.lock:
            program = self._program(size, length)
            program.run(**given)
            found: Array = program.read()[0]
        return found[: len(rows)]

    def _program(self, size: int, length: int) -> TensorProgram:
        """Return the program of a batch, compiled when it is first asked for."""
        model, key = self.network.model, (size, length)
        if key not in self._programs:
            if len(self._programs) == _MOST_PROGRAMS:
                self._programs.popitem(last=False)[1].free()
            fed = {i.name: tensor.input(i.name, (size, length), i.dtype) for i in self.network.spec.inputs}
            output = model.apply(fed)
            self._programs[key] = tensor.compile([output], on=model.device, name=f"embed {size} x {length}")
        self._programs.move_to_end(key)
        return self._programs[key]


def _batches(lengths: Sequence[int], compiled: Collection[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return the batches (first text, the one after the last, rows) that compute the fewest tokens.

    ``lengths``: of the texts, padded, ascending; ``compiled``: sizes (rows, length) that have a program. Rows are a
    power of two, a batch is as long as its longest text. Dynamic programming over the sorted texts: ``least[n]`` is
    what the first n cost.
    """
    least, chosen = [0], [0]
    for n, length in enumerate(lengths, 1):
        cost, rows, best = -1, 1, 1
        while rows == 1 or (rows * length <= _TOKENS and rows < 2 * n):
            new = 0 if (rows, length) in compiled else _OF_A_PROGRAM
            here = least[max(0, n - rows)] + rows * length + _OF_A_BATCH + new
            if cost < 0 or here <= cost:
                cost, best = here, rows
            rows *= 2
        least.append(cost)
        chosen.append(best)
    found: list[tuple[int, int, int]] = []
    end = len(lengths)
    while end:
        begin = max(0, end - chosen[end])
        found.append((begin, end, chosen[end]))
        end = begin
    return found[::-1]


def _cut(ids: list[int], plain: list[int], most: int) -> list[int]:
    """Return the first ``most`` tokens with the special ones that stand around a whole text."""
    start = next((n for n in range(len(ids) - len(plain) + 1) if ids[n : n + len(plain)] == plain), 0)
    ends = ids[start + len(plain) :]
    return [*ids[:start], *plain[: most - start - len(ends)], *ends]


def _sources_left(description: ModelDescription, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sources of what is left of the network."""
    return {n: s for n, s in description.sources.items() if n.split(".")[0] in document["nodes"]}


def _pooling_document(description: ModelDescription, pooling: str | None, normalize: bool | None) -> dict[str, Any]:
    """Return the document whose output is one vector for a text."""
    where, document = "Embedder.of", description.document
    if description.task != "embed" or "tokens" not in document["inputs"]:
        raise ArgumentError(where, f"a model of the family {description.family!r} that does not embed texts",
                            expected="task 'embed', of tokens", got=f"task {description.task!r}",
                            remedy="Load it as what it is: loom.models.load")  # fmt: skip
    nodes = dict(document["nodes"])
    if "embedding" in document["outputs"]:
        for name, value in (("pooling", pooling), ("normalize", normalize)):
            if value is not None:
                raise ArgumentError(f"{where}, {name}", "the model's own files say how texts are embedded",
                                    expected="None", got=repr(value), remedy="Leave it out")  # fmt: skip
        return document
    is_normal = normalize is not None and flag(normalize, f"{where}, normalize")
    if pooling not in POOLING:
        raise ArgumentError(
            f"{where}, pooling",
            "nothing says how tokens become one vector",
            expected=" or ".join(map(repr, POOLING)),
            got=repr(pooling),
            remedy="Pass pooling='mean', for example, or put its modules.json and 1_Pooling/config.json beside it",
        )
    inputs = dict(document["inputs"])
    inputs.setdefault(_MASK, inputs["tokens"])
    mask = {} if pooling == "first" else {"padding_mask": _MASK}
    hidden = document["outputs"][0]
    last = "text_features" if is_normal else "text_embedding"
    nodes[last] = {"type": "token_pool", "mode": pooling, **mask, "inputs": [hidden]}
    if is_normal:
        nodes["text_embedding"] = {"type": "normalize", "inputs": [last]}
    for name in ("first", "pooled"):  # what a classifier would read
        if name not in (hidden, last):
            nodes.pop(name, None)
    return {**document, "inputs": inputs, "nodes": nodes, "outputs": ["text_embedding"]}


def _most_tokens(told: str | None, context: int) -> int:
    """Return how many tokens a text may have, as a sentence transformer says it."""
    try:
        most: Any = None if told is None else json.loads(told).get("max_seq_length")
    except (ValueError, AttributeError):
        raise ArgumentError("loom.models, sentence_bert_config.json", "no object of JSON", got=repr(told)[:60],
                            remedy="Download the file again") from None  # fmt: skip
    return min(context, most) if isinstance(most, int) and not isinstance(most, bool) and most > 0 else context
