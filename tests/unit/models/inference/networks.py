"""Small causal networks of random weights, and settings for them."""

from __future__ import annotations

from typing import Any

import loom

__all__ = ["VOCABULARY", "document", "network"]

VOCABULARY = 50


def document(tokens: int, *, width: int = 16, vocabulary: int = VOCABULARY, layers: int = 2, heads: int = 4,
             kv_heads: int = 2, **attention: Any) -> dict[str, Any]:  # fmt: skip
    """Return a small model of the Llama family over ``tokens`` tokens."""
    looks = {"type": "multi_head_attention", "num_heads": heads, "num_kv_heads": kv_heads, "causal": True,
             "rope_freq_base": 10000.0, "bias": False, **attention}  # fmt: skip
    looks = {key: value for key, value in looks.items() if value is not None}
    blocks = [
        {"type": "residual", "layers": [{"type": "rms_norm"}, looks]},
        {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 2 * width}]},
    ]
    first = {"type": "embedding", "vocab_size": vocabulary, "embedding_dim": width}
    last = [{"type": "rms_norm"}, {"type": "dense", "output_size": vocabulary, "bias": False}]
    return {"format": "loom/1", "seed": 3, "input": {"shape": [tokens], "dtype": "i32"},
            "layers": [first, *(blocks * layers), *last]}  # fmt: skip


def network(tokens: int, on: str | None = None, **settings: Any) -> loom.Network:
    """Return the network; its weights do not depend on the number of tokens."""
    return loom.Network.from_json(document(tokens, **settings), on=on)
