"""Weights without config.json: the network is that of the folder, or what is missing is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.models.architectures import describe
from loom.models.files import convert_checkpoint
from unit.models.architectures.peers import SMALL, make, save

_TOLD = {"num_attention_heads": 4, "rope_theta": 1e4, "rms_norm_eps": 1e-6, "max_position_embeddings": 64}
_HEADS = {"num_attention_heads": 4}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", SMALL | {"num_key_value_heads": 2, "mlp_bias": True}, _TOLD),
    "qwen2": ("Qwen2ForCausalLM", SMALL | {"num_key_value_heads": 1, "tie_word_embeddings": True}, _TOLD),
    "qwen3": ("Qwen3ForCausalLM", SMALL | {"head_dim": 8, "num_key_value_heads": 2},
              {k: v for k, v in _TOLD.items() if k != "num_attention_heads"}),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": 99, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32},
             {"n_head": 4}),
    "gpt_neox": ("GPTNeoXForCausalLM", SMALL, _HEADS | {
        "rotary_pct": 0.25, "use_parallel_residual": True, "max_position_embeddings": 64}),
    "bert": ("BertModel", SMALL, _HEADS),
}  # fmt: skip


@pytest.mark.parametrize("family", CASES)
def test_shapes_tell_what_the_settings_do(family: str, tmp_path: Path) -> None:
    kind, settings, told = CASES[family]
    wanted = describe(save(make(kind, **settings), tmp_path))
    found = describe(tmp_path / "model.safetensors", config=told)
    assert found.family == family
    assert found.document == wanted.document
    assert dict(found.sources) == dict(wanted.sources)
    assert (found.assumed == ()) == (family in ("llama", "qwen2", "qwen3"))
    with pytest.raises(ArgumentError, match=f"without a config.json.*expected {', '.join(told)}.*Pass config="):
        describe(tmp_path / "model.safetensors")


def test_weights_of_nobody_are_refused() -> None:
    data = convert_checkpoint({"conv.weight": np.ones((2, 3), np.float32)}).data
    with pytest.raises(ArgumentError, match=r"got weights alone, such as conv.weight. Known families: llama, qwen2"):
        describe(data)
