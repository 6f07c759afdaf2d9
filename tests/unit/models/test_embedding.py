"""Texts as vectors: small models of random weights against transformers, MiniLM against sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, LoomError
from loom.models import embedding, load
from loom.models.embedding import Embedder
from loom.models.tasks.adapter import open_served
from unit.formats.published import minilm
from unit.models.architectures.peers import SMALL, make, run, save

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(94))]
TEXTS = ["w1 w2", "w3", "", "w4 w90 w5 w6 w7 w8 w9 w10 w11 w12 nobody w13", "w1 w2 w3 w4", "w2 w1", "w50 w51"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = save(make("BertModel", **SMALL), tmp_path_factory.mktemp("bert"))
    (made / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (made / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
    return made


def bits(a: Any) -> Any:
    return np.ascontiguousarray(a).view(np.uint32)


def pooled(model: Any, ids: list[int], mode: str) -> Any:
    """One text alone, by transformers."""
    row = np.array([ids], np.int32)
    hidden = run(model, input_ids=row, attention_mask=np.ones_like(row)).last_hidden_state[0].numpy()
    return {"mean": hidden.mean(0), "first": hidden[0], "last": hidden[-1], "max": hidden.max(0)}[mode]


@pytest.mark.parametrize("mode", ["mean", "first", "last", "max"])
def test_vectors_are_those_of_transformers(mode: str, folder: Path) -> None:
    model = make("BertModel", **SMALL)
    found = Embedder.of(folder, on="cpu", pooling=mode)
    assert (found.width, found.most_tokens) == (64, 64)
    made = found.embed(TEXTS[:4])
    for vector, text in zip(made, TEXTS[:4], strict=True):
        ids = [2, *(WORDS.index(w) if w in WORDS else 1 for w in text.split()), 3]
        assert found.encode(text) == ids
        wanted = pooled(model, ids, mode)
        assert np.abs(vector - wanted).max() < 2e-6 * np.abs(wanted).max()


def test_a_vector_depends_on_its_text_alone(folder: Path, on: Any) -> None:
    found, texts = Embedder.of(folder, on=on, pooling="mean", normalize=True), TEXTS if on == "cpu" else TEXTS[3:5]
    together = found.embed(texts)
    assert (bits(together[::-1]) == bits(found.embed(texts[::-1]))).all()
    assert (bits(together[1]) == bits(found.embed(texts[1]))).all()
    assert (bits(together) == bits(Embedder.of(folder, on="cpu", pooling="mean", normalize=True).embed(texts))).all()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)


def test_texts_that_are_too_long(folder: Path) -> None:
    found = Embedder.of(folder, on="cpu", pooling="mean")
    text = "w7 " * 70
    error("a text is too long: expected at most 64 tokens, got 72. Cut it", ArgumentError, found.embed, text)
    wanted = found.embed("w7 " * 62)
    assert found.encode(text, truncate=True) == [2, *[WORDS.index("w7")] * 62, 3]
    assert (bits(found.embed(text, truncate=True)) == bits(wanted)).all()


def error(match: str, kind: type[LoomError], call: Any, *given: Any, **named: Any) -> None:
    with pytest.raises(kind, match=match):
        call(*given, **named)


def test_what_cannot_be_embedded_is_told(folder: Path, tmp_path: Path) -> None:
    error("nothing says how tokens become one vector: expected 'mean'", ArgumentError, Embedder.of, folder)
    error("nothing says how tokens become one vector", ArgumentError, Embedder.of, folder, pooling="median")
    llama = save(make("LlamaForCausalLM", **SMALL), tmp_path)
    error("that does not embed texts: expected task 'embed'", ArgumentError, Embedder.of, llama, pooling="mean")
    found = Embedder.of(folder, on="cpu", pooling="mean")
    error("text 1 is no text: expected str, got int", DTypeError, found.embed, ["w1", 3])
    error("a token that the model has not: expected 0 to 98, got 99", ArgumentError, found.embed_tokens, [[2, 99]])
    error("row 1. not the tokens of a text", ArgumentError, found.embed_tokens, [[2], []])
    assert found.embed([]).shape == (0, 64)
    error("normalize. not usable: expected True or False", ArgumentError, Embedder.of, folder, pooling="mean",
          normalize="no")  # fmt: skip
    error("truncate. not usable: expected True or False", ArgumentError, found.embed, "w1", truncate="no")


def test_settings_of_vectors_reach_whoever_serves_them(folder: Path) -> None:
    served = open_served(str(folder), on="cpu", pooling="first", normalize=True)
    wanted = Embedder.of(folder, on="cpu", pooling="first", normalize=True)
    assert (bits(served.embed([[2, 7, 3]])) == bits(wanted.embed_tokens([[2, 7, 3]]))).all()
    error(
        "has no such settings: .*got sequences.", ArgumentError, open_served, str(folder), pooling="mean", sequences=2
    )
    error("got context_length, compute.", ArgumentError, load, folder, context_length=8, compute="q8")
    error("put its modules.json and 1_Pooling", ArgumentError, open_served, str(folder))
    error("writes no text: .*got a model of vectors", ArgumentError, served.encode_chat, [])


def test_a_sentence_transformer_says_how_it_pools(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    stages = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    told = [{"idx": n, "name": str(n), "path": p, "type": f"st.models.{t}"} for n, (t, p) in enumerate(stages)]
    (tmp_path / "modules.json").write_text(json.dumps(told))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    (tmp_path / "1_Pooling").mkdir()
    config = tmp_path / "1_Pooling" / "config.json"
    config.write_text('{"word_embedding_dimension": 64, "pooling_mode_cls_token": true}')
    found = Embedder.of(tmp_path, on="cpu")
    assert found.most_tokens == 16
    wanted = Embedder.of(folder, on="cpu", pooling="first", normalize=True).embed(TEXTS[:3])
    assert (bits(found.embed(TEXTS[:3])) == bits(wanted)).all()
    error("pooling. .*own files say how.*got 'mean'", ArgumentError, Embedder.of, tmp_path, pooling="mean")
    for value in (True, False):  # what has no effect is refused, also where it is what is usual
        error(f"normalize. .*own files say.*got {value}", ArgumentError, Embedder.of, tmp_path, normalize=value)
    config.write_text('{"pooling_mode_weightedmean_tokens": true}')
    error("unknown way of pooling.*pooling_mode_weightedmean_tokens", ArgumentError, Embedder.of, tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "st.models.Dense"}]))
    error("unknown stage of a sentence transformer: expected.*got Dense", ArgumentError, Embedder.of, tmp_path)


@pytest.mark.slow
def test_minilm_gives_the_vectors_of_sentence_transformers() -> None:
    library: Any = pytest.importorskip("sentence_transformers")
    text = (Path(__file__).parents[3] / "docs/numerics.md").read_text().split()
    draw = np.random.default_rng(1)
    starts, lengths = draw.integers(0, len(text) - 60, 100), draw.integers(1, 60, 100)
    sentences = [" ".join(text[a : a + n]) for a, n in zip(starts, lengths, strict=True)]
    wanted = library.SentenceTransformer(str(minilm()), device="cpu").encode(sentences)
    found = Embedder.of(minilm(), on="cpu").embed(sentences)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((found * wanted).sum(1) / lengths).min() >= 0.99999
    assert np.abs(found - wanted).max() < 1e-6


def test_batches_hold_each_text_once_and_compute_few_tokens() -> None:
    draw = np.random.default_rng(5)
    for texts in (1, 2, 7, 40, 256):
        lengths = sorted(draw.choice([8, 16, 24, 32, 48, 64, 2048], texts, p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.05, 0.05]))
        compiled = {(16, 24), (8, 64)}
        found = embedding._batches(lengths, compiled)
        assert [n for begin, end, _ in found for n in range(begin, end)] == list(range(texts))
        for begin, end, rows in found:
            assert end - begin <= rows
            assert rows.bit_count() == 1
            assert rows == 1 or rows * lengths[end - 1] <= 1024
    equal = embedding._batches([32] * 64, set())
    assert equal == [(0, 32, 32), (32, 64, 32)]
    assert embedding._batches([16] * 3, {(4, 16)}) == [(0, 3, 4)]
    assert embedding._batches([], set()) == []
