"""Tokenizers of strangers: whatever stands in their files, there is a tokenizer that works or a LoomError."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest

from loom.core.errors import ArgumentError, LoomError
from loom.models.tokens import Tokenizer
from tests.unit.models.tokens.made import Side

JUNK: list[Any] = [
    None, 0, -1, 1 << 40, "", "x", [], {}, [None], ["a", "b"], [1, 2], True, 1.5, float("nan"), "\ud800", "[CLS]",
    {"content": 3}, {"a": {}},
]  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {"model": "gpt2", "pre": "qwen2", "tokens": ["<e>", "a", "b", "ab"], "token_type": [3, 1, 1, 1], "merges": ["a b"],
     "eos_token_id": 0, "bos_token_id": 0},
    {"model": "llama", "tokens": ["<unk>", "<s>", "</s>", "a", "b", "ab"], "scores": [0.0, 0.0, 0.0, -1.0, -2.0, -3.0],
     "token_type": [2, 3, 3, 1, 1, 1]},
    {"model": "bert", "tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581a", "b"], "token_type": [3, 3, 3, 3, 1, 1],
     "bos_token_id": 2, "unknown_token_id": 1, "seperator_token_id": 3},
    {"model": "t5", "tokens": ["<pad>", "</s>", "<unk>", "\u2581", "a"], "scores": [0.0, 0.0, 0.0, -1.0, -2.0],
     "token_type": [3, 3, 2, 1, 1], "precompiled_charsmap": [1, 2, 3]},
]  # fmt: skip
CONFIG: dict[str, Any] = {
    "do_lower_case": True, "unk_token": "[UNK]", "chat_template": "x", "add_bos_token": False, "eos_token": "a",
    "added_tokens_decoder": {"2": {"content": "[CLS]", "special": True}},
}  # fmt: skip
VOCABULARIES = [
    {"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\na"}, {"vocab.json": '{"a": 0, "b": 1}', "merges.txt": "a b"},
    {"vocab.json": '{"a": 1099511627776}', "merges.txt": ""}, {"vocab.json": "[]", "merges.txt": "\ud800"},
]  # fmt: skip


def _spoilt(given: dict[str, Any], more: list[str], draw: random.Random) -> dict[str, Any]:
    found = dict(given)
    for _ in range(draw.randrange(1, 3)):
        key = draw.choice([*found, *more])
        value = found.get(key)
        if isinstance(value, list) and value and draw.random() < 0.6:
            found[key] = list(value)
            found[key][draw.randrange(len(value))] = draw.choice(JUNK)
        else:
            found[key] = draw.choice(JUNK)
    return found


def _use(checkpoint: Side) -> bool:
    with suppress(LoomError):
        tokenizer = Tokenizer.of(checkpoint)
        ids = tokenizer.encode("a ab b", parse_special=True)
        stream = tokenizer.stream()
        assert "".join(map(stream.push, ids)) + stream.flush() == tokenizer.decode(ids)
        if tokenizer.has_chat:
            tokenizer.encode_chat([{"role": "user", "content": "a"}])
        return True
    return False


def test_metadata_of_strangers() -> None:
    draw = random.Random(0)
    more = ["add_bos_token", "eot_token_id", "add_space_prefix", "normalizer.lowercase"]
    used = 0
    for _ in range(700):
        fields = _spoilt(draw.choice(KINDS), more, draw)
        used += _use(Side(metadata={f"tokenizer.ggml.{name}": value for name, value in fields.items()}))
    assert used > 50


def test_folders_of_strangers() -> None:
    draw, used = random.Random(1), 0
    for _ in range(700):
        config = _spoilt(CONFIG, ["bos_token", "cls_token", "tokenize_chinese_chars", "strip_accents"], draw)
        files = {**draw.choice(VOCABULARIES), "tokenizer_config.json": json.dumps(config)}
        if draw.random() < 0.3:
            files["generation_config.json"] = json.dumps({"eos_token_id": draw.choice(JUNK)})
        used += _use(Side(files, config=draw.choice([None, {}, {"vocab_size": 5}, {"vocab_size": "x"}])))
    assert used > 50


def test_an_id_beyond_reason_is_refused() -> None:
    whole = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 4_000_000_000}, "unk_token": "a"},
             "added_tokens": [], "decoder": None}  # fmt: skip
    with pytest.raises(ArgumentError):
        Tokenizer.of(Side({"tokenizer.json": json.dumps(whole)}))
