"""Adapters of PEFT beside published models, against transformers with the merged weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import loom
from loom.core.errors import ArgumentError
from loom.models.architectures import build, describe, module_names
from loom.models.architectures.adapting import with_adapters
from loom.nn import structure
from unit.models.architectures.peers import IDS, SMALL, away, make, run, save

MODULES = {
    "model.layers.0.self_attn.q_proj": 2,
    "model.layers.0.self_attn.v_proj": 2,
    "model.layers.1.mlp.down_proj": 3,
}


def write_adapters(folder: Path, model: Any, modules: dict[str, int], alpha: float = 6.0) -> None:
    """Write adapters as PEFT names them, and merge them into a model of torch."""
    torch: Any = pytest.importorskip("torch")
    rng, held = np.random.default_rng(3), {}
    for name, rank in modules.items():
        weight = model.get_submodule(name).weight
        a, b = (
            rng.standard_normal(s).astype(np.float32) * 0.2 for s in ((rank, weight.shape[1]), (weight.shape[0], rank))
        )
        held |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
        with torch.no_grad():
            weight += torch.tensor(alpha / rank * (b @ a))
    folder.mkdir()
    safetensors.numpy.save_file(held, folder / "adapter_model.safetensors")
    first = next(iter(modules.values()), 1)
    told = {"peft_type": "LORA", "r": first, "lora_alpha": alpha, "target_modules": sorted(modules), "bias": "none",
            "rank_pattern": {n: r for n, r in modules.items() if r != first}}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(told))


def test_modules_of_llama_are_known_by_their_names(tmp_path: Path) -> None:
    model = make("LlamaForCausalLM", **SMALL, num_key_value_heads=2)
    description = describe(save(model, tmp_path / "model"))
    net = build(tmp_path / "model", on="cpu", description=description)
    write_adapters(tmp_path / "adapters", model, MODULES)
    found = with_adapters(net, description, tmp_path / "adapters")
    assert away(found.forward(IDS), run(model, input_ids=IDS).logits) < 2e-6
    tuned = structure.add_lora(net, 2, layers=["attention_0.*"], targets=["q"])
    structure.save_adapters(tuned, tmp_path / "own", names=module_names(description))
    told = json.loads((tmp_path / "own" / "adapter_config.json").read_text())
    assert told["target_modules"] == ["model.layers.0.self_attn.q_proj"]


def test_modules_that_are_several_matrices_or_none_are_refused(tmp_path: Path) -> None:
    model = make("GPT2LMHeadModel", vocab_size=99, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    description = describe(save(model, tmp_path / "model"))
    net = build(tmp_path / "model", on="cpu", description=description)
    assert "transformer.h.0.mlp.c_fc" in module_names(description).values()
    for n, module in enumerate(("transformer.h.0.attn.c_attn", "transformer.h.7.mlp.c_fc")):
        folder = tmp_path / f"adapters{n}"
        write_adapters(folder, model, {})
        held = {f"base_model.model.{module}.lora_{k}.weight": np.ones((2, 2), np.float32) for k in "AB"}
        safetensors.numpy.save_file(held, folder / "adapter_model.safetensors")
        with pytest.raises(ArgumentError, match=f"'{module}' is no matrix of the model"):
            with_adapters(net, description, folder)
    with pytest.raises(ArgumentError, match="merged into weights of f32"):
        loom.models.load(tmp_path / "model", weights="q8_0", adapters=folder)
