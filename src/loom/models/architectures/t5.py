"""The encoder of T5.

Layer: models. Invariant: scores are not divided, and the first layer's table of relative positions is everybody's.
"""

from __future__ import annotations

from typing import Any

from loom.models.architectures.description import ModelDescription, ModelDraft, NamedCheckpoint

__all__ = ["describe_t5_encoder"]


def describe_t5_encoder(given: NamedCheckpoint, family: str) -> ModelDescription:
    """Return the description of a T5 encoder; inputs ``tokens`` and ``mask``, 0 where a token is padding."""
    settings, draft = given.settings, ModelDraft(given)
    width, vocabulary, heads = settings.whole("d_model"), settings.whole("vocab_size"), settings.whole("num_heads")
    norm = {"type": "rms_norm", "epsilon": settings.real("layer_norm_epsilon", 1e-6)}
    attention: dict[str, Any] = {
        "type": "multi_head_attention", "num_heads": heads, "head_dim": settings.whole("d_kv", 64), "scale": 1.0,
        "relative_buckets": settings.whole("relative_attention_num_buckets", 32),
        "relative_distance": settings.whole("relative_attention_max_distance", 128), "padding_mask": "mask",
        "bias": False,
    }  # fmt: skip
    at = draft.add("embedding", {"type": "embedding", "vocab_size": vocabulary, "embedding_dim": width}, "tokens")
    draft.take("embedding.weight", "shared.weight" if given.has("shared.weight") else "encoder.embed_tokens.weight")
    draft.leave("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # the shared table, again
    rest = [name for name in given.names if name.startswith("decoder.") and name != "decoder.embed_tokens.weight"]
    draft.leave_out("the decoder", [*rest, "lm_head.weight"])
    mlp, gated = _mlp(draft)
    for i in range(settings.whole("num_layers", 6)):
        name, of_first = f"encoder.block.{i}", {} if i == 0 else {"relative_table": "attention_0.layers.1"}
        at = draft.add(f"attention_{i}", {"type": "residual", "layers": [norm, attention | of_first]}, at)
        draft.norm(f"attention_{i}.layers.0", f"{name}.layer.0.layer_norm", beta=False)
        for part in "qkvo":
            draft.linear(f"attention_{i}.layers.1", f"{name}.layer.0.SelfAttention.{part}", weight=f"{part}_weight",
                         bias=None)  # fmt: skip
        at = draft.add(f"mlp_{i}", {"type": "residual", "layers": [norm, *mlp]}, at)
        draft.norm(f"mlp_{i}.layers.0", f"{name}.layer.1.layer_norm", beta=False)
        _take_mlp(draft, f"mlp_{i}.layers", f"{name}.layer.1.DenseReluDense", gated=gated)
    table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    draft.take("attention_0.layers.1.relative_weight", table)
    at = draft.add("hidden", norm, at)
    draft.norm("hidden", "encoder.final_layer_norm", beta=False)
    context = settings.whole("n_positions", 512)
    shape: dict[str, Any] = {"shape": [given.context(context)], "dtype": "i32", "variable_length": True}
    inputs = {"tokens": shape, "mask": shape}
    return draft.finish(family, "embed", inputs, [at], context=context, vocabulary=vocabulary)


def _mlp(draft: ModelDraft) -> tuple[list[dict[str, Any]], bool]:
    """Return the layers of the feed-forward block, and whether it is gated."""
    settings = draft.given.settings
    told = settings.text("feed_forward_proj", "relu")
    gated, inner = told.startswith("gated-"), settings.whole("d_ff")
    name = told.removeprefix("gated-")
    if told == "gated-gelu":
        name = "gelu_new"  # as transformers reads the settings of Google's
    settings.values["dense_act_fn"] = name
    function = settings.activation("dense_act_fn", "relu")
    if gated:
        return [{"type": "swiglu", "inner_size": inner, "bias": False, "activation": function}], True
    width = settings.whole("d_model")
    return [{"type": "dense", "output_size": inner, "activation": function, "bias": False},
            {"type": "dense", "output_size": width, "bias": False}], False  # fmt: skip


def _take_mlp(draft: ModelDraft, key: str, name: str, *, gated: bool) -> None:
    if gated:
        for weight, module in (("gate", "wi_0"), ("up", "wi_1"), ("down", "wo")):
            draft.linear(f"{key}.1", f"{name}.{module}", weight=f"{weight}_weight", bias=None)
    else:
        draft.linear(f"{key}.1", f"{name}.wi", bias=None)
        draft.linear(f"{key}.2", f"{name}.wo", bias=None)
