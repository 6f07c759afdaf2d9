"""What a field of a document may hold: read from JSON, written to JSON, described as JSON Schema, in one place each.

Layer: nn. Invariant: ``rule.read(rule.write(value))`` is ``value``, and what ``rule.schema()`` accepts differs from
what ``rule.read`` accepts only where a schema cannot say it (shapes, references, names).
"""

from __future__ import annotations

import enum
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from loom.core.dtype import SCALARS, DType, lookup
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonValue, brief
from loom.nn.spec.base.limits import MOST_WIDTH
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.text import is_unicode

__all__ = [
    "BAD",
    "Choice",
    "Element",
    "Flag",
    "Free",
    "LayerName",
    "Name",
    "Pair",
    "Real",
    "Rule",
    "Several",
    "Text",
    "Whole",
]

BAD: Any = object()
"""Read in place of a value that is not usable; the problem has been noted."""


class Rule(Protocol):
    """Reads, writes and describes one kind of value."""

    def read(self, value: JsonValue, place: Place) -> Any:
        """Return the value meant, or note a problem and return ``BAD``."""
        ...

    def write(self, value: Any) -> JsonValue:
        """Return what ``read`` reads as ``value``."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what ``read`` accepts."""
        ...

    @property
    def expected(self) -> str:
        """What is accepted, in words."""
        ...


class _Plain(ABC):
    """A value that is written as it is."""

    @property
    @abstractmethod
    def expected(self) -> str: ...

    @abstractmethod
    def holds(self, value: JsonValue) -> bool:
        """Tell whether a value of a document is usable."""

    def read(self, value: JsonValue, place: Place) -> Any:
        if self.holds(value):
            return value
        place.wrong(self.expected, value)
        return BAD

    def write(self, value: Any) -> JsonValue:
        return value


@dataclass(frozen=True)
class Whole(_Plain):
    """An integer from ``low`` to ``high``."""

    low: int = 1
    high: int = MOST_WIDTH

    @property
    def expected(self) -> str:
        return f"an integer from {self.low} to {self.high}"

    def holds(self, value: JsonValue) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Real(_Plain):
    """A finite number from ``low`` to ``high``; ``above`` and ``below`` are limits that it may not reach."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    @property
    def expected(self) -> str:
        words = [("at least", self.low), ("above", self.above), ("at most", self.high), ("below", self.below)]
        limits = [f"{word} {limit:g}" for word, limit in words if limit is not None]
        return "a finite number" + (" " + " and ".join(limits) if limits else "")

    def read(self, value: JsonValue, place: Place) -> Any:
        found = super().read(value, place)
        return BAD if found is BAD else float(found)

    def holds(self, value: JsonValue) -> bool:
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and -1e308 <= value <= 1e308
            and math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )

    def schema(self) -> dict[str, Any]:
        words = {
            "minimum": self.low,
            "maximum": self.high,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
        }
        return {"type": "number"} | {word: limit for word, limit in words.items() if limit is not None}


@dataclass(frozen=True)
class Flag(_Plain):
    """``true`` or ``false``."""

    @property
    def expected(self) -> str:
        return "true or false"

    def holds(self, value: JsonValue) -> bool:
        return isinstance(value, bool)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text(_Plain):
    """Any text of at most ``longest`` characters."""

    longest: int = 1000

    @property
    def expected(self) -> str:
        return f"a text of at most {self.longest} characters"

    def holds(self, value: JsonValue) -> bool:
        return isinstance(value, str) and len(value) <= self.longest and is_unicode(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.longest}


@dataclass(frozen=True)
class Name(_Plain):
    """A name of a layer, an input or a model: a letter, then letters, digits, ``_`` and ``-``."""

    dotted: bool = False
    """Keys of nested layers (``layers.2.branches.0``) are accepted too."""

    @property
    def pattern(self) -> str:
        return "[A-Za-z_][A-Za-z0-9_.-]{0,199}" if self.dotted else "[A-Za-z_][A-Za-z0-9_-]{0,99}"

    @property
    def expected(self) -> str:
        return "a name (a letter, then letters, digits, '_' and '-')"

    def holds(self, value: JsonValue) -> bool:
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True)
class LayerName(Name):
    """The key of another layer of the network, whose weights are read."""

    dotted: bool = True


@dataclass(frozen=True)
class Choice:
    """The value of one of an enum's members; ``also`` maps names of other formats to theirs, for hints alone."""

    members: type[enum.Enum]
    also: Mapping[str, str] | None = None

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(str(m.value) for m in self.members)

    def read(self, value: JsonValue, place: Place) -> Any:
        known = {str(m.value): m for m in self.members}
        if not isinstance(value, str):
            place.wrong(self.expected, value)
            return BAD
        if value not in known:
            meant = (self.also or {}).get(value.lower())
            remedy = {"remedy": f"Did you mean {meant!r}?"} if meant else {}
            if remedy:
                place.fault(f"unknown name {brief(value)}", **remedy)
            else:
                place.unknown("name", value, known)
            return BAD
        return known[value]

    def write(self, value: Any) -> JsonValue:
        return value.value

    def schema(self) -> dict[str, Any]:
        return {"enum": [m.value for m in self.members]}


@dataclass(frozen=True)
class Element:
    """The name of a scalar type (``f32``), one of ``names``."""

    names: tuple[str, ...] = tuple(SCALARS)

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.names)

    def read(self, value: JsonValue, place: Place) -> Any:
        if not isinstance(value, str):
            place.wrong(self.expected, value)
            return BAD
        if value not in self.names:
            place.unknown("dtype", value, self.names)
            return BAD
        return lookup(value)

    def write(self, value: DType) -> JsonValue:
        return value.name

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.names)}


@dataclass(frozen=True)
class Several:
    """A list of ``least`` to ``most`` values of one rule, read as a tuple."""

    each: Rule
    least: int = 0
    most: int = 1_000_000

    @property
    def expected(self) -> str:
        number = f"at least {self.least} " if self.most >= 1_000_000 else f"{self.least} to {self.most} "
        if self.least == self.most:
            number = f"{self.least} "
        return f"a list of {number if self.least or self.most < 1_000_000 else ''}values"

    def read(self, value: JsonValue, place: Place) -> Any:
        if not isinstance(value, (list, tuple)) or not self.least <= len(value) <= self.most:
            place.wrong(self.expected, value)
            return BAD
        made = tuple(self.each.read(v, place.at(i)) for i, v in enumerate(value))
        return BAD if any(v is BAD for v in made) else made

    def write(self, value: Any) -> JsonValue:
        return [self.each.write(v) for v in value]

    def schema(self) -> dict[str, Any]:
        limits = {"minItems": self.least} if self.least else {}
        if self.most < 1_000_000:
            limits["maxItems"] = self.most
        return {"type": "array", "items": self.each.schema(), **limits}


@dataclass(frozen=True)
class Pair:
    """An integer, meant for both axes of an image, or a list of two (rows, columns); read as a tuple of two."""

    each: Whole

    @property
    def expected(self) -> str:
        return f"{self.each.expected}, or a list of two of them"

    def read(self, value: JsonValue, place: Place) -> Any:
        if isinstance(value, (list, tuple)) and len(value) == 2:
            made = tuple(self.each.read(v, place.at(i)) for i, v in enumerate(value))
            return BAD if any(v is BAD for v in made) else made
        if isinstance(value, (list, tuple)):
            place.wrong(self.expected, value)
            return BAD
        only = self.each.read(value, place)
        return BAD if only is BAD else (only, only)

    def write(self, value: Any) -> JsonValue:
        return value[0] if value[0] == value[1] else list[JsonValue](value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.each.schema(), Several(self.each, 2, 2).schema()]}


@dataclass(frozen=True)
class Free:
    """Any JSON object: metadata, which Loom keeps and does not read."""

    expected: str = "an object"

    def read(self, value: JsonValue, place: Place) -> Any:
        if isinstance(value, dict):
            return _plain(value)
        place.wrong(self.expected, value)
        return BAD

    def write(self, value: Any) -> JsonValue:
        return _plain(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


def _plain(value: JsonValue) -> JsonValue:
    """Return a copy of plain dicts and lists (depth is limited by ``text``)."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
