"""``make prove`` in parts: every case in one part, a part goes on where it stopped, and what fell is written down."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import parts

ROOT = Path(__file__).parents[2]
CASES = """
import os, pathlib, time, pytest
LOG = pathlib.Path(__file__).parents[1] / "log"
@pytest.mark.parametrize("n", range(12))
def test_one(n):
    with LOG.open("a") as file: file.write(f"{n}\\n")
    if n == 3 and os.environ.get("STOP"): time.sleep(60)
    assert n != 5 or not os.environ.get("FAIL")
def test_skipped(): pytest.skip("why")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with a dozen cases."""
    (tmp_path / "tests").mkdir()
    for name in ("rings.py", "parts.py"):
        (tmp_path / "tests" / name).write_text((ROOT / "tests" / name).read_text())
    (tmp_path / "tests/conftest.py").write_text('pytest_plugins = ["rings", "parts"]\n')
    (tmp_path / "tests/test_cases.py").write_text(CASES)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["tests"]\nmarkers = ["slow"]\n')
    (tmp_path / ".gitignore").write_text("build\nlog\n__pycache__\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    return tmp_path


def start(tree: Path, part: str, *words: str, **settings: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--part", part, "-p", "no:cacheprovider", *words]
    return subprocess.Popen(
        command, cwd=tree, env={**os.environ, **settings}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(tree: Path, part: str, *words: str, **settings: str) -> tuple[int, list[int]]:
    """Return the exit status, and the cases that were run."""
    (tree / "log").unlink(missing_ok=True)
    process = start(tree, part, *words, **settings)
    text = process.communicate(timeout=120)[0]
    assert process.returncode in (0, 1, 5), text
    return process.returncode, _log(tree)


def _log(tree: Path) -> list[int]:
    return sorted(map(int, (tree / "log").read_text().split())) if (tree / "log").exists() else []


def test_every_case_is_in_one_part(tree: Path) -> None:
    found = [run(tree, f"{n}/3", "-n", "2") for n in (1, 2, 3)]
    assert sorted(case for _, cases in found for case in cases) == list(range(12))
    proved = json.loads((tree / "tests/proved.json").read_text())
    assert list(proved) == ["1/3", "2/3", "3/3"]
    assert sum(row["passed"] for row in proved.values()) == 12
    assert sum(row["skipped"] for row in proved.values()) == 1
    assert len({row["commit"] for row in proved.values()}) == 1


def test_a_part_goes_on_where_it_was_stopped(tree: Path) -> None:
    process = start(tree, "1/1", STOP="1")
    deadline = time.monotonic() + 60
    while 3 not in _log(tree) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tree / "tests/proved.json").exists()
    status, cases = run(tree, "1/1", FAIL="1")
    assert (status, cases) == (1, list(range(3, 12)))
    row = json.loads((tree / "tests/proved.json").read_text())["1/1"]
    assert (row["passed"], row["failed"]) == (11, ["tests/test_cases.py::test_one[5]"])
    assert run(tree, "1/1") == (0, [5])
    assert json.loads((tree / "tests/proved.json").read_text())["1/1"]["failed"] == []
    assert run(tree, "1/1") == (5, [])
    (tree / "tests/test_cases.py").write_text(CASES + "\n")
    assert run(tree, "1/1") == (0, list(range(12))), "another tree is proved anew"


def proved(tree: Path) -> Any:
    return json.loads((tree / "tests/proved.json").read_text())


def test_a_record_that_was_cut_is_gone_on_with(tree: Path) -> None:
    run(tree, "1/1", FAIL="1")
    record = tree / "build/prove/1-of-1.jsonl"
    lines = record.read_text().splitlines()
    record.write_bytes("\n".join(lines[:4]).encode() + b'\n{"case": "a\xff[{x}')
    assert run(tree, "1/1") == (0, list(range(3, 12)))
    assert run(tree, "1/1") == (5, [])


def test_a_case_whose_end_failed_is_run_again(tree: Path) -> None:
    text = CASES + (
        "@pytest.fixture\ndef end():\n    yield\n    assert not os.environ.get('FAIL')\n"
        "def test_end(end):\n    with LOG.open('a') as file: file.write('99\\n')\n"
    )
    (tree / "tests/test_cases.py").write_text(text)
    assert run(tree, "1/1", FAIL="1")[0] == 1
    assert len(proved(tree)["1/1"]["failed"]) == 2
    assert run(tree, "1/1") == (0, [5, 99])
    assert proved(tree)["1/1"]["failed"] == []


def test_a_file_that_git_does_not_know_is_of_the_tree(tree: Path) -> None:
    new = tree / "tests/test_new.py"
    new.write_text("def test_new(): ...\n")
    run(tree, "1/1")
    assert "+" in proved(tree)["1/1"]["commit"]
    new.write_text("def test_new(): assert False\n")
    assert run(tree, "1/1") == (1, list(range(12)))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-x"], "it was stopped"),
        (["-n", "2", "--maxfail", "1"], "it was stopped"),
        (["tests/test_cases.py", "-k", "one"], r"only some cases are run \(paths, -k\)"),
        (["--ring", "test"], r"only some cases are run \(--ring\)"),
    ],
)
def test_a_part_of_which_less_is_run_is_not_written_down(tree: Path, words: list[str], why: str) -> None:
    said = start(tree, "1/1", *words, FAIL="1").communicate(timeout=120)[0]
    assert re.search(f"part 1/1 is not written into tests/proved.json: {why}", said), said
    assert not (tree / "tests/proved.json").exists()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_file_that_cannot_be_collected_is_no_proof(tree: Path, workers: str) -> None:
    (tree / "tests/test_broken.py").write_text("import no_such_module\n")
    said = start(tree, "1/1", "-n", workers, "--continue-on-collection-errors").communicate(timeout=120)[0]
    assert "is not written into tests/proved.json: tests/test_broken.py could not be collected" in said
    assert not (tree / "tests/proved.json").exists()


def test_a_tree_that_changed_meanwhile_is_not_proved(tree: Path) -> None:
    (tree / "tests/test_cases.py").write_text("def test_it():\n    open('new.py', 'w').write('x')\n")
    said = start(tree, "1/1").communicate(timeout=120)[0]
    assert "is not written into tests/proved.json: the tree changed while it ran" in said
    assert not (tree / "tests/proved.json").exists()


def test_a_damaged_file_of_proofs_is_told_before_the_run(tree: Path) -> None:
    (tree / "tests/proved.json").write_text("<<<<<<< HEAD\n")
    said = start(tree, "1/1").communicate(timeout=120)[0]
    assert "[--part] proved.json is damaged: expected an object of JSON. Mend or remove" in said
    assert not (tree / "log").exists()


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="expected a number and how many there are, as 3/8, got"):
        parts.read_part(text)
