"""Who may be called with what, and who is: parameters with defaults, and the arguments of calls, by names alone.

A call is known by the last word of what it calls: ``loom.stats.mean(x)`` and ``x.mean()`` are calls of ``mean``, and
``cls(..)`` is one of its class. Invariant: what cannot be told from names counts as passed; ``parameters.py`` has the
rule.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

PLAIN = {"abstractmethod", "cache", "classmethod", "contextmanager", "lru_cache", "override", "staticmethod"}
"""Decorators that leave it to callers by name to pass arguments; others may hand a function to anyone."""
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
MANY = 1_000
"""Positions that ``*arguments`` fills: all of them."""
TESTS_OF_TYPES = {"isinstance", "issubclass", "cast"}


@dataclass
class Calls:
    """What a file defines with defaults, and what its calls pass."""

    definitions: list[tuple[str, str, int, bool, list[tuple[str, int, list[str]]]]] = field(default_factory=list[Any])
    """Class or nothing, function, line, whether strangers may call it, and its parameters with defaults.

    Of a parameter its name, its position (-1: by name alone), and its flags, if it is an option of the command line.
    """
    bases: list[tuple[str, list[str]]] = field(default_factory=list[Any])
    aliases: list[tuple[str, str]] = field(default_factory=list[Any])
    options: dict[str, list[str]] = field(default_factory=dict[str, Any])
    """Annotations of options that have a name, and their flags."""
    passed: dict[str, tuple[int, list[str]]] = field(default_factory=dict[str, Any])
    """By the callee: the most positions that a call fills, and keywords; ``**`` stands for any."""
    values: list[str] = field(default_factory=list[Any])
    """Names of what is read without being called: attributes, and what the file imports or defines, not variables."""
    keys: list[str] = field(default_factory=list[Any])
    """Strings that are keys: arguments may come from there."""
    words: list[str] = field(default_factory=list[Any])
    """Strings that are names, or dotted ones, their last word: tests call functions by them."""


class _Reader(ast.NodeVisitor):
    """Walks a tree; annotations and tests of types are not read, since nobody calls what they name."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.passed: dict[str, tuple[int, set[str]]] = {}
        self.values: set[str] = set()
        self.read: set[str] = set()
        self.bound: set[str] = set()
        self.keys: set[str] = set()
        self.words: set[str] = set()
        self.classes: list[ast.ClassDef] = []

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.calls.aliases += [(a.asname, a.name) for a in node.names if a.asname and a.asname != a.name]
        self.bound.update(a.asname or a.name for a in node.names)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.calls.bases.append((node.name, [last_name(base) for base in node.bases]))
        self.bound.add(node.name)
        self.classes.append(node)
        for child in (*node.decorator_list, *node.keywords, *node.body):
            self.visit(child)
        self.classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.bound.add(node.name)
        defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
        for child in (*node.decorator_list, *defaults, *node.body):
            self.visit(child)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        for child in node.body:
            self.visit(child)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.values.add(node.attr)
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            self.words.add(node.value.rpartition(".")[2])

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for example in _examples(node.value.value) if ">>>" in node.value.value else ():
                self.visit(example)
        else:
            self.visit(node.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        self.keys.update(k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str))
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            self.keys.add(node.slice.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        for name in self._callees(node.func):
            most, words = self.passed.setdefault(name, (0, set()))
            stars = any(isinstance(a, ast.Starred) for a in node.args)
            words.update(k.arg or "**" for k in node.keywords)
            self.passed[name] = (max(most, MANY if stars else len(node.args)), words)
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)
        elif not isinstance(node.func, ast.Name):
            self.visit(node.func)
        kept = node.args[:1] if last_name(node.func) in TESTS_OF_TYPES else node.args
        for child in (*kept, *node.keywords):
            self.visit(child)

    def _callees(self, func: ast.expr) -> list[str]:
        """Return whom a call means: ``super().__init__`` the bases, ``cls`` and ``type(self)`` the class itself."""
        name = last_name(func)
        own = self.classes[-1:]
        if name == "__init__":
            return [last_name(base) for each in own for base in each.bases]
        if name in ("cls", "__class__", "__new__") or (isinstance(func, ast.Call) and last_name(func.func) == "type"):
            return [each.name for each in own]
        return [name] if name else []


def last_name(node: ast.AST) -> str:
    """Return the last word of a dotted name, nothing if it is none: ``c`` of ``a.b.c`` and of ``a.b.c[d]``."""
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def read_calls(tree: ast.Module) -> Calls:
    """Return what a file defines and passes; examples in its docstrings pass as well."""
    reader = _Reader()
    reader.visit(tree)
    calls = reader.calls
    calls.definitions = [each for owner, f in _functions(tree) for each in _definition(owner, f)]
    calls.options = {
        node.targets[0].id: flags
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (flags := _own_flags(node.value))
    }
    calls.passed = {name: (most, sorted(words)) for name, (most, words) in reader.passed.items()}
    calls.values = sorted(reader.values | (reader.read & reader.bound))
    calls.keys, calls.words = sorted(reader.keys), sorted(reader.words)
    return calls


def read_document(text: str) -> Calls:
    """Return what the Python of a document passes: blocks of code, and sessions; what does not parse says nothing."""
    blocks = re.findall(r"^```(?:python|py)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    trees = [tree for block in blocks for tree in (_examples(block) if ">>>" in block else _trees([block]))]
    return read_calls(ast.Module([node for tree in trees for node in tree.body], []))


def _examples(text: str) -> Iterator[ast.Module]:
    try:
        return _trees(example.source for example in doctest.DocTestParser().get_examples(text))
    except ValueError:
        return iter(())


def _trees(sources: Iterable[str]) -> Iterator[ast.Module]:
    for source in sources:
        try:
            yield ast.parse(source)
        except SyntaxError:
            continue


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions of a module and the methods of its classes; what a function defines is its own matter."""
    for node in tree.body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name if isinstance(node, ast.ClassDef) else "", inner


def _definition(
    owner: str, node: ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[tuple[str, str, int, bool, list[tuple[str, int, list[str]]]]]:
    """Yield a function with its parameters that have defaults, if it has any and is called by its name."""
    words = {last_name(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
    is_syntax = node.name.startswith("__") and node.name not in ("__init__", "__new__")
    if is_syntax or "overload" in words or any("property" in word for word in words):
        return
    bound = bool(owner) and "staticmethod" not in words
    places = [*node.args.posonlyargs, *node.args.args][bound:]
    first = len(places) - len(node.args.defaults)
    rows = [(each, at) for at, each in enumerate(places) if at >= first]
    rows += [(p, -1) for p, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is not None]
    if rows:
        found = [(p.arg, at, _flags(p.annotation) if p.annotation else []) for p, at in rows]
        yield owner, node.name, node.lineno, bool(words - PLAIN), found


def _flags(node: ast.expr) -> list[str]:
    """Return the flags of a type with ``typer.Option``; of one that is a plain name, ``=`` and the name."""
    return ["=" + node.id] if isinstance(node, ast.Name) else _own_flags(node)


def _own_flags(node: ast.expr) -> list[str]:
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and last_name(n.func) == "Option"]
    words = [a.value for call in calls for a in call.args if isinstance(a, ast.Constant)]
    return [part for word in words if isinstance(word, str) for part in word.split("/") if part.startswith("-")]
