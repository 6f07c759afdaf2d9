"""Layers point downward, exhaustively: the import contract of pyproject.toml holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
Rows = list[set[str]]


def _contract() -> Rows:
    """Return the rows of the contract, the highest first, without packages that may be missing and are."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rows,) = (each["layers"] for each in contracts if each["type"] == "layers")
    return [
        {
            name.strip(" ()")
            for name in row.split("|")
            if "(" not in name or (ROOT / "src/loom" / name.strip(" ()")).exists()
        }
        for row in rows
    ]


def _told_by_contributing(text: str) -> Rows:
    line = re.search(r"^- Layers point downward: (.*?); a bar parts strangers", text, re.MULTILINE | re.DOTALL)
    assert line
    return [{name.strip() for name in row.split("|")} for row in re.findall(r"`([^`]+)`", line[1])]


def _told_by_architecture(text: str) -> Rows:
    block = re.search(r"^```\n(  cli .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    rows = [re.match(r"  (\w+(?: *\| *\w+)*)  ", line) for line in block[1].splitlines()]
    return [{name.strip() for name in row[1].split("|")} for row in rows if row]


def test_the_papers_tell_the_layers_of_the_contract() -> None:
    assert _told_by_contributing((ROOT / "CONTRIBUTING.md").read_text()) == _contract()
    assert _told_by_architecture((ROOT / "docs/architecture.md").read_text()) == _contract()


def test_papers_that_tell_other_layers_are_found() -> None:
    assert _told_by_contributing("- Layers point downward: `cli`, `a | b`,\n  `c`; a bar parts strangers.") == [
        {"cli"}, {"a", "b"}, {"c"},
    ]  # fmt: skip
    assert _told_by_architecture("```\n  cli    parses\n  a  |  b  two | three\n```\n") == [{"cli"}, {"a", "b"}]


def test_import_contract() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "layers KEPT" in done.stdout


def test_core_needs_nothing_of_loom_and_kernels_no_target() -> None:
    """The two lines that matter most, read off the sources without a tool."""
    for folder, forbidden in (("core", "ir|targets|runtime|patterns|kernels"), ("kernels", "targets|runtime|patterns")):
        for path in (ROOT / "src/loom" / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("from", "import") and words[1].startswith("loom."):
                    assert words[1].split(".")[1] not in forbidden.split("|"), f"{path.name}: {line}"


def test_importing_loom_loads_neither_numpy_nor_llvm() -> None:
    code = "import loom, sys; print([m for m in ('numpy', 'llvmlite', 'typer', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
