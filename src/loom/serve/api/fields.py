"""Reads the fields of a request by a table: what is known and done, what is known and refused by name, nothing else.

Layer: serve. Invariant: a field that is accepted has an effect; null means that a field is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from loom.core.errors import near_matches
from loom.core.late.dataclass import dataclass
from loom.serve.refusals import Refusal, field_refusal, missing

__all__ = ["FieldRule", "boolean", "choice", "number", "read_fields", "text", "texts", "whole_number"]

Reader = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field that is done: what reads its value, and what it is if it is not there."""

    read: Reader
    default: Any = None
    required: bool = False


def read_fields(
    body: Mapping[str, Any], known: Mapping[str, FieldRule], undone: Mapping[str, str], path: str = ""
) -> dict[str, Any]:
    """Return the values of all known fields; Refusal for one that is not known, not done, or not usable.

    ``undone``: fields that OpenAI knows and Loom does not do, and what to do instead.
    """
    for name, value in body.items():
        if name in known or (name in undone and value is None):
            continue
        where = f"{path}{name[:60]}"
        if name in undone:
            raise Refusal(400, f"'{where}' is not supported: {undone[name]}.", param=where,
                          code="unsupported_parameter")  # fmt: skip
        hint = near_matches(name, known)
        raise Refusal(400, f"Unknown parameter: '{where}'. {hint}", param=where, code="unknown_parameter")
    found: dict[str, Any] = {}
    for name, field in known.items():
        value = body.get(name)
        if value is None:
            if field.required:
                raise missing(path + name)
            found[name] = field.default
        else:
            found[name] = field.read(value, path + name)
    return found


def _clip(value: Any) -> str:
    found = repr(value)
    return found if len(found) <= 60 else found[:57] + "..."


def boolean(value: Any, param: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise field_refusal(param, f"expected true or false, got {_clip(value)}.", code="invalid_type")
    return value


def whole_number(least: int, most: int) -> Reader:
    """Return a reader of whole numbers in a range."""

    def read(value: Any, param: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise field_refusal(param, f"expected an integer, got {_clip(value)}.", code="invalid_type")
        if not least <= value <= most:
            raise field_refusal(param, f"expected {least} to {most}, got {_clip(value)}.")
        return value

    return read


def number(least: float, most: float, *, above: bool = False) -> Reader:
    """Return a reader of finite numbers in a range; ``above``: the least one is outside."""

    def read(value: Any, param: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise field_refusal(param, f"expected a number, got {_clip(value)}.", code="invalid_type")
        if not least <= value <= most or (above and value == least) or not math.isfinite(value):
            start = f"more than {least:g}, up to" if above else f"{least:g} to"
            raise field_refusal(param, f"expected {start} {most:g}, got {_clip(value)}.")
        return float(value)

    return read


def text(most: int, least: int = 0) -> Reader:
    """Return a reader of texts of so many characters."""

    def read(value: Any, param: str) -> str:
        if not isinstance(value, str):
            raise field_refusal(param, f"expected a string, got {_clip(value)}.", code="invalid_type")
        if not least <= len(value) <= most:
            raise field_refusal(param, f"expected {least} to {most} characters, got {len(value)}.")
        return value

    return read


def texts(most: int, each: Reader) -> Reader:
    """Return a reader of one text or a list of them, as a tuple."""

    def read(value: Any, param: str) -> tuple[str, ...]:
        if isinstance(value, str):
            return (each(value, param),)
        if not isinstance(value, list):
            raise field_refusal(param, f"expected a string or an array, got {_clip(value)}.", code="invalid_type")
        several = cast("list[Any]", value)
        if not 1 <= len(several) <= most:
            raise field_refusal(param, f"expected 1 to {most} strings, got {len(several)}.")
        return tuple(each(one, f"{param}[{at}]") for at, one in enumerate(several))

    return read


def choice(*known: str) -> Reader:
    """Return a reader of one of some texts."""

    def read(value: Any, param: str) -> str:
        if value not in known:
            raise field_refusal(param, f"expected {' or '.join(map(repr, known))}, got {_clip(value)}.")
        return cast("str", value)

    return read
