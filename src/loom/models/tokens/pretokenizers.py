"""How text is cut before pairs of bytes are merged, by the name that a GGUF file gives it.

Layer: models. Each name has the patterns of the model's published tokenizer.json, applied one after the other.
Invariant: a name that is not known is refused, as a text cut in another way gives other tokens.

Source: the tokenizers published with these models; llama.cpp's ``llama-vocab.cpp`` for which name means which.
"""

from __future__ import annotations

from loom.core.errors import ArgumentError, near_matches
from loom.core.late.dataclass import dataclass

__all__ = ["PreTokenizer", "pre_tokenizer"]

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_SHORT}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_SHORT}|{_WORDS}|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*",
)  # fmt: skip
_CASED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4O = "|".join([*(f"{each}{_SHORT}?" for each in _CASED), r"\p{N}{1,3}", _CASED_REST])
_TEKKEN = "|".join([*_CASED, r"\p{N}", _CASED_REST])
_DEEPSEEK3 = (
    r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)  # fmt: skip
_FALCON = (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")
_DIGITS = (r"\p{N}", _GPT2)
_QWEN35 = (
    rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """Patterns, what they match cut out one after the other; whether a word that is a token is taken whole.

    ``begins``: whether a text begins with the bos token unless the file says otherwise. ``composed``: whether
    characters are composed first (NFC).
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False
    composed: bool = False


_NAMES: dict[PreTokenizer, str] = {
    PreTokenizer((_GPT2,)): "gpt-2 phi-2 mpt olmo jais trillion exaone4 modern-bert roberta-bpe jina-es jina-de"
    " jina-v2-es jina-v2-de jina-v1-en jina-v2-code gigachat a.x-4.0 mellum granite-docling",
    PreTokenizer(_DIGITS): "smollm starcoder refact command-r codeshell exaone minerva-7b",
    PreTokenizer((_LLAMA3,), whole_words=True, begins=True): "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral"
    " midm-2.0 lfm2",
    PreTokenizer((_LLAMA3,)): "dbrx smaug-bpe glm4 chatglm-bpe",
    PreTokenizer((_QWEN2,), composed=True): "qwen2",
    PreTokenizer((_QWEN2,)): "stablelm2 deepseek-r1-qwen megrez hunyuan grok-2 kormo",
    PreTokenizer((_QWEN35,), composed=True): "qwen35",
    PreTokenizer((_GPT4O,)): "gpt-4o llama4 kanana2",
    PreTokenizer((_TEKKEN,), whole_words=True, begins=True): "tekken",
    PreTokenizer(_DEEPSEEK3): "deepseek-v3 hunyuan-dense",
    PreTokenizer(_FALCON): "falcon",
}
_KNOWN = {name: kind for kind, names in _NAMES.items() for name in names.split()}


def pre_tokenizer(name: str) -> PreTokenizer:
    """Return how the kind of a GGUF file cuts text; ArgumentError for one that is not known.

    >>> pre_tokenizer("qwen2").whole_words, pre_tokenizer("llama-bpe").begins
    (False, True)
    """
    if name not in _KNOWN:
        raise ArgumentError(
            "tokenizer.ggml.pre",
            f"{name!r} is not known",
            expected="a kind of pre-tokenizer",
            remedy=f"{near_matches(name, _KNOWN)} Put the model's tokenizer.json beside it",
        )
    return _KNOWN[name]
