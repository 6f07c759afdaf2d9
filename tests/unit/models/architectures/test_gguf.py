"""GGUF files as llama.cpp's converter lays them out, written by ``gguf``, against the models that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, FileError
from loom.models.architectures import build, describe
from unit.models.architectures.peers import IDS, SMALL, away, make, run

Turn = Callable[[str, Any], Any]
_MODULES = {
    "llama": {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"},
    "gpt2": {"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
             "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
             "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
    "gptneox": {"gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "lm_head": "output",
                "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
                "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
                "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"},
    "bert": {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
             "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
             "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
             "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
             "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"},
}  # fmt: skip
"""Modules of transformers, without the number of the block -> llama.cpp's."""
_SIZES = {
    "block_count": 2, "context_length": 64, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4
}  # fmt: skip
_FEW = SMALL | {"num_key_value_heads": 2}
_RMS = {"attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-6}
_NORM = {"attention.layer_norm_epsilon": 1e-5}
_NEOX = SMALL | {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25, "rope_type": "default"}}


def write(path: Path, model: Any, arch: str, told: dict[str, Any], turn: Turn, **tensors: Any) -> Path:
    """Write a model under llama.cpp's names."""
    gguf: Any = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(path), arch)
    for key, value in ({**_SIZES} | told).items():
        add = {float: writer.add_float32, bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32}
        add[type(value)](f"{arch}.{key}", value)
    names = _MODULES.get(arch, _MODULES["llama"])
    for name, tensor in model.state_dict().items():
        module, _, end = name.rpartition(".")
        parts = module.split(".")
        number = next((p for p in parts if p.isdigit()), None)
        short = names.get(module if number is None else module.split(f".{number}.", 1)[1])
        if short is not None and (arch != "bert" or not module.startswith("pooler")):
            block = "" if number is None else f"blk.{number}."
            writer.add_tensor(f"{block}{short}.{end}", np.ascontiguousarray(turn(name, tensor.numpy())))
    for name, array in tensors.items():
        writer.add_tensor(f"{name}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def as_it_is(name: str, a: Any) -> Any:
    return a


def of_llama(name: str, a: Any) -> Any:
    """Pairs of rotated features next to each other."""
    heads = 4 if ".q_proj" in name else 2 if ".k_proj" in name else 0
    return a.reshape(heads, 2, -1, *a.shape[1:]).swapaxes(1, 2).reshape(a.shape) if heads else a


def of_gpt2(name: str, a: Any) -> Any:
    return a.T if a.ndim == 2 and ".h." in name else a


def of_neox(name: str, a: Any) -> Any:
    return a.reshape(4, 3, 16, *a.shape[1:]).swapaxes(0, 1).reshape(a.shape) if "query_key_value" in name else a


def stretched(kind: str, **more: Any) -> dict[str, Any]:
    told = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16, "rope_type": kind}
    return {"rope_parameters": told | more}


_SCALING = {"rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
_YARN = {"rope.scaling.type": "yarn", **_SCALING}
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], Turn]] = {
    "llama": ("llama", "LlamaForCausalLM", _FEW, _RMS, of_llama),
    "linear": ("llama", "LlamaForCausalLM", _FEW | stretched("linear"), _RMS | {
        "rope.scaling.type": "linear", **_SCALING}, of_llama),
    "linear, as old files say it": ("llama", "LlamaForCausalLM", _FEW | stretched("linear"), _RMS | {
        "rope.scale_linear": 4.0}, of_llama),
    "yarn": ("llama", "LlamaForCausalLM", _FEW | stretched("yarn"), _RMS | _YARN, of_llama),
    "yarn with its own turns": ("llama", "LlamaForCausalLM", _FEW | stretched("yarn", beta_fast=8.0, beta_slow=0.5),
                                _RMS | _YARN | {"rope.scaling.yarn_beta_fast": 8.0, "rope.scaling.yarn_beta_slow": 0.5},
                                of_llama),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", _FEW, _RMS, as_it_is),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", _FEW | {"head_dim": 32}, _RMS | {"attention.key_length": 32}, as_it_is),
    "gpt2": ("gpt2", "GPT2LMHeadModel", {"vocab_size": 99, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64,
                                         "n_inner": 96}, _NORM, of_gpt2),
    "pythia": ("gptneox", "GPTNeoXForCausalLM", _NEOX, _NORM | {
        "rope.dimension_count": 4, "use_parallel_residual": True}, of_neox),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    arch, kind, settings, told, turn = CASES[name]
    model = make(kind, **settings)
    file = write(tmp_path / "model.gguf", model, arch, told, turn)
    found = describe(file)
    assert (found.task, found.context_length, found.vocabulary_size) == ("generate", 64, 99)
    made = build(file, on="cpu", description=found).forward(IDS)
    assert away(made, run(model, input_ids=IDS).logits) < 2e-6


def test_divisors_of_frequencies_that_the_file_has(tmp_path: Path) -> None:
    """Llama 3.1: the converter computes them and writes them as a tensor."""
    told = stretched("llama3", low_freq_factor=1.0, high_freq_factor=4.0)
    model = make("LlamaForCausalLM", **_FEW | told)
    plain = 1e4 ** (-np.arange(8) / 8)
    factors = (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    assert factors.max() > 2
    file = write(tmp_path / "model.gguf", model, "llama", _RMS, of_llama, rope_freqs=factors)
    assert away(build(file, on="cpu").forward(IDS), run(model, input_ids=IDS).logits) < 2e-6


def test_bert_and_how_it_pools(tmp_path: Path) -> None:
    model = make("BertModel", **SMALL)
    inputs: dict[str, Any] = {"tokens": IDS, "mask": np.ones_like(IDS), "types": np.zeros_like(IDS)}
    told = _NORM | {"attention.layer_norm_epsilon": 1e-12, "attention.causal": False}
    wanted = run(model, input_ids=IDS).last_hidden_state
    file = write(tmp_path / "plain.gguf", model, "bert", told, as_it_is)
    assert away(build(file, on="cpu").forward(inputs), wanted) < 2e-6
    file = write(tmp_path / "mean.gguf", model, "bert", told | {"pooling_type": 1}, as_it_is)
    mean = wanted.mean(1)
    assert away(build(file, on="cpu").forward(inputs), mean / mean.norm(dim=1, keepdim=True)) < 2e-6


def test_what_a_file_says_and_nothing_computes_is_refused(tmp_path: Path) -> None:
    neox = make("GPTNeoXForCausalLM", **_NEOX)
    told = _NORM | {"rope.dimension_count": 4, "use_parallel_residual": True}
    untied = CASES["pythia"][4]
    del neox.lm_head
    file = write(tmp_path / "neox.gguf", neox, "gptneox", told, untied)
    with pytest.raises(FileError, match=r"'embed_out.weight' is missing, and nothing says that"):
        describe(file)
    assert describe(file, config={"tie_word_embeddings": True}).document["nodes"]["head"]["type"] == "unembedding"
    llama = make("LlamaForCausalLM", **_FEW)
    for key, value in (("attention.scale", 0.5), ("logit_scale", 2.0), ("final_logit_softcapping", 30.0),
                       ("expert_count", 4), ("attention.sliding_window", 8), ("rope.scaling.yarn_ext_factor", 0.5),
                       ("attention.clamp_kqv", 8.0), ("embedding_scale", 12.0), ("residual_scale", 0.2)):  # fmt: skip
        with pytest.raises(ArgumentError, match=key.rpartition(".")[2]):
            describe(write(tmp_path / "odd.gguf", llama, "llama", _RMS | {key: value}, of_llama))
