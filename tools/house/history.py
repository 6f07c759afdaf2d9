"""What git knows of the ceilings: the file before its last change, and which members of a figure are new since then.

Invariant: where there is no git, or no history, a reason is given instead of an answer.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from .ceilings import FILE
from .figures import Gate, Member
from .sources import CALLERS

MOST_SHOWN = 20


class NoHistoryError(Exception):
    """There is no git here, or the history does not reach far enough; the text says which."""


def _git(root: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode(errors="replace").strip()
        raise NoHistoryError(f"git {arguments[0]} gave no answer: {said or error}") from error


def text_before(root: Path, file: str = FILE) -> str:
    """Return the file as it was before its last change: at HEAD if it was edited since, else one change earlier."""
    here = (root / file).read_bytes()
    commits = _git(root, "log", "-2", "--format=%H", "--", file).decode().split()
    for commit in commits:
        text = _git(root, "show", f"{commit}:{file}")
        if text != here:
            return text.decode()
    raise NoHistoryError(f"{file} has no earlier version in {root}: it is new, or the clone is shallow")


def text_at_main(root: Path, file: str = FILE) -> str:
    """Return the file where this branch left ``main``, so that a raise is not hidden by a later change of the file."""
    for name in ("origin/main", "main"):
        try:
            base = _git(root, "merge-base", "HEAD", name).decode().strip()
            return _git(root, "show", f"{base}:{file}").decode()
        except NoHistoryError:
            continue
    raise NoHistoryError(f"no branch main or origin/main in {root} has {file} and a commit of this branch")


def describe_news(root: Path, gate: Gate, file: str = FILE) -> str:
    """Return, for a message, the members of a figure that are new since the ceilings were last changed."""
    now = gate.members(root)
    try:
        commit = _git(root, "log", "-1", "--format=%h", "--", file).decode().strip()
        if not commit:
            raise NoHistoryError(f"{file} is not in git yet")
        before = _members_at(root, commit, gate)
    except NoHistoryError as error:
        return f" What is new cannot be told ({error}); python tools/graph.py lists all."
    rows = new_members(before, now)
    more = [f"and {len(rows) - MOST_SHOWN} more"] if len(rows) > MOST_SHOWN else []
    return "".join(f"\n  {row}" for row in [f"New since {commit}:", *rows[:MOST_SHOWN], *more])


def new_members(before: Sequence[Member], now: Sequence[Member]) -> list[str]:
    """Return what is there more often than before; where lines cannot tell which of several it is, all of them."""
    left = Counter((m.path, m.what) for m in before)
    rows: list[str] = []
    same: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for member in now:
        same[member.path, member.what].append(member)
    for key, members in same.items():
        more = len(members) - left[key]
        if more == len(members):
            rows += map(str, members)
        elif more > 0:
            lines = ", ".join(str(m.line) for m in members)
            rows.append(f"{key[0]} {key[1]}: {more} more, of those in lines {lines}")
    return rows


def _members_at(root: Path, commit: str, gate: Gate) -> list[Member]:
    tops = ["src/loom", *CALLERS, "README.md", "CONTRIBUTING.md", "Makefile"]
    there = _git(root, "ls-tree", "--name-only", commit, *tops).decode().split()
    packed = _git(root, "archive", commit, *there)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
        return gate.members(Path(folder))
