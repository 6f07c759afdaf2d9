"""JSON text to values and back: malformed text, double keys, depth and size are told, with places.

Layer: nn. Invariant: what leaves here is made of dict, list, str, int, finite float, bool and None, nested at most
``MOST_DEPTH`` deep, without a key twice in an object.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

from loom.formats.json_text import JsonObject, JsonValue, base64_bytes, brief
from loom.formats.whole_files import file_bytes
from loom.nn.spec.base.limits import MOST_BYTES, MOST_DEPTH, MOST_VALUES
from loom.nn.spec.base.problems import Place, Problem

__all__ = ["from_base64", "is_unicode", "load"]


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
        document = file_bytes(document, "loom.nn")
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


def from_base64(value: JsonValue, place: Place) -> bytes | None:
    """Return the bytes of a base64 text; None, and a problem, if it is none."""
    found = base64_bytes(value)
    if found is None:
        place.fault("not base64", got=brief(value))
    return found
