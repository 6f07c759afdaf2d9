"""The faults that the tests are measured by stay faults of these sources: ``tools/mutants.py`` can put each of them in.

A patch that no longer applies is to be written anew for what stands in its place, not to be dropped.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "tests/mutants"
PATCHES = sorted(MUTANTS.rglob("*.patch"))
LEAST, MOST_A_FOLDER = 60, 20


def test_every_patch_applies() -> None:
    """Several of one file would meet in it if all were applied at once: each is looked at by itself, in one process."""
    script = 'for patch; do git apply --check "$patch" || echo "$patch" >&2; done'
    command = ["sh", "-c", script, "sh", *map(str, PATCHES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr


def test_each_package_has_a_fault_and_says_what_is_wrong_then() -> None:
    packages = Counter[str]()
    for patch in PATCHES:
        text = patch.read_text()
        head = re.match(r"package: (\w+)\nfault: \S.*\.\n\n--- a/src/loom/(\w+)/\S+\n", text)
        assert head is not None, f"{patch.name} does not begin with its package and its fault"
        assert head[1] == head[2] == patch.name.split("-")[0], patch.name
        packages[head[1]] += 1
    there = {p.name for p in (ROOT / "src/loom").iterdir() if (p / "__init__.py").exists()}
    assert not there - packages.keys(), "packages without a fault"
    assert packages.total() >= LEAST


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("tools.mutants")


def test_a_known_test_whose_file_is_gone_finds_nothing(tool: Any, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tree/pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow']\n")
    assert tool.Scratch(tmp_path / "tree").test(["tests/test_gone.py::test_it"], (), 60) == ("passed", "")


def test_a_tree_that_was_stopped_while_it_was_made_is_gone(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    git, stopped = tool._git, list[str]()

    def stop(*words: str, **options: Any) -> str:
        if words[:2] != ("worktree", "add"):
            return git(*words, **options)
        git(*words[:3], "--no-checkout", "--lock", *words[4:])  # as git has it until all files are there
        stopped.append(words[-2])
        raise SystemExit(143)

    monkeypatch.setattr(tool, "_git", stop)
    with pytest.raises(SystemExit), tool.Scratch.open(None):
        pass
    assert not Path(stopped[0]).exists()
    assert stopped[0] not in git("worktree", "list")


def test_a_patch_is_looked_at_over_head(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is edited and not committed is not what is judged."""
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        (tmp_path / "a.py").write_text("a = 1\n")
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)
    (tmp_path / "a.py").write_text("a = 2\n")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    patch = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a = {}\n+a = 3\n"
    tool.Mutant("one", patch.format(1)).require_place()
    with pytest.raises(SystemExit, match="two: the patch no longer applies"):
        tool.Mutant("two", patch.format(2)).require_place()


def test_no_jobs_are_refused() -> None:
    command = [sys.executable, "tools/mutants.py", "--jobs", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2, "mutants.py: error: --jobs: expected 1 or more mutants at a time, got 0",
    )  # fmt: skip


def test_a_folder_of_patches_can_be_read_at_a_glance() -> None:
    assert max(Counter(p.parent for p in PATCHES).values()) <= MOST_A_FOLDER
