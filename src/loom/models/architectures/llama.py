"""Llama and what is built like it: Mistral, Qwen2, Qwen3, SmolLM2.

Layer: models. Invariant: norms before each half of a block, rotary positions, gated feed-forward; what one of them has
of its own (biases, norms of heads, windows) is a key of the same layers.
"""

from __future__ import annotations

from typing import Any

from loom.models.architectures.description import ModelDescription, ModelDraft, NamedCheckpoint
from loom.models.architectures.heads import finish_decoder
from loom.models.architectures.rotary import rotation
from loom.models.architectures.settings import ModelSettings
from loom.models.architectures.sources import RowChoice

__all__ = ["describe_llama"]


def describe_llama(given: NamedCheckpoint, family: str) -> ModelDescription:
    """Return the description of a model of the family "llama", "qwen2" or "qwen3"."""
    settings, draft = given.settings, ModelDraft(given)
    width, vocabulary = settings.whole("hidden_size"), settings.whole("vocab_size")
    context = settings.whole("max_position_embeddings", 2048)
    epsilon = settings.real("rms_norm_eps", 1e-6)
    at = draft.add("embedding", {"type": "embedding", "vocab_size": vocabulary, "embedding_dim": width}, "tokens")
    draft.take("embedding.weight", "embed_tokens.weight")
    norm = {"type": "rms_norm", "epsilon": epsilon}
    for i in range(settings.whole("num_hidden_layers")):
        attention = _attention(settings, family, i, width, context)
        at = draft.add(f"attention_{i}", {"type": "residual", "layers": [norm, attention]}, at)
        _take_attention(draft, f"attention_{i}.layers", f"layers.{i}", attention)
        at = draft.add(f"mlp_{i}", {"type": "residual", "layers": [norm, _mlp(settings)]}, at)
        _take_mlp(draft, f"mlp_{i}.layers", f"layers.{i}", bias=settings.flag("mlp_bias", False))
    at = draft.add("norm", norm, at)
    draft.norm("norm", "norm", beta=False)
    draft.leave("rope_freqs.weight")
    tied = settings.flag("tie_word_embeddings", False)
    return finish_decoder(draft, family, at, context, "lm_head", tied=tied)


def _attention(settings: ModelSettings, family: str, number: int, width: int, context: int) -> dict[str, Any]:
    heads = settings.whole("num_attention_heads")
    head_dim = settings.whole("head_dim", max(1, width // heads))
    made: dict[str, Any] = {"type": "multi_head_attention", "num_heads": heads}
    kv_heads = settings.whole("num_key_value_heads", heads)
    if kv_heads != heads:
        made["num_kv_heads"] = kv_heads
    if head_dim * heads != width:
        made["head_dim"] = head_dim
    made |= {"causal": True, **rotation(settings, head_dim, context, parts=False)}
    window = _window(settings, family, number, context)
    if window is not None and window < context:
        made["window"] = window
    if family == "qwen3":
        made["qk_norm_epsilon"] = settings.real("rms_norm_eps", 1e-6)
    made["bias"] = family == "qwen2" or settings.flag("attention_bias", False)
    if family == "qwen2":
        made["output_bias"] = False
    return made


def _window(settings: ModelSettings, family: str, number: int, context: int) -> int | None:
    """Return how many tokens a token of this layer sees, None for all: what transformers' class of that name does."""
    settings.require("sliding_window_pattern", (None,))
    if family != "llama":
        return _window_of_qwen(settings, number)
    kinds = settings.texts("layer_types")
    if settings.values.get("model_type") == "mistral":
        if not _is_windowed(settings):
            return None
        settings.require("use_sliding_window", (True,), "Mistral has its window in all layers")
        if any(kind != "sliding_attention" for kind in kinds):
            raise settings.wrong("layer_types", "sliding_attention in all layers, as Mistral has it")
        return settings.whole("sliding_window", 4096)
    if settings.has("sliding_window") and settings.whole("sliding_window") < context:
        raise settings.wrong("sliding_window", "no window: Llama has none", "Pass config={'sliding_window': None} to "
                             "compute it as transformers does, or {'model_type': 'mistral'} for a window")  # fmt: skip
    if any(kind != "full_attention" for kind in kinds):
        raise settings.wrong("layer_types", "full_attention in all layers, as Llama has it")
    return None


def _is_windowed(settings: ModelSettings) -> bool:
    return "sliding_window" not in settings.values or settings.has("sliding_window")


def _window_of_qwen(settings: ModelSettings, number: int) -> int | None:
    kinds, is_used = settings.texts("layer_types"), settings.flag("use_sliding_window", False)
    if kinds:
        kind = kinds[number] if number < len(kinds) else "none"
        if kind not in ("full_attention", "sliding_attention") or (kind == "sliding_attention" and not is_used):
            raise settings.wrong("layer_types", "full_attention, or sliding_attention with use_sliding_window")
        return settings.whole("sliding_window", 4096) if kind == "sliding_attention" else None
    if not is_used or not _is_windowed(settings) or number < settings.whole("max_window_layers", 28, least=0):
        return None
    return settings.whole("sliding_window", 4096)


def _mlp(settings: ModelSettings) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "swiglu", "inner_size": settings.whole("intermediate_size"),
                            "bias": settings.flag("mlp_bias", False)}  # fmt: skip
    function = settings.activation("hidden_act", "silu")
    return made if function == "swish" else made | {"activation": function}


def _take_attention(draft: ModelDraft, key: str, name: str, layer: dict[str, Any]) -> None:
    draft.norm(f"{key}.0", f"{name}.input_layernorm", beta=False)
    heads = {"q": layer["num_heads"], "k": layer.get("num_kv_heads", layer["num_heads"])}
    for part in "qkvo":
        biased = layer["bias"] if part != "o" else layer.get("output_bias", layer["bias"])
        projection = f"{name}.self_attn.{part}_proj"
        rows = None
        if draft.given.has_pairs and part in heads:
            rows = _halves(draft.given.shape(f"{projection}.weight")[0], heads[part])
        draft.linear(
            f"{key}.1", projection, weight=f"{part}_weight", bias=f"{part}_bias" if biased else None, rows=rows
        )
    if "qk_norm_epsilon" in layer:
        for part in "qk":
            draft.take(f"{key}.1.{part}_norm", f"{name}.self_attn.{part}_norm.weight")


def _halves(rows: int, heads: int) -> RowChoice | None:
    """Return the rows of rotated heads by halves, of a file that has pairs next to each other (llama.cpp)."""
    size = rows // heads
    return RowChoice((heads, size // 2, 2), order=(0, 2, 1))


def _take_mlp(draft: ModelDraft, key: str, name: str, *, bias: bool) -> None:
    draft.norm(f"{key}.0", f"{name}.post_attention_layernorm", beta=False)
    for part in ("gate", "up", "down"):
        draft.linear(f"{key}.1", f"{name}.mlp.{part}_proj", weight=f"{part}_weight",
                     bias=f"{part}_bias" if bias else None)  # fmt: skip
