"""What the sandbox of chat templates counts: time, steps, and the size of what is made.

Layer: models. A template is a program from a stranger: it sees plain JSON
data alone, every loop, call and output is counted, and what could make a long text or number of a short one is looked
at before it runs. Invariant: a template that ends within its limits gives the text that transformers gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from loom.core.given import is_list, is_mapping, is_tuple

__all__ = [
    "Exhausted", "before_format", "before_method", "before_operator", "charge_filter",
    "rendering", "spend", "weigh", "weigh_parts",
]  # fmt: skip

MOST_SECONDS, MOST_TEXT, MOST_STEPS = 2.0, 16 << 20, 2_000_000
"""Limits of one rendering: seconds, characters made on the way, loops and calls."""
_WIDEST = 100_000
"""The largest number that pads, repeats or indents."""
_MOST_BITS = 4096
_WIDE = frozenset(
    ("center", "indent", "wordwrap", "batch", "slice", "tojson", "truncate", "filesizeformat", "round", "int")
)


class Exhausted(Exception):
    """A template ran beyond a limit."""


class Budget:
    """What one rendering may still use."""

    __slots__ = ("_deadline", "_steps", "_text")

    def __init__(self) -> None:
        self._deadline = time.monotonic() + MOST_SECONDS
        self._steps, self._text = MOST_STEPS, MOST_TEXT

    def spend(self, text: int, steps: int) -> None:
        """Count steps and characters; Exhausted beyond a limit."""
        self._steps -= steps
        self._text -= text
        if self._text < 0:
            raise Exhausted(f"made more than {MOST_TEXT} characters")
        if self._steps < 0:
            raise Exhausted(f"took more than {MOST_STEPS} steps")
        if time.monotonic() > self._deadline:
            raise Exhausted(f"took more than {MOST_SECONDS} seconds")


_BUDGET: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def rendering() -> Generator[None]:
    """Give a rendering its budget."""
    token = _BUDGET.set(Budget())
    try:
        yield
    finally:
        _BUDGET.reset(token)


def spend(text: int = 0, steps: int = 1) -> None:
    """Count steps and characters of the rendering that is under way."""
    budget = _BUDGET.get(None)
    if budget is not None:
        budget.spend(text, steps)


def weigh(value: Any) -> int:
    """Return about how many characters a value is written in; each part is a step, however often it is held."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, int):
        return 1 + value.bit_length() // 3
    total, steps = 8, 0
    waiting: list[Any] = [value]
    while waiting:
        each: Any = waiting.pop()
        steps += 1
        if is_mapping(each):
            waiting.extend(each)
            waiting.extend(each.values())
        elif is_list(each):
            waiting.extend(each)
        total += len(each) + 2 if isinstance(each, str) else 8
        if steps == 1000:
            spend(0, steps)
            steps = 0
    spend(0, steps)
    return total


def weigh_parts(value: Any) -> None:
    """Count the parts of a list, a tuple or a dict."""
    if is_list(value) or is_mapping(value):
        weigh(value)


def _numbers_fit(arguments: Any) -> None:
    """Refuse widths, counts and indents that are huge."""
    for each in arguments:
        if isinstance(each, int) and abs(each) > _WIDEST:
            raise Exhausted(f"pads, repeats or indents by {each}")


def _join_length(separator: Any, values: Any) -> int:
    held = is_list(values) or is_mapping(values) or isinstance(values, str)
    return weigh(separator) * len(values) + weigh(values) if held else 0


def _replace_length(source: Any, old: Any, new: Any) -> int:
    if not (isinstance(source, str) and isinstance(old, str) and isinstance(new, str)):
        return weigh(source)
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
        spend(_join_length(source, given[0]))
    elif name == "replace" and len(given) >= 2:
        spend(_replace_length(source, given[0], given[1]))
    elif name == "translate" and given and is_mapping(given[0]):
        spend(len(source) * max([1, *map(weigh, given[0].values())]))
    elif name in ("format", "format_map"):
        before_format(source, [*given, *(v for g in given if is_mapping(g) for v in g.values())])
        spend(sum(map(weigh, given)) * max(1, source.count("{")))
    else:
        spend(len(source))


def before_operator(operator: str, left: Any, right: Any) -> None:
    """Look at an operation that could make much of little."""
    if operator == "*":
        for many, count in ((left, right), (right, left)):
            if (is_list(many) or isinstance(many, (str, bytes))) and isinstance(count, int):
                spend(weigh(many) * max(count, 0), 1 + len(many) * max(count, 0) // 16)
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MOST_BITS:
            raise Exhausted("multiplies huge numbers")
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > _MOST_BITS:
            raise Exhausted("raises to a huge power")
        spend()
    elif operator == "%" and isinstance(left, str):
        arguments: Any = right if is_tuple(right) else (right,)
        before_format(left, arguments)
        spend(len(left) + sum(map(weigh, arguments)) * max(1, left.count("%")))
    else:
        spend(weigh(left) + weigh(right) if is_list(left) or isinstance(left, (str, bytes)) else 0)


def charge_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that is counted; what Jinja wrote on the function stays on it."""
    at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def charge(*arguments: Any, **named: Any) -> Any:
        value: Any = arguments[at] if len(arguments) > at else None
        more: list[Any] = [*arguments[at + 1 :], *named.values()]
        if name == "join" and not (is_list(value) or is_mapping(value) or isinstance(value, str)):
            value = list(value)  # what a generator makes is counted where it is made
            arguments = (*arguments[:at], value, *arguments[at + 1 :])
        spend(_before_filter(name, value, more))
        found: Any = function(*arguments, **named)
        weigh_parts(found)
        spend(len(found) if isinstance(found, (str, bytes)) else 0)
        return found

    return charge


def _before_filter(name: str, value: Any, more: list[Any]) -> int:
    """Look at a call of a filter; return about how many characters it makes on its way."""
    texts = [each for each in more if isinstance(each, str)]
    if name in _WIDE:
        _numbers_fit(each for each in more if not isinstance(each, bool))
    if name == "replace":
        return _replace_length(value, *texts[:2]) if len(texts) >= 2 else 0
    if name == "format":
        before_format(value, more)
        return sum(map(weigh, more)) * max(1, str(value).count("%"))
    if name == "join":
        return _join_length(texts[0] if texts else "", value)
    if name in ("wordwrap", "indent", "truncate") and isinstance(value, str):
        return len(value) * max([1, *map(len, texts)]) + sum(n for n in more if isinstance(n, int)) * value.count("\n")
    return weigh(value) if name in ("string", "pprint", "tojson", "xmlattr", "urlencode", "escape") else 0
