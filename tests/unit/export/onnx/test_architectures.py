"""Language and vision models as ONNX, of any number of samples and tokens; those of transformers too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
import loom.onnx
from loom.core.errors import ArgumentError
from loom.export import to_onnx
from unit.export.onnx.there_and_back import TOLERANCES, fed_to, forward, near, same_bits
from unit.models.architectures.peers import IDS, make, save
from unit.models.architectures.test_llama import CASES
from unit.models.architectures.test_others import _T5, _VIT, DECODERS, MASK, SMALL, TYPES

_MOST = 12


def _llama() -> loom.Network:
    """A small Llama: rotary positions, fewer heads of keys, gated blocks, a tied table."""
    norm = {"type": "rms_norm"}
    attention = {"type": "multi_head_attention", "num_heads": 2, "num_kv_heads": 1, "causal": True,
                 "rope_freq_base": 100.0}  # fmt: skip
    layers = [
        {"type": "embedding", "vocab_size": 11, "embedding_dim": 8},
        {"type": "residual", "layers": [norm, attention]},
        {"type": "residual", "layers": [norm, {"type": "swiglu", "inner_size": 12}]},
        {"type": "unembedding", "vocab_size": 11, "table": "layers.0"},
    ]
    words = {"shape": [_MOST], "dtype": "i32", "variable_length": True}
    return loom.Network.from_json({"format": "loom/1", "seed": 5, "input": words, "layers": layers}, on="cpu")


@pytest.mark.parametrize(
    ("samples", "tokens"),
    [(2, 5), pytest.param(1, 1, marks=pytest.mark.slow), pytest.param(1, _MOST, marks=pytest.mark.slow)],
)
def test_any_number_of_tokens(samples: int, tokens: int) -> None:
    net = _llama()
    model = to_onnx(net)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param for d in shape] == ["batch", "length"]
    fed = {"input": np.random.default_rng(tokens).integers(0, 11, (samples, tokens)).astype(np.int32)}
    wanted = forward(net, fed)
    same_bits(wanted, model, fed)
    near(wanted, model, fed, TOLERANCES["f32"])


def test_a_number_of_tokens() -> None:
    model = to_onnx(_llama(), batch=1, length=3)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3]
    for wrong in (0, _MOST + 1, "all"):
        with pytest.raises(loom.LoomError, match="length"):
            to_onnx(_llama(), length=wrong)  # type: ignore[arg-type]
    dense = {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}
    with pytest.raises(ArgumentError, match=r"no effect with a network without inputs of variable length.*Leave it"):
        to_onnx(loom.Network.from_json(dense, on="cpu"), length=3)


_ENCODERS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "bert": ("BertModel", SMALL, ("tokens", "mask", "types")),
    "t5": ("T5EncoderModel", _T5 | {"feed_forward_proj": "gated-gelu"}, ("tokens", "mask")),
    "vit": ("ViTModel", _VIT, ()),
}  # fmt: skip
_GIVEN = {"tokens": IDS, "mask": MASK, "types": TYPES}
_ALL = {n: (kind, settings, ("tokens",)) for n, (_, kind, settings) in {**CASES, **DECODERS}.items()} | _ENCODERS


@pytest.mark.slow
@pytest.mark.parametrize("name", _ALL)
def test_models_of_transformers(name: str, tmp_path: Path) -> None:
    from loom.models.architectures import build

    kind, settings, inputs = _ALL[name]
    net = build(save(make(kind, **settings), tmp_path), on="cpu")
    model = to_onnx(net)
    for samples, tokens in ((2, 17), (1, 1), (3, 32)):
        fed = {n: np.resize(_GIVEN[n], (samples, tokens)) for n in inputs} or fed_to(net, samples)
        wanted = forward(net, fed)
        same_bits(wanted, model, fed)
        near(wanted, model, fed, TOLERANCES["f32"])
