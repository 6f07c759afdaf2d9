"""Print the shape of ``src/loom``: files, lines, layers, circles, folders, and who asks how a device runs its lanes.

``python tools/graph.py [--root DIR] [--flag threads]``. The sources are read, never imported, so that ``--root`` may be
any checkout; its layers come from its own ``pyproject.toml``. ``tests/architecture/test_house.py`` holds the figures to
bars. Invariant: ``from loom.a import b`` names the file ``loom/a/b.py`` if there is one, else the file of ``loom.a``.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTICIPLES = """begun bought brought built chosen done drawn fed given gone grown held hidden kept known laid lent made
meant met paid said seen sent shown sold spent stood sunk taken thrown told torn understood wound woven written"""
"""Irregular ones; those that are verbs as well (bound, cut, found, left, put, read, run, set) are not among them."""
VERBS = "embed exceed feed need proceed seed shed speed"
"""Verbs that end as participles do."""


class When(IntEnum):
    """When an import runs."""

    LOADING = 0
    CALLING = 1
    TYPING = 2


@dataclass
class Source:
    """One file: its dotted name, its tree, and what it imports, when."""

    path: Path
    name: str
    tree: ast.Module
    lines: int
    imports: dict[str, When] = field(default_factory=dict[str, When])


def sources_of(root: Path) -> dict[str, Source]:
    """Return the files of ``src/loom`` below a checkout by dotted name, their imports resolved."""
    base = root / "src"
    found: dict[str, Source] = {}
    for path in sorted((base / "loom").rglob("*.py")):
        text = path.read_text()
        name = ".".join(path.relative_to(base).with_suffix("").parts)
        found[name] = Source(path.relative_to(root), name, ast.parse(text), len(text.splitlines()))
    for source in found.values():
        for when, name in _imports(source.tree, When.LOADING):
            target = _file_of(name, found)
            if target and target != source.name:
                source.imports[target] = min(when, source.imports.get(target, When.TYPING))
    return found


def _imports(node: ast.AST, when: When) -> Iterator[tuple[When, str]]:
    """Yield the dotted names that a tree imports, ``from a import b`` as ``a.b``."""
    if isinstance(node, ast.Import):
        yield from ((when, each.name) for each in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((when, f"{node.module}.{each.name}") for each in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, _when(node, child, when))


def _when(node: ast.AST, child: ast.AST, when: When) -> When:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and child in node.body:
        return When.TYPING
    inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    return max(when, When.CALLING) if inside else when


def _file_of(name: str, sources: Iterable[str]) -> str | None:
    """Return the file that ``import name`` means: a module, a package's door, or the module that a name stands in."""
    parent = name.rpartition(".")[0]
    tries = (name, f"{name}.__init__", parent, f"{parent}.__init__")
    return next((each for each in tries if each in sources), None)


def find_circles(sources: dict[str, Source], most: When) -> list[list[str]]:
    """Return the strongly connected files by imports that run at ``most`` or earlier, largest first (Tarjan 1972)."""
    edges = {name: [t for t, when in s.imports.items() if when <= most] for name, s in sources.items()}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in edges[name]:
            if target not in order:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == order[name]:
            at = stack.index(name)
            circles.append(sorted(stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in order:
            visit(name)
    return sorted((c for c in circles if len(c) > 1), key=lambda c: (-len(c), c))


def read_layers(root: Path) -> dict[str, int]:
    """Return each package's layer by the contract in ``pyproject.toml``, 0 at the bottom."""
    text = (root / "pyproject.toml").read_text()
    found = re.search(r"^layers = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r'"([^"]+)"', found[1]) if found else []
    return {name.strip(" ()"): at for at, row in enumerate(reversed(rows)) for name in row.split("|")}


def arrows_up(sources: dict[str, Source], layers: dict[str, int]) -> list[tuple[str, str]]:
    """Return the imports of any kind that do not point to a lower layer or stay in their package."""

    def package(name: str) -> str:
        return name.split(".")[1]

    found = [(s.name, t) for s in sources.values() for t in s.imports if package(s.name) != package(t)]
    inside = [(a, b) for a, b in found if package(a) in layers and package(b) in layers]
    return [(a, b) for a, b in inside if layers[package(a)] <= layers[package(b)]]


def count_folders(root: Path, top: str = "src/loom") -> list[tuple[int, str]]:
    """Return how many files each folder below ``top`` holds, the fullest first."""
    kinds = {".py", ".ll"}
    files = [p for p in (root / top).rglob("*") if p.suffix in kinds and p.name not in ("__init__.py", "__main__.py")]
    counts = Counter(str(p.parent.relative_to(root)) for p in files)
    return sorted(((n, folder) for folder, n in counts.items()), reverse=True)


def reads_of(sources: dict[str, Source], flag: str) -> list[str]:
    """Return the places that read ``caps.<flag>``, or ``<anything>.caps.<flag>``."""
    return [
        f"{s.path}:{node.lineno}"
        for s in sources.values()
        for node in ast.walk(s.tree)
        if isinstance(node, ast.Attribute)
        and node.attr == flag
        and isinstance(node.ctx, ast.Load)
        and _is_caps(node.value)
    ]


def _is_caps(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "caps") or (
        isinstance(node, ast.Attribute) and node.attr == "caps"
    )


def shared_classes(sources: dict[str, Source]) -> dict[str, list[str]]:
    """Return the names that more than one top-level class has, and the files of each."""
    places: dict[str, list[str]] = defaultdict(list)
    for s in sources.values():
        for node in s.tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(s.path))
    return {name: files for name, files in sorted(places.items()) if len(files) > 1}


def participles(sources: dict[str, Source]) -> dict[str, list[str]]:
    """Return the functions and methods whose names begin with a participle, by folder; properties are none of them."""
    found: dict[str, list[str]] = defaultdict(list)
    for s in sources.values():
        for node in ast.walk(s.tree):
            if isinstance(node, ast.FunctionDef) and _is_participle(node.name.strip("_").split("_")[0]):
                if not any("property" in ast.unparse(d) for d in node.decorator_list):
                    found[str(s.path.parent)].append(f"{s.path.name}:{node.lineno} {node.name}")
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _is_participle(word: str) -> bool:
    regular = word.endswith("ed") and len(word) > 3 and word not in VERBS.split()
    return regular or word in PARTICIPLES.split()


def _print_sizes(root: Path, sources: dict[str, Source]) -> None:
    print(f"files  {len(sources)} python, {sum(s.lines for s in sources.values()):,} lines")
    walkers = [len(p.read_text().splitlines()) for p in (root / "src/loom").rglob("*.ll")]
    print(f"files  {len(walkers)} ll, {sum(walkers):,} lines")
    for count, folder in count_folders(root)[:5]:
        print(f"folder {count:3} files  {folder}")


def _print_layers(root: Path, sources: dict[str, Source]) -> None:
    layers = read_layers(root)
    rows: dict[int, list[str]] = defaultdict(list)
    present = {name.split(".")[1] for name in sources}
    for name, at in layers.items():
        rows[at] += [name] * (name in present)
    for at in sorted(rows, reverse=True):
        print(f"layer  {at}  {' | '.join(rows[at])}")
    up = arrows_up(sources, layers)
    print(f"arrows up  {len(up)}")
    for source, target in up:
        print(f"  {source} -> {target}")


def _print_circles(sources: dict[str, Source], names: bool) -> None:
    said = {When.LOADING: "at top level", When.CALLING: "and in functions", When.TYPING: "of any kind"}
    for when, text in said.items():
        circles = find_circles(sources, when)
        print(f"circles {text}: {len(circles)}, of {' '.join(str(len(c)) for c in circles) or 'no'} files")
        for circle in circles if names and when is When.TYPING else ():
            print("  " + " ".join(name.removeprefix("loom.") for name in circle))


def _print_list(title: str, rows: Iterable[str], show: bool = True) -> None:
    rows = list(rows)
    print(f"{title}  {len(rows)}")
    for row in rows if show else ():
        print(f"  {row}")


def main() -> None:
    """Print the report of one checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to look at")
    parser.add_argument("--flag", default="threads", help="the field of Caps that tells vectors from threads")
    parser.add_argument("--short", action="store_true", help="counts only")
    given = parser.parse_args()
    sources, show = sources_of(given.root), not given.short
    _print_sizes(given.root, sources)
    _print_layers(given.root, sources)
    _print_circles(sources, show)
    reads = reads_of(sources, given.flag)
    _print_list(f"reads of caps.{given.flag} in {len({r.split(':')[0] for r in reads})} files", reads, show)
    _print_list("classes of one name", (f"{n}: {' '.join(p)}" for n, p in shared_classes(sources).items()), show)
    named = participles(sources)
    print(f"functions named by participles  {sum(map(len, named.values()))}")
    for folder, functions in named.items():
        print(f"  {len(functions):3}  {folder}" + ("".join(f"\n       {f}" for f in functions) if show else ""))


if __name__ == "__main__":
    main()
