"""The files of a checkout with their facts, each parsed once in its life: facts are kept by the hash of the text.

What is kept stands in ``build/house.facts`` of the checkout that this file is in, written as Python writes its own
``.pyc``, and is worth nothing but time: facts that other code has read, or another Python, are dropped. Invariant:
``from loom.a import b`` names the file ``loom/a/b.py`` if there is one, else the file of ``loom.a``.
"""

from __future__ import annotations

import ast
import hashlib
import marshal
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .calls import Calls, read_calls, read_document
from .facts import TYPING, Facts, read_facts

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build/house.facts"
MOST_KEPT = 6_000
"""Texts whose facts are kept, two checkouts of today; of more, those that this process did not ask for go."""
LEAST_FRESH = 20
"""New texts that are worth writing the file for; fewer are parsed sooner than all of it is written."""
CALLERS = ("tests", "conformance", "examples", "bench", "tools", "docs")
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


@dataclass
class Source:
    """One file of ``src/loom``: its dotted name, its facts, and which of the others it imports, when."""

    path: Path
    name: str
    facts: Facts
    imports: dict[str, int] = field(default_factory=dict[str, Any])

    @property
    def package(self) -> str:
        """The package below ``loom``, ``loom`` itself for the door."""
        parts = self.path.parts
        return parts[2] if len(parts) > 3 else "loom"


@dataclass
class Use:
    """What a file passes to others: its calls, and the flags that stand in its text."""

    calls: Calls = field(default_factory=Calls)
    flags: list[str] = field(default_factory=list[Any])


class _Store:
    """Facts by hash; read when first asked for, written by ``save`` if there are new ones."""

    def __init__(self, path: Path) -> None:
        self.path, self.fresh = path, 0
        self.rows: dict[bytes, Any] = {}
        self.read: set[bytes] = set()
        mine = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("facts.py", "calls.py"))
        self.salt = hashlib.blake2b(mine + str(sys.version_info[:2]).encode()).digest()
        try:
            salt, rows = marshal.loads(path.read_bytes())
        except (OSError, EOFError, TypeError, ValueError):  # there is none, or it is no longer whole
            return
        self.rows = rows if salt == self.salt else {}

    def look_up(self, kind: str, path: Path, compute: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        data = path.read_bytes()
        key = hashlib.blake2b(kind.encode() + data, digest_size=16).digest()
        self.read.add(key)
        if key not in self.rows:
            self.rows[key] = compute(data.decode())
            self.fresh += 1
        return self.rows[key]

    def save(self) -> None:
        """Write what is new; processes that do so at once lose each other's, which costs the next one its time."""
        if self.fresh < LEAST_FRESH:
            return
        rows = self.rows if len(self.rows) <= MOST_KEPT else {k: v for k, v in self.rows.items() if k in self.read}
        beside = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(exist_ok=True)
            beside.write_bytes(marshal.dumps((self.salt, rows)))
            beside.replace(self.path)
        except OSError:  # a checkout that may not be written to is read anew each time
            beside.unlink(missing_ok=True)
        self.fresh = 0


@cache
def _store() -> _Store:
    return _Store(KEPT)


@cache
def read_sources(root: Path) -> dict[str, Source]:
    """Return the files of ``src/loom`` below a checkout by dotted name, their imports resolved."""
    base = root / "src"
    sources: dict[str, Source] = {}
    for path in sorted((base / "loom").rglob("*.py")):
        name = ".".join(path.relative_to(base).with_suffix("").parts)
        row = _store().look_up("source", path, lambda text: asdict(read_facts(text)))
        sources[name] = Source(path.relative_to(root), name, Facts(**{**row, "calls": Calls(**row["calls"])}))
    _store().save()
    for source in sources.values():
        for when, name in source.facts.imports:
            target = _file_of(name, sources)
            if target and target != source.name:
                source.imports[target] = min(when, source.imports.get(target, TYPING))
    return sources


def _file_of(name: str, sources: Iterable[str]) -> str | None:
    """Return the file that ``import name`` means: a module, a package's door, or the module that a name stands in."""
    parent = name.rpartition(".")[0]
    tries = (name, f"{name}.__init__", parent, f"{parent}.__init__")
    return next((each for each in tries if each in sources), None)


@cache
def read_uses(root: Path) -> list[Use]:
    """Return what the files around ``src`` pass and name: tests, documents, examples, benchmarks, tools."""
    uses: list[Use] = []
    for path in _callers(root):
        row = _store().look_up(path.suffix or "text", path, _use(path.suffix))
        uses.append(Use(Calls(**row["calls"]), row["flags"]))
    _store().save()
    return uses


def _callers(root: Path) -> Iterator[Path]:
    for top in CALLERS:
        yield from sorted(p for p in (root / top).rglob("*") if p.suffix in (".py", ".md", ".sh", ".mustache"))
    yield from (p for p in (root / "README.md", root / "CONTRIBUTING.md", root / "Makefile") if p.exists())


def _use(suffix: str) -> Callable[[str], dict[str, Any]]:
    def compute(text: str) -> dict[str, Any]:
        calls = Calls()
        if suffix == ".py":
            calls = read_calls(ast.parse(text))
        elif suffix == ".md":
            calls = read_document(text)
        return asdict(Use(calls, sorted(set(FLAG.findall(text)))))

    return compute
