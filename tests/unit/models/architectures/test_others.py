"""GPT-2, GPT-NeoX, BERT, T5's encoder and ViT against transformers, of random weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.models.architectures import build, describe
from unit.models.architectures.peers import IDS, SMALL, away, make, run, save

_GPT2: dict[str, Any] = {"vocab_size": 99, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32}
_NEOX = SMALL | {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25, "rope_type": "default"}}
_T5: dict[str, Any] = {
    "vocab_size": 99, "d_model": 64, "d_kv": 8, "d_ff": 96, "num_layers": 2, "num_heads": 4,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 10,
}  # fmt: skip
_VIT = {k: v for k, v in SMALL.items() if k not in ("vocab_size", "max_position_embeddings")} | {
    "image_size": 12, "patch_size": 4
}  # fmt: skip
DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("gpt2", "GPT2LMHeadModel", _GPT2),
    "gpt2, relu": ("gpt2", "GPT2LMHeadModel", _GPT2 | {"activation_function": "relu", "n_inner": 40,
                                                       "tie_word_embeddings": False}),
    "pythia": ("gpt_neox", "GPTNeoXForCausalLM", _NEOX),
    "one after the other": ("gpt_neox", "GPTNeoXForCausalLM", _NEOX | {
        "use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    family, kind, settings = DECODERS[name]
    model = make(kind, **settings)
    found = describe(save(model, tmp_path))
    assert (found.family, found.task, found.vocabulary_size) == (family, "generate", 99)
    made = build(tmp_path, on="cpu", description=found).forward(IDS)
    assert away(made, run(model, input_ids=IDS).logits) < 2e-6


MASK = (np.arange(17) < np.array([[17], [9]])).astype(np.int32)
TYPES = (np.arange(17) > np.array([[5], [6]])).astype(np.int32)


def test_bert_with_its_pooler_and_with_a_classifier(tmp_path: Path) -> None:
    inputs = {"tokens": IDS, "mask": MASK, "types": TYPES}
    told = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES}
    model = make("BertModel", **SMALL)
    found = describe(save(model, tmp_path / "model"))
    assert (found.family, found.task, found.document["outputs"]) == ("bert", "embed", ["hidden", "pooled"])
    made, wanted = build(tmp_path / "model", on="cpu").forward(inputs), run(model, **told)
    there = MASK.astype(bool)
    assert away(made["hidden"][there], wanted.last_hidden_state[there]) < 2e-6
    assert away(made["pooled"], wanted.pooler_output) < 2e-6
    classifier = make("BertForSequenceClassification", **SMALL, num_labels=3)
    found = describe(save(classifier, tmp_path / "classifier"))
    assert (found.task, found.document["outputs"]) == ("classify", ["logits"])
    made = build(tmp_path / "classifier", on="cpu").forward(inputs)
    assert away(made, run(classifier, **told).logits) < 2e-6


def test_padding_changes_no_bit_of_a_sentence(tmp_path: Path) -> None:
    net = build(save(make("BertModel", **SMALL), tmp_path), on="cpu")
    together = net.forward({"tokens": IDS, "mask": MASK, "types": TYPES})
    alone = net.forward({n: a[1:, :9] for n, a in (("tokens", IDS), ("mask", MASK), ("types", TYPES))})
    assert (together["hidden"][1:, :9].view(np.uint32) == alone["hidden"].view(np.uint32)).all()
    assert (together["pooled"][1:].view(np.uint32) == alone["pooled"].view(np.uint32)).all()


LEFT_OUT = {
    "BertForMaskedLM": (SMALL, "heads that it was trained by .5 tensors"),
    "BertForPreTraining": (SMALL, "heads that it was trained by .7 tensors"),
    "T5ForConditionalGeneration": (None, "the decoder .2\\d tensors"),
    "T5Model": (None, "the decoder .2\\d tensors"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_parts_that_the_network_does_without_are_named(kind: str, tmp_path: Path) -> None:
    settings, says = LEFT_OUT[kind]
    model = make(kind, **(_T5 if settings is None else settings))
    found = describe(save(model, tmp_path))
    assert (found.task, len(found.left_out)) == ("embed", 1)
    assert re.search(says, repr(found)), repr(found)
    with pytest.warns(UserWarning, match=f"the network is without .*{says}"):
        net = build(tmp_path, on="cpu")
    told = {"input_ids": IDS, "attention_mask": MASK}
    encoder = model.encoder if settings is None else model.bert
    inputs = {"tokens": IDS, "mask": MASK} | ({} if settings is None else {"types": np.zeros_like(IDS)})
    found_hidden, there = net.forward(inputs), MASK.astype(bool)
    hidden = found_hidden["hidden"] if isinstance(found_hidden, dict) else found_hidden
    assert away(hidden[there], run(encoder, **told).last_hidden_state[there]) < 2e-6


def test_what_a_sentence_transformer_is_said_to_be_has_nothing_left_out(tmp_path: Path) -> None:
    """Its stages are all that comes behind the features: neither the pooler nor the heads of training."""
    folder = save(make("BertForPreTraining", **SMALL), tmp_path)
    (folder / "modules.json").write_text('[{"type": "a.Transformer"}, {"type": "a.Normalize"}]')
    found = describe(folder)
    assert (found.left_out, found.document["outputs"]) == ((), ["embedding"])
    build(folder, on="cpu")  # without a warning
    assert describe(save(make("BertModel", **SMALL), tmp_path / "plain")).left_out == ()


@pytest.mark.parametrize("function", ["relu", "gated-gelu"])
def test_the_encoder_of_t5(function: str, tmp_path: Path) -> None:
    model = make("T5EncoderModel", **_T5, feed_forward_proj=function)
    found = describe(save(model, tmp_path))
    assert (found.family, found.task) == ("t5_encoder", "embed")
    made = build(tmp_path, on="cpu").forward({"tokens": IDS, "mask": MASK})
    wanted, there = run(model, input_ids=IDS, attention_mask=MASK).last_hidden_state, MASK.astype(bool)
    assert away(made[there], wanted[there]) < 2e-6


def test_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).normal(size=(2, 3, 12, 12)).astype(np.float32)
    classifier = make("ViTForImageClassification", **_VIT, num_labels=5, qkv_bias=False)
    found = describe(save(classifier, tmp_path / "classifier"))
    assert (found.family, found.task, found.context_length, found.vocabulary_size) == ("vit", "classify", 9, 0)
    made = build(tmp_path / "classifier", on="cpu").forward(pixels)
    assert away(made, run(classifier, pixel_values=pixels).logits) < 2e-6
    model = make("ViTModel", **_VIT)
    made, wanted = build(save(model, tmp_path / "model"), on="cpu").forward(pixels), run(model, pixel_values=pixels)
    assert away(made["hidden"], wanted.last_hidden_state) < 2e-6
    assert away(made["pooled"], wanted.pooler_output) < 2e-6


@pytest.mark.parametrize(
    ("kind", "settings", "match"),
    [
        ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}, "'scale_attn_by_inverse_layer_idx'.*expected"),
        ("BertModel", {"is_decoder": True}, "'is_decoder'. unusable: expected False, got True"),
        ("T5EncoderModel", {"feed_forward_proj": "gated-swoosh"}, "'dense_act_fn'"),
    ],
)
def test_variants_that_no_layer_computes_are_refused(kind: str, settings: Any, match: str, tmp_path: Path) -> None:
    own = {"GPT2LMHeadModel": _GPT2, "BertModel": SMALL, "T5EncoderModel": _T5}[kind]
    source = save(make(kind, **own), tmp_path)
    with pytest.raises(ArgumentError, match=match):
        describe(source, config=settings)
