"""Runs the blocks of documents as they are printed: the one home of tests and of ``make environments``.

Standard library only, for it runs where nothing but Loom's wheel is installed. Invariant: a block is a program of its
own, in a process of its own, whose warnings are errors; a block that does not run is an answer, never silence.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCUMENTS", "ROOT", "Block", "blocks", "document_name", "run_command", "run_program"]

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs/guide").rglob("*.md"))]
"""Whose blocks run as printed."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of a document: its name (``README.md:34``), its language, its text."""

    name: str
    language: str
    text: str

    def commands(self) -> list[list[str]]:
        """Return the words of each line of shell, without comments."""
        lines = (shlex.split(line, comments=True) for line in self.text.splitlines())
        return [words for words in lines if words]


def document_name(document: Path) -> str:
    """Return a document's name, that of a folder's page with the folder."""
    folder = document.parent.name
    return document.name if folder in ("guide", "formats", ROOT.name) else f"{folder}/{document.name}"


def blocks(documents: Iterable[Path], language: str) -> Iterator[Block]:
    """Yield the blocks of documents in a language (``python``, ``sh``), in order."""
    for document in documents:
        text = document.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] == language:
                line = text[: match.start()].count("\n") + 1
                yield Block(f"{document_name(document)}:{line}", language, match[2])


def run_program(
    python: str | Path, code: str, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program by an interpreter from a file in ``folder``, as kernels need a file to be read from."""
    path = folder / "block.py"
    path.write_text(code, encoding="utf-8")
    return subprocess.run([str(python), "-W", "error", str(path)], env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip


def run_command(
    python: str | Path, words: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, ``loom`` and its arguments, in the clone; ValueError for another command."""
    if words[0] != "loom":
        raise ValueError(f"only loom commands are run: {shlex.join(words)}")
    surroundings = {**(os.environ if environment is None else environment), "COLUMNS": "110"}
    return subprocess.run([str(python), "-m", "loom", *words[1:]], cwd=ROOT, env=surroundings, capture_output=True,
                          text=True, check=False)  # fmt: skip
