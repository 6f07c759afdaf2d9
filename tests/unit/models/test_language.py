"""``LanguageModel``: text and pieces of text, stop strings, settings that are checked; the published model, slow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import loom.models
from loom.core.errors import ArgumentError
from loom.models import LanguageModel
from loom.models.tasks.adapter import ServedLanguageModel
from loom.models.tokens import Tokenizer, grammar
from unit.formats import published
from unit.models.inference.networks import network
from unit.models.tokens.made import smollm
from unit.models.tokens.test_gguf_kinds import _ggml, _pieces


@pytest.fixture(scope="module")
def model() -> Iterator[LanguageModel]:
    """Return a small network of random weights with a real tokenizer."""
    tokenizer = smollm()
    with LanguageModel(network(128, vocabulary=tokenizer.size), tokenizer, context_length=128, name="small") as made:
        yield made


def test_pieces_are_the_text(model: LanguageModel) -> None:
    whole = model.generate("The sea", temperature=0, max_tokens=40)
    stream = model.generate_stream("The sea", temperature=0, max_tokens=40)
    pieces = list(stream)
    assert "".join(pieces) == whole.text == stream.generation.text == str(whole)
    assert model.tokenizer.decode(whole.tokens) == whole.text
    assert stream.generation.tokens == whole.tokens
    assert whole.prompt == tuple(model.tokenizer.encode("The sea"))
    assert len(whole.logprobs) == len(whole.tokens) == 40
    assert whole.finish_reason == "length"
    assert whole.seconds_to_first is not None
    assert 0 < whole.seconds_to_first <= whole.seconds
    assert model.generate(whole.prompt, temperature=0, max_tokens=40).tokens == whole.tokens


def test_stop_strings_end_a_text_before_them(model: LanguageModel) -> None:
    text = model.generate("The sea", temperature=0, max_tokens=40).text
    stop = text[20:26]
    ended = model.generate("The sea", temperature=0, max_tokens=40, stop=[stop, "never, ever"])
    assert ended.text == text[: text.index(stop)]
    assert ended.finish_reason == "stop"
    assert stop in model.tokenizer.decode(ended.tokens)
    assert "".join(model.generate_stream("The sea", temperature=0, max_tokens=40, stop=stop)) == ended.text


def test_logits_are_those_of_the_network(model: LanguageModel) -> None:
    tokens = model.tokenizer.encode("The sea, the sea")
    net = network(len(tokens), vocabulary=model.tokenizer.size)
    assert np.array_equal(model.logits("The sea, the sea"), net.forward(np.array([tokens], np.int32))[0])


def test_leaving_a_stream_ends_the_work(model: LanguageModel) -> None:
    with model.generate_stream("The sea", temperature=0, max_tokens=None) as stream:
        next(stream)
    stream.request.result(timeout=30)
    assert len(stream.request.tokens) < 128
    assert stream.generation.finish_reason == "cancelled"


def test_a_text_behind_a_prompt_keeps_its_first_space(model: LanguageModel) -> None:
    tokens, scores, kinds = _pieces()
    tokenizer = Tokenizer.of(_ggml("llama", tokens=tokens, scores=scores, token_type=kinds, eos_token_id=2))
    word = tokens.index("\u2581the")
    with LanguageModel(network(8, vocabulary=tokenizer.size), tokenizer, context_length=64) as made:
        settings = {"temperature": 0, "logit_bias": {word: 1000.0}, "max_tokens": 2}
        assert made.generate("hello", **settings).text == " the the"
        assert "".join(made.generate_stream("hello", **settings)) == " the the"
        served = ServedLanguageModel(made, None, "small")  # type: ignore[arg-type] - digests are not asked for
        decoder, echo = served.decoder(continuing=True), served.decoder(continuing=False)
        assert [decoder.push(word), decoder.push(word), echo.push(word), echo.push(word)] == [" the"] * 2 + [
            "the",
            " the",
        ]
        with pytest.raises(ArgumentError, match="over another tokenizer's tokens"):
            model.generate("a", constraint=grammar.regex("a+", tokenizer))
    with pytest.raises(ArgumentError, match="Did you mean 'sequences'"):
        LanguageModel(model.network, tokenizer, context_length=64, sequence=4)


def test_bad_calls(model: LanguageModel) -> None:
    with pytest.raises(ArgumentError, match="there is no setting 'temprature'"):
        model.generate("a", temprature=1)
    with pytest.raises(ArgumentError, match="makes no embeddings"):
        model.embed(["a"])
    with pytest.raises(ArgumentError, match="longer than the context: expected at most 128"):
        model.generate("word " * 200, temperature=0)
    with pytest.raises(ArgumentError, match="'f33' is not known"):
        loom.models.load(published.smollm2(), weights="f33")


def test_encoders_are_embedders() -> None:
    model = loom.models.load(published.minilm())
    assert isinstance(model, loom.models.Embedder)
    assert model.embed("a sea").shape == (384,)
    with pytest.raises(ArgumentError, match="a model of vectors has no such settings"):
        loom.models.load(published.minilm(), sequences=4)


@pytest.mark.slow
def test_the_published_model_answers() -> None:
    with loom.models.load(published.smollm2()) as model:
        assert isinstance(model, LanguageModel)
        answer = model.chat([{"role": "user", "content": "What is the capital of France?"}], temperature=0)
        assert answer.text == "The capital of France is Paris."
        assert answer.finish_reason == "stop"
        prompts = ["Once upon a time", "The three primary colours are", "def add(a, b):"]
        alone = [model.generate(p, temperature=0, max_tokens=24).tokens for p in prompts]
        streams = [model.generate_stream(p, temperature=0, max_tokens=24) for p in prompts]
        assert [s.generation.tokens for s in streams] == alone
