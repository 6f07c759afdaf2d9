"""Write the API reference from docstrings into ``build/docs``, with pdoc: ``python tools/reference.py [FOLDER]``.

Every public name stands on the page of the module that users import it from (``loom.random``, not the file behind it).
Invariant: a page holds all public names of its module, and no link on it leads nowhere, or the exit code is 1.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from functools import cache, cached_property
from html import unescape
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pdoc.doc
import pdoc.render

import loom
from loom.core.dtype import DType

ROOT = Path(__file__).parents[1]
BESIDE = ("loom.core.errors", "loom.flow.dnvm", "loom.nn.spec", "loom.nn.train")
"""Modules with pages that the door does not name and the guide does."""


class Class(pdoc.doc.Class):
    """The documentation of a class, with what it has from bases of Loom, which have no pages of their own."""

    @cached_property
    def own_members(self) -> list[pdoc.doc.Doc[Any]]:
        """Members defined in Loom, wherever in the bases."""
        return [m for m in self.members.values() if m.taken_from[0].split(".")[0] == "loom"]

    @cached_property
    def inherited_members(self) -> dict[tuple[str, str], list[pdoc.doc.Doc[Any]]]:
        """The others, by their class."""
        found = super().inherited_members.items()
        return {origin: members for origin, members in found if origin[0].split(".")[0] != "loom"}


pdoc.doc.Class = Class  # type: ignore[misc]  # what the module makes of every class


class Page(pdoc.doc.Module):
    """The documentation of a module under its public name."""

    below: list[Page]

    @cached_property
    def submodules(self) -> list[pdoc.doc.Module]:
        """The pages listed on this one."""
        return list(self.below)

    @cached_property
    def _var_docstrings(self) -> dict[str, str]:
        values = ((name, self.obj.__dict__[name]) for name in self.obj.__all__)
        return {name: f"The element type {value.name}." for name, value in values if isinstance(value, DType)}


def public_names(module: Any) -> list[str]:
    """Return what a module offers, without the modules among it."""
    names = getattr(module, "__all__", ())
    return [name for name in names if not isinstance(getattr(module, name), ModuleType)]


def public_modules() -> dict[str, Any]:
    """Return the modules with pages by the names that users import."""
    named = ((name, getattr(loom, name)) for name in loom.__all__)
    found = {"loom": loom, **{f"loom.{name}": m for name, m in named if isinstance(m, ModuleType)}}
    return {**found, **{name: import_module(name) for name in BESIDE}}


def _page(name: str, module: Any) -> Page:
    """Return the page of a module: of a stand-in that holds each public name, loaded."""
    stand_in = ModuleType(name, inspect.getdoc(module))
    stand_in.__dict__["__all__"] = sorted(public_names(module), key=lambda n: (n.lower(), n))
    for each in public_names(module):
        stand_in.__dict__[each] = _as_function(getattr(module, each))
    page = Page(stand_in)
    page.below = []
    return page


def _as_function(value: Any) -> Any:
    """Return the function that an object with a signature stands for, as elementary functions do."""
    if not hasattr(value, "__signature__") or inspect.isroutine(value) or inspect.isclass(value):
        return value
    found = FunctionType((lambda: None).__code__, {}, value.__name__)
    found.__doc__, found.__module__ = value.__doc__, value.__module__
    found.__dict__["__signature__"] = value.__signature__
    return found


def write(folder: Path) -> dict[str, Page]:
    """Write all pages and return them by name."""
    pages = {name: _page(name, module) for name, module in public_modules().items()}
    pages["loom"].below = [page for name, page in pages.items() if name != "loom"]
    pdoc.render.configure(docformat="markdown", show_source=False, footer_text=f"Loom {loom.__version__}")
    for name, page in pages.items():
        path = folder / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pdoc.render.html_module(page, pages), encoding="utf-8")
    (folder / "index.html").write_text(pdoc.render.html_index(pages), encoding="utf-8")
    (folder / "search.js").write_text(pdoc.render.search_index(pages), encoding="utf-8")
    return pages


@cache
def _anchors(path: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', path.read_text(encoding="utf-8")))


def find_missing(folder: Path) -> Iterator[str]:
    """Yield the public names that have no place in the pages."""
    for name, module in public_modules().items():
        there = _anchors(folder / f"{name.replace('.', '/')}.html")
        yield from (f"{name}.{each}" for each in public_names(module) if each not in there)


def find_broken(folder: Path) -> Iterator[str]:
    """Yield the links of pages that lead nowhere in ``folder``."""
    for path in sorted(folder.rglob("*.html")):
        text = re.sub(r"<script>.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            place, _, anchor = unescape(link).partition("#")
            if re.match(r"(https?|data|mailto):", place):
                continue
            target = (path.parent / place).resolve() if place else path
            if not target.is_file() or (anchor and anchor not in _anchors(target)):
                yield f"{path.relative_to(folder)}: {link}"


def main() -> int:
    """Write the pages, look at them, and tell."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/docs"
    # what pdoc cannot resolve stays as it is written
    warnings.filterwarnings("ignore", "(Error|.*failed).*annotation", UserWarning)
    pages = write(folder)
    wrong = [*find_missing(folder), *find_broken(folder)]
    names = sum(len(public_names(m)) for m in public_modules().values())
    print(f"{folder}/index.html: {len(pages)} pages, {names} names, {len(wrong)} faults")
    print("\n".join(wrong[:50]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
