"""Networks as the command line opens them: documents, bundles, safetensors.

Layer: cli. Invariant: what has no weights gets starting weights only where the command says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loom.core.errors import ArgumentError

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["open_network"]


def open_network(path: Path, device: str | None, *, trained: bool = False, model_id: str | None = None) -> Network:
    """Return the network of a file; ``trained``: ArgumentError for a document without weights."""
    from loom.nn.network import Network
    from loom.nn.persistence import SAFETENSORS, is_bundle

    if not path.is_file():
        raise ArgumentError("loom", "no such file", expected="a network's document or a model", got=str(path),
                            remedy="Check the path")  # fmt: skip
    if path.suffix == SAFETENSORS or is_bundle(path):
        return Network.load(path, model_id, on=device)
    if trained:
        raise ArgumentError(str(path), "the file has no weights", expected="a bundle or .safetensors", got="a document",
                            remedy="Train it first: loom train NET.json --data ... --out MODEL.json")  # fmt: skip
    return Network.from_json(path, on=device)
