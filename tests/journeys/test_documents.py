"""Every example in the README and the guide runs as printed, in a fresh process."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs/guide").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _name(document: Path) -> str:
    """Return a document's name, that of a folder's page with the folder."""
    folder = document.parent.name
    return document.name if folder in ("guide", "formats", ROOT.name) else f"{folder}/{document.name}"


def _blocks(language: str) -> list[pytest.ParameterSet]:
    found = []
    for document in DOCUMENTS:
        for match in _FENCE.finditer(document.read_text()):
            if match[1] == language:
                line = document.read_text()[: match.start()].count("\n") + 1
                found.append(pytest.param(match[2], id=f"{_name(document)}:{line}"))
    return found


@pytest.mark.parametrize("code", _blocks("python"))
def test_python_block(code: str, tmp_path: Path) -> None:
    path = tmp_path / "block.py"  # kernels need a file to be read from
    path.write_text(code)
    done = subprocess.run([sys.executable, "-W", "error", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "assert" in code, "a block must check what it says"


@pytest.mark.parametrize("block", _blocks("sh"))
def test_shell_block(block: str) -> None:
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "loom", f"only loom commands are run: {line}"
        environment = {**os.environ, "COLUMNS": "110"}
        done = subprocess.run(
            [sys.executable, "-m", "loom", *words[1:]],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target} " in text
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("exec make test")


def test_every_setting_is_in_the_guide() -> None:
    files = (p for p in (ROOT / "src/loom").rglob("*.py") if "export" not in p.parts)  # whose C has names like these
    sources = "".join(p.read_text() for p in files)
    read = set(re.findall(r'"(LOOM_[A-Z_]+)"', sources))
    told = set(re.findall(r"^\| `(LOOM_[A-Z_]+)` \|", (ROOT / "docs/guide/chains.md").read_text(), re.MULTILINE))
    assert read == told
    assert all(name in (ROOT / "src/loom/core/options.py").read_text() for name in told)


_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_links_lead_somewhere() -> None:
    documents = [*DOCUMENTS, *sorted((ROOT / "docs/formats").glob("*.md"))]
    links = [(document, link) for document in documents for link in _LINK.findall(document.read_text())]
    assert links
    assert [(_name(d), link) for d, link in links if not (d.parent / link).exists()] == []
