"""Which JSON Schemas can be held while a text is written: everything else is refused by name.

Layer: models. Invariant: a schema that passes has no keyword that the grammar would leave out, so that every text that
ends is valid.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int, is_list, is_mapping

__all__ = ["check_schema"]

_ANNOTATIONS = "$schema $id $comment title description default examples deprecated readOnly writeOnly"
_KEYWORDS = (
    "type enum const anyOf allOf oneOf $ref $defs definitions minLength maxLength pattern format minimum maximum"
    " exclusiveMinimum exclusiveMaximum multipleOf properties required additionalProperties patternProperties"
    " minProperties maxProperties items prefixItems minItems maxItems"
)
_DESCRIBE, _HELD = frozenset(_ANNOTATIONS.split()), frozenset(_KEYWORDS.split())
_ONE = frozenset(("additionalProperties", "items"))
_LIST = frozenset(("anyOf", "allOf", "oneOf", "prefixItems"))
_NAMED = frozenset(("$defs", "definitions", "properties", "patternProperties"))
_LATER = "Leave it out, and check the value afterwards"
_MOST_DEPTH, _MOST_NODES, _MOST_OPTIONAL = 64, 20_000, 3_000
"""Levels, parts, and properties that are not required: any of those may come next, which takes time for each."""

_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)  # fmt: skip
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:Z|[+-]{_CLOCK})"
_OWN_FORMATS = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "date-time": f"^{_DATE}T{_TIME}$"}
"""Formats that are held by patterns of ours: the days that a month has, in leap years as well."""
_FORMATS = frozenset(("email", "hostname", "ipv4", "ipv6", "uuid", "uri", "duration"))


def check_schema(schema: Any, where: str) -> dict[str, Any]:
    """Return a schema whose keywords can all be held, or refuse with the path and name of one that cannot."""
    if schema is True:
        return {}
    if not is_mapping(schema):
        raise ArgumentError(where, "not a schema that a text can meet", expected="a dict", got=repr(schema)[:100],
                            remedy="Pass a JSON Schema")  # fmt: skip
    found: dict[str, Any] = _SchemaReader(where).read(schema, "#", 0)
    return found


class _SchemaReader:
    """One reading of a schema."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._nodes = 0
        self._optional = 0

    def _refuse(self, path: str, what: str, expected: str = "", remedy: str = _LATER) -> ArgumentError:
        return ArgumentError(self._where, f"{path}: {what}", expected=expected or None, remedy=remedy)

    def read(self, schema: Any, path: str, depth: int) -> Any:
        """Return a schema with formats of ours as patterns."""
        self._nodes += 1
        if depth > _MOST_DEPTH or self._nodes > _MOST_NODES:
            raise self._refuse(path, "the schema is too large", f"at most {_MOST_DEPTH} levels and {_MOST_NODES} parts")
        if isinstance(schema, bool):
            return schema
        if not is_mapping(schema):
            raise self._refuse(path, f"{schema!r} is no schema"[:200], "a dict, true or false", "Correct it")
        for key in schema:
            if key not in _HELD and key not in _DESCRIBE:
                raise self._refuse(path, f"the keyword {key!r} cannot be held", "keywords that json_schema names")
        held = [key for key in schema if key in _HELD]
        found = {str(key): self._value(str(key), schema[key], f"{path}/{key}", depth) for key in held}
        self._relations(found, path)
        return found

    def _value(self, key: str, value: Any, path: str, depth: int) -> Any:
        if key in _ONE:
            return self.read(value, path, depth + 1)
        if key in _LIST:
            if not is_list(value):
                raise self._refuse(path, "not a list", "a list of schemas", "Correct it")
            return [self.read(each, f"{path}/{n}", depth + 1) for n, each in enumerate(value)]
        if key in _NAMED:
            if not is_mapping(value):
                raise self._refuse(path, "not a dict", "schemas by name", "Correct it")
            return {str(name): self.read(each, f"{path}/{name}", depth + 1) for name, each in value.items()}
        if key == "$ref" and not (isinstance(value, str) and value.startswith("#")):
            raise self._refuse(path, f"{value!r} is elsewhere"[:200], "a place in this schema", "Put it under $defs")
        if key == "multipleOf" and not (is_int(value) and value > 0):
            raise self._refuse(path, f"{value!r} cannot be held exactly"[:200], "a whole number above 0")
        return value

    def _relations(self, found: dict[str, Any], path: str) -> None:
        """Look at keywords that say something together."""
        self._count_optional(found, path)
        if "format" in found:
            name = found["format"]
            if name in _OWN_FORMATS:
                if "pattern" in found:
                    raise self._refuse(f"{path}/format", f"{name!r} beside a pattern cannot be held")
                found["pattern"] = _OWN_FORMATS[found.pop("format")]
            elif name not in _FORMATS:
                known = ", ".join(sorted([*_FORMATS, *_OWN_FORMATS]))
                raise self._refuse(f"{path}/format", f"the format {name!r} cannot be held"[:200], known)
        least = found.get("minProperties", 0)
        if least and not (is_int(least) and least <= len(set(found.get("required", ())))):
            # a key may come twice, which counts once
            raise self._refuse(f"{path}/minProperties", "more than the required properties cannot be held")
        found.pop("minProperties", None)

    def _count_optional(self, found: dict[str, Any], path: str) -> None:
        required = found.get("required")
        named = {str(name) for name in required} if is_list(required) else set[str]()
        self._optional += len(found.get("properties", {}).keys() - named)
        if self._optional > _MOST_OPTIONAL:
            raise self._refuse(f"{path}/properties", "the schema has too many properties that are not required",
                               f"at most {_MOST_OPTIONAL} in all",
                               "Make those required that always come, or ask in several parts")  # fmt: skip
