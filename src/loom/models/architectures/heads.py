"""The head of a model that writes text: its own matrix, or the table of its embedding.

Layer: models. Invariant: a model that is said to write text has a head, or is refused; one that is said to be without
(``LlamaModel``) gives features, whatever its settings say of a head.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import FileError
from loom.models.architectures.description import ModelDescription, ModelDraft

__all__ = ["finish_decoder"]


def finish_decoder(draft: ModelDraft, family: str, at: str, context: int, head: str, *, tied: bool) -> ModelDescription:
    """Add the head that a model of text has, if it has one, and return its description."""
    given = draft.given
    vocabulary = given.settings.whole("vocab_size")
    classes = given.settings.texts("architectures")
    writes = any(c.endswith(("LMHeadModel", "ForCausalLM")) for c in classes) or given.is_gguf
    is_bare = bool(classes) and not writes
    task = "embed" if is_bare else "generate"
    if is_bare:
        draft.leave(f"{head}.weight")
    elif tied:
        draft.leave(f"{head}.weight")
        at = draft.add("head", {"type": "unembedding", "table": "embedding", "vocab_size": vocabulary}, at)
    elif given.has(f"{head}.weight"):
        at = draft.add("head", {"type": "dense", "output_size": vocabulary, "bias": False}, at)
        draft.linear("head", head, bias=None)
    elif writes:
        raise FileError(given.settings.where, f"the tensor {head + '.weight'!r} is missing, and nothing says that the "
                        "embedding's table is used in its place", expected="the head of a model that writes text",
                        got=f"{len(given.names)} other tensors",
                        remedy="Download all files, or pass config={'tie_word_embeddings': True} if it is")  # fmt: skip
    else:
        task = "embed"
    inputs: dict[str, Any] = {"tokens": {"shape": [given.context(context)], "dtype": "i32", "variable_length": True}}
    return draft.finish(family, task, inputs, [at], context=context, vocabulary=vocabulary)
