"""JSON text to values and back: malformed text, double keys, depth and size are told, with places.

Layer: nn. Invariant: what leaves here is made of dict, list, str, int, finite float, bool and None, nested at most
``MOST_DEPTH`` deep, without a key twice in an object.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections import Counter
from hashlib import sha256
from pathlib import Path

from loom.core.errors import FileError
from loom.nn.spec.base.limits import MOST_BYTES, MOST_DEPTH, MOST_VALUES
from loom.nn.spec.base.problems import Place, Problem, brief
from loom.nn.spec.base.values import JsonObject, JsonValue

__all__ = ["canonical", "file_bytes", "from_base64", "is_unicode", "load", "value_digest"]


class _Object(dict[str, JsonValue]):
    """An object of the text, with the keys that it has more than once."""

    __slots__ = ("doubles",)

    doubles: tuple[str, ...]


def load(document: str | bytes | JsonObject | Path, place: Place) -> JsonValue:
    """Return the document's value, checked as the module says; problems are noted (then the value is None).

    ``document`` is JSON text, its UTF-8 bytes, a file's ``Path``, or a dict as ``json.loads`` makes them. A
    file that cannot be read raises FileError.
    """
    before = place.count
    if isinstance(document, Path):
        document = file_bytes(document)
    if isinstance(document, (str, bytes)):
        if len(document) > MOST_BYTES:
            place.fault("the document is too large", expected=f"at most {MOST_BYTES} bytes", got=f"{len(document)}")
            return None
        value = _decode(document, place)
        if place.count != before:
            return None
    else:
        value = document
    _examine(value, place)
    return None if place.count != before else value


def file_bytes(path: Path, where: str = "loom.nn") -> bytes:
    """Return what a file holds; FileError if it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or str(error)
        raise FileError(where, f"the file cannot be read ({why})", expected="a file", got=str(path)[:200],
                        remedy="Check the path") from None  # fmt: skip


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: it has no half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _decode(text: str | bytes, place: Place) -> JsonValue:
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        place.fault("the text is not UTF-8", got=f"byte {error.object[error.start]:#04x} at offset {error.start}")
    except json.JSONDecodeError as error:
        what = f"malformed JSON at line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
        remedy = "" if "{" in error.doc else "To read a file, pass its pathlib.Path."
        problem = Problem(place.path, what, remedy=remedy, line=error.lineno, column=error.colno)
        place.reading.note(problem)
    except RecursionError:
        place.fault("the document is nested too deeply", expected=f"at most {MOST_DEPTH} levels")
    except ValueError as error:  # an integer of more digits than Python converts
        place.fault("a number cannot be read", got=str(error).partition(";")[0])
    return None


def _object(pairs: list[tuple[str, JsonValue]]) -> _Object:
    made = _Object(pairs)
    made.doubles = ()
    if len(made) != len(pairs):
        times = Counter(name for name, _ in pairs)
        made.doubles = tuple(name for name, n in times.items() if n > 1)
    return made


def _constant(name: str) -> float:
    return float(name)  # told with its place by _examine


def _examine(document: JsonValue, place: Place) -> None:
    """Look at every value once, without recursion: depth, number, double keys, kinds of values."""
    waiting: list[tuple[JsonValue, Place, int]] = [(document, place, 1)]
    seen = 0
    while waiting:
        value, here, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            place.fault("the document is too large", expected=f"at most {MOST_VALUES} values")
            return
        if depth > MOST_DEPTH and isinstance(value, (dict, list, tuple)):
            here.fault("the document is nested too deeply", expected=f"at most {MOST_DEPTH} levels")
            return
        waiting.extend((v, p, depth + 1) for v, p in _parts(value, here))


def _parts(value: JsonValue, here: Place) -> list[tuple[JsonValue, Place]]:
    """Return the values within ``value``, last first; note what is wrong with ``value`` itself."""
    if isinstance(value, dict):
        for name in value.doubles if isinstance(value, _Object) else ():
            here.fault(f"key {brief(name)} occurs more than once", remedy="Keep one of them.")
        for name in value:
            if not isinstance(name, str):
                here.fault("a key is not a text", got=brief(name))
            elif not is_unicode(name):
                here.fault("a key is not Unicode", got=brief(name), remedy="It has half of a surrogate pair.")
        return [(v, here.at(k)) for k, v in reversed(value.items()) if isinstance(k, str)]
    if isinstance(value, (list, tuple)):
        if all(isinstance(v, (int, float)) and math.isfinite(v) for v in value if not isinstance(v, int)):
            return []  # long lists of numbers are common: weights
        return [(v, here.at(i)) for i, v in reversed(list(enumerate(value)))]
    if isinstance(value, float) and not math.isfinite(value):
        here.fault("not a finite number", got=brief(value))
    elif isinstance(value, str) and not is_unicode(value):
        here.fault("a text is not Unicode", got=brief(value), remedy="It has half of a surrogate pair.")
    elif value is not None and not isinstance(value, (str, int, float, bool)):
        here.fault("not a JSON value", got=type(value).__name__)
    return []


def canonical(value: JsonValue) -> str:
    """Return the text of a value: two spaces of indent, keys in the order given, a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def value_digest(value: JsonValue) -> bytes:
    """Return the SHA-256 of a value that ``load`` gave, whatever the order of its keys and however it was written.

    ``digest_value`` of ``export/c/abi/json.c`` is the same.

    >>> value_digest({"a": 1, "b": ["\u00e9"]}) == value_digest({"b": ["é"], "a": 1.0}) != value_digest({"a": 2})
    True
    """
    if isinstance(value, str):
        return sha256(b"s" + value.encode()).digest()
    if isinstance(value, bool) or value is None:
        return sha256({True: b"t", False: b"f", None: b"n"}[value]).digest()
    if isinstance(value, (int, float)):
        return sha256(b"d" + _number_bytes(value)).digest()
    if not isinstance(value, dict):
        return sha256(b"[" + b"".join(map(value_digest, value))).digest()
    pairs = [sha256(value_digest(key) + value_digest(each)).digest() for key, each in value.items()]
    return sha256(b"{" + bytes(sum(column) & 255 for column in zip(bytes(32), *pairs, strict=True))).digest()


def _number_bytes(value: float) -> bytes:
    try:
        double = float(value) + 0.0
    except OverflowError:  # a whole number that no double holds
        double = math.copysign(math.inf, value > 0 or -1)
    is_long = isinstance(value, int) and 1 << 53 <= abs(value) < 1 << 64
    return struct.pack("<d", double) + (struct.pack("<Q", abs(value)) if is_long else b"")


def from_base64(value: JsonValue, place: Place) -> bytes | None:
    """Return the bytes of a base64 text; None, and a problem, if it is none."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    place.fault("not base64", got=brief(value))
    return None
