"""BERT and what is built like it: MiniLM, BERT-Tiny to -Large, sentence transformers of them.

Layer: models. Invariant: norms after each half of a block; tokens that are padding are seen by none, so that no number
of them changes a bit of the others.
"""

from __future__ import annotations

import json
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.models.architectures.description import ModelDescription, ModelDraft, NamedCheckpoint
from loom.models.architectures.settings import ModelSettings

__all__ = ["describe_bert"]

_MASK = "mask"


def describe_bert(given: NamedCheckpoint, family: str) -> ModelDescription:
    """Return the description of a model of the family "bert".

    Inputs: ``tokens``; ``mask``, 0 where a token is padding; ``types``, the number of each token's sentence. Outputs:
    ``hidden`` (tokens, features), or what its head makes of them: ``embedding`` (features,) of a sentence transformer,
    ``logits`` of a classifier, ``pooled`` (features,) beside ``hidden`` of a model with a pooler.
    """
    settings, draft = given.settings, ModelDraft(given)
    for key, allowed in (("is_decoder", (False,)), ("position_embedding_type", ("absolute",)),
                         ("add_cross_attention", (False,)), ("causal", (False,))):  # fmt: skip
        settings.require(key, allowed)
    context, vocabulary = settings.whole("max_position_embeddings", 512), settings.whole("vocab_size")
    at = _embeddings(draft, vocabulary, context)
    for i in range(settings.whole("num_hidden_layers")):
        at = _block(draft, i, at)
    task, outputs = _head(draft, at)
    most = given.context(context)
    shape: dict[str, Any] = {"shape": [most], "dtype": "i32", "variable_length": True}
    inputs: dict[str, Any] = {"tokens": shape, _MASK: shape, "types": shape}
    return draft.finish(family, task, inputs, outputs, context=context, vocabulary=vocabulary)


def _norm(settings: ModelSettings) -> dict[str, Any]:
    return {"type": "layer_norm", "epsilon": settings.real("layer_norm_eps", 1e-12)}


def _embeddings(draft: ModelDraft, vocabulary: int, context: int) -> str:
    settings = draft.given.settings
    width, kinds = settings.whole("hidden_size"), settings.whole("type_vocab_size", 2)
    words = {"type": "embedding", "vocab_size": vocabulary, "embedding_dim": width}
    at = draft.add("words", words, "tokens")
    draft.take("words.weight", "embeddings.word_embeddings.weight")
    of_types = draft.add("sentences", {**words, "vocab_size": kinds}, "types")
    draft.take("sentences.weight", "embeddings.token_type_embeddings.weight")
    at = draft.add("sum", {"type": "merge", "combine_mode": "add"}, at, of_types)
    at = draft.add("positions", {"type": "position_embedding", "max_positions": context}, at)
    draft.take("positions.weight", "embeddings.position_embeddings.weight")
    at = draft.add("norm", _norm(settings), at)
    draft.norm("norm", "embeddings.LayerNorm")
    return at


def _block(draft: ModelDraft, number: int, at: str) -> str:
    settings, name = draft.given.settings, f"encoder.layer.{number}"
    heads, width = settings.whole("num_attention_heads"), settings.whole("hidden_size")
    attention = {"type": "multi_head_attention", "num_heads": heads, "padding_mask": _MASK}
    key = draft.add(f"attention_{number}", {"type": "residual", "layers": [attention]}, at)
    for part, module in (("q", "self.query"), ("k", "self.key"), ("v", "self.value"), ("o", "output.dense")):
        draft.linear(f"{key}.layers.0", f"{name}.attention.{module}", weight=f"{part}_weight", bias=f"{part}_bias")
    at = draft.add(f"attention_norm_{number}", _norm(settings), key)
    draft.norm(at, f"{name}.attention.output.LayerNorm")
    up = {"type": "dense", "output_size": settings.whole("intermediate_size"),
          "activation": settings.activation("hidden_act", "gelu")}  # fmt: skip
    down = {"type": "dense", "output_size": width}
    key = draft.add(f"mlp_{number}", {"type": "residual", "layers": [up, down]}, at)
    draft.linear(f"{key}.layers.0", f"{name}.intermediate.dense")
    draft.linear(f"{key}.layers.1", f"{name}.output.dense")
    at = draft.add("hidden" if number + 1 == settings.whole("num_hidden_layers") else f"mlp_norm_{number}",
                   _norm(settings), key)  # fmt: skip
    draft.norm(at, f"{name}.output.LayerNorm")
    return at


def _head(draft: ModelDraft, hidden: str) -> tuple[str, list[str]]:
    """Add what the checkpoint says comes behind the features of each token; return the task and the outputs."""
    given, settings = draft.given, draft.given.settings
    stages = _stages(given)
    training = [name for name in given.names if name.startswith("cls.")]
    is_classifier = any(c.endswith("ForSequenceClassification") for c in settings.texts("architectures"))
    if stages:  # they are all that comes behind the features
        draft.leave("pooler.dense.weight", "pooler.dense.bias", *training)
        return "embed", [_sentence(draft, hidden, stages)]
    draft.leave_out("the heads that it was trained by", training)
    if not given.has("pooler.dense.weight"):
        return "embed", [hidden]
    at = draft.add("first", {"type": "token_pool", "mode": "first"}, hidden)
    at = draft.add("pooled", {"type": "dense", "output_size": settings.whole("hidden_size"), "activation": "tanh"}, at)
    draft.linear("pooled", "pooler.dense")
    if not is_classifier:
        return "embed", [hidden, at]
    at = draft.add("logits", {"type": "dense", "output_size": given.shape("classifier.weight")[0]}, at)
    draft.linear("logits", "classifier")
    return "classify", [at]


def _sentence(draft: ModelDraft, at: str, stages: list[dict[str, Any]]) -> str:
    """Add the stages of a sentence transformer; return the last, called "embedding"."""
    for number, stage in enumerate(stages):
        mode = stage.get("mode")
        if stage["type"] == "token_pool" and mode != "first":
            stage = {**stage, "padding_mask": _MASK}
        at = draft.add("embedding" if number + 1 == len(stages) else f"stage_{number}", stage, at)
    return at


_POOLING = {
    "pooling_mode_cls_token": "first", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}  # fmt: skip
_GGUF_POOLING = {1: "mean", 2: "first", 3: "last"}


def _stages(given: NamedCheckpoint) -> list[dict[str, Any]]:
    """Return the layers that a sentence transformer has behind the model, [] if it is none.

    ArgumentError names a stage that is not known.
    """
    pooling = given.checkpoint.metadata.get("bert.pooling_type") if given.checkpoint.kind == "gguf" else None
    if pooling in _GGUF_POOLING:  # llama.cpp normalises what it pools
        return [{"type": "token_pool", "mode": _GGUF_POOLING[pooling]}, {"type": "normalize"}]
    text = given.checkpoint.text("modules.json")
    if text is None:
        return []
    found: list[dict[str, Any]] = []
    for module in _read_list(text):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Normalize":
            found.append({"type": "normalize"})
        elif kind == "Pooling":
            path = f"{module.get('path', '')}/config.json"
            found.append({"type": "token_pool", "mode": _mode(given.checkpoint.text(path), path)})
        elif kind != "Transformer":
            raise ArgumentError("loom.models, modules.json", "an unknown stage of a sentence transformer",
                                expected="Transformer, Pooling or Normalize", got=kind[:60],
                                remedy="Loom has no layer for it")  # fmt: skip
    return found


def _mode(text: str | None, path: str) -> str:
    read: Any = {} if text is None else _read(text, path)
    told: dict[str, Any] = {**read} if is_mapping(read) else {}
    modes: list[str]
    if isinstance(told.get("pooling_mode"), str):
        mode = str(told["pooling_mode"])
        modes = ["first" if mode == "cls" else "last" if mode == "lasttoken" else mode]
    else:
        modes = [_POOLING.get(key, key) for key, value in told.items() if key.startswith("pooling_mode_") and value]
    if len(modes) != 1 or modes[0] not in ("first", "mean", "max", "last"):
        raise ArgumentError(f"loom.models, {path}", "an unknown way of pooling", got=", ".join(modes) or "none",
                            expected="one of mean, max, cls, lasttoken", remedy="Loom has no layer for it")  # fmt: skip
    return modes[0]


def _read(text: str, path: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ArgumentError(f"loom.models, {path}", "no JSON", got=repr(text)[:60],
                            remedy="Download the file again") from None  # fmt: skip


def _read_list(text: str) -> list[dict[str, Any]]:
    found = _read(text, "modules.json")
    listed = cast("list[Any]", found) if isinstance(found, list) else [None]
    if not all(is_mapping(m) for m in listed):
        raise ArgumentError("loom.models, modules.json", "no list of stages", got=repr(text)[:60],
                            remedy="Download the file again")  # fmt: skip
    return cast("list[dict[str, Any]]", listed)
