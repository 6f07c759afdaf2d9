"""Transformers of blocks (Llama and its like) by the names of their weights.

Layer: nn. Invariant: every weight of the file is in the network, turned to [in][out], or the file is none of these.
Source: the names of ``LlamaForCausalLM`` and of those that follow it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array

__all__ = ["Blocks", "read_blocks"]

_BLOCK = re.compile(r"(?:model\.)?layers\.(\d+)\.(.+)")
_HEADS = "self_attn.{}_proj.{}"
_USUAL_HEADS = (64, 128, 32, 80, 96, 16, 8)
"""Sizes of heads that are tried, the most usual first."""

Arrays = Mapping[str, Array]


class Blocks:
    """A transformer that was read: ``layers`` of its document, ``weights`` by our names, what was ``assumed``, and
    ``problems`` (what must be told)."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.weights: dict[str, Array] = {}
        self.assumed: list[str] = []
        self.problems: list[str] = []
        self.left: list[str] = []


def read_blocks(
    arrays: Arrays, num_heads: int | None, head_dim: int | None, rope_freq_base: float | None
) -> Blocks | None:
    """Return the transformer of a file's arrays; None if it is none of blocks."""
    plain = {name.removeprefix("model."): a for name, a in arrays.items()}
    numbers = sorted({int(m[1]) for name in plain if (m := _BLOCK.fullmatch(name))})
    if not numbers or "embed_tokens.weight" not in plain or _HEADS.format("q", "weight") not in {
        m[2] for name in plain if (m := _BLOCK.fullmatch(name))
    }:  # fmt: skip
        return None
    made, used = Blocks(), set[str]()

    def take(name: str) -> Array | None:
        if name in plain:
            used.add(name)
        return plain.get(name)

    table = plain["embed_tokens.weight"]
    used.add("embed_tokens.weight")
    _put(made, {"type": "embedding", "vocab_size": table.shape[0], "embedding_dim": table.shape[1]}, {"weight": table})
    for number in numbers:
        begin = f"layers.{number}."
        first, second = take(f"{begin}input_layernorm.weight"), take(f"{begin}post_attention_layernorm.weight")
        heads = {n: take(begin + _HEADS.format(*n)) for n in ((p, w) for p in "qkvo" for w in ("weight", "bias"))}
        inner = {p: take(f"{begin}mlp.{p}_proj.weight") for p in ("gate", "up", "down")}
        if first is None or second is None or any(a is None for a in inner.values()) or any(
            heads[(p, "weight")] is None for p in "qkvo"
        ):  # fmt: skip
            made.problems.append(f"block {number} lacks a norm, a projection or a part of its mlp")
            continue
        _attention_block(made, first, heads, num_heads, head_dim, rope_freq_base)
        _feed_forward_block(made, second, inner)
    norm = take("norm.weight")
    if norm is not None:
        _put(made, {"type": "rms_norm"}, {"gamma": norm})
    head = take("lm_head.weight")
    if head is None:
        made.assumed.append("the last layer has the weights of the embedding (it has none of its own)")
    out = table if head is None else head
    _put(made, {"type": "dense", "output_size": out.shape[0], "bias": False}, {"weight": out.T})
    made.assumed += [f"rotary position embedding of base {rope_freq_base or 10000.0:g}", "epsilon 1e-5"]
    made.left = [name for name in plain if name not in used and not name.endswith("rotary_emb.inv_freq")]
    return made


def _put(made: Blocks, layer: dict[str, Any], weights: Mapping[str, Array]) -> None:
    name = f"layers.{len(made.layers)}"
    made.layers.append(layer)
    made.weights |= {f"{name}.{key}": a for key, a in weights.items()}


def _attention_block(
    made: Blocks, norm: Array, heads: Mapping[Any, Array | None], num_heads: int | None, head_dim: int | None,
    base: float | None,
) -> None:  # fmt: skip
    arrays = {key: a for key, a in heads.items() if a is not None}
    query, keys = arrays[("q", "weight")].shape[0], arrays[("k", "weight")].shape[0]
    size = head_dim or (query // num_heads if num_heads else 0)
    if not size:
        size = next((n for n in _USUAL_HEADS if query % n == 0 and keys % n == 0), 0)
        note = f"heads of {size} features: pass num_heads if they are not"
        made.assumed += [] if note in made.assumed or not size else [note]
    if not size or query % size or keys % size:
        problem = f"heads cannot be told of {query} and {keys} rows: pass num_heads or head_dim"
        made.problems += [] if problem in made.problems else [problem]
        size = query
    has_bias = any(key[1] == "bias" for key in arrays)
    layer = {"type": "multi_head_attention", "num_heads": query // size, "num_kv_heads": max(keys // size, 1),
             "head_dim": size, "causal": True, "rope_freq_base": base or 10000.0,
             **({} if has_bias else {"bias": False})}  # fmt: skip
    found = {f"layers.1.{p}_weight": arrays[(p, "weight")].T for p in "qkvo"}
    if has_bias:
        found |= {f"layers.1.{p}_bias": arrays.get((p, "bias"), np.zeros(len(arrays[(p, "weight")]), np.float32))
                  for p in "qkvo"}  # fmt: skip
    _put(made, {"type": "residual", "layers": [{"type": "rms_norm"}, layer]}, {"layers.0.gamma": norm, **found})


def _feed_forward_block(made: Blocks, norm: Array, inner: Mapping[str, Array | None]) -> None:
    arrays = {p: a for p, a in inner.items() if a is not None}
    layer = {"type": "swiglu", "inner_size": arrays["gate"].shape[0], "bias": False}
    found = {f"layers.1.{p}_weight": a.T for p, a in arrays.items()}
    _put(made, {"type": "residual", "layers": [{"type": "rms_norm"}, layer]}, {"layers.0.gamma": norm, **found})
