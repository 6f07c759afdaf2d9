"""What one Python file says of itself: imports, definitions, comments for tools, lines of code, calls.

One parse, one walk and, for files of ``src``, one pass of the tokenizer give all figures; ``sources.py`` keeps the
result by the text's hash. Invariant: facts depend on the text alone, and are values that ``marshal`` writes.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .calls import Calls, read_calls

LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT}
FORMAT = re.compile(r"#\s*fmt:\s*(skip|off)")
IGNORE = re.compile(r"#\s*(type:\s*ignore|pyright:)")
LOADING, CALLING, TYPING = 0, 1, 2
"""When an import runs: with its file, in a function, or for type checkers alone."""


@dataclass
class Facts:
    """What stands in a file; places are lines."""

    lines: int = 0
    code: int = 0
    documented: bool = False
    layer: str = ""
    imports: list[tuple[int, str]] = field(default_factory=list[Any])
    functions: list[tuple[int, int, str, bool]] = field(default_factory=list[Any])
    """First line, last line, name, whether it is a property."""
    classes: list[tuple[int, str]] = field(default_factory=list[Any])
    asks: list[tuple[int, str]] = field(default_factory=list[Any])
    """Reads of ``caps.<name>``, or ``<anything>.caps.<name>``."""
    anys: list[int] = field(default_factory=list[Any])
    formats: list[int] = field(default_factory=list[Any])
    ignores: list[int] = field(default_factory=list[Any])
    exported: list[str] = field(default_factory=list[Any])
    bound: list[str] = field(default_factory=list[Any])
    """Names that statements of the module bind, imports among them."""
    public: list[str] = field(default_factory=list[Any])
    """Names without an underscore that the module defines itself."""
    listed: list[int] = field(default_factory=list[Any])
    """Lines of the lists of arguments, results and errors in docstrings."""
    calls: Calls = field(default_factory=Calls)


def read_facts(text: str) -> Facts:
    """Return the facts of a file of ``src``."""
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    layer = re.search(r"Layer: (\w+)", docstring or "")
    facts = Facts(len(text.splitlines()), documented=docstring is not None, layer=layer[1] if layer else "")
    _read_statements(tree, facts)
    _read_tokens(text, _read_nodes(tree, facts), facts)
    facts.calls = read_calls(tree)
    return facts


def _read_statements(tree: ast.Module, facts: Facts) -> None:
    """Read what the module's own statements bind and export."""
    inner = [child for node in tree.body if isinstance(node, ast.If) for child in node.body]
    bound = {name for node in (*tree.body, *inner) for name in _names(node)}
    own = (node for node in (*tree.body, *inner) if not isinstance(node, ast.ImportFrom))
    facts.bound = sorted(bound)
    facts.public = sorted({name for node in own for name in _names(node) if not name.startswith("_")})
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            facts.classes.append((node.lineno, node.name))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            facts.exported += [e.value for e in getattr(node.value, "elts", []) if isinstance(e, ast.Constant)]


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _read_nodes(tree: ast.Module, facts: Facts) -> set[int]:
    """Read what stands anywhere in a tree; return the lines of its docstrings, those of constants among them."""
    lines: set[int] = set()
    left: list[tuple[ast.AST, int]] = [(tree, LOADING)]
    while left:
        node, when = left.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            facts.listed += (node.lineno + number for number in _listed(node.value.value))
            continue
        _read_node(node, when, facts)
        typing = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) else ()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            when = max(when, CALLING)
        left += [(child, TYPING if child in typing else when) for child in _children(node)]
    facts.functions.sort()
    facts.anys.sort()
    facts.asks.sort()
    return lines


def _listed(text: str) -> Iterator[int]:
    """Yield the numbers, from 0, of the lines of a docstring that belong to lists, each with the blank line before."""
    indent: int | None = None
    for number, line in enumerate(text.split("\n")):
        if head := re.match(r"( *)(Args|Returns|Raises):$", line):
            indent = len(head[1])
            yield number - 1
        elif indent is not None and line.strip() and not line.startswith(" " * (indent + 1)):
            indent = None
        if indent is not None and line.strip():
            yield number


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node holds and has fields of its own: half of all nodes are operators, contexts and leaves."""
    for name in node._fields:
        value = getattr(node, name)
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.AST) and child._fields and not isinstance(child, ast.Constant):
                yield child


def _read_node(node: ast.AST, when: int, facts: Facts) -> None:
    if isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
        facts.anys += [node.lineno] * _count_any(node)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _last(node.value) == "caps":
            facts.asks.append((node.lineno, node.attr))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        facts.imports += ((when, name) for name in _imports(node))
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        is_property = any("property" in ast.unparse(d) for d in node.decorator_list)
        facts.functions.append((node.lineno, node.end_lineno or node.lineno, node.name, is_property))


def _imports(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the dotted names that a statement imports, ``from a import b`` as ``a.b``."""
    before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    return [before + alias.name for alias in node.names]


def _last(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _count_any(node: ast.Name | ast.Attribute | ast.Call) -> int:
    """Count the ``Any`` that a node itself is: the name, ``typing.Any``, or those in a type that ``cast`` is given."""
    if isinstance(node, ast.Name):
        return node.id == "Any"
    if isinstance(node, ast.Attribute):
        return node.attr == "Any" and _last(node.value) == "typing"
    kind = node.args[0] if _last(node.func) == "cast" and node.args else None
    text = kind.value if isinstance(kind, ast.Constant) else None
    return len(re.findall(r"\bAny\b", text)) if isinstance(text, str) else 0


def _read_tokens(text: str, docstrings: set[int], facts: Facts) -> None:
    """Count lines that hold anything but docstrings, comments and layout, and find the comments that tools obey."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
        elif token.type == tokenize.COMMENT:
            facts.formats += [token.start[0]] * bool(FORMAT.search(token.string))
            facts.ignores += [token.start[0]] * bool(IGNORE.search(token.string))
    facts.code = len(code - docstrings)
