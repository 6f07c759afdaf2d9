"""Published models: weights from their files, text, chats and embeddings.

Layer: models (above ``nn`` and ``vectors``, below ``flow``). Invariant: a model is a network of ``loom/1`` documents;
what it says has the bits of ``loom.Network.forward`` on the whole text, on every device, whatever else is computed
beside it.
"""

from importlib import import_module
from typing import Any

from loom.core.names import missing_name

_OPEN = ()
"""Packages that the guide names: loaded when first used."""


def __getattr__(name: str) -> Any:
    if name in _OPEN:
        return import_module(f"loom.models.{name}")
    raise missing_name("loom.models", name, _OPEN)
