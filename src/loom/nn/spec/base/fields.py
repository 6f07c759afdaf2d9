"""Fields of configs: a dataclass's field with its rule and its meaning; objects are read and written by them.

Layer: nn. Invariant: a config's fields are the keys of its JSON object, in the same order; a key that is no field is
an error, but for those of ``IGNORED``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from dataclasses import MISSING
from functools import cache
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject, JsonValue, brief
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import BAD, Choice, Flag, Free, Pair, Real, Rule, Several, Text, Whole

__all__ = [
    "IGNORED",
    "Config",
    "Record",
    "ValueField",
    "choice",
    "field_of",
    "flag",
    "free",
    "object_schema",
    "pair",
    "read_object",
    "real",
    "several",
    "size",
    "text",
    "value_fields",
    "write_object",
]

IGNORED = ("comment", "$comment")
"""Keys that any object may have and that mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a JSON object is read as: a dataclass of fields with rules."""

    def inspect(self, place: Place) -> None:
        """Note fields that do not go together."""


@dataclass(frozen=True, slots=True)
class ValueField:
    """One field of a config: its name, rule, meaning, default (MISSING: must be given)."""

    name: str
    rule: Rule
    meaning: str
    default: Any

    @property
    def is_required(self) -> bool:
        """True if the document must give it."""
        return self.default is MISSING


def field_of(rule: Rule, meaning: str, default: Any = MISSING) -> Any:
    """Return a dataclass field read by ``rule``; without default it must be given."""
    return dataclasses.field(default=default, metadata={"rule": rule, "meaning": meaning})


def free(meaning: str) -> Any:
    """Return a field of any object, empty if not given."""
    metadata = {"rule": Free(), "meaning": meaning}
    return dataclasses.field(default_factory=dict[str, JsonValue], metadata=metadata, hash=False)


def size(meaning: str, default: Any = MISSING, *, low: int = 1) -> Any:
    """Return a field of an integer from ``low``; ``default=None`` means it follows from the input's shape."""
    return field_of(Whole(low), meaning, default)


def pair(meaning: str, default: Any = MISSING, *, low: int = 1) -> Any:
    """Return a field of two integers, rows and columns, that one integer may stand for."""
    return field_of(Pair(Whole(low)), meaning, default)


def real(meaning: str, default: Any = MISSING, **limits: float) -> Any:
    """Return a field of a finite number within ``low``, ``high``, ``above`` and ``below``."""
    return field_of(Real(**limits), meaning, default)


def flag(meaning: str, default: bool) -> Any:
    """Return a field that is true or false."""
    return field_of(Flag(), meaning, default)


def text(meaning: str, default: Any = MISSING) -> Any:
    """Return a field of any text."""
    return field_of(Text(), meaning, default)


def choice(members: type[enum.Enum], meaning: str, default: Any, also: dict[str, str] | None = None) -> Any:
    """Return a field of an enum's member."""
    return field_of(Choice(members, also), meaning, default)


def several(each: Rule, meaning: str, default: Any = MISSING, *, least: int = 0) -> Any:
    """Return a field of a tuple whose values have one rule."""
    return field_of(Several(each, least), meaning, default)


@cache
def value_fields(config: type[Config]) -> tuple[ValueField, ...]:
    """Return the fields of a config class that a document may give, in order."""
    made: list[ValueField] = []
    for f in dataclasses.fields(config):
        if "rule" in f.metadata:
            default = f.default if f.default_factory is MISSING else f.default_factory()
            made.append(ValueField(f.name, f.metadata["rule"], f.metadata["meaning"], default))
    return tuple(made)


def read_object(config: type[Config], value: JsonValue, place: Place, *, besides: Iterable[str] = ()) -> Any:
    """Return a ``config`` read from a JSON object, or note every problem in it and return ``BAD``.

    Keys of ``besides`` belong to the object as well and are read by the caller.
    """
    if not isinstance(value, dict):
        place.wrong("an object", value)
        return BAD
    fields = value_fields(config)
    known = {f.name for f in fields} | set(besides)
    for key in value:
        if key not in known and key not in IGNORED:
            place.at(key).unknown("key", key, known)
    read = {f.name: f.rule.read(value[f.name], place.at(f.name)) for f in fields if f.name in value}
    for f in fields:
        if f.is_required and f.name not in value:
            place.fault(f"key {brief(f.name)} is missing", expected=f.rule.expected, remedy=f"It is {f.meaning}.")
            read[f.name] = BAD
    if any(v is BAD for v in read.values()):
        return BAD
    made = config(**read)
    before = place.count
    made.inspect(place)
    return made if place.count == before else BAD


def write_object(config: Config) -> JsonObject:
    """Return the JSON object of a config: fields in order, those at their default left out."""
    written: JsonObject = {}
    for f in value_fields(type(config)):
        value = getattr(config, f.name)
        if f.is_required or value != f.default:
            written[f.name] = f.rule.write(value)
    return written


@dataclass(frozen=True)
class Record:
    """A rule: an object that is read as a config class of its own."""

    config: type[Config]

    @property
    def expected(self) -> str:
        return "an object with " + ", ".join(f.name for f in value_fields(self.config))

    def read(self, value: JsonValue, place: Place) -> Any:
        return read_object(self.config, value, place)

    def write(self, value: Any) -> JsonValue:
        return write_object(value)

    def schema(self) -> dict[str, Any]:
        return object_schema(self.config)


def object_schema(config: type[Config]) -> dict[str, Any]:
    """Return the JSON Schema of a config class's object."""
    fields = value_fields(config)
    properties: dict[str, Any] = {}
    for f in fields:
        properties[f.name] = f.rule.schema() | {"description": f.meaning}
        if not f.is_required and f.default is not None:
            properties[f.name]["default"] = f.rule.write(f.default)
    properties |= {name: {} for name in IGNORED}
    required = [f.name for f in fields if f.is_required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
