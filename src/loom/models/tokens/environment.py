"""Jinja as transformers sets it up, counted: loops, calls, output, and what could make much of little.

Layer: models, over the package jinja2, which this module alone imports at its head: load it when a template is there.
Invariant: nothing that a template computes is left out of the count.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor
from jinja2 import nodes

from loom.models.tokens.sandbox import (
    before_format,
    before_method,
    before_operator,
    charge_filter,
    spend,
    weigh,
    weigh_parts,
)

__all__ = ["environment"]


class GenerationTag(jinja2.ext.Extension):
    """``{% generation %}``, which marks what the assistant says: its body, as it is."""

    tags = frozenset({"generation"})  # pyright: ignore[reportAssignmentType] - Jinja only reads it

    def parse(self, parser: Any) -> Any:
        """Return the body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class Counter(jinja2.visitor.NodeTransformer):
    """Makes loops and macros count their rounds, and joined texts their lengths."""

    def _tick(self, node: Any) -> Any:
        literal = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        call = nodes.Call(nodes.EnvironmentAttribute("tick"), [nodes.Const(literal)], [], None, None)
        return nodes.ExprStmt(call).set_lineno(node.lineno)

    def _visit_body(self, node: Any) -> Any:
        tick = self._tick(node)
        self.generic_visit(node)
        node.body.insert(0, tick)
        return node

    visit_For = visit_Macro = visit_CallBlock = _visit_body  # noqa: N815 - names of the visitor

    def _visit_literal(self, node: Any) -> Any:
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load":
            return node
        return nodes.Call(nodes.EnvironmentAttribute("charge_literal"), [node], [], None, None).set_lineno(node.lineno)

    visit_List = visit_Tuple = visit_Dict = _visit_literal  # noqa: N815 - names of the visitor

    def visit_Concat(self, node: Any) -> Any:  # noqa: N802 - a name of the visitor
        self.generic_visit(node)
        return nodes.Call(nodes.EnvironmentAttribute("concatenate"), node.nodes, [], None, None).set_lineno(node.lineno)


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, counted."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])

    def tick(self, literal: int) -> None:
        """Count a round of a loop."""
        spend(literal)

    def concatenate(self, *values: Any) -> str:
        """Return texts joined, as ``~`` does."""
        spend(sum(map(weigh, values)))
        return "".join(map(str, values))

    def charge_literal(self, value: Any) -> Any:
        """Return a list, tuple or dict that was written out, all of whose parts were counted."""
        weigh(value)
        return value

    def _parse(self, source: str, name: Any, filename: Any) -> Any:
        return Counter().visit(super()._parse(source, name, filename))

    def call(self, context: Any, target: Any, *arguments: Any, **named: Any) -> Any:
        """Call, counted."""
        plain = getattr(target, "__wrapped__", target)  # Jinja wraps ``format``
        owner, name = getattr(plain, "__self__", None), getattr(plain, "__name__", "")
        if isinstance(owner, str):
            before_method(owner, name, arguments, named)
        else:
            spend()
        found: Any = super().call(context, target, *arguments, **named)
        if isinstance(found, (str, bytes)):
            spend(len(found))
        else:
            weigh_parts(found)
        return found

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
        """Compute, once it was looked at."""
        before_operator(operator, left, right)
        return self.binop_table[operator](left, right)


def charge(value: Any) -> Any:
    spend(weigh(value))
    return value


class Dict:
    """``dict`` without the class behind it."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return dict(*arguments, **named)

    def fromkeys(self, *arguments: Any) -> Any:
        """Return a dict of keys."""
        return dict.fromkeys(*arguments)


class Namespace(jinja2.utils.Namespace):
    """``namespace`` without names that begin with an underscore."""

    def __init__(*arguments: Any, **named: Any) -> None:
        self, given = arguments[0], dict(*arguments[1:], **named)
        for name in given:
            Namespace.refuse(name)
        jinja2.utils.Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        Namespace.refuse(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def refuse(name: Any) -> None:
        """Refuse a name that begins with an underscore."""
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace takes no name such as {name!r}")


def raise_exception(message: Any) -> None:
    raise jinja2.exceptions.TemplateError(str(message))


def to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form: str) -> str:
    before_format(form, ())
    return datetime.now().strftime(form)


def environment() -> Any:
    """Return the sandbox that all templates run in."""
    made = Sandbox(
        trim_blocks=True, lstrip_blocks=True, finalize=charge, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.filters.update({name: charge_filter(name, filter_) for name, filter_ in made.filters.items()})
    names: Any = made.globals
    names.update(raise_exception=raise_exception, strftime_now=strftime_now, dict=Dict(), namespace=Namespace)
    names.pop("lipsum", None)
    return made
