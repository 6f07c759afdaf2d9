"""The sandbox that chat templates run in: Jinja as transformers sets it up, with limits on time and size.

Layer: models, over the package jinja2 (extra ``models``). A template is a program from a stranger: it sees plain JSON
data alone, every loop, call and output is counted, and what could make a long text or number of a short one is looked
at before it runs. Invariant: a template that ends within its limits gives the text that transformers gives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import Any

from loom.core.errors import ArgumentError, DeviceError

__all__ = ["Budget", "compile_template", "rendering"]

MOST_SECONDS, MOST_TEXT, MOST_STEPS, MOST_SOURCE = 2.0, 16 << 20, 1_000_000, 1 << 20
"""Limits of one rendering: seconds, characters made on the way, loops and calls; characters of the template."""
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


def _spend(text: int = 0) -> None:
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


def _formatted(source: Any, arguments: Any) -> None:
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


def _before_method(source: str, name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Look at a call of a method of a text."""
    given = [*arguments, *named.values()]
    if name in ("center", "ljust", "rjust", "zfill", "expandtabs"):
        _numbers_fit(given)
        _spend(len(source) * (max([1, *(n for n in given if isinstance(n, int))]) if name == "expandtabs" else 1))
    elif name == "join" and given:
        _spend(_joined_length(source, given[0]))
    elif name == "replace" and len(given) >= 2:
        _spend(_replaced_length(source, given[0], given[1]))
    elif name == "translate" and given and isinstance(given[0], dict):
        _spend(len(source) * max([1, *map(_length, given[0].values())]))
    elif name in ("format", "format_map"):
        _formatted(source, [*given, *(v for g in given if isinstance(g, dict) for v in g.values())])
        _spend(sum(map(_length, given)) * max(1, source.count("{")))
    else:
        _spend(len(source))


def _before_operator(operator: str, left: Any, right: Any) -> None:
    """Look at an operation that could make much of little."""
    if operator == "*":
        for many, count in ((left, right), (right, left)):
            if isinstance(many, (str, bytes, list, tuple)) and isinstance(count, int):
                _spend(len(many) * max(count, 0))
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MOST_BITS:
            raise Exhausted("multiplies huge numbers")
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > _MOST_BITS:
            raise Exhausted("raises to a huge power")
        _spend()
    elif operator == "%" and isinstance(left, str):
        arguments = right if isinstance(right, tuple) else (right,)
        _formatted(left, arguments)
        _spend(len(left) + sum(map(_length, arguments)) * max(1, left.count("%")))
    else:
        _spend(_length(left) + _length(right) if isinstance(left, (str, bytes, list, tuple)) else 0)


def _counted_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that is counted; what Jinja wrote on the function stays on it."""
    from functools import wraps

    @wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        given = [*arguments, *named.values()]
        if name in ("center", "indent", "wordwrap", "batch", "slice", "tojson", "truncate", "filesizeformat", "round"):
            _numbers_fit(each for each in given[1:] if not isinstance(each, bool))
        if name == "replace":
            texts = [each for each in given if isinstance(each, str)]
            _spend(_replaced_length(*texts[:3]) if len(texts) >= 3 else 0)
        elif name == "format":
            texts = [each for each in given if isinstance(each, str)]
            _formatted(texts[0] if texts else "", given)
            _spend(sum(map(_length, given)) * max(1, texts[0].count("%") if texts else 1))
        elif name == "join":
            separator = next((each for each in given[1:] if isinstance(each, str)), "")
            values = next((each for each in given if isinstance(each, (list, tuple))), [])
            _spend(_joined_length(separator, values))
        found = function(*arguments, **named)
        _spend(
            _length(found)
            + (
                given[1] * found.count("\n")
                if name == "indent" and len(given) > 1 and isinstance(given[1], int) and isinstance(found, str)
                else 0
            )
        )
        return found

    return counted


def _jinja() -> Any:
    try:
        import jinja2
        import jinja2.ext
        import jinja2.sandbox
        import jinja2.visitor
    except ImportError:
        raise DeviceError("loom.models.tokens", "the package jinja2 is not installed",
                          remedy="Install it with pip install loom-compute[models]") from None  # fmt: skip
    version = tuple(int(part) for part in jinja2.__version__.split(".")[:3] if part.isdigit())
    if version < (3, 1, 6):
        raise DeviceError(
            "loom.models.tokens",
            "this jinja2 has known ways out of its sandbox",
            expected="3.1.6 or newer",
            got=jinja2.__version__,
            remedy="Run pip install -U jinja2",
        )
    return jinja2


@lru_cache(1)
def _environment() -> Any:
    jinja2 = _jinja()
    nodes = jinja2.nodes

    class Generation(jinja2.ext.Extension):  # pyright: ignore[reportUntypedBaseClass] - imported here
        """``{% generation %}``, which marks what the assistant says: its body, as it is."""

        tags = frozenset({"generation"})

        def parse(self, parser: Any) -> Any:
            """Return the body."""
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class Counter(jinja2.visitor.NodeTransformer):  # pyright: ignore[reportUntypedBaseClass] - imported here
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

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802 - a name of the visitor
            self.generic_visit(node)
            return nodes.Call(nodes.EnvironmentAttribute("concatenate"), node.nodes, [], None, None).set_lineno(
                node.lineno
            )

    class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):  # pyright: ignore[reportUntypedBaseClass] - imported here
        """Jinja's sandbox, counted."""

        intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])

        def tick(self, literal: int) -> None:
            """Count a round of a loop."""
            _spend(literal)

        def concatenate(self, *values: Any) -> str:
            """Return texts joined, as ``~`` does."""
            texts = [str(value) for value in values]
            _spend(sum(map(len, texts)))
            return "".join(texts)

        def _parse(self, source: str, name: Any, filename: Any) -> Any:
            return Counter().visit(super()._parse(source, name, filename))

        def call(self, context: Any, target: Any, *arguments: Any, **named: Any) -> Any:
            """Call, counted."""
            owner, name = getattr(target, "__self__", None), getattr(target, "__name__", "")
            if isinstance(owner, str):
                _before_method(owner, name, arguments, named)
            else:
                _spend()
            found = super().call(context, target, *arguments, **named)
            if isinstance(found, (str, bytes, list, tuple, dict)):
                _spend(len(found))
            return found

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
            """Compute, once it was looked at."""
            _before_operator(operator, left, right)
            return self.binop_table[operator](left, right)

    def shown(value: Any) -> Any:
        _spend(len(value) if isinstance(value, str) else 32)
        if isinstance(value, (list, tuple, dict)):
            _spend(8 * len(value))
        return value

    class Dict:
        """``dict`` without the class behind it."""

        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return dict(*arguments, **named)

        def fromkeys(self, *arguments: Any) -> Any:
            """Return a dict of keys."""
            return dict.fromkeys(*arguments)

    class Namespace(jinja2.utils.Namespace):  # pyright: ignore[reportUntypedBaseClass] - imported here
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
        _formatted(form, ())
        return datetime.now().strftime(form)

    made = Sandbox(
        trim_blocks=True, lstrip_blocks=True, finalize=shown, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.filters.update({name: _counted_filter(name, filter_) for name, filter_ in made.filters.items()})
    made.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, dict=Dict(), namespace=Namespace)
    made.globals.pop("lipsum", None)
    return made


@lru_cache(64)
def compile_template(source: str) -> Any:
    """Return a template; ArgumentError if it is none, or too long."""
    if len(source) > MOST_SOURCE:
        raise ArgumentError("chat template", "too long", expected=f"at most {MOST_SOURCE} characters", got=len(source),
                            remedy="Take the template of the model's own folder")  # fmt: skip
    environment = _environment()
    try:
        with rendering():
            return environment.from_string(source)
    except (Exhausted, RecursionError, MemoryError, SyntaxError, ValueError) as error:
        raise ArgumentError(
            "chat template", f"not usable ({str(error)[:200]})", expected="a template", remedy="Take another"
        ) from error
    except _jinja().exceptions.TemplateError as error:
        raise ArgumentError("chat template", f"not Jinja ({str(error)[:300]})", expected="a template",
                            remedy="Fetch tokenizer_config.json again") from error  # fmt: skip
