"""Receipts: what a model was asked and what it said, so that anyone can compute it again and compare the bits.

Layer: models. A receipt has four parts: ``claims`` (digests, settings, counts), ``id`` (the SHA-256 of the claims as
canonical JSON, RFC 8785), ``disclosed`` (the tokens and numbers whose digests the claims hold) and ``about`` (the
device, names, times: information only). Invariant: claims say nothing of the machine, so that two devices that computed
the same bits write receipts of one id.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.given import is_list, is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.numerics import NUMERICS_VERSION
from loom.core.version import __version__

__all__ = ["FORMAT", "ModelIdentity", "Receipt", "canonical_json", "embedding_receipt", "text_receipt"]

FORMAT = "loom-receipt/1"

_PARTS = ("claims", "id", "disclosed", "about")
_LARGEST_WHOLE = 1 << 53


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a model is: digests of its stored weights, its tokenizer and its document, and how it computes."""

    weights: str
    tokenizer: str
    document: str
    stored_as: str = "f32"
    compute: str = "exact"

    def claims(self) -> dict[str, str]:
        """Return the claims of a receipt that say which model it was."""
        return {"weights": self.weights, "tokenizer": self.tokenizer, "document": self.document,
                "stored_as": self.stored_as, "compute": self.compute}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a model was asked and what it said; see the module."""

    claims: Mapping[str, Any]
    disclosed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        """The SHA-256 of the claims."""
        return hashlib.sha256(canonical_json(self.claims)).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as plain data."""
        return {"claims": dict(self.claims), "id": self.id, "disclosed": dict(self.disclosed),
                "about": dict(self.about)}  # fmt: skip

    def to_json(self) -> bytes:
        """Return the receipt as canonical JSON."""
        return canonical_json(self.to_dict())

    def redacted(self) -> Receipt:
        """Return the receipt without texts and tokens: claims and id stay, an audit then needs the prompt."""
        return Receipt(self.claims, {}, self.about)

    @classmethod
    def from_json(cls, data: bytes | str) -> Receipt:
        """Return a receipt that was written; ArgumentError if its parts do not agree with each other."""
        where = "loom.models.receipts, Receipt.from_json"
        try:
            found: Any = json.loads(data, object_pairs_hook=_no_name_twice)
        except (ValueError, RecursionError) as error:
            raise _unsound(where, f"not JSON: {error}"[:200]) from None
        if not is_mapping(found) or sorted(found) != sorted(_PARTS):
            raise _unsound(where, "it has not the parts of a receipt")
        parts = cast("dict[str, Any]", found)
        if not all(is_mapping(parts[name]) for name in ("claims", "disclosed", "about")):
            raise _unsound(where, "a part is no object")
        made = cls(parts["claims"], parts["disclosed"], parts["about"])
        made.check()
        try:
            found = made.id
        except (ArgumentError, UnicodeEncodeError, RecursionError) as error:
            raise _unsound(where, f"its claims are no plain data: {type(error).__name__}") from None
        if parts["id"] != found:
            raise _unsound(where, "its id is not the digest of its claims")
        return made

    def check(self) -> None:
        """See that claims are whole, and that what is disclosed is what they are digests of; else ArgumentError."""
        where = "loom.models.receipts, Receipt.check"
        if self.claims.get("format") != FORMAT:
            raise _unsound(where, f"its format is {self.claims.get('format')!r}")
        if (part := next(iter(_not_whole(self.claims)), None)) is not None:
            raise _unsound(where, f"its claims have no usable {part}")
        try:
            wrong = list(_disagreeing(self.claims, self.disclosed))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, struct.error) as error:
            raise _unsound(where, f"a part cannot be read: {type(error).__name__} {error}"[:200]) from None
        if wrong:
            raise _unsound(where, f"what it discloses has not the digest that it claims: {', '.join(wrong)}")


def _unsound(where: str, what: str) -> ArgumentError:
    return ArgumentError(where, "not a sound receipt", expected=f"a receipt of {FORMAT}, unchanged", got=what,
                         remedy="Take it from /v1/receipts, or from --receipt")  # fmt: skip


def text_receipt(
    identity: ModelIdentity, prompt: Sequence[int], settings: Mapping[str, Any], tokens: Sequence[int],
    logprobs: Sequence[float], text: str, finish_reason: str, about: Mapping[str, Any] | None = None,
) -> Receipt:  # fmt: skip
    """Return the receipt of a text; ``logprobs``: f32, one a token, so that numbers are claimed and not words alone."""
    claims = _base(identity, "text", settings)
    claims["prompt"] = _tokens_claim(prompt)
    claims["output"] = {**_tokens_claim(tokens), "logprobs": _bits_digest(logprobs), "finish_reason": finish_reason,
                        "text": hashlib.sha256(text.encode()).hexdigest()}  # fmt: skip
    disclosed = {"prompt": [int(t) for t in prompt], "output": [int(t) for t in tokens],
                 "logprobs": [_hex_bits(v) for v in logprobs], "text": text}  # fmt: skip
    return Receipt(claims, disclosed, {"loom": __version__, **(about or {})})


def embedding_receipt(
    identity: ModelIdentity, rows: Sequence[Sequence[int]], vectors: np.ndarray[Any, np.dtype[np.float32]],
    about: Mapping[str, Any] | None = None,
) -> Receipt:  # fmt: skip
    """Return the receipt of vectors of texts, each given by its tokens."""
    claims = _base(identity, "embedding", {})
    claims["prompt"] = _rows_claim(rows)
    claims["output"] = {"count": len(vectors), "dims": int(vectors.shape[1]), "sha256": _vectors_digest(vectors)}
    disclosed = {"prompt": [[int(t) for t in row] for row in rows], "vectors": [_vectors_digest(v) for v in vectors]}
    return Receipt(claims, disclosed, {"loom": __version__, **(about or {})})


def _base(identity: ModelIdentity, kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "numerics": NUMERICS_VERSION,
        "kind": kind,
        "model": identity.claims(),
        "settings": dict(settings),
    }


# digests


def _tokens_claim(tokens: Sequence[int]) -> dict[str, Any]:
    return {"count": len(tokens), "sha256": _tokens_digest(tokens)}


def _rows_claim(rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    lengths = _tokens_digest([len(row) for row in rows])
    every = _tokens_digest([token for row in rows for token in row])
    return {"count": len(rows), "sha256": hashlib.sha256(f"{lengths}{every}".encode()).hexdigest()}


def _tokens_digest(tokens: Iterable[int]) -> str:
    """Return the SHA-256 of tokens as little-endian 32-bit integers."""
    found = list(tokens)
    return hashlib.sha256(struct.pack(f"<{len(found)}I", *found)).hexdigest()


def _bits_digest(values: Sequence[float]) -> str:
    return hashlib.sha256(np.asarray(values, "<f4").tobytes()).hexdigest()


def _hex_bits(value: float) -> str:
    return struct.pack(">f", value).hex()


def _vectors_digest(vectors: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors, "<f4").tobytes()).hexdigest()


_TEXT, _VECTORS = "text", "embedding"
_CLAIMS = ("format", "numerics", "kind", "model", "settings", "prompt", "output")
_OUTPUTS: Mapping[str, Mapping[str, type]] = {
    _TEXT: {"count": int, "sha256": str, "logprobs": str, "finish_reason": str, "text": str},
    _VECTORS: {"count": int, "dims": int, "sha256": str},
}
_DISCLOSED = {_TEXT: {"prompt", "output", "logprobs", "text"}, _VECTORS: {"prompt", "vectors"}}


def _not_whole(claims: Mapping[str, Any]) -> Iterable[str]:
    """Yield what of a receipt's claims is not there, is of another type, or is not one of them."""
    kind = claims.get("kind")
    if not isinstance(kind, str) or kind not in _OUTPUTS:
        yield f"kind ({kind!r:.60})"
        return
    yield from _other_names("", claims, _CLAIMS)
    parts: Mapping[str, Mapping[str, type]] = {
        "model": dict.fromkeys(ModelIdentity("", "", "").claims(), str),
        "prompt": {"count": int, "sha256": str},
        "output": _OUTPUTS[kind],
    }
    for part, names in parts.items():
        if not is_mapping(claims[part]):
            yield part
            continue
        yield from _other_names(f"{part}.", claims[part], names)
        yield from (f"{part}.{name}" for name, kept in names.items() if type(claims[part][name]) is not kept)
    if not is_mapping(claims["settings"]):
        yield "settings"


def _other_names(prefix: str, given: Mapping[str, Any], known: Iterable[str]) -> Iterable[str]:
    yield from (prefix + ascii(name)[1:-1][:60] for name in set(given) ^ set(known))


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _disagreeing(claims: Mapping[str, Any], disclosed: Mapping[str, Any]) -> Iterable[str]:
    """Yield what of a receipt's disclosed parts is not what its claims are digests of."""
    prompt, output = claims["prompt"], claims["output"]
    several = claims["kind"] == _VECTORS
    if not _DISCLOSED[claims["kind"]].issuperset(disclosed):
        yield "what is not claimed"
    if "prompt" in disclosed and (_rows_claim if several else _tokens_claim)(disclosed["prompt"]) != prompt:
        yield "prompt"
    if several:  # that of each vector is compared by the audit, which has them
        vectors = disclosed.get("vectors", ...)
        if vectors is not ... and not (is_list(vectors) and len(vectors) == output["count"]):
            yield "vectors"
        return
    if "output" in disclosed and not _tokens_claim(disclosed["output"]).items() <= output.items():
        yield "output"
    if "logprobs" in disclosed:
        bits = b"".join(bytes.fromhex(v)[::-1] for v in disclosed["logprobs"])
        if hashlib.sha256(bits).hexdigest() != output["logprobs"]:
            yield "logprobs"
    if "text" in disclosed and hashlib.sha256(disclosed["text"].encode()).hexdigest() != output["text"]:
        yield "text"


# canonical JSON


def canonical_json(value: Any) -> bytes:
    """Return a value as canonical JSON (RFC 8785): one byte string for one value, in every language.

    ArgumentError for what JSON has not, and for whole numbers beyond 2^53, of which other languages lose digits.

    >>> canonical_json({"b": [1.0, 1e-7, True], "a": "\\u20ac"}).decode()
    '{"a":"€","b":[1,1e-7,true]}'
    """
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > _LARGEST_WHOLE:
            raise _no_json(value)
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if is_mapping(value):
        names = sorted(cast("Mapping[str, Any]", value), key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_canonical(name)}:{_canonical(value[name])}" for name in names) + "}"
    if is_list(value):
        return "[" + ",".join(map(_canonical, value)) + "]"
    raise _no_json(value)


def _no_json(value: Any) -> ArgumentError:
    return ArgumentError("loom.models.receipts, canonical_json", "JSON has no such value", expected="plain data",
                         got=repr(value)[:80], remedy="Write large numbers as texts")  # fmt: skip


def _number(value: float) -> str:
    """Return a float as ECMAScript writes it."""
    if not np.isfinite(value):
        raise _no_json(value)
    if value == 0:
        return "0"
    sign, digits, point = ("-" if value < 0 else ""), *_digits(abs(value))
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _digits(value: float) -> tuple[str, int]:
    """Return the shortest digits of a number, and how many of them stand before the point."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + part) - len(digits))
    return digits.rstrip("0"), point
