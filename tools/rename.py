"""Rename functions of modules of ``src/loom``, wherever Python code means them.

``python tools/rename.py loom.nn.formats._saved _save [MODULE.OLD NEW ...]`` or ``--list FILE``, whose lines are such
pairs; a method is MODULE.CLASS.OLD, and is renamed only if no other module says its name. Where the new name would
stand for something else, or a text names the old one, the function stays as it is, and the reason is printed: renaming
never changes what a program does. ``__all__``, double backticks of the module's own docstrings and patches of
``tests/mutants`` follow. Invariant: applying a list twice changes nothing.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREES = ("src", "tests", "conformance", "bench", "tools", "examples")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

Place = tuple[int, int, int]
"""Line, column in bytes and length of a name."""


class Scopes(ast.NodeVisitor):
    """The places where a module says one of its own global names, and which names each scope binds by itself."""

    def __init__(self, tree: ast.Module, module: str) -> None:
        self.places: dict[str, list[Place]] = {}
        self._module = module
        self.around: dict[str, set[str]] = {}
        self._stack: list[set[str]] = []
        self.top = set(_bound(tree))
        self.visit(tree)

    def _enter(self, node: ast.AST, own: set[str]) -> None:
        self._stack.append(own)
        self.generic_visit(node)
        self._stack.pop()

    def visit(self, node: ast.AST) -> None:
        """Note names; a function and a comprehension are scopes of their own."""
        if isinstance(node, ast.Name):
            self._note(node.id, node.lineno, node.col_offset)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            offset = len("class " if isinstance(node, ast.ClassDef) else "def ")
            offset += len("async ") if isinstance(node, ast.AsyncFunctionDef) else 0
            if not self._stack:
                self._note(node.name, node.lineno, node.col_offset + offset)
        if isinstance(node, _FUNCTIONS):
            self._enter(node, set(_bound(node, self._module)))
        elif isinstance(node, _COMPREHENSIONS):
            own = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
            self._enter(node, own)
        elif isinstance(node, ast.ClassDef):
            self._enter(node, set())  # its functions are methods
        else:
            self.generic_visit(node)

    def _note(self, name: str, line: int, column: int) -> None:
        if not any(name in scope for scope in self._stack):
            self.places.setdefault(name, []).append((line, column, len(name.encode())))
            self.around.setdefault(name, set()).update(*self._stack)


def _bound(scope: ast.AST, module: str = "") -> Iterator[str]:
    """Yield the names that a scope binds: parameters, assignments, imports but those from ``module``, functions, ..."""
    body: list[ast.AST] = [scope.body] if isinstance(scope, ast.Lambda) else list(getattr(scope, "body", []))
    if isinstance(scope, _FUNCTIONS):
        a = scope.args
        yield from (p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))))
    declared: set[str] = set()
    names: list[str] = []
    while body:
        node = body.pop()
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            declared.update(node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
            body += node.decorator_list
            continue
        elif isinstance(node, ast.Lambda):
            continue
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            names += [a.asname for a in node.names if a.asname]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [(a.asname or a.name).split(".")[0] for a in node.names]
        elif (isinstance(node, ast.ExceptHandler) and node.name) or (
            isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name
        ):
            names.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        if not isinstance(node, _COMPREHENSIONS):
            body += ast.iter_child_nodes(node)
        else:  # only what := binds comes out
            names += [n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)]
    yield from (name for name in names if name not in declared)


def put(text: str, places: list[Place], new: str) -> str:
    """Return a text with another name at places."""
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    for line, column, length in sorted(set(places), reverse=True):
        before = lines[line - 1]
        lines[line - 1] = before[:column] + new.encode() + before[column + length :]
    return b"".join(lines).decode()


class Renamer:
    """All Python files, and renames of names in them."""

    def __init__(self) -> None:
        self.texts = {p: p.read_text() for tree in TREES for p in (ROOT / tree).rglob("*.py")}
        self.before = dict(self.texts)

    def rename(self, module: str, old: str, new: str) -> str:
        """Rename a function of a module; return why not, "" when it was done or was done before."""
        home = ROOT / "src" / Path(*module.split(".")).with_suffix(".py")
        if not home.exists():
            home = home.with_suffix("") / "__init__.py"
        if home not in self.texts:
            return "no such module"
        users = [(home, old, "")]
        for path, text in self.texts.items():
            if path.suffix == ".py" and old in text and path != home:
                users += self._imports(path, text, module, old)
        edits: list[tuple[Path, list[Place]]] = []
        for path, local, attribute in dict.fromkeys(users):  # a file may import it in several functions
            said = re.findall(rf"(?<!`)[\"'](?:[\w.]*\.)?{old}[\"']", self.texts[path])
            if len(said) > (path == home and f'"{old}"' in self._exports(path)):
                return f"a text in {path.relative_to(ROOT)} names it"
            tree = ast.parse(self.texts[path])
            scopes = Scopes(tree, module)
            if path == home and not any(isinstance(n, _DEFINITIONS) and n.name == old for n in tree.body):
                return "" if old not in scopes.top and new in scopes.top else "it defines no such function"
            if attribute:
                edits.append((path, self._attributes(path, attribute, old)))
            elif new in scopes.top or new in scopes.around.get(local, set()):
                return f"{new} stands for something else in {path.relative_to(ROOT)}"
            else:
                edits.append((path, [*scopes.places.get(local, []), *self._names_of_imports(path, module, old)]))
        for path, places in edits:
            self.texts[path] = put(self.texts[path], places, new)
        exports = self._exports(home)
        text = (
            self.texts[home].replace(exports, exports.replace(f'"{old}"', f'"{new}"')) if exports else self.texts[home]
        )
        self.texts[home] = re.sub(rf"``{old}\b", f"``{new}", text)
        self._rename_in_patches(home, old, new)
        return ""

    def _exports(self, path: Path) -> str:
        match = re.search(r"^__all__ = \[.*?\]", self.texts[path], re.MULTILINE | re.DOTALL)
        return match[0] if match else ""

    def _rename_in_patches(self, home: Path, old: str, new: str) -> None:
        for patch in (ROOT / "tests/mutants").rglob("*.patch"):
            text = self.texts.setdefault(patch, self.before.setdefault(patch, patch.read_text()))
            if str(home.relative_to(ROOT)) in text:
                self.texts[patch] = re.sub(rf"\b{old}\b", new, text)

    def _imports(self, path: Path, text: str, module: str, old: str) -> list[tuple[Path, str, str]]:
        """Return under which name, or as whose attribute, a file says a function of a module."""
        package, _, own = module.rpartition(".")
        result: list[tuple[Path, str, str]] = []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == module:
                result += [(path, "" if a.asname else old, "") for a in node.names if a.name == old]
            if isinstance(node, ast.ImportFrom) and node.module == package:
                result += [(path, "", a.asname or own) for a in node.names if a.name == own]
            if isinstance(node, ast.Import):
                result += [(path, "", a.asname or module) for a in node.names if a.name == module]
        return result

    def _attributes(self, path: Path, owner: str, old: str) -> list[Place]:
        tree = ast.parse(self.texts[path])
        nodes = (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == old)
        return [
            (n.end_lineno or 0, (n.end_col_offset or 0) - len(old), len(old))
            for n in nodes if ast.unparse(n.value) == owner
        ]  # fmt: skip

    def _names_of_imports(self, path: Path, module: str, old: str) -> list[Place]:
        tree = ast.parse(self.texts[path])
        aliases = (a for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == module for a in n.names)
        return [(a.lineno, a.col_offset, len(old)) for a in aliases if a.name == old]

    def rename_method(self, module: str, old: str, new: str) -> str:
        """Rename a private method in the only module that says its name; return why not."""
        home = ROOT / "src" / Path(*module.split(".")).with_suffix(".py")
        word = re.compile(rf"\.{old}\b|\bdef {old}\b|[\"']{old}[\"']")
        if home not in self.texts:
            return "no such module"
        others = [p for p, t in self.texts.items() if p != home and word.search(t)]
        if others:
            return f"{others[0].relative_to(ROOT)} says {old}, too"
        text = self.texts[home]
        if re.search(rf"\b{new}\b", text):
            return "" if f"def {old}(" not in text else f"{new} stands there already"
        if len(re.findall(rf"\b{old}\b", text)) != len(re.findall(rf"\.{old}\b|\bdef {old}\b|``{old}\b", text)):
            return f"{old} is more than a method in its module"
        self.texts[home] = re.sub(rf"(\.|\bdef |``){old}\b", rf"\g<1>{new}", text)
        self._rename_in_patches(home, old, new)
        return ""

    def save(self) -> list[str]:
        """Write the files that changed; return their names."""
        changed = [p for p, text in self.texts.items() if text != self.before[p]]
        for path in changed:
            if path.suffix == ".py":
                ast.parse(self.texts[path])
            path.write_text(self.texts[path])
        return [str(p.relative_to(ROOT)) for p in changed]


def main() -> None:
    """Rename what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="MODULE.OLD NEW")
    parser.add_argument("--list", type=Path, help="a file of lines MODULE.OLD NEW")
    options = parser.parse_args()
    words = options.list.read_text().split() if options.list else options.names
    renamer, done = Renamer(), 0
    for place, new in zip(words[::2], words[1::2], strict=True):
        owner, _, old = place.rpartition(".")
        package, _, cls = owner.rpartition(".")
        is_method = cls[:1].isupper() or cls[:2].strip("_")[:1].isupper()
        why = renamer.rename_method(package, old, new) if is_method else renamer.rename(owner, old, new)
        done += not why
        if why:
            print(f"{place} stays: {why}")
    print(f"{done} renamed, in {len(renamer.save())} files", file=sys.stderr)


if __name__ == "__main__":
    main()
