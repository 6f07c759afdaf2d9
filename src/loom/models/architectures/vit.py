"""ViT: images cut into patches, which are tokens.

Layer: models. Invariant: an image has one size, as its table of positions has.
"""

from __future__ import annotations

from typing import Any, cast

from loom.models.architectures.description import ModelDescription, ModelDraft, NamedCheckpoint
from loom.models.architectures.settings import ModelSettings

__all__ = ["describe_vit"]


def describe_vit(given: NamedCheckpoint, family: str) -> ModelDescription:
    """Return the description of a ViT; input ``pixels`` (channels, rows, columns), f32, as its processor makes them."""
    settings, draft = given.settings, ModelDraft(given)
    rows, columns = _sizes(settings, "image_size", 224)
    high, wide = _sizes(settings, "patch_size", 16)
    width, channels = settings.whole("hidden_size"), settings.whole("num_channels", 3)
    patches = (rows // high) * (columns // wide)
    at = draft.add("patches", {"type": "conv2d", "filters": width, "kernel_size": [high, wide], "stride": [high, wide]},
                   "pixels")  # fmt: skip
    draft.take("patches.weight", "embeddings.patch_embeddings.projection.weight")
    draft.take("patches.bias", "embeddings.patch_embeddings.projection.bias")
    at = draft.add("rows", {"type": "reshape", "shape": [width, patches]}, at)
    at = draft.add("tokens", {"type": "permute", "axes": [1, 0]}, at)
    at = draft.add("class", {"type": "class_token"}, at)
    draft.take("class.weight", "embeddings.cls_token", shape=(width,))
    at = draft.add("positions", {"type": "position_embedding", "max_positions": patches + 1}, at)
    draft.take("positions.weight", "embeddings.position_embeddings", shape=(patches + 1, width))
    draft.leave("embeddings.mask_token")
    for i in range(settings.whole("num_hidden_layers")):
        at = _block(draft, i, at)
    at = draft.add("hidden", _norm(settings), at)
    draft.norm("hidden", "layernorm")
    task, outputs = _head(draft, at)
    inputs = {"pixels": {"shape": [channels, rows, columns]}}
    return draft.finish(family, task, inputs, outputs, context=patches)


def _sizes(settings: ModelSettings, key: str, default: int) -> tuple[int, int]:
    value = settings.values.get(key, default)
    listed = cast("list[Any]", value) if isinstance(value, list) else []
    if len(listed) == 2:
        both = [ModelSettings({key: v}, settings.where).whole(key) for v in listed]
        return both[0], both[1]
    return settings.whole(key, default), settings.whole(key, default)


def _norm(settings: ModelSettings) -> dict[str, Any]:
    return {"type": "layer_norm", "epsilon": settings.real("layer_norm_eps", 1e-12)}


def _block(draft: ModelDraft, number: int, at: str) -> str:
    settings, name = draft.given.settings, f"encoder.layer.{number}"
    biased, norm = settings.flag("qkv_bias", True), _norm(settings)
    attention: dict[str, Any] = {"type": "multi_head_attention", "num_heads": settings.whole("num_attention_heads")}
    if not biased:
        attention |= {"bias": False, "output_bias": True}
    key = draft.add(f"attention_{number}", {"type": "residual", "layers": [norm, attention]}, at)
    draft.norm(f"{key}.layers.0", f"{name}.layernorm_before")
    modules = (("q", "attention.query"), ("k", "attention.key"), ("v", "attention.value"), ("o", "output.dense"))
    for part, module in modules:
        draft.linear(f"{key}.layers.1", f"{name}.attention.{module}", weight=f"{part}_weight",
                     bias=f"{part}_bias" if biased or part == "o" else None)  # fmt: skip
    mlp = [{"type": "dense", "output_size": settings.whole("intermediate_size"),
            "activation": settings.activation("hidden_act", "gelu")},
           {"type": "dense", "output_size": settings.whole("hidden_size")}]  # fmt: skip
    at = draft.add(f"mlp_{number}", {"type": "residual", "layers": [norm, *mlp]}, key)
    draft.norm(f"{at}.layers.0", f"{name}.layernorm_after")
    draft.linear(f"{at}.layers.1", f"{name}.intermediate.dense")
    draft.linear(f"{at}.layers.2", f"{name}.output.dense")
    return at


def _head(draft: ModelDraft, hidden: str) -> tuple[str, list[str]]:
    given = draft.given
    if given.has("classifier.weight"):
        at = draft.add("first", {"type": "token_pool", "mode": "first"}, hidden)
        at = draft.add("logits", {"type": "dense", "output_size": given.shape("classifier.weight")[0]}, at)
        draft.linear("logits", "classifier")
        return "classify", [at]
    if not given.has("pooler.dense.weight"):
        return "embed", [hidden]
    at = draft.add("first", {"type": "token_pool", "mode": "first"}, hidden)
    size, settings = given.shape("pooler.dense.weight")[0], given.settings
    function = settings.activation("pooler_act", "tanh")
    at = draft.add("pooled", {"type": "dense", "output_size": size, "activation": function}, at)
    draft.linear("pooled", "pooler.dense")
    return "embed", [hidden, at]
