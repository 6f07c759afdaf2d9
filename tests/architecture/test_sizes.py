"""Files stay below 600 lines and functions below 80, so that each can be read in one go; each file says what it is for.

Lists of arguments, results and errors in docstrings, where readers look things up, do not count.
One test a package, which lists all that is at fault: the figures are those of ``tools/house``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.house.sources import ROOT, Source, read_sources

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 600, 80
MOST_LINES_OF_ASSEMBLY = 850
"""LLVM assembly says in a line what Python says in a third of one; the walker has 831 (decision 1)."""
DRAWERS = {"utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}
PACKAGES = sorted({"loom", *(p.name for p in (ROOT / "src/loom").iterdir() if (p / "__init__.py").exists())})


def _faults(source: Source) -> Iterator[str]:
    """Yield what is at fault in one file, each with its place, what is expected and what there is."""
    facts, path = source.facts, source.path
    lines = facts.lines - len(facts.listed)
    if lines > MOST_LINES:
        yield f"{path}: too long: expected {MOST_LINES} lines at most, got {lines}. Make two files of it"
    for first, last, name, _ in facts.functions:
        lines = last - first + 1 - sum(first <= line <= last for line in facts.listed)
        if lines > MOST_LINES_OF_A_FUNCTION:
            yield (
                f"{path}:{first} {name} is too long: expected {MOST_LINES_OF_A_FUNCTION} lines at most, got "
                f"{lines}. Make two functions of it"
            )
    if not facts.documented and path.name != "version.py":
        yield f"{path}: no docstring: expected what the module is for. Write it"
    if path.name in DRAWERS:
        yield f"{path}: a drawer: expected a name that says what it holds. Call it by that"


@pytest.mark.parametrize("package", PACKAGES)
def test_sizes(package: str) -> None:
    sources = [s for s in read_sources(ROOT).values() if s.package == package]
    assert sources
    faults = [fault for source in sources for fault in _faults(source)]
    assert not faults, "\n".join(faults)


def test_every_file_is_in_a_package() -> None:
    sources = read_sources(ROOT)
    assert {s.package for s in sources.values()} == set(PACKAGES)
    assert {s.path for s in sources.values()} == {p.relative_to(ROOT) for p in (ROOT / "src").rglob("*.py")}


def test_assembly_stays_small() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in (ROOT / "src").rglob("*.ll")}
    assert lengths
    assert not {str(p): n for p, n in lengths.items() if n > MOST_LINES_OF_ASSEMBLY}


def test_each_fault_is_named(tmp_path: Path) -> None:
    """The edges: 600 lines and a function of 80 are right, one more is wrong, and so is each other fault."""
    folder = tmp_path / "src/loom/core"
    folder.mkdir(parents=True)
    (folder / "edge.py").write_text('"""Doc."""\nasync def f():\n' + "    x = 1\n" * 79 + "\n" * 519)
    listed = '    """Do it.\n\n    Args:\n        a: What.\n    """\n'  # 3 lines of 5 are a list
    (folder / "listed.py").write_text('"""Doc."""\ndef f(a):\n' + listed + "    x = 1\n" * 77)
    (folder / "long.py").write_text('"""Doc."""\n' + "\n" * 600)
    (folder / "version.py").write_text("")
    (folder / "utils.py").write_text("class C:\n    def f(self):\n        def g():\n" + "            x = 1\n" * 80)
    faults = [f.partition(":")[0] + f.partition(":")[2].partition(".")[0] for f in map(str, _all(tmp_path))]
    assert faults == [
        "src/loom/core/long.py too long: expected 600 lines at most, got 601",
        "src/loom/core/utils.py2 f is too long: expected 80 lines at most, got 82",
        "src/loom/core/utils.py3 g is too long: expected 80 lines at most, got 81",
        "src/loom/core/utils.py no docstring: expected what the module is for",
        "src/loom/core/utils.py a drawer: expected a name that says what it holds",
    ]


def _all(root: Path) -> list[str]:
    return [fault for source in read_sources(root).values() for fault in _faults(source)]
