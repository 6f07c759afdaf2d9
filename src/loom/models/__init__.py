"""Published models: weights from their files, text, chats and embeddings.

Layer: models (above ``nn`` and ``vectors``, below ``flow``). Invariant: a model is a network of ``loom/1`` documents;
what it says has the bits of ``loom.Network.forward`` on the whole text, on every device, whatever else is computed
beside it.

Stability: new.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.names import missing_name

if TYPE_CHECKING:
    from loom.models.embedding import Embedder
    from loom.models.language import Generation, LanguageModel, TextStream
    from loom.models.loading import load

__all__ = ["Embedder", "Generation", "LanguageModel", "TextStream", "load"]

_HOMES = {
    "Embedder": "embedding", "Generation": "language", "LanguageModel": "language", "TextStream": "language",
    "load": "loading",
}  # fmt: skip
"""Names and the modules that hold them: loaded when first used."""
_OPEN = ("architectures", "comparison", "files", "inference", "sampling", "tokens")
"""Packages that the guide names: loaded when first used."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"loom.models.{_HOMES[name]}"), name)
    if name in _OPEN:
        return import_module(f"loom.models.{name}")
    raise missing_name("loom.models", name, (*_HOMES, *_OPEN))
