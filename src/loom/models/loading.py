"""``load``: a published model from its files, ready to use.

Layer: models. Invariant: what cannot be computed as asked is refused before a weight is read.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import one_of
from loom.core.numbers import whole
from loom.formats.opening import Checkpoint, open_checkpoint
from loom.models.architectures import ModelDescription, describe
from loom.models.architectures.adapting import with_adapters
from loom.models.architectures.sources import CheckpointWeights
from loom.models.embedding import Embedder
from loom.models.inference.stored import WEIGHTS, QuantizedWeights
from loom.models.language import LanguageModel
from loom.models.tokens import Tokenizer
from loom.nn.network import Network
from loom.nn.spec import parse
from loom.runtime.port.device import Device
from loom.runtime.registry import device

__all__ = ["load"]

_WHERE = "loom.models.load"
_COMPUTES = ("exact", "q8", "q12")


def load(
    source: Any, *, on: str | Device | None = None, weights: str = "f32", compute: str = "exact",
    context_length: int | None = None, name: str | None = None, adapters: Any = None, **settings: Any,
) -> LanguageModel | Embedder:  # fmt: skip
    """Return the model in a file or folder.

    Args:
        source: HuggingFace folder, a ``.gguf`` or ``.safetensors`` file, or bytes.
        on: Device, or its name; None: the default device.
        weights: Form in which they are kept: "f32", "stored" (the blocks of a GGUF file as they are; what it has not in
            blocks is f32), or rounded to blocks of 4 or 8 bits, "q4_0", "q4_1" and "q8_0".
        compute: Products of weights: "exact", f32 in the canonical order, or by whole numbers of 8 or 12 bits, "q8" and
            "q12" (docs/numerics.md, section 2), faster and less exact; the same on every device each.
        context_length: Most tokens of prompt and text; None: the model's own, which is the most.
        name: Name that the model calls itself; None: that of the source.
        adapters: Folder or file of LoRA, as PEFT writes it for a HuggingFace checkpoint, which is merged into weights
            of f32; None: none.
        **settings: Settings of the engine (``loom.models.inference.InferenceEngine``): ``cache_nbytes``, ``sequences``
            ..; of an ``Embedder`` ``pooling`` and ``normalize``.

    Returns:
        ``LanguageModel``; of a model that makes vectors of texts an ``Embedder``.

    Raises:
        ArgumentError: There is no such form or product; a setting that the model has not, or that has no effect; an
            architecture that is not done.
        DTypeError: Not a device.
        DeviceError: There is no such device.
        FileError: The files cannot be read, or are no checkpoint.
    """
    one_of(weights, f"{_WHERE}, weights", WEIGHTS)
    one_of(compute, f"{_WHERE}, compute", _COMPUTES)
    if adapters is not None and weights != "f32":
        raise ArgumentError(f"{_WHERE}, adapters", "adapters are merged into weights of f32", expected='weights="f32"',
                            got=repr(weights), remedy="Leave weights out")  # fmt: skip
    home = device(on)
    checkpoint = open_checkpoint(source)
    description = describe(checkpoint)
    if description.task == "embed":
        told = (("context_length", context_length), ("name", name), ("adapters", adapters))
        asked = [option for option, value in told if value is not None]
        asked += [
            option for option, value in (("weights", weights), ("compute", compute)) if value not in ("f32", "exact")
        ]
        return _embedder(checkpoint, home, asked, settings)
    if description.task != "generate":
        raise ArgumentError(
            _WHERE, f"the checkpoint makes neither text nor vectors of text: it is of the family {description.family}",
            expected='the task "generate" or "embed"', got=repr(description.task),
            remedy="Use loom.models.architectures.build and its network",
        )  # fmt: skip
    most = description.context_length
    length = most if context_length is None else whole(context_length, f"{_WHERE}, context_length", least=1, most=most)
    tokenizer = Tokenizer.of(checkpoint)
    tokenizer.check(description.vocabulary_size)
    network = _network(checkpoint, description, home, weights, compute)
    if adapters is not None:
        network = with_adapters(network, description, adapters)
    called = name or description.document.get("name") or "model"
    return LanguageModel(network, tokenizer, context_length=length, name=str(called), **settings)


def _embedder(checkpoint: Checkpoint, home: Device, asked: list[str], settings: dict[str, Any]) -> Embedder:
    unknown = [*asked, *(name for name in settings if name not in ("pooling", "normalize"))]
    if unknown:
        raise ArgumentError(_WHERE, "a model of vectors has no such settings", expected="on, pooling and normalize",
                            got=", ".join(unknown), remedy="Leave them out")  # fmt: skip
    return Embedder.of(checkpoint, on=home, **settings)


def _network(
    checkpoint: Checkpoint, description: ModelDescription, home: Device, weights: str, compute: str
) -> Network:  # fmt: skip
    document = dict(description.document)
    if compute != "exact":
        document["precision"] = compute  # of products with f32; weights in blocks know their own
    spec = parse(document)
    if weights == "f32":
        with CheckpointWeights(checkpoint, description.sources) as found:
            return Network(spec, on=home, weights=found)
    kept = QuantizedWeights(checkpoint, description.sources, spec, weights=weights, compute=compute, on=home)
    return Network(spec, on=home, weights=kept)
