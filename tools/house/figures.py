"""The figures that have a ceiling, each with its members, and the figures that are recorded for each package.

Invariant: a figure is the number of its members, so that whoever breaks a ceiling can be shown what is new.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .circles import folder_pairs
from .names import participles, shared_files
from .parameters import idle_parameters
from .sources import Source, read_sources

SUM = "loom.gpu_sum([1.0, 2.0])"
NETWORK = (
    "loom.Network.from_json({'format': 'loom/1', 'input': {'shape': [4]}, 'layers': ["
    "{'type': 'dense', 'output_size': 16, 'activation': 'relu'}, {'type': 'dense', 'output_size': 3}]})"
)
_MODULES = "; print(*sorted(m for m in sys.modules if m.split('.')[0] == 'loom'))"


@dataclass(frozen=True)
class Member:
    """One of what a figure counts: its file, its line there, and what it is. The line may move."""

    what: str
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.what}" if self.line else f"{self.path} {self.what}".strip()


@dataclass(frozen=True)
class Gate:
    """A figure with a ceiling: what its members are, how there are fewer of them, and how they are found."""

    meaning: str
    remedy: str
    members: Callable[[Path], list[Member]]


def _places(what: str, lines: Callable[[Source], list[int]]) -> Callable[[Path], list[Member]]:
    def members(root: Path) -> list[Member]:
        return [Member(what, str(s.path), line) for s in read_sources(root).values() for line in lines(s)]

    return members


def _folder_pairs(root: Path) -> list[Member]:
    return [Member(f"{one} <-> {other}") for one, other in folder_pairs(read_sources(root))]


def _participles(root: Path) -> list[Member]:
    return [Member(name, path, line) for path, line, name in participles(read_sources(root))]


def _same_names(root: Path) -> list[Member]:
    """Return the files whose name another file has already: of three that are called alike, two."""
    shared = shared_files(read_sources(root))
    return [Member("", f"{folder}/{name}") for name, folders in shared.items() for folder in folders[1:]]


def _idle_parameters(root: Path) -> list[Member]:
    return [Member(what, path, line) for path, line, what in idle_parameters(root)]


def _modules_of(call: str) -> Callable[[Path], list[Member]]:
    """Return the modules of Loom that a first call of a process loads, on the processor, compiled by one before."""

    def members(root: Path) -> list[Member]:
        with tempfile.TemporaryDirectory() as folder:
            rest = {name: value for name, value in os.environ.items() if not name.startswith(("LOOM_", "PYTHON"))}
            own = {"LOOM_CACHE_DIR": folder, "LOOM_DEVICE": "cpu", "PYTHONPATH": str(root / "src")}
            command = [sys.executable, "-c", f"import loom, sys; {call}{_MODULES}"]
            for _ in ("compiles", "counts"):
                done = subprocess.run(
                    command, env={**rest, **own}, cwd=folder, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    raise RuntimeError(f"[{call}] no answer: expected one, got {done.stderr.strip()}")
        return [Member(name) for name in done.stdout.split()]

    return members


GATES = {
    "folder_pairs": Gate(
        "pairs of folders of src/loom that import each other, by way of others as well",
        "Move what both need into a folder below them, or pass it as an argument.",
        _folder_pairs,
    ),
    "participles": Gate(
        "functions named by participles", "Name them by verbs and nouns of the field.", _participles
    ),
    "fmt_skips": Gate(
        "comments `fmt: skip` and `fmt: off`",
        "Accept the formatter's shape, or give the values a table of their own.",
        _places("fmt: skip", lambda s: s.facts.formats),
    ),
    "anys": Gate(
        "names `Any` in the code of src/loom: in annotations, casts and aliases, not in imports",
        "Name the type; `object` where it is only passed on.",
        _places("Any", lambda s: s.facts.anys),
    ),
    "type_ignores": Gate(
        "comments `type: ignore` and `pyright:`",
        "Narrow the type by a test, or correct the annotation.",
        _places("type: ignore", lambda s: s.facts.ignores),
    ),
    "same_names": Gate(
        "files of src/loom whose name another one has already; doors are none of them",
        "Call the file by what it holds, so that it can be opened by name.",
        _same_names,
    ),
    "modules_of_a_sum": Gate(
        "modules that the first loom.gpu_sum of a process loads, its kernels compiled by an earlier one",
        "Import what the sum does not need in the function that needs it.",
        _modules_of(SUM),
    ),
    "modules_of_a_network": Gate(
        "modules that the first loom.Network.from_json of a process loads",
        "Import what a network of two dense layers does not need in the function that needs it.",
        _modules_of(NETWORK),
    ),
    "idle_parameters": Gate(
        "parameters with a default that nobody passes",
        "Test it, show it in a document, or take it out (tools/house/parameters.py has the rule).",
        _idle_parameters,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Lines of code of a package, and its public names."""

    code: int
    names: int


def package_sizes(root: Path) -> dict[str, Size]:
    """Return each package's lines that are not docstring, comment or blank, and the public names its modules define.

    Of ``loom`` itself, which is the files beside the packages, the names are those that its door gives users.
    """
    code: dict[str, int] = defaultdict(int)
    names: dict[str, int] = defaultdict(int)
    for source in read_sources(root).values():
        code[source.package] += source.facts.code
        names[source.package] += len(source.facts.public)
    door = root / "src/loom/__init__.pyi"
    if door.exists():
        names["loom"] = sum(not name.startswith("_") for name in _door_names(ast.parse(door.read_text())))
    return {package: Size(code[package], names[package]) for package in sorted(code)}


def _door_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname for alias in node.names if alias.asname)
        elif isinstance(node, ast.FunctionDef):
            yield node.name
