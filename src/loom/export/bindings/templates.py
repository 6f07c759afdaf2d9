"""Templates of foreign sources: Mustache's tags for values and sections, and no logic beside them.

Layer: export. ``{{name}}`` is a value, ``{{#name}} .. {{/name}}`` stands once for each item of a list (or once for
what is true), ``{{^name}} .. {{/name}}`` where there is none. Invariant: a name that nothing has is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["render"]

_TAG = re.compile(r"^[ \t]*\{\{([#^/])(\w+)\}\}[ \t]*\n|\{\{([#^/]?)(\w+)\}\}", re.MULTILINE)
"""A section's tag that has a line of its own takes the line with it."""

Context = Mapping[str, Any]


def render(template: str, values: Context) -> str:
    """Return a template with its values; KeyError for names that ``values`` has not, or sections left open."""
    made, rest = _render(template, 0, (values,), None)
    assert rest == len(template)
    return made


def _render(template: str, at: int, scopes: tuple[Context, ...], closing: str | None) -> tuple[str, int]:
    """Render from ``at`` to the end of the section ``closing``; return the text and where it goes on."""
    parts: list[str] = []
    while found := _TAG.search(template, at):
        parts.append(template[at : found.start()])
        at = found.end()
        kind, name = found[1] or found[3], found[2] or found[4]
        if kind == "/":
            if name != closing:
                raise KeyError(f"{{{{/{name}}}}} closes {closing}")
            return "".join(parts), at
        value = _value(scopes, name)
        if not kind:
            parts.append(str(value))
            continue
        body = at
        at = _skip(template, body, name)
        for inner in _items(value, kind == "^"):
            parts.append(_render(template, body, (inner, *scopes), name)[0])
    if closing is not None:
        raise KeyError(f"{{{{#{closing}}}}} is not closed")
    return "".join([*parts, template[at:]]), len(template)


def _skip(template: str, at: int, name: str) -> int:
    """Return where a section that begins at ``at`` ends, after its closing tag."""
    depth = 1
    for found in _TAG.finditer(template, at):
        if (found[2] or found[4]) == name and (kind := found[1] or found[3]):
            depth += -1 if kind == "/" else 1
            if not depth:
                return found.end()
    raise KeyError(f"{{{{#{name}}}}} is not closed")


def _items(value: Any, inverted: bool) -> list[Context]:
    if inverted:
        return [] if value else [{}]
    if isinstance(value, list):
        return cast("list[Context]", value)
    return [{}] if value else []


def _value(scopes: tuple[Context, ...], name: str) -> Any:
    for scope in scopes:
        if name in scope:
            return scope[name]
    raise KeyError(name)
