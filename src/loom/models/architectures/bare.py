"""Weights alone, without config.json: the family by names of tensors, sizes by their shapes.

Layer: models. Invariant: what shapes cannot tell is asked for by its name, never guessed; what all published models of
a family share is taken, and told (``ModelDescription.assumed``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.formats.checkpoint import Checkpoint

__all__ = ["settings_of_shapes"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Signs:
    """How weights of a family look.

    ``kind``: its ``model_type``; ``name``: of a tensor that only it has; ``blocks``: what blocks begin with; ``sizes``:
    setting -> (tensor, axis); ``needed``: settings that no shape tells; ``usual``: those that all published ones share.
    """

    kind: str
    name: str
    blocks: str
    sizes: Mapping[str, tuple[str, int]]
    needed: tuple[str, ...]
    usual: Mapping[str, Any]


_LLAMA_SIZES = {"vocab_size": ("embed_tokens.weight", 0), "hidden_size": ("embed_tokens.weight", 1),
                "intermediate_size": ("layers.0.mlp.gate_proj.weight", 0)}  # fmt: skip
_LLAMA_NEEDED = ("num_attention_heads", "rope_theta", "rms_norm_eps", "max_position_embeddings")
_OF_BERT = {
    "vocab_size": ("embeddings.word_embeddings.weight", 0), "hidden_size": ("embeddings.word_embeddings.weight", 1),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
}  # fmt: skip
_SIGNS = (
    _Signs("qwen3", "layers.0.self_attn.q_norm.weight", "layers.", {
        **_LLAMA_SIZES, "head_dim": ("layers.0.self_attn.q_norm.weight", 0)},
        ("rope_theta", "rms_norm_eps", "max_position_embeddings"), {}),
    _Signs("qwen2", "layers.0.self_attn.q_proj.bias", "layers.", _LLAMA_SIZES, _LLAMA_NEEDED, {}),
    _Signs("llama", "layers.0.self_attn.q_proj.weight", "layers.", _LLAMA_SIZES, _LLAMA_NEEDED, {}),
    _Signs("gpt2", "h.0.attn.c_attn.weight", "h.", {
        "vocab_size": ("wte.weight", 0), "n_embd": ("wte.weight", 1), "n_positions": ("wpe.weight", 0),
        "n_inner": ("h.0.mlp.c_fc.weight", 1)}, ("n_head",),
        {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}),
    _Signs("gpt_neox", "layers.0.attention.query_key_value.weight", "layers.", {
        "vocab_size": ("embed_in.weight", 0), "hidden_size": ("embed_in.weight", 1),
        "intermediate_size": ("layers.0.mlp.dense_h_to_4h.weight", 0)},
        ("num_attention_heads", "rotary_pct", "use_parallel_residual", "max_position_embeddings"),
        {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "rope_theta": 10000.0}),
    _Signs("bert", "encoder.layer.0.attention.self.query.weight", "encoder.layer.", _OF_BERT,
           ("num_attention_heads",), {"hidden_act": "gelu", "layer_norm_eps": 1e-12}),
)  # fmt: skip
"""The most telling first: Qwen's tensors are Llama's and some more."""
_PREFIX = re.compile(r"(model|transformer|gpt_neox|bert)\.")


def settings_of_shapes(
    checkpoint: Checkpoint, told: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """Return settings under config.json's names, and what was assumed; None for names of no family.

    ``told``: what the caller says. ArgumentError names all settings that shapes do not tell and the caller has to.
    """
    shapes = {_PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name: t.shape
              for name, t in checkpoint.tensors.items()}  # fmt: skip
    signs = next((s for s in _SIGNS if s.name in shapes), None)
    if signs is None:
        return None
    found: dict[str, Any] = {"model_type": signs.kind, **_sizes(signs, shapes, told)}
    left = [key for key in signs.needed if key not in told]
    if left:
        asked = ", ".join(f"{key!r}: ..." for key in left)
        raise ArgumentError(f"loom.models, {checkpoint.source}", f"weights of the family {signs.kind!r} without a "
                            "config.json: their shapes do not tell all settings", expected=", ".join(left),
                            got="weights alone", remedy=f"Pass config={{{asked}}}, or open the whole folder",
                            )  # fmt: skip
    assumed = {key: value for key, value in signs.usual.items() if key not in told}
    return {**found, **assumed, **told}, tuple(f"{key} {value}" for key, value in assumed.items())


def _sizes(signs: _Signs, shapes: Mapping[str, Shape], given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, (name, axis) in signs.sizes.items():
        if len(shapes.get(name, ())) > axis:
            found[key] = shapes[name][axis]
    block = re.compile(re.escape(signs.blocks) + r"(\d+)\.")
    numbers = {int(m[1]) for name in shapes if (m := block.match(name))}
    found["n_layer" if signs.kind == "gpt2" else "num_hidden_layers"] = max(numbers) + 1
    if signs.kind in ("llama", "qwen2", "qwen3"):
        found["tie_word_embeddings"] = "lm_head.weight" not in shapes
        found |= _heads(signs, shapes, {**found, **given})
    if signs.kind == "gpt_neox":
        found["tie_word_embeddings"] = False
        found["attention_bias"] = "layers.0.attention.dense.bias" in shapes
    return found


def _heads(signs: _Signs, shapes: Mapping[str, Shape], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers of heads where their size is known, and which biases there are."""
    told: dict[str, Any] = {"mlp_bias": "layers.0.mlp.gate_proj.bias" in shapes}
    if signs.kind != "qwen2":
        told["attention_bias"] = "layers.0.self_attn.q_proj.bias" in shapes
    rows = {part: shapes.get(f"layers.0.self_attn.{part}_proj.weight", (0,))[0] for part in "qk"}
    size, heads = found.get("head_dim"), found.get("num_attention_heads")
    if size is None and isinstance(heads, int) and heads > 0:
        size = rows["q"] // heads
    if isinstance(size, int) and size > 0:
        told |= {"head_dim": size, "num_attention_heads": rows["q"] // size, "num_key_value_heads": rows["k"] // size}
    return told
