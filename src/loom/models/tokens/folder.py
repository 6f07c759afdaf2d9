"""Tokenizers from the files of a HuggingFace folder: tokenizer.json, or a vocabulary with or without merges.

Layer: models, over the package tokenizers. Invariant: what these files say is taken as transformers takes it, and
nothing outside the checkpoint is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int, is_list, is_mapping
from loom.core.optional import require
from loom.models.tokens.pretokenizers import pre_tokenizer
from loom.models.tokens.vocabulary import Vocabulary, begin_and_end, build, tokenizers

__all__ = ["folder_vocabulary"]

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def folder_vocabulary(checkpoint: Any) -> Vocabulary | None:
    """Return the vocabulary of a checkpoint's side files; None if it has none of them."""
    config = _json(checkpoint, "tokenizer_config.json")
    backend = _backend(checkpoint, config)
    if backend is None:
        return None
    backend.no_truncation()
    backend.no_padding()
    _add_tokens(backend, config)
    named = _special_tokens(config, _json(checkpoint, "special_tokens_map.json"))
    _add_named(backend, named)
    if "add_bos_token" in config or "add_eos_token" in config or backend.post_processor is None:
        begins = [named["bos_token"]] if config.get("add_bos_token") and "bos_token" in named else []
        ends = [named["eos_token"]] if config.get("add_eos_token") and "eos_token" in named else []
        begin_and_end(backend, begins, ends)
    return Vocabulary(backend, named, _ends(checkpoint, backend, named), _templates(checkpoint, config))


def _json(checkpoint: Any, name: str) -> dict[str, Any]:
    text = checkpoint.text(name)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(name, f"not JSON ({str(error)[:200]})", expected="an object",
                            remedy="Fetch the file again") from error  # fmt: skip
    if not isinstance(found, dict):
        raise ArgumentError(name, "not an object", expected="an object", got=type(found).__name__,  # pyright: ignore[reportUnknownArgumentType] - of JSON
                            remedy="Fetch the file again")  # fmt: skip
    return found  # pyright: ignore[reportUnknownVariableType] - of JSON


def _backend(checkpoint: Any, config: Mapping[str, Any]) -> Any:
    whole = checkpoint.text("tokenizer.json")
    if whole is not None:
        return build("tokenizer.json", tokenizers().Tokenizer.from_str, whole)
    words = checkpoint.text("vocab.txt")
    if words is not None:
        return _word_piece(words, config)
    vocabulary, merges = checkpoint.text("vocab.json"), checkpoint.text("merges.txt")
    if vocabulary is not None and merges is not None:
        return _byte_pairs(_json(checkpoint, "vocab.json"), merges, checkpoint, config)
    return None


def _word_piece(words: str, config: Mapping[str, Any]) -> Any:
    require("tokenizers", "loom.models.tokens")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    lines = words.split("\n")
    vocabulary = {token.rstrip("\r"): n for n, token in enumerate(lines if lines[-1] else lines[:-1])}
    unknown = _text(config.get("unk_token")) or "[UNK]"
    backend: Any = Tokenizer(build("vocab.txt", models.WordPiece, vocabulary, unk_token=unknown,
                              max_input_chars_per_word=100))  # fmt: skip
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"), lowercase=config.get("do_lower_case", True),
    )  # fmt: skip
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    special = {
        name: _text(config.get(name)) or default
        for name, default in (
            ("cls_token", "[CLS]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("mask_token", "[MASK]"),
        )
    }
    known = [each for each in [*special.values(), unknown] if each in vocabulary]
    backend.add_special_tokens([tokenizers().AddedToken(each, special=True, normalized=False) for each in known])
    missing = [special[name] for name in ("cls_token", "sep_token") if special[name] not in vocabulary]
    if missing:
        raise ArgumentError(
            "vocab.txt",
            f"no {' and no '.join(missing)} in it",
            expected="a vocabulary of BERT",
            got=f"{len(vocabulary)} tokens",
            remedy="Put the model's tokenizer.json beside it",
        )
    begin_and_end(backend, [special["cls_token"]], [special["sep_token"]])
    return backend


_GPT2, _QWEN2, _ROBERTA = "gpt2", "qwen2", "roberta"


def _byte_pairs(vocabulary: Mapping[str, Any], merges: str, checkpoint: Any, config: Mapping[str, Any]) -> Any:
    require("tokenizers", "loom.models.tokens")
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    kind = _family(checkpoint, config)
    pairs = [(a, b) for line in merges.split("\n") if line.strip() and not line.startswith("#version")
             for a, _, b in [line.rstrip("\r").partition(" ")]]  # fmt: skip
    backend: Any = Tokenizer(build("vocab.json and merges.txt", models.BPE, dict(vocabulary), pairs))
    cut = pre_tokenizer("qwen2" if kind == _QWEN2 else "gpt-2")
    if cut.composed:
        backend.normalizer = normalizers.NFC()
    prefix = bool(config.get("add_prefix_space", False))
    splits: list[Any] = [pre_tokenizers.Split(Regex(each), "isolated") for each in cut.patterns]
    if prefix:  # the space stands before the text is cut
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(True, use_regex=True)
    else:
        backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    if kind == _ROBERTA:
        names = [_text(config.get("cls_token")) or "<s>", _text(config.get("sep_token")) or "</s>"]
        special = [*names, "<pad>", "<unk>", "<mask>"]
        backend.add_special_tokens(
            [AddedToken(each, special=True, normalized=False) for each in special if each in vocabulary]
        )
        ends = [(each, backend.token_to_id(each)) for each in reversed(names)]
        backend.post_processor = processors.RobertaProcessing(ends[0], ends[1], add_prefix_space=prefix)
    elif "<|endoftext|>" in vocabulary:
        backend.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    return backend


def _family(checkpoint: Any, config: Mapping[str, Any]) -> str:
    """Return which tokenizer vocab.json and merges.txt belong to."""
    model: Mapping[str, Any] = checkpoint.config or {}
    said = [str(config.get("tokenizer_class") or ""), str(model.get("model_type") or "")]
    for text in said:
        name = text.lower().replace("tokenizer", "").replace("fast", "").replace("_", "")
        if name in ("gpt2", "gptneo", "gptj"):
            return _GPT2
        if name in ("qwen2", "qwen3"):
            return _QWEN2
        if name in ("roberta", "bart", "longformer"):
            return _ROBERTA
        if name:
            raise ArgumentError(
                "vocab.json and merges.txt",
                f"how {text} cuts text is not known without tokenizer.json",
                expected="GPT-2, Qwen2 or RoBERTa",
                got=text,
                remedy="Put the model's tokenizer.json beside them",
            )
    return _GPT2


def _text(value: Any) -> str | None:
    """Return the text of a token, which files write as text or as an object."""
    if is_mapping(value):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _special_tokens(*files: Mapping[str, Any]) -> dict[str, str]:
    """Return the named tokens; earlier files win."""
    found: dict[str, str] = {}
    for file in files:
        for name in _NAMED:
            text = _text(file.get(name))
            if text is not None:
                found.setdefault(name, text)
    return found


def _add_tokens(backend: Any, config: Mapping[str, Any]) -> None:
    """Add tokens that tokenizer_config.json has and tokenizer.json may lack, each at its id."""
    given = config.get("added_tokens_decoder")
    if not is_mapping(given):
        return
    AddedToken = tokenizers().AddedToken  # noqa: N806 - a class
    flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
    for number, each in sorted(given.items(), key=lambda pair: int(pair[0])):
        text = _text(each)
        if text is None or backend.token_to_id(text) == int(number):
            continue
        token = AddedToken(text, **{flag: bool(each[flag]) for flag in flags if flag in each})
        (backend.add_special_tokens if each.get("special") else backend.add_tokens)([token])
        if backend.token_to_id(text) != int(number):
            raise ArgumentError("tokenizer_config.json", f"token {text!r} has two ids", expected=number,
                                got=backend.token_to_id(text), remedy="Fetch tokenizer.json again")  # fmt: skip


def _add_named(backend: Any, named: Mapping[str, str]) -> None:
    """Make the named tokens that the vocabulary has special; those it lacks are left out."""
    AddedToken = tokenizers().AddedToken  # noqa: N806 - a class
    special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    new = [
        text for text in dict.fromkeys(named.values()) if text not in special and backend.token_to_id(text) is not None
    ]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in new])


def _ends(checkpoint: Any, backend: Any, named: Mapping[str, str]) -> frozenset[int]:
    """Return the tokens that end a text: of generation_config.json, config.json and the tokenizer."""
    found: set[int] = set()
    for file in (_json(checkpoint, "generation_config.json"), checkpoint.config or {}):
        value = file.get("eos_token_id")
        found |= {int(each) for each in (value if is_list(value) else [value]) if is_int(each)}
    own = backend.token_to_id(named["eos_token"]) if "eos_token" in named else None
    return frozenset(found | ({own} if own is not None else set()))


def _templates(checkpoint: Any, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the chat templates by name; chat_template.jinja comes before tokenizer_config.json."""
    found: dict[str, str] = {}
    given = config.get("chat_template")
    if isinstance(given, str):
        found["default"] = str(given)
    elif is_list(given):
        found.update({str(each["name"]): str(each["template"]) for each in given})
    alone = checkpoint.text("chat_template.jinja")
    if alone is not None:
        found["default"] = alone
    return found
