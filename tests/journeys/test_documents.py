"""Every example in the README and the guide runs as printed, in a fresh process."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tools.documents import DOCUMENTS, ROOT, Block, blocks, document_name, run_command, run_program


def _blocks(language: str) -> list[pytest.ParameterSet]:
    return [pytest.param(block, id=block.name) for block in blocks(DOCUMENTS, language)]


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_block(block: Block, tmp_path: Path) -> None:
    done = run_program(sys.executable, block.text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "assert" in block.text, "a block must check what it says"


@pytest.mark.parametrize("block", _blocks("sh"))
def test_shell_block(block: Block) -> None:
    for words in block.commands():
        done = run_command(sys.executable, words)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"


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
    assert [(document_name(d), link) for d, link in links if not (d.parent / link).exists()] == []
