"""What users install: extras that are told exist, and no optional package is imported but by ``loom.core.optional``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from loom.core.optional import PACKAGES

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
ASKED = re.compile(r"pip install (?:--\S+ )?['\"]?(?P<name>[\w.-]*)\[(?P<extras>[\w, ]+)\]")
HOME = "loom.core.optional"
ASKING = {"load", "require"}
IMPORTING = {"__import__", "find_spec", "import_module"}
HOSTS = {"IPython", "_pytest"}
"""What Loom runs in: imported where it is known to be there, for it has called."""
FOR_DEVELOPERS = {"check", "docs", "test"}
"""Extras of which the package itself imports nothing."""


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distributions(wanted: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", each)[0] for each in wanted}


def test_extras_that_are_told_exist() -> None:
    known = {f"{name}[{extra}]" for name in (project()["name"], ".") for extra in project()["optional-dependencies"]}
    seen, wrong = 0, []
    for path in chain([ROOT / "README.md"], (ROOT / "docs").rglob("*.md"), (ROOT / "src").rglob("*.py")):
        for found in ASKED.finditer(path.read_text()):
            seen += 1
            for extra in found["extras"].split(","):
                if f"{found['name']}[{extra.strip()}]" not in known:
                    wrong.append(f"{path.relative_to(ROOT)}: {found[0]}")
    assert not wrong
    assert seen > 10


def test_packages_are_those_of_the_extras() -> None:
    extras = project()["optional-dependencies"]
    assert not [name for name, (brought, extra) in PACKAGES.items() if brought not in distributions(extras[extra])]
    assert {extra for _, extra in PACKAGES.values()} == set(extras) - FOR_DEVELOPERS


# every import of an optional package


@dataclass
class Place:
    """An import: of ``name``, at a line of a module, inside functions (outermost first)."""

    module: str
    name: str
    line: int
    inside: tuple[ast.AST, ...]


class House:
    """The sources by dotted name, ``__init__`` as the package, with what they import and when they ask."""

    def __init__(self, base: Path) -> None:
        self.trees = {}
        for path in sorted((base / "loom").rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            self.trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
        self.places = [p for name, tree in self.trees.items() for p in places(tree, name, ())]

    def bare(self, optional: set[str]) -> list[str]:
        """Return the imports of optional packages that nothing stands before."""
        found = []
        for place in self.places:
            package = place.name.partition(".")[0]
            if package in optional and place.module != HOME and not self.is_behind(place, package, set()):
                found.append(f"{place.module}:{place.line} {place.name}")
        return found

    def is_behind(self, place: Place, package: str, seen: set[str]) -> bool:
        """Tell whether somebody asks for a package before a place is reached."""
        if any(asks(f, package, place.line) for f in place.inside):
            return True
        parts = place.module.split(".")
        if any(asks(self.trees[".".join(parts[:n])], package, None) for n in range(1, len(parts) + 1)):
            return True
        if place.inside or place.module in seen:
            return False
        readers = [p for p in self.places if place.module in (p.name, p.name.rpartition(".")[0])]
        return bool(readers) and all(self.is_behind(p, package, {*seen, place.module}) for p in readers)


def places(node: ast.AST, module: str, inside: tuple[ast.AST, ...]) -> Iterator[Place]:
    if isinstance(node, ast.Import):
        yield from (Place(module, each.name, node.lineno, inside) for each in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (Place(module, f"{node.module}.{each.name}", node.lineno, inside) for each in node.names)
    elif isinstance(node, ast.Call) and called(node) in IMPORTING and (name := text(node)):
        yield Place(module, name, node.lineno, ())  # asks nobody: as bare as an import at the top
    if isinstance(node, ast.If) and {"TYPE_CHECKING", "MYPY"} & {
        n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)
    }:
        return
    is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    for child in ast.iter_child_nodes(node):
        yield from places(child, module, (*inside, node) if is_function else inside)


def asks(scope: ast.AST, package: str, before: int | None) -> bool:
    """Tell whether a function asks for a package before a line, or a module as it is imported (``before`` None)."""
    nodes = ast.walk(scope) if before else (n for s in scope.body if isinstance(s, ast.Expr) for n in ast.walk(s))
    return any(
        isinstance(n, ast.Call) and called(n) in ASKING and text(n).partition(".")[0] == package
        and (before is None or n.lineno < before)
        for n in nodes
    )  # fmt: skip


def called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def text(node: ast.Call) -> str:
    first = node.args[0] if node.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def optional_of(house: House) -> set[str]:
    """Return every package that is imported somewhere and that a plain installation does not have."""
    base = {name.replace("-", "_") for name in distributions(project()["dependencies"])}
    roots = {place.name.partition(".")[0] for place in house.places}
    return (roots | set(PACKAGES)) - base - {"loom", "None"} - set(sys.stdlib_module_names) - HOSTS


def test_optional_packages_are_asked_for_before_they_are_imported() -> None:
    house = House(ROOT / "src")
    optional = optional_of(house)
    assert optional == set(PACKAGES), "name it in loom.core.optional, or do without"
    assert not house.bare(optional), "call loom.core.optional.load, or require before the import"
    assert sum(place.name.partition(".")[0] in optional for place in house.places) > 30


def test_a_bare_import_is_found(tmp_path: Path) -> None:
    """The walk is worth something: bare imports of every kind are found, those behind somebody are not."""
    for name, lines in {
        "bare": "import onnx",
        "late": "def f():\n    import onnx\n    require('onnx', 'f')",
        "other": "def f():\n    require('torch', 'f')\n    from onnx import helper",
        "called": "def f():\n    load('onnx', 'f')\n    return import_module('onnx.helper')",
        "asked": "def f():\n    load('onnx', 'f')\n    import onnx",
        "top": "import onnx",
        "reader": "def f():\n    require('onnx', 'f')\n    from loom.top import g",
        "door.__init__": "require('onnx', 'loom.door')",
        "door.room": "import onnx",
        "typed": "if TYPE_CHECKING:\n    import onnx",
    }.items():
        path = tmp_path / "loom" / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines + "\n")
    (tmp_path / "loom/__init__.py").write_text("")
    found = {each.partition(":")[0] for each in House(tmp_path).bare({"onnx"})}
    assert found == {"loom.bare", "loom.late", "loom.other", "loom.called"}
