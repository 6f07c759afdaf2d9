"""``Tokenizer``: text to tokens and back, and chats as texts.

Layer: models, over the package tokenizers (extra ``models``). Invariant: what a user writes becomes text, never a
control token, unless the caller asks for it by name (``parse_special``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from loom.core.errors import ArgumentError, LoomError
from loom.core.given import flag, is_int, items, text
from loom.models.tokens.chat import Chat
from loom.models.tokens.folder import folder_vocabulary
from loom.models.tokens.gguf import gguf_vocabulary
from loom.models.tokens.pieces import TokenBytes, pieces_of
from loom.models.tokens.stream import StreamDecoder
from loom.models.tokens.vocabulary import Vocabulary, tokenizers

__all__ = ["Tokenizer"]

MOST_TOKENS = 1 << 24
"""Ids of a vocabulary."""


class Tokenizer:
    """Text to tokens and back; ``Tokenizer.of(checkpoint)`` makes one.

    ``bos``, ``pad``, ``unk``: ids of these tokens, None where there is none; ``eos``: the ids that end a text;
    ``size``: one more than the largest id; ``special``: the ids of control tokens.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._backend = vocabulary.backend
        self._backend.encode_special_tokens = True
        self._parsing: Any = None
        added = self._backend.get_added_tokens_decoder()
        self.named: Mapping[str, str] = vocabulary.named
        self.special: frozenset[int] = frozenset(n for n, token in added.items() if token.special)
        self.size: int = 1 + max(max(self._backend.get_vocab().values(), default=-1), max(added, default=-1))
        if self.size > MOST_TOKENS:
            raise ArgumentError("tokenizer", "an id is too large", expected=f"at most {MOST_TOKENS} tokens",
                                got=self.size, remedy="Fetch the model's files again")  # fmt: skip
        self.eos: frozenset[int] = frozenset(n for n in vocabulary.ends if n < self.size)
        self.bos, self.pad, self.unk = (self._id(name) for name in ("bos_token", "pad_token", "unk_token"))
        self._chat = Chat(vocabulary.templates, vocabulary.named)
        self._added: Mapping[str, bool] = {token.content: bool(token.special) for token in added.values()}

    @classmethod
    def of(cls, checkpoint: Any) -> Tokenizer:
        """Return the tokenizer of a checkpoint (``loom.models.files.open_checkpoint``).

        Taken from tokenizer.json, else from vocab.txt, or vocab.json and merges.txt, else from GGUF metadata.
        ArgumentError if there is none, if it cannot be read, or if it is not the model's (``check``).
        """
        try:
            made = cls._read(checkpoint)
        except LoomError:
            raise
        except Exception as error:  # files of strangers hold anything in place of what is expected
            what = f"{type(error).__name__}: {str(error)[:200]}"
            raise ArgumentError("Tokenizer.of", f"the tokenizer's files cannot be read ({what})",
                                expected="a tokenizer", remedy="Fetch the model's files again") from error  # fmt: skip
        return made

    @classmethod
    def _read(cls, checkpoint: Any) -> Tokenizer:
        found = folder_vocabulary(checkpoint)
        metadata: Mapping[str, Any] = checkpoint.metadata or {}
        if found is None and "tokenizer.ggml.model" in metadata:
            found = gguf_vocabulary(metadata)
        if found is None:
            raise ArgumentError(
                "Tokenizer.of", "the checkpoint has no tokenizer", expected="tokenizer.json, vocab.txt, vocab.json with"
                " merges.txt, or a GGUF file with one", got="none of them",
                remedy="Put the model's tokenizer.json into its folder",
            )  # fmt: skip
        made = cls(found)
        config: Mapping[str, Any] = checkpoint.config or {}
        rows: Any = config.get("vocab_size")
        rows = config.get("text_config", {}).get("vocab_size") if rows is None else rows
        if is_int(rows):
            made.check(int(rows))
        return made

    def check(self, vocabulary_size: int) -> None:
        """Refuse a model of another vocabulary: one that lacks ids, or has over 1,024 and 2% that nothing encodes."""
        missing = vocabulary_size - self.size
        if missing < 0 or missing > max(1024, vocabulary_size // 50):
            raise ArgumentError(
                "tokenizer",
                "it is not this model's",
                expected=f"about {vocabulary_size} tokens",
                got=self.size,
                remedy="Take the tokenizer from the model's own folder",
            )

    def _id(self, name: str) -> int | None:
        found = self.named.get(name)
        return None if found is None else self._backend.token_to_id(found)

    def _with_special(self) -> Any:
        """Return the backend that finds control tokens in text."""
        if self._parsing is None:
            made: Any = tokenizers().Tokenizer.from_str(self._backend.to_str())
            made.encode_special_tokens = False
            self._parsing = made
        return self._parsing

    # text to tokens

    def encode(self, text: str, special: bool = True, *, parse_special: bool = False) -> list[int]:
        """Return the tokens of a text.

        ``special``: with what the model's texts begin and end with (bos, [CLS] and [SEP], ..). ``parse_special``:
        control tokens written in the text become control tokens; without it they are text as any other, so that a user
        cannot write them. Lone surrogates are refused (ArgumentError).
        """
        plain = _encodable(text, "Tokenizer.encode, text")
        backend = self._with_special() if flag(parse_special, "Tokenizer.encode, parse_special") else self._backend
        return _ids(backend, plain, flag(special, "Tokenizer.encode, special"))

    def encode_batch(self, texts: Iterable[str], special: bool = True) -> list[list[int]]:
        """Return the tokens of several texts, as ``encode`` does."""
        given = [
            _encodable(each, "Tokenizer.encode_batch, texts")
            for each in items(texts, "Tokenizer.encode_batch, texts", "texts")
        ]
        return [each.ids for each in self._backend.encode_batch_fast(given, add_special_tokens=special)]

    # tokens to text

    @cached_property
    def pieces(self) -> TokenBytes:
        """The bytes of every token."""
        return pieces_of(self._backend, self.size)

    def decode(self, ids: Iterable[int], skip_special: bool = True, *, continuing: bool = False) -> str:
        """Return the text of tokens, without control tokens unless asked; what is no UTF-8 is U+FFFD.

        ``continuing``: the text goes on behind another, so that a space that it begins with is kept. ArgumentError for
        an id that there is not.
        """
        given = items(ids, "Tokenizer.decode, ids", "ids")
        if given and not (all(map(is_int, given)) and min(given) >= 0 and max(given) < self.size):
            raise ArgumentError("Tokenizer.decode, ids", "there is no such token", expected=f"0 to {self.size - 1}",
                                got=next((n for n in given if not is_int(n) or not 0 <= n < self.size), None),
                                remedy="Pass ids of this tokenizer")  # fmt: skip
        kept = (
            [n for n in given if n not in self.special]
            if flag(skip_special, "Tokenizer.decode, skip_special")
            else given
        )
        go_on = flag(continuing, "Tokenizer.decode, continuing")
        return self.pieces.join(kept, continuing=go_on).decode("utf-8", "replace")

    def stream(self, skip_special: bool = True, *, continuing: bool = False) -> StreamDecoder:
        """Return a decoder for tokens as they come; what it gives, joined, is ``decode`` of them all."""
        skipped: frozenset[int] = self.special if flag(skip_special, "Tokenizer.stream, skip_special") else frozenset()
        return StreamDecoder(self.pieces, skipped, continuing=flag(continuing, "Tokenizer.stream, continuing"))

    def token(self, id: int) -> str:  # noqa: A002 - the field's word
        """Return a token as its vocabulary writes it."""
        found = self._backend.id_to_token(id)
        if found is None:
            raise ArgumentError(
                "Tokenizer.token, id",
                "there is no such token",
                expected=f"0 to {self.size - 1}",
                got=id,
                remedy="Pass an id of this tokenizer",
            )
        return str(found)

    # chats

    @property
    def has_chat(self) -> bool:
        """Whether there is a chat template."""
        return self._chat.exists

    def render_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None,
        continue_final: bool = False, **variables: Any,
    ) -> str:  # fmt: skip
        """Return a chat as the model's template writes it, ready for the assistant's answer.

        ``messages``: dicts of ``role`` and ``content`` and what else the template knows; ``tools``: JSON schemas of
        functions; ``continue_final``: the last message is the beginning of the answer. ``variables`` go to the
        template.
        ArgumentError where there is no template, where it refuses the chat, or runs beyond its limits of time and size.
        Its control tokens and a user's look alike here: ``encode_chat`` tells them apart.
        """
        return self._chat.render(messages, tools, flag(continue_final, "render_chat, continue_final"), variables)

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None,
        continue_final: bool = False, **variables: Any,
    ) -> list[int]:  # fmt: skip
        """Return the tokens of ``render_chat``: the template's control tokens are such, those of messages are text."""
        control = self._chat.control_tokens(tools, self._added)
        marked = self._chat.mark(
            messages, tools, flag(continue_final, "encode_chat, continue_final"), variables, control
        )
        if marked.plain:
            return self._encode_part(marked.text)
        found: list[int] = []
        for part, quoted in marked.parts():
            if not quoted:
                found += self._inner(self._encode_part, part) if found else self._encode_part(part)
                continue
            ids = self._inner(self._bare, part)
            if any(self._backend.token_to_id(token) in ids for token in control):
                raise ArgumentError("encode_chat, messages", f"the text {part[:80]!r} has no tokens but control tokens",
                                    expected="text", remedy="Leave control tokens out of messages")  # fmt: skip
            found += ids
        return found

    def _encode_part(self, part: str) -> list[int]:
        return _ids(self._with_special(), _encodable(part, "encode_chat, messages"), False)

    def _inner(self, encode: Callable[[str], list[int]], part: str) -> list[int]:
        """Return the tokens of a text that others stand before: without the space that a text begins with."""
        line = encode("\n")
        found = encode("\n" + part)
        return found[len(line) :] if found[: len(line)] == line else encode(part)

    def _bare(self, part: str) -> list[int]:
        """Return the tokens of a text in which no added token is found."""
        backend = self._backend
        if backend.normalizer is not None:
            part = backend.normalizer.normalize_str(part)
        words = (
            [part] if backend.pre_tokenizer is None else [w for w, _ in backend.pre_tokenizer.pre_tokenize_str(part)]
        )
        return [token.id for word in words for token in backend.model.tokenize(word)]


def _ids(backend: Any, plain: str, special: bool) -> list[int]:
    try:
        found: list[int] = backend.encode(plain, add_special_tokens=special).ids
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # as a vocabulary without the token for what it does not know
        raise ArgumentError("Tokenizer.encode, text", f"the tokenizer fails on it ({str(error)[:200]})",
                            expected="a text", remedy="Fetch the model's tokenizer again") from error  # fmt: skip
    return found


def _encodable(value: Any, where: str) -> str:
    found = text(value, where)
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(
            where,
            "a surrogate that stands alone is no character",
            expected="text",
            got=repr(found[error.start]),
            remedy="Encode with errors='replace' and decode first",
        ) from None
    return found
