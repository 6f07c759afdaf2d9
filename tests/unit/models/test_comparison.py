"""Two checkpoints of one model: how far their outputs are apart, measured beside what their networks compute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from loom.cli.main import app
from loom.core.errors import ArgumentError
from loom.models.architectures import build
from loom.models.comparison import compare_checkpoints
from loom.models.files import convert_checkpoint, open_checkpoint

CONFIG = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 50,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 12, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "hidden_act": "silu", "rope_theta": 1e4,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> dict[str, bytes]:
    rng = np.random.default_rng(3)
    shapes = {"self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32),
              "self_attn.o_proj": (32, 32), "mlp.gate_proj": (48, 32), "mlp.up_proj": (48, 32),
              "mlp.down_proj": (32, 48),
              "input_layernorm": (32,), "post_attention_layernorm": (32,)}  # fmt: skip
    named = {f"model.layers.0.{n}.weight": s for n, s in shapes.items()}
    named |= {"model.embed_tokens.weight": (50, 32), "model.norm.weight": (32,)}
    arrays = {n: rng.standard_normal(s, np.float32) * np.float32(0.2) for n, s in named.items()}
    weights = convert_checkpoint(arrays).data
    assert weights is not None
    return {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights}


@pytest.mark.slow
def test_what_is_told_is_what_the_networks_compute(model: dict[str, bytes]) -> None:
    narrow = convert_checkpoint(model, dtype="i4").data
    found = compare_checkpoints(model, narrow, samples=3, tokens=500, seed=5, on="cpu")
    ids = np.random.Generator(np.random.Philox(5)).integers(0, 50, (3, 12)).astype(np.int32)  # the context
    one, other = (np.asarray(build(m, on="cpu").forward(ids), np.float64) for m in (model, open_checkpoint(narrow)))
    assert one.shape == (3, 12, 50)
    assert found.max_abs == np.abs(one - other).max() > 0
    assert found.rms == pytest.approx(np.sqrt(np.mean((one - other) ** 2)))
    assert found.same_choice == (one.argmax(-1) == other.argmax(-1)).mean()
    assert 0.5 < found.cosine < 1
    assert (found.family, found.task, found.samples, found.tokens) == ("llama", "generate", 3, 12)
    assert str(found).startswith("outputs of 3 x 12 drawn tokens (llama): largest error")
    same = compare_checkpoints(model, convert_checkpoint(model).data, samples=3, on="cpu")
    assert (same.max_abs, same.rms, same.relative, same.same_choice) == (0, 0, 0, 1)


def test_two_models_are_not_compared(model: dict[str, bytes]) -> None:
    other = {**model, "config.json": json.dumps({**CONFIG, "rms_norm_eps": 1e-3}).encode()}
    with pytest.raises(ArgumentError, match="the two are not one model"):
        compare_checkpoints(model, other)
    for arguments in ({"samples": 0}, {"tokens": 1.5}, {"seed": -1}):
        with pytest.raises(ArgumentError):
            compare_checkpoints(model, model, **arguments)


def test_loom_convert_checks(model: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in model.items():
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "out.safetensors"
    done = CliRunner().invoke(app, ["convert", str(tmp_path), str(out), "--dtype", "i8", "--check", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)["check"]
    assert 0 < told["rms"] < told["max_abs"] < 0.2
    assert 1e-6 < told["relative"] < 0.1
    assert 0.9 < told["cosine"] < 1
