"""Which model it is: digests of the weights as they are stored, of the tokenizer, of the network's document.

Layer: models. Invariant: the digests are of what the files say, not of where they are, nor of the order within them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from loom.core.given import is_array, is_mapping, is_scalar
from loom.core.process.thread_pools import ThreadPool
from loom.formats.checkpoint import Checkpoint, StoredTensor
from loom.models.receipts import ModelIdentity

__all__ = ["identify", "tokenizer_digest", "weights_digest"]

_TEXTS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip
"""Files of a folder that say what tokens are."""


def identify(checkpoint: Checkpoint, document: Mapping[str, Any], stored_as: str, compute: str) -> ModelIdentity:
    """Return the identity of a checkpoint's model; it reads all of the weights once."""
    return ModelIdentity(
        weights_digest(checkpoint), tokenizer_digest(checkpoint), _of_data(document), stored_as, compute
    )


def weights_digest(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 over name, encoding, shape and digest of each tensor, in the order of their names."""
    tensors = sorted(checkpoint.tensors.values(), key=lambda tensor: tensor.name)
    with ThreadPool(2) as threads:
        lines = list(threads.map(_line, tensors))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _line(tensor: StoredTensor) -> str:
    digest = hashlib.sha256(tensor.raw()).hexdigest()
    return f"{json.dumps(tensor.name)} {tensor.encoding} {list(tensor.shape)} {digest}\n"


def tokenizer_digest(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of all that says what tokens are: files of a folder, or keys of a GGUF file."""
    texts = {name: found for name in _TEXTS if (found := checkpoint.text(name)) is not None}
    keys = {name: value for name, value in checkpoint.metadata.items() if name.startswith("tokenizer.")}
    return _of_data({"texts": texts, "keys": keys})


def _of_data(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if is_array(value) or is_scalar(value):
        return value.tolist()
    if is_mapping(value):
        return dict(value)
    return value.hex() if isinstance(value, bytes) else list(value)
