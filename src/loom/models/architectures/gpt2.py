"""GPT-2.

Layer: models. Invariant: its matrices are (input, output features) in transformers' files, as they are in Loom, and
turned in GGUF; queries, keys and values are parts of one.
"""

from __future__ import annotations

from loom.models.architectures.description import ModelDescription, ModelDraft, NamedCheckpoint
from loom.models.architectures.heads import finish_decoder
from loom.models.architectures.sources import RowChoice

__all__ = ["describe_gpt2"]


def describe_gpt2(given: NamedCheckpoint, family: str) -> ModelDescription:
    """Return the description of a model of the family "gpt2"."""
    settings, draft = given.settings, ModelDraft(given)
    settings.require("scale_attn_weights", (True,))
    settings.require("scale_attn_by_inverse_layer_idx", (False,))
    settings.require("add_cross_attention", (False,))
    width, vocabulary = settings.whole("n_embd"), settings.whole("vocab_size")
    context, heads = settings.whole("n_positions", 1024), settings.whole("n_head")
    norm = {"type": "layer_norm", "epsilon": settings.real("layer_norm_epsilon", 1e-5)}
    inner = settings.whole("n_inner", 4 * width)
    function = settings.activation("activation_function", "gelu_new")
    at = draft.add("embedding", {"type": "embedding", "vocab_size": vocabulary, "embedding_dim": width}, "tokens")
    draft.take("embedding.weight", "wte.weight")
    at = draft.add("positions", {"type": "position_embedding", "max_positions": context}, at)
    draft.take("positions.weight", "wpe.weight")
    first = not given.is_gguf
    attention = {"type": "multi_head_attention", "num_heads": heads, "causal": True}
    mlp = [{"type": "dense", "output_size": inner, "activation": function}, {"type": "dense", "output_size": width}]
    for i in range(settings.whole("n_layer")):
        at = draft.add(f"attention_{i}", {"type": "residual", "layers": [norm, attention]}, at)
        draft.norm(f"attention_{i}.layers.0", f"h.{i}.ln_1")
        for number, part in enumerate("qkv"):
            draft.linear(f"attention_{i}.layers.1", f"h.{i}.attn.c_attn", weight=f"{part}_weight", bias=f"{part}_bias",
                         rows=RowChoice((3, width), pick=(0, number)), input_first=first)  # fmt: skip
        draft.linear(f"attention_{i}.layers.1", f"h.{i}.attn.c_proj", weight="o_weight", bias="o_bias",
                     input_first=first)  # fmt: skip
        at = draft.add(f"mlp_{i}", {"type": "residual", "layers": [norm, *mlp]}, at)
        draft.norm(f"mlp_{i}.layers.0", f"h.{i}.ln_2")
        draft.linear(f"mlp_{i}.layers.1", f"h.{i}.mlp.c_fc", input_first=first)
        draft.linear(f"mlp_{i}.layers.2", f"h.{i}.mlp.c_proj", input_first=first)
    at = draft.add("norm", norm, at)
    draft.norm("norm", "ln_f")
    return finish_decoder(draft, family, at, context, "lm_head", tied=settings.flag("tie_word_embeddings", True))
