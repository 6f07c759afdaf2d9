"""GPT-NeoX: Pythia and its like.

Layer: models. Invariant: attention and feed-forward read the same features, and both are added to them, unless the
settings say that one follows the other.
"""

from __future__ import annotations

from typing import Any

from loom.models.architectures.description import ModelDescription, ModelDraft, NamedCheckpoint
from loom.models.architectures.heads import finish_decoder
from loom.models.architectures.rotary import rotation
from loom.models.architectures.sources import RowChoice

__all__ = ["describe_gpt_neox"]


def describe_gpt_neox(given: NamedCheckpoint, family: str) -> ModelDescription:
    """Return the description of a model of the family "gpt_neox"."""
    settings, draft = given.settings, ModelDraft(given)
    width, vocabulary = settings.whole("hidden_size"), settings.whole("vocab_size")
    context = settings.whole("max_position_embeddings", 2048)
    norm = {"type": "layer_norm", "epsilon": settings.real("layer_norm_eps", 1e-5)}
    attention = _attention(draft, width, context)
    mlp: list[dict[str, Any]] = [
        {"type": "dense", "output_size": settings.whole("intermediate_size"),
         "activation": settings.activation("hidden_act", "gelu")},
        {"type": "dense", "output_size": width},
    ]  # fmt: skip
    at = draft.add("embedding", {"type": "embedding", "vocab_size": vocabulary, "embedding_dim": width}, "tokens")
    draft.take("embedding.weight", "embed_in.weight")
    for i in range(settings.whole("num_hidden_layers")):
        if settings.flag("use_parallel_residual", True):
            halves = [{"type": "sequential", "layers": layers} for layers in ([norm, attention], [norm, *mlp])]
            both = {"type": "parallel", "combine_mode": "add", "branches": halves}
            at = draft.add(f"block_{i}", {"type": "residual", "layers": [both]}, at)
            keys = [f"block_{i}.layers.0.branches.{n}.layers" for n in range(2)]
        else:
            at = draft.add(f"attention_{i}", {"type": "residual", "layers": [norm, attention]}, at)
            at = draft.add(f"mlp_{i}", {"type": "residual", "layers": [norm, *mlp]}, at)
            keys = [f"attention_{i}.layers", f"mlp_{i}.layers"]
        _take_block(draft, f"layers.{i}", keys, attention)
    at = draft.add("norm", norm, at)
    draft.norm("norm", "final_layer_norm")
    tied = settings.flag("tie_word_embeddings", False)
    return finish_decoder(draft, family, at, context, "embed_out", tied=tied)


def _attention(draft: ModelDraft, width: int, context: int) -> dict[str, Any]:
    settings = draft.given.settings
    heads = settings.whole("num_attention_heads")
    size = width // heads
    share: dict[str, Any] = {} if settings.has("rotary_pct", "rope_dims") or settings.within("rope_parameters").has(
        "partial_rotary_factor") else {"dims": int(size * 0.25)}  # fmt: skip
    made = {"type": "multi_head_attention", "num_heads": heads, "causal": True,
            **rotation(_with_base(draft), size, context, **share)}  # fmt: skip
    return made if settings.flag("attention_bias", True) else made | {"bias": False}


def _with_base(draft: ModelDraft) -> Any:
    """Return the settings, the base of rotation under its usual name too."""
    settings = draft.given.settings
    if settings.has("rotary_emb_base") and not settings.has("rope_theta"):
        settings.values["rope_theta"] = settings.values["rotary_emb_base"]
    return settings


def _take_block(draft: ModelDraft, name: str, keys: list[str], attention: dict[str, Any]) -> None:
    heads = attention["num_heads"]
    size = draft.given.settings.whole("hidden_size") // heads
    biased = attention.get("bias", True)
    draft.norm(f"{keys[0]}.0", f"{name}.input_layernorm")
    for number, part in enumerate("qkv"):
        rows = RowChoice((heads, 3, size), pick=(1, number))
        if draft.given.is_gguf:  # its converter sorts them
            rows = RowChoice((3, heads * size), pick=(0, number))
        draft.linear(f"{keys[0]}.1", f"{name}.attention.query_key_value", weight=f"{part}_weight",
                     bias=f"{part}_bias" if biased else None, rows=rows)  # fmt: skip
    draft.linear(f"{keys[0]}.1", f"{name}.attention.dense", weight="o_weight", bias="o_bias" if biased else None)
    draft.norm(f"{keys[1]}.0", f"{name}.post_attention_layernorm")
    draft.linear(f"{keys[1]}.1", f"{name}.mlp.dense_h_to_4h")
    draft.linear(f"{keys[1]}.2", f"{name}.mlp.dense_4h_to_h")
