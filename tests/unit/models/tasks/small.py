"""A language model of a few kilobytes as its folder would be downloaded: random weights, bytes as tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import tokenizers

SIZE, HIDDEN, INNER, LAYERS, HEADS, KV = 258, 32, 64, 2, 4, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": SIZE, "hidden_size": HIDDEN,
    "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False, "bos_token_id": 256, "eos_token_id": 257,
}  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_json() -> str:
    """Return a tokenizer whose tokens are bytes, with two control tokens."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(tokenizers.models.BPE({c: n for n, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return made.to_str()


def weights() -> bytes:
    """Return random weights, by the names of transformers."""
    draw = np.random.default_rng(5)
    shapes = {"model.embed_tokens": (SIZE, HIDDEN), "lm_head": (SIZE, HIDDEN), "model.norm": (HIDDEN,)}
    each = {
        "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,), "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (HIDDEN * KV // HEADS, HIDDEN), "self_attn.v_proj": (HIDDEN * KV // HEADS, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
    }  # fmt: skip
    shapes |= {f"model.layers.{n}.{name}": shape for n in range(LAYERS) for name, shape in each.items()}
    made = {f"{name}.weight": (draw.standard_normal(shape) * 0.3 + (len(shape) == 1)).astype(np.float32)
            for name, shape in shapes.items()}  # fmt: skip
    return safetensors.numpy.save(made, {"format": "pt"})


def spaced_tokenizer_json(decoder: Any = None) -> str:
    """Return a tokenizer as Llama 2 has it: spaces are parts of words, that of a text's first word is left out.

    ``decoder``: another one of ``tokenizers.decoders``.
    """
    letters = "abcdefghijklmnopqrstuvwxyz.,\u2581"
    tokens = ["<unk>", "<s>", "</s>", *letters, *(f"<0x{n:02X}>" for n in b" \n\xf0\x9f\x99\x82\xff")]
    tokens += [f"\u2581{a}{b}" for a in letters[:16] for b in "aeiou"][: (SIZE - len(tokens)) // 2]
    tokens += [a + b + c for a in letters[:12] for b in letters[:12] for c in "xy"][: SIZE - len(tokens)]
    made = tokenizers.Tokenizer(tokenizers.models.BPE({t: n for n, t in enumerate(tokens)}, [], unk_token="<unk>"))
    first = tokenizers.normalizers
    made.normalizer = first.Sequence([first.Prepend("\u2581"), first.Replace(" ", "\u2581")])
    last = tokenizers.decoders
    steps = [last.Replace("\u2581", " "), last.ByteFallback(), last.Fuse(), last.Strip(" ", 1, 0)]
    made.decoder = decoder or last.Sequence(steps)
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    return made.to_str()


def spaced_files(decoder: Any = None) -> dict[str, bytes]:
    """Return the same model's folder with the tokenizer of ``spaced_tokenizer_json``."""
    config = {"eos_token": "</s>", "bos_token": "<s>", "chat_template": TEMPLATE}
    told = {"tokenizer.json": spaced_tokenizer_json(decoder), "tokenizer_config.json": json.dumps(config)}
    return files() | {name: text.encode() for name, text in told.items()}


@cache
def files() -> dict[str, bytes]:
    """Return the folder's files by name."""
    config = {"eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    told = json.dumps(CONFIG).encode(), weights(), tokenizer_json().encode(), json.dumps(config).encode()
    return dict(zip(("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"), told, strict=True))


def write(folder: Path, given: Mapping[str, bytes] | None = None) -> Path:
    """Write files, ``files`` if none are given, into a folder and return it."""
    folder.mkdir()
    for name, data in (given or files()).items():
        (folder / name).write_bytes(data)
    return folder
