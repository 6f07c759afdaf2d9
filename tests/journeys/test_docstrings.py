"""Every example in a docstring runs as printed."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import loom
from loom.ir.frontend.elementary import Elementary

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "attestation.py": "half a minute; docs/guide/verify.md has the same example, and is run",
    "monitor.py": "shows a process from then on, here that of the tests; tests/unit/cli/test_monitor.py does",
}
FILES = sorted((ROOT / "src/loom").rglob("*.py"))
SOURCES = [p for p in FILES if ">>> " in p.read_text() and p.name not in ELSEWHERE]


def _module(path: Path) -> Any:
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    return importlib.import_module(name)


def _examples(module: Any) -> list[doctest.DocTest]:
    """Return the docstrings with examples of a module; those of functions of kernels are no functions to Python."""
    scope = {**module.__dict__, "loom": loom}
    found = doctest.DocTestFinder().find(module, module.__name__, module, scope)
    parse = doctest.DocTestParser().get_doctest
    for name, value in vars(module).items():
        if isinstance(value, Elementary) and value.__module__ == module.__name__:
            found.append(parse(inspect.getdoc(value) or "", dict(scope), name, module.__file__, 0))
    return [each for each in found if each.examples]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src/loom").with_suffix("")))
def test_examples_of_docstrings(path: Path) -> None:
    module = _module(path)
    examples = _examples(module)
    assert examples, "an example that no docstring holds"
    for example in examples:
        said: list[str] = []
        doctest.DocTestRunner(verbose=False).run(example, out=said.append)
        assert not said, "".join(said)
