"""Layers point downward, exhaustively: the import contract of pyproject.toml holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
