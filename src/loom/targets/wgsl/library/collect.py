"""Finds the functions that a kernel's text calls, each in the form that a device asks for.

Layer: targets. A function with forms is named ``name__form`` in the library and ``name`` in what is written, so that a
kernel's own text is the same for every device. Invariant: what is collected calls nothing outside of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from loom.targets.wgsl.library import doubles, integers, singles

__all__ = ["FAMILIES", "FIRST", "FORMS", "called", "every_form", "functions", "library"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "sums": ("add_f32", "sub_f32"),
    "products": ("mul_f32",),
    "quotients": ("div_f32",),
    "roots": ("sqrt_f32",),
    "order": ("lt_f32", "le_f32", "eq_f32"),
    "conversions": ("f32_of_u32", "f32_of_i32"),
    "dots": ("dot4_i8",),
    "doubles": ("add_f64", "sub_f64", "mul_f64", "div_f64", "sqrt_f64"),
}
"""What is computed in one form or another, by the name of what a device is asked for."""
_FLUSHED = ("hidden", "guarded", "integers")
FORMS: dict[str, tuple[str, ...]] = {
    "sums": _FLUSHED, "products": _FLUSHED, "quotients": _FLUSHED, "roots": _FLUSHED,
    "order": ("hidden", "integers"), "conversions": ("hidden", "integers"),
    "doubles": ("wide", "integers"), "dots": ("wide", "integers"),
}  # fmt: skip
"""The forms of a family, in the order in which they are tried.

The device's own operation, its result hidden from the compiler; that, and integers where a number is subnormal or
nearly so; integers alone. Of f64 that of a device with types beyond WGSL, and integers; of dot products of bytes the
function of a device that has packed_4x8_integer_dot_product, and byte by byte.
"""
FIRST = {family: "integers" if known[0] == "wide" else known[0] for family, known in FORMS.items()}
"""The form of a family where none is named."""
_BLOCK = re.compile(r"^(?:fn|struct) (\w+)[^\n]*\{\n.*?^\}\n", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\b[A-Za-z]\w*\b")
_FORMS = re.compile(r"\b(\w+?)__(?:hidden|guarded|wide|integers)\b")


@cache
def library() -> dict[str, str]:
    """Return the text of every function and structure, by its name with its form."""
    text = integers.TEXT + singles.TEXT + doubles.TEXT
    return {found.group(1): found.group(0) for found in _BLOCK.finditer(text)}


@cache
def _names() -> dict[str, frozenset[str]]:
    """Return the names that each function uses, of those there are."""
    written = {name.partition("__")[0] for name in library()}
    return {
        name: frozenset(_WORD.findall(text.split("{", 1)[0].partition("(")[2] + text.split("{", 1)[1])) & written
        for name, text in library().items()
    }


@cache
def _family(name: str) -> str | None:
    return next((family for family, names in FAMILIES.items() if name in names), None)


def called(text: str) -> frozenset[str]:
    """Return the names of the library's functions that a text uses."""
    return frozenset(_WORD.findall(text)) & {name.partition("__")[0] for name in library()}


def every_form(names: frozenset[str]) -> dict[str, str]:
    """Return the texts of functions and of all they use in any form, by ``name``, or ``name__form`` if it has forms.

    Whoever puts them together takes one form of each.
    """
    done: dict[str, str] = {}
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        family = _family(name)
        held = [name] if family is None else [f"{name}__{form}" for form in FORMS[family]]
        for each in held:
            if each not in done:
                done[each] = _FORMS.sub(r"\1", library()[each])
                waiting += sorted(_names()[each])
    return dict(sorted(done.items()))


def functions(names: frozenset[str], forms: Mapping[str, str]) -> str:
    """Return the text of functions and of all they use; ``forms`` gives each family's, else it is the first."""
    done: dict[str, str] = {}
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        family = _family(name)
        held = name if family is None else f"{name}__{forms.get(family, FIRST[family])}"
        done[name] = _FORMS.sub(r"\1", library()[held])
        waiting += sorted(_names()[held] - set(done))
    return "".join(done[name] for name in sorted(done))
