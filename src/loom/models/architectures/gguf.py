"""GGUF's names for settings and tensors, as those that transformers has.

Layer: models. Invariant: a table for each architecture, and nothing else knows GGUF's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from loom.core.errors import ArgumentError
from loom.formats.checkpoint import Checkpoint

__all__ = ["ARCHITECTURES", "gguf_names", "gguf_settings"]

_COMMON = {
    "block_count": "num_hidden_layers", "context_length": "max_position_embeddings", "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size", "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads", "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps", "attention.layer_norm_epsilon": "layer_norm_eps",
    "rope.freq_base": "rope_theta", "rope.dimension_count": "rope_dims", "vocab_size": "vocab_size",
    "attention.sliding_window": "sliding_window", "use_parallel_residual": "use_parallel_residual",
    "attention.causal": "causal",
}  # fmt: skip
"""Key after the architecture's name -> config.json's."""

_LLAMA = {
    "rope_freqs": "rope_freqs", "token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "blk": "layers",
}  # fmt: skip
_NORMED = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_qkv": "attention.query_key_value",
    "attn_output": "attention.dense", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
    "output_norm": "final_layer_norm", "token_embd": "embed_in", "output": "embed_out", "blk": "layers",
}  # fmt: skip
_GPT2 = {
    "token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f", "output": "lm_head", "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj", "blk": "h",
}  # fmt: skip
_BERT = {
    "token_embd": "embeddings.word_embeddings", "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings", "token_embd_norm": "embeddings.LayerNorm",
    "attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense", "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm",
    "blk": "encoder.layer",
}  # fmt: skip
_OF_GPT2 = {
    "num_hidden_layers": "n_layer", "max_position_embeddings": "n_positions", "hidden_size": "n_embd",
    "intermediate_size": "n_inner", "num_attention_heads": "n_head", "layer_norm_eps": "layer_norm_epsilon",
}  # fmt: skip
"""Names that config.json of GPT-2 has for the same."""
ARCHITECTURES: dict[str, tuple[str, dict[str, str]]] = {
    "llama": ("llama", _LLAMA),
    "qwen2": ("qwen2", _LLAMA),
    "qwen3": ("qwen3", _LLAMA),
    "gpt2": ("gpt2", _GPT2),
    "gptneox": ("gpt_neox", _NORMED),
    "bert": ("bert", _BERT),
}
"""``general.architecture`` -> the family, and names of modules."""
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "attention.scale": (0.0,), "attention.clamp_kqv": (0.0,), "attention.max_alibi_bias": (0.0,),
    "logit_scale": (0.0, 1.0), "residual_scale": (0.0, 1.0), "embedding_scale": (0.0, 1.0),
    "attn_logit_softcapping": (0.0,), "final_logit_softcapping": (0.0,), "expert_count": (0,),
    "rope.scaling.yarn_ext_factor": (1.0, -1.0), "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.attn_factor": (1.0,), "rope.scaling.yarn_log_multiplier": (0.0,),
}  # fmt: skip
"""Keys of what no layer computes, and the values under which there is nothing to compute."""
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)\.(weight|bias)")
_WHOLE = re.compile(r"(.+)\.(weight|bias)")


def gguf_names(checkpoint: Checkpoint, names: Mapping[str, str]) -> dict[str, str]:
    """Return transformers' names of tensors -> the file's; those without one are left out."""
    found: dict[str, str] = {}
    for name in checkpoint.tensors:
        block, plain = _BLOCK.fullmatch(name), _WHOLE.fullmatch(name)
        if block is not None and block[2] in names:
            found[f"{names['blk']}.{block[1]}.{names[block[2]]}.{block[3]}"] = name
        elif block is None and plain is not None and plain[1] in names:
            found[f"{names[plain[1]]}.{plain[2]}"] = name
    return found


def gguf_settings(checkpoint: Checkpoint, architecture: str) -> dict[str, Any]:
    """Return the settings of a file under config.json's names; ArgumentError for stages that no layer computes."""
    told = checkpoint.metadata
    _see_to_effects(told, architecture, checkpoint.source)
    found: dict[str, Any] = {
        ours: told[f"{architecture}.{theirs}"] for theirs, ours in _COMMON.items() if f"{architecture}.{theirs}" in told
    }
    if "general.name" in told:
        found["name"] = told["general.name"]
    table = checkpoint.tensors.get("token_embd.weight")
    if table is not None and table.shape:
        found["vocab_size"] = table.shape[0]  # the key is not in all files
    if "rope_freqs.weight" in checkpoint.tensors:
        found["rope_freqs"] = checkpoint.tensors["rope_freqs.weight"].read().tolist()
    if architecture != "gptneox":  # of which no published model is tied, and llama.cpp wants the tensor
        found["tie_word_embeddings"] = "output.weight" not in checkpoint.tensors
    found |= _scaling(told, architecture)
    if architecture == "gpt2":
        return {_OF_GPT2.get(key, key): value for key, value in found.items()}
    if architecture == "bert" and "token_types.weight" in checkpoint.tensors:
        found["type_vocab_size"] = checkpoint.tensors["token_types.weight"].shape[0]
    return found


def _scaling(told: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Return how the context was stretched, as config.json says it."""
    begin = f"{architecture}.rope.scaling."
    factor = told.get(f"{begin}factor", told.get(f"{architecture}.rope.scale_linear"))  # the second: old files
    kind = told.get(f"{begin}type", "none" if factor is None or f"{begin}factor" in told else "linear")
    if kind == "none":
        return {}
    found: dict[str, Any] = {"rope_type": kind, "factor": factor}
    for theirs, ours in (("original_context_length", "original_max_position_embeddings"),
                         ("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")):  # fmt: skip
        if f"{begin}{theirs}" in told:
            found[ours] = told[f"{begin}{theirs}"]
    return {"rope_scaling": found}


def _see_to_effects(told: Mapping[str, Any], architecture: str, where: str) -> None:
    """See that nothing is told that changes numbers and that no layer computes."""
    for key, allowed in _WITHOUT_EFFECT.items():
        value = told.get(f"{architecture}.{key}")
        if value is not None and value not in allowed:
            raise ArgumentError(f"loom.models, {where}, {architecture}.{key}", "a stage that Loom has no layer for",
                                expected=" or ".join(map(repr, allowed)), got=repr(value)[:60],
                                remedy="Use a model without it")  # fmt: skip
