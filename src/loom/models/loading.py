"""``load``: a published model from its files, ready to use.

Layer: models. Invariant: what cannot be computed as asked is refused before a weight is read.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import one_of
from loom.core.numbers import whole
from loom.models.architectures import ModelDescription, describe
from loom.models.architectures.sources import CheckpointWeights
from loom.models.files import Checkpoint, open_checkpoint
from loom.models.language import LanguageModel
from loom.models.tokens import Tokenizer
from loom.nn.network import Network
from loom.nn.spec import parse
from loom.runtime.device import Device
from loom.runtime.registry import device

__all__ = ["load"]

_WHERE = "loom.models.load"
_COMPUTES = ("exact", "q8", "q12")


def load(
    source: Any, *, on: str | Device | None = None, weights: str = "f32", compute: str = "exact",
    context_length: int | None = None, name: str | None = None, **settings: Any,
) -> LanguageModel:  # fmt: skip
    """Return the model in ``source``: a HuggingFace folder, a ``.gguf`` or ``.safetensors`` file, or bytes.

    ``on``: the device. ``weights``: "f32". ``compute``: how products are computed: "exact", f32 in the canonical order,
    or by whole numbers of 8 or 12 bits, "q8" and "q12" (docs/numerics.md, section 2), faster and less exact; the same
    on every device each. ``context_length``: the most tokens of prompt and text, at most the model's own, which is the
    default. ``settings`` go to the engine (``loom.models.inference.InferenceEngine``): ``cache_nbytes``,
    ``sequences`` .. Errors are those of ``open_checkpoint``, ``describe`` and ``Tokenizer.of``.
    """
    one_of(weights, f"{_WHERE}, weights", ("f32",))
    one_of(compute, f"{_WHERE}, compute", _COMPUTES)
    home = device(on)
    checkpoint = open_checkpoint(source)
    description = describe(checkpoint)
    if description.task != "generate":
        raise ArgumentError(
            _WHERE, f"the checkpoint makes no text: it is of the family {description.family}",
            expected='the task "generate"', got=repr(description.task),
            remedy="Use loom.models.architectures.build and its network",
        )  # fmt: skip
    most = description.context_length
    length = most if context_length is None else whole(context_length, f"{_WHERE}, context_length", least=1, most=most)
    tokenizer = Tokenizer.of(checkpoint)
    tokenizer.check(description.vocabulary_size)
    network = _network(checkpoint, description, home, compute)
    told = name or description.document.get("name") or "model"
    return LanguageModel(network, tokenizer, context_length=length, name=str(told), **settings)


def _network(checkpoint: Checkpoint, description: ModelDescription, home: Device, compute: str) -> Network:
    document = dict(description.document)
    if compute != "exact":
        document["precision"] = compute
    return Network(parse(document), on=home, weights=CheckpointWeights(checkpoint, description.sources))
