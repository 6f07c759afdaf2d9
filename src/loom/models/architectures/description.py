"""What is known of a published model, and how it is put together: layers one after another, with their sources.

Layer: models. Invariant: each weight of the document has one source of its very shape, and each tensor of the
checkpoint is a source, known to be of no use, or an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from typing import Any

from loom.core.errors import ArgumentError, FileError, ShapeError
from loom.core.late.dataclass import dataclass
from loom.core.tracebacks import warn_caller
from loom.formats.checkpoint import Checkpoint
from loom.models.architectures.settings import ModelSettings
from loom.models.architectures.sources import RowChoice, WeightSource
from loom.nn.spec import NetworkSpec, parse

__all__ = ["ModelDescription", "ModelDraft", "NamedCheckpoint"]

_USELESS = re.compile(
    r"(.*\.)?(rotary_emb\.inv_freq|attention\.rotary_emb\.inv_freq|attn\.(masked_)?bias|attention\.(masked_)?bias|position_ids)"
)
"""Tensors that older files have and that follow from the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelDescription:
    """A published model as a Loom network.

    ``family``: a name of ``FAMILIES``; ``task``: "generate" (logits of the next token), "embed" (numbers for each
    token, or one list of them for a text) or "classify"; ``document``: the network, as ``loom/1``, without weights;
    ``sources``: name of a weight -> where it comes from; ``context_length``: the most tokens it was made for, of images
    the number of patches; ``vocabulary_size``: of tokens, 0 of images. ``assumed``: what no file said and is taken as
    all published models of the family have it. ``left_out``: parts of the published model that the network does
    without; whoever builds it is warned of them.
    """

    family: str
    task: str
    document: dict[str, Any]
    sources: Mapping[str, WeightSource]
    context_length: int
    vocabulary_size: int
    assumed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        about = f"{len(self.sources)} weights, context {self.context_length:,}"
        without = f", without {' and '.join(self.left_out)}" if self.left_out else ""
        return f"<ModelDescription {self.family}, {self.task}: {about}{without}>"

    def warn(self) -> None:
        """Warn of what is left out."""
        if self.left_out:
            warn_caller(f"loom.models: the network is without {' and '.join(self.left_out)}")


@dataclass(slots=True)
class NamedCheckpoint:
    """A checkpoint as families see it: settings and names of tensors as transformers has them, prefixes left out.

    ``names``: that name -> the file's; ``has_pairs``: pairs of rotated rows of queries and keys lie next to each other,
    as llama.cpp has those of Llama.
    """

    checkpoint: Checkpoint
    settings: ModelSettings
    names: dict[str, str]
    has_pairs: bool = False
    tokens: int | None = None
    assumed: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Tell whether there is a tensor."""
        return name in self.names

    @property
    def is_gguf(self) -> bool:
        """True of a GGUF file, whose converter has turned some matrices."""
        return self.checkpoint.kind == "gguf"

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; FileError without it."""
        return self.checkpoint.tensors[self.file_name(name)].shape

    def file_name(self, name: str) -> str:
        """Return the file's name of a tensor; FileError without it."""
        if name not in self.names:
            raise FileError(self.settings.where, f"the tensor {name!r} is missing", expected="all weights of the model",
                            got=f"{len(self.names)} others", remedy="Download all files of the model")  # fmt: skip
        return self.names[name]

    def context(self, told: int) -> int:
        """Return how many tokens the network's inputs may have: ``tokens`` if asked for, of ``told``."""
        if self.tokens is not None and self.tokens > told:
            raise ArgumentError("loom.models.architectures, tokens", "longer than the model's context",
                                expected=f"at most {told}", got=self.tokens, remedy="Take fewer tokens")  # fmt: skip
        return told if self.tokens is None else self.tokens


@dataclass(slots=True)
class ModelDraft:
    """A document in the making."""

    given: NamedCheckpoint
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    sources: dict[str, WeightSource] = field(default_factory=dict[str, WeightSource])
    unused: set[str] = field(default_factory=set[str])
    left_out: list[str] = field(default_factory=list[str])

    def add(self, name: str, layer: dict[str, Any], *inputs: str) -> str:
        """Add a node that reads others; return its name."""
        self.nodes[name] = {**layer, "inputs": list(inputs)}
        return name

    def take(self, weight: str, name: str, **how: Any) -> None:
        """Have a weight come from a tensor."""
        self.sources[weight] = WeightSource(self.given.file_name(name), **how)

    def linear(
        self, key: str, name: str, *, weight: str = "weight", bias: str | None = "bias", rows: RowChoice | None = None,
        input_first: bool = False,
    ) -> None:  # fmt: skip
        """Have a matrix of a layer come from ``name.weight``, and its bias (None: there is none) from ``name.bias``."""
        self.take(f"{key}.{weight}", f"{name}.weight", transposed=True, rows=rows, input_first=input_first)
        if bias is not None:
            self.take(f"{key}.{bias}", f"{name}.bias", rows=rows)

    def norm(self, key: str, name: str, *, beta: bool = True) -> None:
        """Have a norm's weights come from ``name.weight`` and ``name.bias``."""
        self.take(f"{key}.gamma", f"{name}.weight")
        if beta:
            self.take(f"{key}.beta", f"{name}.bias")

    def leave(self, *names: str) -> None:
        """Note tensors that change nothing of what the files say that the model is."""
        self.unused.update(self.given.names[n] for n in names if n in self.given.names)

    def leave_out(self, part: str, names: Iterable[str]) -> None:
        """Note the tensors of a part of the model that the network does without."""
        found = [name for name in names if name in self.given.names]
        self.leave(*found)
        if found:
            self.left_out.append(f"{part} ({len(found)} tensors)")

    def finish(
        self, family: str, task: str, inputs: dict[str, Any], outputs: list[str], *, context: int, vocabulary: int = 0
    ) -> ModelDescription:
        """Return the description; ShapeError and FileError for tensors that do not fit or have no place."""
        told = self.given.settings.values.get("name")
        name = {"name": told[:200]} if isinstance(told, str) and told else {}
        document: dict[str, Any] = {
            "format": "loom/1",
            **name,
            "inputs": inputs,
            "nodes": self.nodes,
            "outputs": outputs,
        }
        spec = parse(document)
        self._check_shapes(spec)
        self._check_rest()
        order = {weight: self.sources[weight] for weight in spec.parameters()}
        return ModelDescription(
            family, task, document, order, context, vocabulary, self.given.assumed, tuple(self.left_out)
        )

    def _check_shapes(self, spec: NetworkSpec) -> None:
        wanted, where = spec.parameters(), self.given.settings.where
        if wanted.keys() != self.sources.keys():
            odd = sorted(wanted.keys() ^ self.sources.keys())
            raise AssertionError(f"weights without a source, or the other way round: {odd[:4]}")
        for weight, source in self.sources.items():
            held = self.given.checkpoint.tensors[source.tensor].shape
            if source.shape_of(held) != wanted[weight]:
                raise ShapeError(f"{where}, {source.tensor!r}", "the tensor does not fit the settings",
                                 expected=f"{wanted[weight]} for {weight!r}", got=f"{source.shape_of(held)} of {held}",
                                 remedy="Check config.json, or that all files are of one model")  # fmt: skip

    def _check_rest(self) -> None:
        used: Collection[str] = {s.tensor for s in self.sources.values()} | self.unused
        left = [n for n in self.given.checkpoint.tensors if n not in used and not _USELESS.fullmatch(n)]
        if left:
            raise FileError(self.given.settings.where, f"{len(left)} tensors have no place in the network",
                            expected="the weights of one model of this family", got=", ".join(left[:6])[:300],
                            remedy="It may be a variant that Loom does not know")  # fmt: skip
