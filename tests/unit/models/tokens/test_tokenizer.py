from __future__ import annotations

import json
from typing import Any

import pytest

from loom.core.errors import ArgumentError
from loom.models.tokens import Tokenizer
from tests.unit.formats import published
from tests.unit.models.tokens.made import Side, minilm, smollm, smollm_metadata, smollm_published
from tests.unit.models.tokens.strings import drawn


def test_smollm_encodes_as_its_authors_describe_it() -> None:
    ours, theirs = smollm(), smollm_published()
    for text in drawn(600):
        ids = ours.encode(text)
        assert ids == theirs.encode(text).ids, repr(text)
        assert ours.decode(ids) == text


def test_minilm_encodes_as_its_file_says() -> None:
    from tokenizers import Tokenizer as Backend

    theirs = Backend.from_file(str(published.minilm() / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    ours = minilm()
    for text in drawn(300):
        theirs.encode_special_tokens = True
        assert ours.encode(text) == theirs.encode(text).ids, repr(text)
        theirs.encode_special_tokens = False
        assert ours.encode(text, parse_special=True) == theirs.encode(text).ids, repr(text)
        ids = ours.encode(text, special=False)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.encode("a " * 1000) == [101] + [1037] * 1000 + [102]  # tokenizer.json would cut it at 128


def test_special_tokens_in_text_are_text_unless_asked_for() -> None:
    ours = smollm()
    assert ours.encode("<|im_end|>", parse_special=True) == [2]
    assert not set(ours.encode("a<|im_end|>b<|endoftext|>")) & ours.special
    assert minilm().encode("[SEP]", special=False) == minilm().encode("[ sep ]", special=False)


def test_what_is_known_of_the_tokens() -> None:
    ours = smollm()
    assert (ours.bos, ours.eos, ours.pad, ours.size) == (1, {0, 2}, 2, 49152)
    assert (minilm().bos, minilm().eos, minilm().pad, minilm().size) == (None, frozenset(), 0, 30522)
    assert ours.token(2) == "<|im_end|>"


def test_begins_and_ends_as_the_file_says() -> None:
    metadata = dict(smollm_metadata(), **{"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True})
    ours = Tokenizer.of(Side(metadata=metadata))
    assert ours.encode("a") == [1, *smollm().encode("a"), 2]
    assert ours.encode("a", special=False) == smollm().encode("a")


@pytest.mark.parametrize("lone", ["\ud800", "a\udc00b"])
def test_a_lone_surrogate_is_refused(lone: str) -> None:
    with pytest.raises(ArgumentError, match="surrogate"):
        smollm().encode(lone)


def test_ids_that_there_are_not_are_refused() -> None:
    for wrong in ([-1], [49152], [1.5], [True]):
        with pytest.raises(ArgumentError, match="no such token"):
            smollm().decode(wrong)  # type: ignore[arg-type]


def test_a_tokenizer_of_another_model_is_refused() -> None:
    files = {"tokenizer.json": (published.minilm() / "tokenizer.json").read_text()}
    with pytest.raises(ArgumentError, match="not this model's"):
        Tokenizer.of(Side(files, config={"vocab_size": 49152}))
    with pytest.raises(ArgumentError, match="not this model's"):
        smollm().check(30522)
    smollm().check(49152 + 128)  # rows that pad the table


def test_a_vocabulary_alone_is_the_tokenizer() -> None:
    folder = published.minilm()
    files = {"vocab.txt": (folder / "vocab.txt").read_text(), "tokenizer_config.json": '{"do_lower_case": true}'}
    alone = Tokenizer.of(Side(files))
    for text in drawn(200):
        assert alone.encode(text) == minilm().encode(text), repr(text)
    metadata = smollm_metadata()
    tokens = {str(t): n for n, t in enumerate(metadata["tokenizer.ggml.tokens"])}
    merges = "#version: 0.2\n" + "\n".join(map(str, metadata["tokenizer.ggml.merges"])) + "\n"
    pairs = Tokenizer.of(Side({"vocab.json": json.dumps(tokens), "merges.txt": merges}))
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    theirs = Backend(models.BPE(tokens, [tuple(str(each).split(" ")) for each in metadata["tokenizer.ggml.merges"]]))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in drawn(200):
        assert pairs.encode(text) == theirs.encode(text).ids, repr(text)


def _ggml(model: str, tokens: list[str], **more: Any) -> Side:
    given = {"model": model, "tokens": tokens, **more}
    return Side(metadata={f"tokenizer.ggml.{name}": value for name, value in given.items()})


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        (Side(), "has no tokenizer"),
        (Side({"tokenizer.json": "{"}), "cannot be read"),
        (Side({"tokenizer.json": "[1]"}), "cannot be read"),
        (Side({"vocab.txt": "a\nb"}), "no \\[CLS\\]"),
        (Side({"vocab.json": "{}", "merges.txt": ""}, config={"model_type": "clip"}), "clip"),
        (Side(metadata={"tokenizer.ggml.model": "rwkv"}), "rwkv"),
        (Side(metadata={"tokenizer.ggml.model": "gpt2"}), "no tokens"),
        (Side(metadata={"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"]}), "how text is cut"),
        (_ggml("gpt2", ["a"], pre="quen2"), "qwen2"),
        (_ggml("gpt2", ["a", "a"], pre="qwen2"), "the same"),
        (_ggml("llama", ["a"]), "scores"),
        (_ggml("llama", ["a"], bos_token_id=7), "no such token"),
    ],
)  # fmt: skip
def test_what_is_no_tokenizer_is_refused(checkpoint: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        Tokenizer.of(checkpoint)
