"""Move modules of ``src/loom`` to other folders, and every import, dotted name and path that means them.

``python tools/move.py loom.nn.random loom.nn.base.random [OLD NEW ...]`` or ``--list FILE``, whose lines are "OLD NEW".
Files are moved by git; Python files, documents and settings that git knows are rewritten, then sorted and formatted
by ruff. A folder that is new gets a door with the docstring after ``--door loom.nn.base "What is in it."``. Invariant:
applying a list twice changes nothing, so that a branch may be moved as its main line was before both are merged.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NAME = re.compile(r"\bloom(?:\.[A-Za-z_]\w*)+|(?<=`)[a-z_]+(?:\.[A-Za-z_]\w*)+(?=[`(])")
"""A dotted name, or one in backticks, where documents leave out ``loom``."""


def path_of(module: str) -> Path:
    """Return the file of a module, below the root."""
    return Path("src", *module.split(".")).with_suffix(".py")


def rename(dotted: str, moves: dict[str, str]) -> str:
    """Return a dotted name, its longest beginning that is a moved module renamed."""
    short = not dotted.startswith("loom.")
    parts = [*(["loom"] if short else []), *dotted.split(".")]
    for end in range(len(parts), 1, -1):
        new = moves.get(".".join(parts[:end]))
        if new is not None:
            return ".".join([new, *parts[end:]]).removeprefix("loom." if short else "")
    return dotted


def split_imports(text: str, moves: dict[str, str]) -> str:
    """Return a source whose ``from package import module`` names the packages that moved modules are in."""
    lines = text.splitlines(keepends=True)
    for node in sorted(
        (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)), key=lambda n: -n.lineno
    ):
        went = [a for a in node.names if f"{node.module}.{a.name}" in moves]
        if not went or node.end_lineno is None:
            continue
        groups: dict[str, list[str]] = {}
        for alias in node.names:
            old = f"{node.module}.{alias.name}"
            package, _, name = moves.get(old, old).rpartition(".")
            shown = alias.asname or (alias.name if alias.name != name else None)
            groups.setdefault(package, []).append(f"{name} as {shown}" if shown else name)
        indent = " " * node.col_offset
        rest = lines[node.end_lineno - 1][node.end_col_offset or 0 :]
        text_of = [f"{indent}from {package} import {', '.join(names)}" for package, names in groups.items()]
        lines[node.lineno - 1 : node.end_lineno] = ["\n".join(text_of) + rest]
    return "".join(lines)


def rewrite(text: str, moves: dict[str, str], *, python: bool) -> str:
    """Return the text of a file after modules were moved."""
    if python:
        text = split_imports(text, moves)
    text = _NAME.sub(lambda match: rename(match[0], moves), text)
    for old, new in moves.items():
        before, after = (str(path_of(name).relative_to("src/loom")) for name in (old, new))
        text = re.sub(rf"(?<![\w/.-])((?:[ab]/)?(?:src/)?(?:loom/)?){re.escape(before)}\b", rf"\g<1>{after}", text)
    return text


def run(*command: str) -> str:
    """Run a command in the root; return its output."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Move what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="OLD NEW")
    parser.add_argument("--list", type=Path, help="a file of lines OLD NEW, or door PACKAGE DOCSTRING")
    parser.add_argument("--door", nargs=2, action="append", default=[], metavar=("PACKAGE", "DOCSTRING"))
    options = parser.parse_args()
    rows = [line.split(None, 1) for line in options.list.read_text().splitlines()] if options.list else []
    doors = dict([*options.door, *(row[1].split(None, 1) for row in rows if row and row[0] == "door")])
    pairs = [(row[0], row[1].strip()) for row in rows if row and row[0] not in ("door", "#")]
    moves = dict([*pairs, *zip(options.names[::2], options.names[1::2], strict=True)])
    for package, docstring in doors.items():
        door = ROOT / Path("src", *package.split("."), "__init__.py")
        door.parent.mkdir(exist_ok=True)
        if not door.exists():
            door.write_text(f'"""{docstring}"""\n')
            run("git", "add", str(door))
    for old, new in moves.items():
        if (ROOT / path_of(old)).exists():
            run("git", "mv", str(path_of(old)), str(path_of(new)))
    files = run(
        "git", "ls-files", "*.py", "*.pyi", "*.md", "*.toml", "*.txt", "*.sh", "*.yaml", "*.patch", "Makefile"
    ).split("\n")
    for file in filter(None, files):
        path = ROOT / file
        if file.startswith("docs/adr/") or file == "CHANGELOG.md" or not path.is_file():
            continue  # those tell how things stood when they were written
        before = path.read_text()
        after = rewrite(before, moves, python=path.suffix in (".py", ".pyi"))
        if after != before:
            path.write_text(after)
            print(file)
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "-q", "--select", "I", "--fix", "."], cwd=ROOT, check=False)
    subprocess.run([*ruff, "format", "-q", "."], cwd=ROOT, check=False)


if __name__ == "__main__":
    main()
