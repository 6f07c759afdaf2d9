"""Tokenizers of GGUF's other kinds, made small: SentencePiece by its own algorithm, WordPiece by the original."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from loom.core.errors import ArgumentError
from loom.models.tokens import Tokenizer
from loom.models.tokens.pretokenizers import pre_tokenizer
from tests.unit.formats import published
from tests.unit.models.tokens.made import Side, minilm
from tests.unit.models.tokens.strings import drawn

SPACE = "\u2581"


def _ggml(model: str, **more: Any) -> Side:
    return Side(metadata={f"tokenizer.ggml.{name}": value for name, value in {"model": model, **more}.items()})


def _pieces() -> tuple[list[str], list[float], list[int]]:
    """Return a vocabulary of SentencePiece: control tokens, all bytes, and pieces with scores, each one's own."""
    words = [
        "the",
        "hello",
        "world",
        "low",
        "lower",
        "ell",
        "he",
        "wor",
        "ld",
        "th",
        "er",
        "lo",
        "ll",
        "or",
        "12",
        "\xe9t",
        "\U0001f642",
    ]
    found = dict.fromkeys([*"thelowrd12 \xe9\U0001f642.,".replace(" ", SPACE)])
    for word in words:
        found.update(dict.fromkeys([word, SPACE + word, SPACE + word[:1], word[:2]]))
    pieces = [p for p in found if p]
    scores = [-float(n) for n in range(len(pieces))]
    random.Random(4).shuffle(scores)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *pieces, "<|tool|>"]
    return tokens, [0.0] * 259 + scores + [0.0], [2, 3, 3] + [6] * 256 + [1] * len(pieces) + [4]


def _merge(text: str, tokens: list[str], scores: list[float]) -> list[int]:
    """Return what SentencePiece's algorithm gives: the best pair of neighbours first, of equal ones the left one."""
    known = {token: n for n, token in enumerate(tokens) if n >= 259 and token != "<|tool|>"}
    parts = list(SPACE + text.replace(" ", SPACE)) if text else []
    while True:
        pairs = [(-scores[known[a + b]], n) for n, (a, b) in enumerate(pairwise(parts)) if a + b in known]
        if not pairs:
            break
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [n for part in parts for n in ([known[part]] if part in known else [3 + byte for byte in part.encode()])]


def test_sentence_piece_merges_by_scores_and_falls_back_to_bytes() -> None:
    tokens, scores, kinds = _pieces()
    ours = Tokenizer.of(_ggml("llama", tokens=tokens, scores=scores, token_type=kinds))
    draw = random.Random(7)
    words = [
        "the",
        "hello",
        " ",
        "world",
        "lower",
        "12",
        "\xe9t",
        "\U0001f642",
        "\u65e5",
        "\n",
        ".",
        "  ",
        "</s>",
        "\u2581",
    ]
    for _ in range(300):
        text = "".join(draw.choice(words) for _ in range(draw.randrange(0, 10)))
        assert ours.encode(text, special=False) == _merge(text, tokens, scores), repr(text)
        if SPACE not in text:
            ids = ours.encode(text)
            assert ids[0] == 1
            assert ours.decode(ids) == text
            stream = ours.stream()
            assert "".join(map(stream.push, ids)) + stream.flush() == text
    for text in drawn(200):
        if SPACE not in text:
            assert ours.decode(ours.encode(text)) == text
    assert ours.encode("a<|tool|>", special=False)[-1] == len(tokens) - 1  # the authors' own, found in any text
    assert (ours.bos, ours.eos, ours.unk) == (1, {2}, 0)


def test_a_text_that_goes_on_keeps_its_space() -> None:
    tokens, scores, kinds = _pieces()
    ours = Tokenizer.of(_ggml("llama", tokens=tokens, scores=scores, token_type=kinds))
    ids = ours.encode("the world", special=False)
    assert ours.decode(ids) == "the world"
    assert ours.decode(ids, continuing=True) == " the world"
    stream = ours.stream(continuing=True)
    assert "".join(map(stream.push, ids)) == " the world"
    whole = Tokenizer.of(_ggml("llama", tokens=tokens, scores=scores, token_type=kinds, add_space_prefix=False))
    assert whole.decode(whole.encode(" the")) == " the"


def test_word_pieces_of_gguf_are_those_of_the_vocabulary() -> None:
    words = (published.minilm() / "vocab.txt").read_text().split("\n")[:-1]
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    tokens = [w if w in special else w[2:] if w.startswith("##") else SPACE + w for w in words]
    kinds = [3 if w in special else 1 for w in words]
    ours = Tokenizer.of(_ggml("bert", tokens=tokens, token_type=kinds))
    for text in drawn(300):
        assert ours.encode(text) == minilm().encode(text), repr(text)
    assert ours.eos == frozenset()


def test_unigrams_take_the_best_division() -> None:
    pieces = ["<pad>", "</s>", "<unk>", SPACE, "a", "b", "ab", SPACE + "ab", "ba", "abab"]
    scores = [0.0, 0.0, 0.0, -2.0, -3.0, -3.0, -4.0, -5.0, -2.5, -9.0]
    ours = Tokenizer.of(_ggml("t5", tokens=pieces, scores=scores, token_type=[3, 3, 2, 1, 1, 1, 1, 1, 1, 1]))

    def best(text: str) -> float:
        if not text:
            return 0.0
        return max(
            (scores[n] + best(text[len(p) :]) for n, p in enumerate(pieces) if n > 2 and text.startswith(p)),
            default=-1e9,
        )

    for text in ("ab", "aba", "abab", "bab ab", "aabb"):
        ids = ours.encode(text)
        assert ids[-1] == 1
        assert sum(scores[n] for n in ids[:-1]) == best(SPACE + text.replace(" ", SPACE))
        assert ours.decode(ids) == text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gpt-2", "I'll pay 1234  now", ["I", "'ll", " pay", " 1234", " ", " now"]),
        ("smollm", "in 2024", ["in", " ", "2", "0", "2", "4"]),
        ("llama-bpe", "I'LL pay 12345\n\n", ["I", "'LL", " pay", " ", "123", "45", "\n\n"]),
        ("qwen2", "pay 12!\n", ["pay", " ", "1", "2", "!\n"]),
        ("gpt-4o", "HelloWorld's", ["Hello", "World's"]),
        ("tekken", "HelloWorld", ["Hello", "World"]),
        ("falcon", "a$1234", ["a", "$", "123", "4"]),
        ("deepseek-v3", "12345\u65e5\u672c", ["123", "45", "\u65e5\u672c"]),
    ],
)
def test_text_is_cut_as_the_kinds_say(name: str, text: str, words: list[str]) -> None:
    from tokenizers import Regex, pre_tokenizers

    cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in pre_tokenizer(name).patterns])
    assert [word for word, _ in cut.pre_tokenize_str(text)] == words


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ArgumentError, match="qwen2"):
        pre_tokenizer("qwen-2")
