"""Changelog fragments have one form, and are gathered whole into ``CHANGELOG.md``."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from loom.core.errors import ArgumentError

ROOT = Path(__file__).parents[2]
DAY = date(2027, 1, 31)


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("changelog_tool", ROOT / "tools/changelog.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["changelog_tool"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(folder: Path, **texts: str) -> Path:
    (folder / "changes").mkdir()
    (folder / "changes/README.md").write_text("# Fragments\n")
    (folder / "CHANGELOG.md").write_text("# Changelog\n\nAbout.\n\n## 0.1.0 (2026-11-24)\n\n### Added\n- One. (#1)\n")
    for name, text in texts.items():
        (folder / "changes" / f"{name}.md").write_text(text)
    return folder


def test_the_fragments_have_one_form(tool: Any) -> None:
    found = tool.fragments(ROOT / "changes")
    wrong = [f"{each.path.name}: {problem}" for each in found for problem in tool.problems(each)]
    assert not wrong, "see changes/README.md"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A. B. C.", "3 sentences"),
        ("No end", "0 sentences"),
        (f"Long {'o' * 400}.", "406 characters"),
        ("- A bullet.", "begins with '- A'"),
        ("lower.", "begins with 'low'"),
    ],
)
def test_what_is_no_entry_is_found(tool: Any, tmp_path: Path, text: str, problem: str) -> None:
    root = _write(tmp_path, **{"7.added.x": text})
    (fragment,) = tool.fragments(root / "changes")
    assert [each.startswith(problem) for each in tool.problems(fragment)] == [True]
    with pytest.raises(ArgumentError, match=rf"7\.added\.x\.md: {problem}"):
        tool.gather(root, "0.2.0", DAY)
    assert (root / "changes/7.added.x.md").exists()


def test_code_ends_no_sentence(tool: Any, tmp_path: Path) -> None:
    root = _write(tmp_path, **{"7.added.x": "`a. b. c.` came in 0.5 s. It was `d. `e."})
    assert not list(tool.problems(tool.fragments(root / "changes")[0]))


@pytest.mark.parametrize("name", ["7.added", "added.7.x", "7.new.x", "07.added.x", "7.added.X", "7.added.a.b"])
def test_other_names_are_errors(tool: Any, tmp_path: Path, name: str) -> None:
    root = _write(tmp_path, **{name: "One."})
    with pytest.raises(ArgumentError, match=r"no name of a fragment: expected NNN\.kind\.topic\.md"):
        tool.fragments(root / "changes")


def test_fragments_are_gathered_under_a_version(tool: Any, tmp_path: Path) -> None:
    root = _write(tmp_path, **{"12.fixed.b": "Two\nlines.\n", "7.fixed.a": "Seven.", "9.added.front-door": "`x` came."})
    tool.gather(root, "0.2.0", DAY)
    assert (root / "CHANGELOG.md").read_text() == (
        "# Changelog\n\nAbout.\n\n"
        "## 0.2.0 (2027-01-31)\n\n### Added\n- `x` came. (#9)\n\n### Fixed\n- Seven. (#7)\n- Two lines. (#12)\n\n"
        "## 0.1.0 (2026-11-24)\n\n### Added\n- One. (#1)\n"
    )
    assert [path.name for path in (root / "changes").iterdir()] == ["README.md"]
    with pytest.raises(ArgumentError, match="no fragments"):
        tool.gather(root, "0.3.0", DAY)


def test_a_version_is_gathered_once(tool: Any, tmp_path: Path) -> None:
    root = _write(tmp_path, **{"7.added.x": "One."})
    with pytest.raises(ArgumentError, match=r"the changelog has this version: got 0\.1\.0"):
        tool.gather(root, "0.1.0", DAY)


@pytest.mark.parametrize("version", ["x", "0.2", "0.2.0 (", "1", "v0.2.0", "--help", "0.2.0rc1"])
def test_what_is_no_version_gathers_nothing(tool: Any, tmp_path: Path, version: str) -> None:
    root = _write(tmp_path, **{"7.added.x": "One."})
    if version in ("0.2", "0.2.0rc1"):
        tool.gather(root, version, DAY)
        assert f"\n## {version} (2027-01-31)\n" in (root / "CHANGELOG.md").read_text()
        return
    with pytest.raises(ArgumentError, match=r"no version: expected numbers as 0\.2\.0, 0\.2\.0rc1, got '"):
        tool.gather(root, version, DAY)
    assert (root / "changes/7.added.x.md").exists()


def test_the_first_version_is_gathered(tool: Any, tmp_path: Path) -> None:
    root = _write(tmp_path, **{"7.added.x": "One."})
    (root / "CHANGELOG.md").write_text("# Changelog\n")
    tool.gather(root, "0.2.0", DAY)
    text = (root / "CHANGELOG.md").read_text()
    assert text == "# Changelog\n\n## 0.2.0 (2027-01-31)\n\n### Added\n- One. (#7)\n\n"


def test_of_two_versions_neither_is_gathered() -> None:
    command = [sys.executable, str(ROOT / "tools/changelog.py"), "x.1", "x.2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "more than one version: expected one or none, got x.1 x.2" in done.stderr


def test_the_changelog_has_versions_areas_and_kinds() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert all(re.fullmatch(r"## \d+(\.\w+)+ \(\d{4}-\d\d-\d\d\)", line) for line in lines if line.startswith("## "))
    kinds = {"Added", "Changed", "Removed", "Fixed"}
    assert {line[5:] for line in lines if line.startswith("#### ")} <= kinds
    entries = "\n".join(line for line in lines if not line.startswith("#")).split("\n- ")[1:]
    assert len(entries) > 200
    assert [entry for entry in entries if not re.search(r"\(#\d+", entry)] == []


def test_the_changelog_is_shipped_and_linked() -> None:
    assert '"CHANGELOG.md"' in (ROOT / "pyproject.toml").read_text()
    assert "](CHANGELOG.md)" in (ROOT / "README.md").read_text()
    assert "tools/changelog.py $(VERSION)" in (ROOT / "Makefile").read_text()
