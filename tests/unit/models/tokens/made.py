"""Checkpoints for tests of tokenizers: stand-ins with side files or metadata, and the real ones of the test extra."""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.models.files import open_checkpoint
from loom.models.tokens import Tokenizer
from tests.unit.formats import published


class Side:
    """A checkpoint that is its side files, its configuration and its metadata."""

    def __init__(self, files: dict[str, str] | None = None, config: Any = None, metadata: Any = None) -> None:
        self.files, self.config, self.metadata = files or {}, config, metadata or {}

    def text(self, name: str) -> str | None:
        return self.files.get(name)


@cache
def smollm_metadata() -> dict[str, Any]:
    return dict(open_checkpoint(published.smollm2()).metadata)


@cache
def smollm() -> Tokenizer:
    return Tokenizer.of(Side(metadata=smollm_metadata()))


@cache
def minilm() -> Tokenizer:
    return Tokenizer.of(open_checkpoint(published.minilm()))


def smollm_published() -> Any:
    """Return the tokenizer as its authors describe it in tokenizer.json: digits apart, then GPT-2's way."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    metadata = smollm_metadata()
    merges = [tuple(str(each).split(" ")) for each in metadata["tokenizer.ggml.merges"]]
    backend = Backend(models.BPE({str(t): n for n, t in enumerate(metadata["tokenizer.ggml.tokens"])}, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return backend
