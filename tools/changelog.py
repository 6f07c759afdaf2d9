"""Gathers the fragments of ``changes/`` into ``CHANGELOG.md``, under a version, and removes them.

``python tools/changelog.py`` shows the section, ``python tools/changelog.py 0.2.0`` writes it. Towncrier does the like,
but knows several fragments of one issue and kind by a number (``30.added.1.md``); here they have topics, so that people
who work side by side choose no same name. Invariant: fragments are removed only when the changelog has been written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

from loom.core.errors import ArgumentError

ROOT = Path(__file__).parents[1]
KINDS = "added", "changed", "removed", "fixed"
NAME = re.compile(rf"(?P<issue>[1-9]\d*)\.(?P<kind>{'|'.join(KINDS)})\.[a-z0-9]+(-[a-z0-9]+)*\.md")
VERSION = re.compile(r"\d+(\.\d+)+((a|b|rc|\.dev|\.post)\d+)*", re.ASCII)
MOST_SENTENCES, MOST_CHARACTERS = 2, 400
_SENTENCE = re.compile(r"[.!?](?=\s|$)")
_CODE = re.compile(r"`[^`]*`")


class Fragment(NamedTuple):
    """An entry to come: the number of its issue, its kind, one paragraph, and its file."""

    issue: int
    kind: str
    text: str
    path: Path


def fragments(folder: Path) -> list[Fragment]:
    """Return the fragments of a folder, by issue and name; ArgumentError for a file that is none."""
    found: list[Fragment] = []
    for path in sorted(folder.iterdir()):
        if path.name == "README.md":
            continue
        name = NAME.fullmatch(path.name)
        if name is None:
            raise ArgumentError(
                f"changes/{path.name}", "no name of a fragment", expected=f"NNN.kind.topic.md, of {', '.join(KINDS)}",
                got=path.name, remedy="Rename it as changes/README.md says",
            )  # fmt: skip
        found.append(Fragment(int(name["issue"]), name["kind"], " ".join(path.read_text().split()), path))
    return sorted(found, key=lambda each: each.issue)


def problems(fragment: Fragment) -> Iterator[str]:
    """Yield what is wrong with a fragment's text."""
    sentences = len(_SENTENCE.findall(_CODE.sub("code", fragment.text)))
    if not 1 <= sentences <= MOST_SENTENCES:
        yield f"{sentences} sentences: expected one or two, each with its full stop"
    if len(fragment.text) > MOST_CHARACTERS:
        yield f"{len(fragment.text)} characters: expected at most {MOST_CHARACTERS}"
    if not re.match(r"[A-Z`0-9]", fragment.text):
        yield f"begins with {fragment.text[:3]!r}: expected a capital letter or `code`, no bullet"


def section(version: str, day: date, found: list[Fragment]) -> str:
    """Return the changelog's section of a version: its entries by kind."""
    lines = [f"## {version} ({day.isoformat()})", ""]
    for kind in KINDS:
        entries = [f"- {each.text} (#{each.issue})" for each in found if each.kind == kind]
        lines += [f"### {kind.capitalize()}", *entries, ""] if entries else []
    return "\n".join(lines) + "\n"


def gather(root: Path, version: str, day: date) -> None:
    """Put the section of a version before all others and remove its fragments.

    ArgumentError if that is no version, if the changelog has it, if there is nothing to gather, or if a
    fragment is wrong.
    """
    if not VERSION.fullmatch(version):
        raise ArgumentError(
            "tools/changelog.py", "no version", expected="numbers as 0.2.0, 0.2.0rc1", got=repr(version),
            remedy="Run make changelog VERSION=0.2.0",
        )  # fmt: skip
    found, path = fragments(root / "changes"), root / "CHANGELOG.md"
    text = path.read_text()
    wrong = [f"{each.path.name}: {problem}" for each in found for problem in problems(each)]
    if wrong or not found:
        raise ArgumentError("tools/changelog.py", "; ".join(wrong) or "no fragments", remedy="See changes/README.md")
    if re.search(rf"^## {re.escape(version)} ", text, re.MULTILINE):
        raise ArgumentError("tools/changelog.py", "the changelog has this version", got=version, remedy="Name another")
    head, mark, latest = text.partition("\n## ")
    path.write_text(f"{head}\n{section(version, day, found)}{mark.lstrip()}{latest}")
    for each in found:
        each.path.unlink()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        raise SystemExit(
            f"[tools/changelog.py] more than one version: expected one or none, got {' '.join(sys.argv[1:])}"
        )
    if len(sys.argv) == 2 and sys.argv[1]:
        gather(ROOT, sys.argv[1], date.today())
    else:
        print(section("Unreleased", date.today(), fragments(ROOT / "changes")), end="")
