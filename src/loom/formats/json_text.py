"""JSON of files: objects without a name twice, one way to write and to sum up a value, bytes as base64.

Layer: formats. Invariant: equal values have equal texts and equal digests.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, TypeAlias

from loom.core.errors import FileError
from loom.core.given import is_list, is_mapping

__all__ = ["WHOLE_FILE", "JsonObject", "JsonValue", "base64_bytes", "base64_text", "brief", "canonical", "load_json"]
__all__ += ["DIGEST", "document_digest", "value_digest"]

JsonObject: TypeAlias = "dict[str, JsonValue]"
JsonValue: TypeAlias = "JsonObject | list[JsonValue] | tuple[JsonValue, ...] | str | int | float | None"
"""Contents of documents; tuples are in those made in Python alone."""

DIGEST = "sha256"
"""The key of a document's digest: ``document_digest`` of all else that it says. Those of older versions have none."""
WHOLE_FILE = "Get the file again: it is damaged, or not all of it arrived"
"""The remedy for a file that lacks something."""
_LONGEST = 60
"""Characters of a value that an error shows."""


def load_json(text: bytes | memoryview, where: str, what: str) -> dict[str, Any]:
    """Return a JSON object of UTF-8; FileError for anything else, and for a name that it has twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(n for n in names if names.count(n) > 1)
            raise FileError(where, f"{what} has the name {twice[:100]!r} twice", remedy=WHOLE_FILE)
        return found

    try:
        found: Any = json.loads(bytes(text).decode("utf-8-sig"), object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise FileError(where, f"{what} is not UTF-8", got=f"byte {error.start}", remedy=WHOLE_FILE) from None
    except (ValueError, RecursionError) as error:
        why = str(error)[:100] or "too many brackets"
        raise FileError(where, f"{what} is no JSON ({why})", remedy=WHOLE_FILE) from None
    if not is_mapping(found):
        raise FileError(where, f"{what} is no JSON object", got=repr(found)[:60], remedy=WHOLE_FILE)
    return dict(found)


def canonical(value: object) -> str:
    """Return the text of a value: two spaces of indent, keys in the order given, a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def value_digest(value: object) -> bytes:
    """Return the SHA-256 of a value of JSON, whatever the order of its keys and however it was written.

    ``digest_value`` of ``export/c/abi/json.c`` is the same.

    >>> value_digest({"a": 1, "b": ["\u00e9"]}) == value_digest({"b": ["é"], "a": 1.0}) != value_digest({"a": 2})
    True
    """
    if isinstance(value, str):
        return sha256(b"s" + value.encode(errors="surrogatepass")).digest()
    if isinstance(value, bool) or value is None:
        return sha256({True: b"t", False: b"f", None: b"n"}[value]).digest()
    if isinstance(value, (int, float)):
        return sha256(b"d" + _number_bytes(value)).digest()
    if is_list(value):
        return sha256(b"[" + b"".join(map(value_digest, value))).digest()
    assert is_mapping(value), value
    pairs = [sha256(value_digest(key) + value_digest(each)).digest() for key, each in value.items()]
    return sha256(b"{" + bytes(sum(column) & 255 for column in zip(bytes(32), *pairs, strict=True))).digest()


def document_digest(document: Mapping[str, object]) -> str:
    """Return the digest of all that a document says but ``DIGEST``, in hex."""
    return value_digest({key: each for key, each in document.items() if key != DIGEST}).hex()


def _number_bytes(value: float) -> bytes:
    try:
        double = float(value) + 0.0
    except OverflowError:  # a whole number that no double holds
        double = math.copysign(math.inf, value > 0 or -1)
    is_long = isinstance(value, int) and 1 << 53 <= abs(value) < 1 << 64
    return struct.pack("<d", double) + (struct.pack("<Q", abs(value)) if is_long else b"")


def base64_bytes(value: object) -> bytes | None:
    """Return the bytes of a base64 text; None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return None


def base64_text(data: bytes) -> str:
    """Return bytes as a base64 text."""
    return base64.b64encode(data).decode("ascii")


def brief(value: JsonValue) -> str:
    """Return a short text for a value of a document."""
    if isinstance(value, dict):
        return f"an object with {len(value)} keys" if len(value) != 1 else "an object with 1 key"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _quote(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")
