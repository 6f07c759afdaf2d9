"""What the sandbox of chat templates counts: time, steps, and the size of what is made.

Layer: models. A template is a program from a stranger: it sees plain JSON
data alone, every loop, call and output is counted, and what could make a long text or number of a short one is looked
at before it runs. Invariant: a template that ends within its limits gives the text that transformers gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = [
    "Exhausted", "before_format", "before_method", "before_operator", "counted_filter",
    "rendering", "spend",
]  # fmt: skip

MOST_SECONDS, MOST_TEXT, MOST_STEPS = 2.0, 16 << 20, 1_000_000
"""Limits of one rendering: seconds, characters made on the way, loops and calls."""
_WIDEST = 100_000
"""The largest number that pads, repeats or indents."""
_MOST_BITS = 4096


class Exhausted(Exception):
    """A template ran beyond a limit."""


class Budget:
    """What one rendering may still use."""

    __slots__ = ("_deadline", "_steps", "_text")

    def __init__(self) -> None:
        self._deadline = time.monotonic() + MOST_SECONDS
        self._steps, self._text = MOST_STEPS, MOST_TEXT

    def spend(self, text: int = 0) -> None:
        """Count one step and ``text`` characters; Exhausted beyond a limit."""
        self._steps -= 1
        self._text -= text
        if self._text < 0:
            raise Exhausted(f"made more than {MOST_TEXT} characters")
        if self._steps < 0:
            raise Exhausted(f"took more than {MOST_STEPS} steps")
        if time.monotonic() > self._deadline:
            raise Exhausted(f"took more than {MOST_SECONDS} seconds")


_BUDGET: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def rendering() -> Iterator[None]:
    """Give a rendering its budget."""
    token = _BUDGET.set(Budget())
    try:
        yield
    finally:
        _BUDGET.reset(token)


def spend(text: int = 0) -> None:
    """Count one step and ``text`` characters of the rendering that is under way."""
    budget = _BUDGET.get(None)
    if budget is not None:
        budget.spend(text)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple, dict)) else 1


def _numbers_fit(arguments: Any) -> None:
    """Refuse widths, counts and indents that are huge."""
    for each in arguments:
        if isinstance(each, int) and abs(each) > _WIDEST:
            raise Exhausted(f"pads, repeats or indents by {each}")


def _joined_length(separator: Any, values: Any) -> int:
    return _length(separator) * _length(values) + sum(map(_length, values) if isinstance(values, (list, tuple)) else ())


def _replaced_length(source: Any, old: Any, new: Any) -> int:
    if not (isinstance(source, str) and isinstance(old, str) and isinstance(new, str)):
        return _length(source)
    return len(source) + source.count(old) * len(new)


def before_format(source: Any, arguments: Any) -> None:
    """Refuse formats whose width is written large, or is an argument."""
    if not isinstance(source, str):
        return
    digits = 0
    for character in source:
        digits = digits + 1 if character.isdigit() else 0
        if digits > 5:
            raise Exhausted("formats with a width of more than five digits")
    if "*" in source or (source.count("{") > source.count("}") - source.count("{:{") and "{:" in source):
        _numbers_fit(arguments)
    nested = any(part.count("{") for part in source.replace("{{", "").split("{")[1:] if ":" in part and "}" not in part)
    if nested:
        _numbers_fit(arguments)


def before_method(source: str, name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Look at a call of a method of a text."""
    given = [*arguments, *named.values()]
    if name in ("center", "ljust", "rjust", "zfill", "expandtabs"):
        _numbers_fit(given)
        spend(len(source) * (max([1, *(n for n in given if isinstance(n, int))]) if name == "expandtabs" else 1))
    elif name == "join" and given:
        spend(_joined_length(source, given[0]))
    elif name == "replace" and len(given) >= 2:
        spend(_replaced_length(source, given[0], given[1]))
    elif name == "translate" and given and isinstance(given[0], dict):
        spend(len(source) * max([1, *map(_length, given[0].values())]))
    elif name in ("format", "format_map"):
        before_format(source, [*given, *(v for g in given if isinstance(g, dict) for v in g.values())])
        spend(sum(map(_length, given)) * max(1, source.count("{")))
    else:
        spend(len(source))


def before_operator(operator: str, left: Any, right: Any) -> None:
    """Look at an operation that could make much of little."""
    if operator == "*":
        for many, count in ((left, right), (right, left)):
            if isinstance(many, (str, bytes, list, tuple)) and isinstance(count, int):
                spend(len(many) * max(count, 0))
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MOST_BITS:
            raise Exhausted("multiplies huge numbers")
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > _MOST_BITS:
            raise Exhausted("raises to a huge power")
        spend()
    elif operator == "%" and isinstance(left, str):
        arguments = right if isinstance(right, tuple) else (right,)
        before_format(left, arguments)
        spend(len(left) + sum(map(_length, arguments)) * max(1, left.count("%")))
    else:
        spend(_length(left) + _length(right) if isinstance(left, (str, bytes, list, tuple)) else 0)


def counted_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that is counted; what Jinja wrote on the function stays on it."""
    from functools import wraps

    @wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        given = [*arguments, *named.values()]
        if name in ("center", "indent", "wordwrap", "batch", "slice", "tojson", "truncate", "filesizeformat", "round"):
            _numbers_fit(each for each in given[1:] if not isinstance(each, bool))
        if name == "replace":
            texts = [each for each in given if isinstance(each, str)]
            spend(_replaced_length(*texts[:3]) if len(texts) >= 3 else 0)
        elif name == "format":
            texts = [each for each in given if isinstance(each, str)]
            before_format(texts[0] if texts else "", given)
            spend(sum(map(_length, given)) * max(1, texts[0].count("%") if texts else 1))
        elif name == "join":
            separator = next((each for each in given[1:] if isinstance(each, str)), "")
            values = next((each for each in given if isinstance(each, (list, tuple))), [])
            spend(_joined_length(separator, values))
        found = function(*arguments, **named)
        spend(
            _length(found)
            + (
                given[1] * found.count("\n")
                if name == "indent" and len(given) > 1 and isinstance(given[1], int) and isinstance(found, str)
                else 0
            )
        )
        return found

    return counted
