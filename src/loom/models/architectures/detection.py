"""Which family a checkpoint is of, by its config.json, GGUF metadata, or the names of its tensors.

Layer: models. Invariant: one table has all families; what is none of them is refused with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int
from loom.core.late.dataclass import dataclass
from loom.formats.opening import Checkpoint, open_checkpoint
from loom.models.architectures.bare import settings_of_shapes
from loom.models.architectures.bert import describe_bert
from loom.models.architectures.description import ModelDescription, NamedCheckpoint
from loom.models.architectures.gguf import ARCHITECTURES, gguf_names, gguf_settings
from loom.models.architectures.gpt2 import describe_gpt2
from loom.models.architectures.gpt_neox import describe_gpt_neox
from loom.models.architectures.llama import describe_llama
from loom.models.architectures.settings import ModelSettings
from loom.models.architectures.t5 import describe_t5_encoder
from loom.models.architectures.vit import describe_vit

__all__ = ["FAMILIES", "Family", "describe"]


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are built alike.

    ``types``: what config.json calls them (``model_type``); ``classes``: the classes of transformers whose weights are
    read, by what they end with; ``prefixes``: what names of tensors may begin with.
    """

    name: str
    types: tuple[str, ...]
    classes: tuple[str, ...]
    prefixes: tuple[str, ...]
    make: Callable[[NamedCheckpoint, str], ModelDescription]


_DECODERS = ("ForCausalLM", "Model")
_OF_BERT = ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification")
_ALL = (
    Family("llama", ("llama", "mistral"), _DECODERS, ("model.",), describe_llama),
    Family("qwen2", ("qwen2",), _DECODERS, ("model.",), describe_llama),
    Family("qwen3", ("qwen3",), _DECODERS, ("model.",), describe_llama),
    Family("gpt2", ("gpt2",), ("LMHeadModel", "Model"), ("transformer.",), describe_gpt2),
    Family("gpt_neox", ("gpt_neox",), _DECODERS, ("gpt_neox.",), describe_gpt_neox),
    Family(
        "bert",
        ("bert",),
        ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification"),
        ("bert.",),
        describe_bert,
    ),
    Family("t5_encoder", ("t5",), ("EncoderModel", "Model", "ForConditionalGeneration"), (), describe_t5_encoder),
    Family("vit", ("vit",), ("ViTModel", "ViTForImageClassification"), ("vit.",), describe_vit),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
"""Name -> family, of all that Loom knows."""


def describe(source: Any, *, tokens: int | None = None, config: Mapping[str, Any] | None = None) -> ModelDescription:
    """Return the network that a checkpoint holds.

    ``source``: an open ``Checkpoint``, or what ``open_checkpoint`` takes. ``tokens``: the most that its inputs may
    have, None: the model's whole context (samples may always be shorter). ``config``: settings under config.json's
    names, for files that lack them, or instead of theirs. ArgumentError for what is of no known family, with what was
    found, and for settings that no layer computes; FileError and ShapeError for tensors that are missing, left over or
    do not fit.
    """
    where = "loom.models.architectures.describe"
    if tokens is not None and (not is_int(tokens) or tokens < 1):
        raise ArgumentError(f"{where}, tokens", "no number of tokens", expected="an integer from 1, or None",
                            got=repr(tokens)[:60], remedy="Leave it out for the whole context")  # fmt: skip
    checkpoint = open_checkpoint(source)
    told = dict(config or {})
    if checkpoint.kind == "gguf":
        family, given = _of_gguf(checkpoint, told)
    elif checkpoint.config is not None or "model_type" in told:
        family, given = _of_config(checkpoint, {**(checkpoint.config or {}), **told})
    else:
        found = settings_of_shapes(checkpoint, told)
        if found is None:
            first = ", ".join(list(checkpoint.tensors)[:4])
            raise _unknown(where, f"weights alone, such as {first}", "names of a known family, or config.json")
        family, given = _of_config(checkpoint, found[0])
        given.assumed = found[1]
    given.tokens = tokens
    return family.make(given, family.name)


def _of_gguf(checkpoint: Checkpoint, told: Mapping[str, Any]) -> tuple[Family, NamedCheckpoint]:
    architecture = checkpoint.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise _unknown(f"loom.models, {checkpoint.source}", f"general.architecture {architecture!r}",
                       " or ".join(ARCHITECTURES))  # fmt: skip
    name, names = ARCHITECTURES[architecture]
    settings = ModelSettings(gguf_settings(checkpoint, architecture) | dict(told), f"loom.models, {checkpoint.source}")
    return FAMILIES[name], NamedCheckpoint(
        checkpoint, settings, gguf_names(checkpoint, names), has_pairs=architecture == "llama"
    )


def _of_config(checkpoint: Checkpoint, config: Mapping[str, Any]) -> tuple[Family, NamedCheckpoint]:
    settings = ModelSettings(config, "loom.models, config.json")
    kind = config.get("model_type")
    family = next((f for f in _ALL if kind in f.types), None)
    classes = settings.texts("architectures")
    if family is None:
        found = ", ".join(filter(None, [f"model_type {kind!r}", *classes]))
        raise _unknown(settings.where, found, " or ".join(t for f in _ALL for t in f.types))
    if classes and not any(c.endswith(family.classes) for c in classes):
        raise _unknown(settings.where, f"{', '.join(classes)} of model_type {kind!r}",
                       " or ".join(f"...{c}" for c in family.classes))  # fmt: skip
    settings.require("quantization_config", (None,), "Weights packed by other tools are not read: take GGUF")
    return family, NamedCheckpoint(checkpoint, settings, _plain_names(checkpoint, family.prefixes))


def _plain_names(checkpoint: Checkpoint, prefixes: tuple[str, ...]) -> dict[str, str]:
    """Return names without the prefix of the whole model -> the file's."""
    found: dict[str, str] = {}
    for name in checkpoint.tensors:
        begin = next((p for p in prefixes if name.startswith(p)), "")
        plain = name.removeprefix(begin).replace("LayerNorm.gamma", "LayerNorm.weight")  # as the first BERTs have it
        found[plain.replace("LayerNorm.beta", "LayerNorm.bias")] = name
    return found


def _unknown(where: str, found: str, expected: str) -> ArgumentError:
    return ArgumentError(where, "no family of models that Loom knows", expected=expected, got=found[:200],
                         remedy=f"Known families: {', '.join(f.name for f in _ALL)}")  # fmt: skip
