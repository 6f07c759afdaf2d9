"""Tokenizers from the metadata of GGUF files: byte pairs, SentencePiece, WordPiece, unigrams.

Layer: models, over the package tokenizers. Invariant: a kind that is not known is refused: the text would be cut into
other tokens than the model has learned.

Sources: ggml's specification of GGUF; ``llama-vocab.cpp`` of llama.cpp for defaults
and for how scores of SentencePiece become an order of merges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.optional import require
from loom.models.tokens.pretokenizers import pre_tokenizer
from loom.models.tokens.vocabulary import Vocabulary, begin_and_end, build, tokenizers

__all__ = ["gguf_vocabulary"]

_KEY = "tokenizer.ggml."
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_ENDS = frozenset(
    [
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "</s>",
        "<|eom_id|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<eos>",
        "<turn|>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    ]
)
"""Control tokens that end a text, by their names, as llama.cpp takes them."""
_NAMED = {
    "bos_token": "bos_token_id", "eos_token": "eos_token_id", "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id", "pad_token": "padding_token_id", "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}  # fmt: skip
_DEFAULTS = {
    "llama": {"bos_token": 1, "eos_token": 2, "unk_token": 0},
    "bert": {"bos_token": 101, "unk_token": 100, "sep_token": 102, "pad_token": 0, "mask_token": 103},
    "t5": {"eos_token": 1, "unk_token": 2, "pad_token": 0},
}  # fmt: skip
_SPACE = "\u2581"


@dataclass(frozen=True, slots=True)
class _File:
    """What the metadata says: tokens, their kinds and scores, ids of named ones."""

    metadata: Mapping[str, Any]
    tokens: list[str]
    kinds: list[int]
    named: Mapping[str, int]

    def get(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(_KEY + key, default)

    def says(self, key: str, *, default: bool) -> bool:
        """Return a flag."""
        return bool(self.get(key, default))

    def scores(self) -> list[float]:
        """Return one score a token, or refuse."""
        found = [float(each) for each in self.get("scores", ())]
        if len(found) != len(self.tokens):
            raise ArgumentError("tokenizer.ggml.scores", "not one for each token", expected=len(self.tokens),
                                got=len(found), remedy="Fetch the file again")  # fmt: skip
        return found

    def vocabulary(self, tokens: list[str] | None = None) -> dict[str, int]:
        """Return the ids by token; refuse two of one name."""
        found = {token: n for n, token in enumerate(self.tokens if tokens is None else tokens)}
        if len(found) != len(self.tokens):
            raise ArgumentError("tokenizer.ggml.tokens", "two tokens are the same", expected=len(self.tokens),
                                got=len(found), remedy="Fetch the file again")  # fmt: skip
        return found


def gguf_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that GGUF metadata describes; ArgumentError for kinds that are not known."""
    tokenizers()
    kind = metadata.get(_KEY + "model")
    makers = {"gpt2": _byte_pairs, "llama": _sentence_piece, "bert": _word_piece, "t5": _unigrams}
    if kind not in makers:
        raise ArgumentError("tokenizer.ggml.model", "the tokenizer's kind is not known", expected=" or ".join(makers),
                            got=kind, remedy="Put the model's tokenizer.json beside the file")  # fmt: skip
    file = _read(metadata, kind)
    backend = makers[kind](file)
    _add_special(backend, file)
    names = {name: backend.id_to_token(n) for name, n in file.named.items()}
    ends = {n for name, n in file.named.items() if name in ("eos_token", "eot", "eom")}
    ends |= {n for n, token in enumerate(file.tokens) if token in _ENDS and file.kinds[n] == _CONTROL}
    templates = {"default": str(metadata["tokenizer.chat_template"])} if "tokenizer.chat_template" in metadata else {}
    for name in metadata.get("tokenizer.chat_templates", ()):
        templates[str(name)] = str(metadata.get(f"tokenizer.chat_template.{name}", ""))
    shown = {name: text for name, text in names.items() if name.endswith("_token")}
    if kind == "bert":
        shown["cls_token"] = shown.pop("bos_token")
    return Vocabulary(backend, shown, frozenset(ends) if kind in ("gpt2", "llama") else frozenset(), templates)


def _read(metadata: Mapping[str, Any], kind: str) -> _File:
    given = metadata.get(_KEY + "tokens")
    if given is None or not len(given):
        raise ArgumentError("tokenizer.ggml.tokens", "there are no tokens", expected="a list of texts", got="none",
                            remedy="Put the model's tokenizer.json beside the file")  # fmt: skip
    tokens = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in given]
    tokens = [token or f"[EMPTY_{n}]" for n, token in enumerate(tokens)]
    kinds = [int(each) for each in metadata.get(_KEY + "token_type", ())] or [1] * len(tokens)
    if len(kinds) != len(tokens):
        raise ArgumentError("tokenizer.ggml.token_type", "not one for each token", expected=len(tokens), got=len(kinds),
                            remedy="Fetch the file again")  # fmt: skip
    named = {name: n for name, n in _DEFAULTS.get(kind, {}).items() if n < len(tokens)}
    for name, key in {**_NAMED, "eot": "eot_token_id", "eom": "eom_token_id"}.items():
        value = metadata.get(_KEY + key)
        if value is not None:
            if not 0 <= int(value) < len(tokens):
                raise ArgumentError(_KEY + key, "there is no such token", expected=f"0 to {len(tokens) - 1}", got=value,
                                    remedy="Fetch the file again")  # fmt: skip
            named[name] = int(value)
    return _File(metadata, tokens, kinds, named)


def _add_special(backend: Any, file: _File) -> None:
    """Tell the backend which tokens are control tokens, and which the authors defined, which are found in any text."""
    require("tokenizers", "loom.models.tokens")
    from tokenizers import AddedToken

    control = [token for token, kind in zip(file.tokens, file.kinds, strict=True) if kind in (_CONTROL, _UNKNOWN)]
    backend.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in control])
    defined = [token for token, kind in zip(file.tokens, file.kinds, strict=True) if kind == _USER_DEFINED]
    backend.add_tokens([AddedToken(each, special=False, normalized=False) for each in defined])


def _ends(file: _File, *, begins: bool, ends: bool) -> tuple[list[str], list[str]]:
    """Return what texts begin and end with, as the file says or by default."""
    before = (
        [file.tokens[file.named["bos_token"]]]
        if file.says("add_bos_token", default=begins) and "bos_token" in file.named
        else []
    )
    after = (
        [file.tokens[file.named["eos_token"]]]
        if file.says("add_eos_token", default=ends) and "eos_token" in file.named
        else []
    )
    return before, after


def _byte_pairs(file: _File) -> Any:
    require("tokenizers", "loom.models.tokens")
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    name = file.get("pre")
    if name is None:
        raise ArgumentError("tokenizer.ggml.pre", "the file does not say how text is cut", expected="a kind",
                            got="none", remedy="Put the model's tokenizer.json beside the file")  # fmt: skip
    kind = pre_tokenizer(str(name))
    merges: list[tuple[str, str]] = []
    for each in file.get("merges", ()):
        text = each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
        at = text.find(" ", 1)
        merges.append((text[:at], text[at + 1 :]))
    model = build("tokenizer.ggml.merges", models.BPE, file.vocabulary(), merges, ignore_merges=kind.whole_words)
    backend: Any = Tokenizer(model)
    if kind.composed:
        backend.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in kind.patterns]
    prefix = file.says("add_space_prefix", default=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(prefix, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    begin_and_end(backend, *_ends(file, begins=kind.begins, ends=False))
    return backend


def _sentence_piece(file: _File) -> Any:
    """Build byte pairs that merge as SentencePiece does: of all neighbours that are a token, the best score first."""
    require("tokenizers", "loom.models.tokens")
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary, scores = file.vocabulary(), file.scores()
    usable = {token: n for token, n in vocabulary.items() if file.kinds[n] not in (_CONTROL, _UNKNOWN)}
    merges: list[tuple[float, int, str, str]] = []
    for token, n in usable.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in usable and right in usable:
                merges.append((-scores[n], n, left, right))
    merges.sort(key=lambda each: each[:2])
    unknown = file.tokens[file.named["unk_token"]] if "unk_token" in file.named else None
    model = build("tokenizer.ggml.tokens", models.BPE, vocabulary, [each[2:] for each in merges], unk_token=unknown,
                  fuse_unk=True, byte_fallback=True)  # fmt: skip
    backend: Any = Tokenizer(model)
    prefix = file.says("add_space_prefix", default=True)
    steps: list[Any] = [normalizers.Prepend(_SPACE)] if prefix else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    strip: list[Any] = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    begin_and_end(backend, *_ends(file, begins=True, ends=False))
    return backend


def _word_piece(file: _File) -> Any:
    require("tokenizers", "loom.models.tokens")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    def plain(token: str, kind: int) -> str:
        if kind == _CONTROL or (token[0] == "[" and token[-1] == "]" and len(token) > 2):
            return token
        return token[1:] if token[0] == _SPACE else f"##{token}"

    tokens = [plain(*each) for each in zip(file.tokens, file.kinds, strict=True)]
    file.tokens[:] = tokens
    unknown = file.tokens[file.named["unk_token"]]
    model = build("tokenizer.ggml.tokens", models.WordPiece, file.vocabulary(), unk_token=unknown,
                  max_input_chars_per_word=100)  # fmt: skip
    backend: Any = Tokenizer(model)
    cased = any(token.isascii() and token.isalpha() and not token.islower() for token in tokens)
    lower = file.says("normalizer.lowercase", default=not cased)
    accents = file.get("normalizer.strip_accents")
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=None if accents is None else bool(accents),
        lowercase=lower,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    before, _ = _ends(file, begins=True, ends=False)
    after = [tokens[file.named["sep_token"]]] if file.says("add_sep_token", default=True) else []
    begin_and_end(backend, before, after)
    return backend


def _unigrams(file: _File) -> Any:
    require("tokenizers", "loom.models.tokens")
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = list(zip(file.tokens, file.scores(), strict=True))
    model = build("tokenizer.ggml.tokens", models.Unigram, pieces, file.named["unk_token"], False)
    backend: Any = Tokenizer(model)
    steps: list[Any] = []
    charsmap = file.get("precompiled_charsmap")
    if charsmap is not None:
        blob = bytes(int(each) & 255 for each in charsmap)
        steps.append(build("tokenizer.ggml.precompiled_charsmap", normalizers.Precompiled, blob))
    if file.says("remove_extra_whitespaces", default=True):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), _SPACE)]
    backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if file.says("add_space_prefix", default=True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, scheme)
    backend.decoder = decoders.Metaspace(_SPACE, scheme)
    begin_and_end(backend, *_ends(file, begins=False, ends=True))
    return backend
