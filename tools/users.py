"""Type checkers over what users write: examples, the code of all documents, and a sample project.

``python tools/users.py`` runs mypy and pyright and compares the errors of each kind with those that
``tests/checkers/remaining.toml`` allows. Blocks of documents are written to ``build/typing``.
Invariant: figures may only fall; one that fell has to be lowered there, so that it cannot rise again.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build/typing"
REMAINING = ROOT / "tests/checkers/remaining.toml"
PROJECT = "tests/checkers/project"
PYTHON = "3.11"
"""The oldest version that numpy's own types are written for."""
_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MYPY = re.compile(r"^(?P<path>[^:]+):(?P<line>\d+): error: (?P<text>.*?)(?:  \[(?P<kind>[\w-]+)\])?$")


class Problem(NamedTuple):
    """An error of a checker: which one, in what (documents, examples, project), its kind, its place and text."""

    checker: str
    group: str
    kind: str
    place: str
    text: str


def write_blocks(folder: Path, documents: Iterable[Path]) -> None:
    """Write the Python blocks of documents to a folder, a file each, named by the document and the line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for document in documents:
        text = document.read_text()
        for match in _FENCE.finditer(text):
            name = re.sub(r"\W", "_", document.relative_to(ROOT).with_suffix("").as_posix())
            (folder / f"{name}_{text[: match.start()].count(chr(10)) + 1}.py").write_text(match[1])


def group_of(path: str) -> str:
    """Return what a file is a part of."""
    return "project" if PROJECT in path else "examples" if "examples/" in path else "documents"


def read_mypy(text: str) -> list[Problem]:
    """Return the errors that mypy printed."""
    found = [match for line in text.splitlines() if (match := _MYPY.match(line))]
    return [
        Problem("mypy", group_of(m["path"]), m["kind"] or "syntax", f"{m['path']}:{m['line']}", m["text"])
        for m in found
    ]


def read_pyright(text: str) -> list[Problem]:
    """Return the errors that pyright printed as JSON."""
    rows: list[dict[str, Any]] = json.loads(text)["generalDiagnostics"]
    return [
        Problem(
            "pyright", group_of(row["file"]), row.get("rule", "syntax"),
            f"{row['file']}:{row['range']['start']['line'] + 1}", row["message"],
        )
        for row in rows
        if row["severity"] == "error"
    ]  # fmt: skip


def run_mypy() -> list[Problem]:
    """Return mypy's errors: its default settings for documents and examples, strict ones for the project."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--python-version", PYTHON]
    blocks = sorted(str(p.relative_to(ROOT)) for p in (BUILD / "documents").glob("*.py"))
    examples = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "examples").rglob("*.py"))
    return [
        problem
        for extra in ([*blocks, *examples], ["--strict", PROJECT])
        for problem in read_mypy(_output([*command, *extra]))
    ]


def run_pyright() -> list[Problem]:
    """Return pyright's errors: its standard settings for documents and examples, strict ones for the project."""
    settings = {
        "include": ["documents", "../../examples", f"../../{PROJECT}"], "strict": [f"../../{PROJECT}"],
        "extraPaths": ["../../src"], "pythonVersion": PYTHON, "typeCheckingMode": "standard",
        "reportMissingModuleSource": False, "reportMissingImports": False,
    }  # fmt: skip
    (BUILD / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "-p", str(BUILD), "--pythonpath", sys.executable, "--outputjson"]
    return read_pyright(_output(command))


def _output(command: list[str]) -> str:
    """Return what a checker prints; it must have run: 0 and 1 say whether it found errors."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"[{' '.join(command[1:3])}] it did not run: {done.stdout}{done.stderr}")
    return done.stdout


def judge(problems: list[Problem], remaining: dict[str, Any]) -> list[str]:
    """Return what is wrong: kinds of which there are more errors than are allowed, with them, or fewer."""
    counts = Counter(problem[:3] for problem in problems)
    allowed = {(row["checker"], row["group"], row["kind"]): row["count"] for row in remaining["errors"]}
    wrong: list[str] = []
    for key in sorted(counts.keys() | allowed.keys()):
        name, most = " ".join(key), allowed.get(key, 0)
        if counts[key] > most:
            wrong.append(f"[{name}] more errors than are allowed: expected at most {most}, got {counts[key]}.")
            wrong += [
                f"  {problem.place}: {problem.text.splitlines()[0]}" for problem in problems if problem[:3] == key
            ]
        elif counts[key] < most:
            wrong.append(
                f"[{name}] fewer errors than are allowed: got {counts[key]}. Lower {most} in {REMAINING.name}."
            )
    return wrong


def main() -> None:
    """Run both checkers; exit with what is wrong."""
    write_blocks(BUILD / "documents", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
    problems = [*run_mypy(), *run_pyright()]
    wrong = judge(problems, tomllib.loads(REMAINING.read_text()))
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(problems)} errors in what users write, all of them known")


if __name__ == "__main__":
    main()
