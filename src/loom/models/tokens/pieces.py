"""The bytes of every token, by the decoder that the tokenizer names: what decoding, streams and grammars rest on.

Layer: models. A text is the bytes of its tokens joined, read as UTF-8, what is no UTF-8 as U+FFFD. Invariant: the bytes
of a token depend on the token, and on whether anything stands before it, alone; so that a text decoded in parts is the
text decoded at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass

__all__ = ["TokenBytes", "pieces_of"]

_SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CLEANED = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """Bytes by id: ``middle`` of a token behind others, ``first`` of one that a text begins with (None: the same).

    ``strips``: a space that the whole text begins with is left out.
    """

    middle: list[bytes]
    first: list[bytes] | None
    strips: bool

    def join(self, ids: Iterable[int], *, continuing: bool = False) -> bytes:
        """Return the bytes of a text, or of one that goes on behind another."""
        middle, first = self.middle, self.first
        if continuing:
            return b"".join([middle[n] for n in ids])
        if first is None:
            found = b"".join([middle[n] for n in ids])
        else:
            found = b"".join([middle[n] if at else first[n] for at, n in enumerate(ids)])
        return found[1:] if self.strips and found[:1] == b" " else found


def _byte_level() -> Callable[[str], bytes]:
    """Return what reads tokens whose characters stand for bytes, as those of GPT-2."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [n for n in range(256) if n not in set(plain)]
    table = dict.fromkeys(others, 65535)  # stands for no byte itself
    table.update({256 + k: n for k, n in enumerate(others)})

    def read(token: str) -> bytes:
        try:
            return token.translate(table).encode("latin-1")
        except UnicodeEncodeError:  # a token that the authors added, as it is
            return token.encode()

    return read


def _piece_bytes(token: str) -> bytes:
    found = _BYTE.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.replace(_SPACE, " ").encode()


def _clean(text: str, *, cleanup: bool) -> bytes:
    if cleanup:
        for before, after in _CLEANED:
            text = text.replace(before, after)
    return text.encode()


def pieces_of(backend: Any, size: int) -> TokenBytes:
    """Return the bytes of all tokens of a ``tokenizers.Tokenizer``; ArgumentError if its decoder is not known."""
    names = backend.get_vocab(with_added_tokens=True)
    tokens = [""] * size
    for token, n in names.items():
        tokens[n] = token
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else None
    return _read(decoder, tokens)


def _read(decoder: Mapping[str, Any] | None, tokens: list[str]) -> TokenBytes:
    kind = decoder["type"] if decoder else None
    if decoder and kind == "Sequence":
        steps = decoder["decoders"]
        if len(steps) == 1:
            return _read(steps[0], tokens)
        names = [step["type"] for step in steps]
        spaces: Mapping[str, Any] = steps[0] if names[0] == "Replace" else {}
        if names[:3] == ["Replace", "ByteFallback", "Fuse"] and spaces.get("pattern") == {"String": _SPACE}:
            strip = steps[3] if len(steps) == 4 else None
            if strip is None or (strip["type"], strip["content"], strip["start"], strip["stop"]) == (
                "Strip",
                " ",
                1,
                0,
            ):
                return TokenBytes([_piece_bytes(token) for token in tokens], None, strip is not None)
        kind = " then ".join(names)
    elif kind == "ByteLevel":
        read = _byte_level()
        return TokenBytes([read(token) for token in tokens], None, False)
    elif decoder and kind == "Metaspace" and decoder["replacement"] == _SPACE:
        middle = [token.replace(_SPACE, " ").encode() for token in tokens]
        return TokenBytes(middle, None, decoder.get("prepend_scheme", "always") != "never")
    elif decoder and kind == "WordPiece":
        prefix, cleanup = decoder["prefix"], bool(decoder["cleanup"])
        inner = [token[len(prefix) :] if token.startswith(prefix) else f" {token}" for token in tokens]
        clean = [_clean(token, cleanup=cleanup) for token in inner]
        return TokenBytes(clean, [_clean(token, cleanup=cleanup) for token in tokens], False)
    raise ArgumentError(
        "tokenizer.json, decoder",
        "not known",
        expected="ByteLevel, WordPiece, Metaspace or SentencePiece",
        got=kind,
        remedy="Decode with the package tokenizers",
    )
