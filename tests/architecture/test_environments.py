"""``make environments``: what it tries is what the wheel asks for, its answers are kept, and papers claim no more."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from tools import environments, trial
from tools.documents import ROOT, Block
from tools.environments import digest, keep, passed_before, requirements, row_of
from tools.extras import EXTRAS
from tools.trial import Environment, Trial

METADATA = """Metadata-Version: 2.4
Name: loom-compute
Requires-Dist: llvmlite<0.51,>=0.48
Requires-Dist: numpy>=1.26
Provides-Extra: onnx
Requires-Dist: ml-dtypes>=0.5; extra == 'onnx'
Requires-Dist: mlx[cpu]>=0.29; (sys_platform == 'linux') and extra == 'test'
Requires-Dist: torch==2.13.0; extra == 'test'

Requires-Dist: nothing>=1 (a README)
"""


def wheel_of(folder: Path, **files: str) -> Path:
    path = folder / "loom_compute-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in {"loom-0.dist-info/METADATA": METADATA, "loom/a.py": "a = 1\n", **files}.items():
            file.writestr(name, text)
    return path


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page without answers, in place of the guide's."""
    path = tmp_path / "environments.md"
    path.write_text(f"# A page\n\nWords.\n\n{environments._HEAD}\nMore words.\n")
    monkeypatch.setattr(environments, "PAGE", path)
    return path


def test_what_a_wheel_asks_for_is_read(tmp_path: Path) -> None:
    assert list(requirements(wheel_of(tmp_path))) == [
        ("llvmlite<0.51,>=0.48", "llvmlite==0.48", ""),
        ("numpy>=1.26", "numpy==1.26", ""),
        ("ml-dtypes>=0.5", "ml-dtypes==0.5", "onnx"),
        ("mlx>=0.29", "mlx==0.29", "test"),
        ("torch==2.13.0", "torch==2.13.0", "test"),
    ]


def test_environments_are_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "interpreter", lambda minor: f"/python{minor}")
    wheel = wheel_of(tmp_path)
    every = {e.name: e for e in environments.environments(wheel, ["*"])}
    assert {*EXTRAS, "bare", "oldest"} <= set(every)
    assert "oldest-torch" not in every
    assert every["oldest"].pins == ("llvmlite==0.48", "numpy==1.26")
    assert every["oldest-onnx"].pins == ("llvmlite==0.48", "numpy==1.26", "ml-dtypes==0.5")
    assert every["torch"].pins == ("torch==2.13.0",)
    assert every["python3.12"].python == "/python12"
    assert [e.name for e in environments.environments(wheel, ["python3.1[01]", "onnx"])] == [
        "python3.10", "python3.11", "onnx",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [["nothing"], ["bare", "onx"], ["python3.9"], [""]])
def test_a_name_of_no_environment_is_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(SystemExit, match=rf"expected turn, bare, oldest, .*, got '{names[-1]}'\. Name some: make env"):
        next(environments.environments(wheel_of(tmp_path), names))


def test_there_is_one_wheel(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected one in .*, got none\. Run make dist"):
        environments.wheel_in(tmp_path / "dist")
    path = wheel_of(tmp_path)
    assert environments.wheel_in(tmp_path) == path
    (tmp_path / "a.whl").touch()
    with pytest.raises(SystemExit, match=r"got a\.whl, loom_compute"):
        environments.wheel_in(tmp_path)


def test_a_page_without_its_table_is_told_before_the_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dist").mkdir()
    wheel_of(tmp_path / "dist")
    page.write_text("# A page\n")
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["environments", "bare"])
    with pytest.raises(SystemExit, match="no table for answers"):
        environments.main()


def test_a_digest_changes_with_what_is_installed(tmp_path: Path) -> None:
    first = digest(wheel_of(tmp_path))
    assert re.fullmatch("[0-9a-f]{8}", first)
    readme = {"loom-0.dist-info/METADATA": METADATA + "more", "loom-0.dist-info/RECORD": "other"}
    assert digest(wheel_of(tmp_path, **readme)) == first
    assert digest(wheel_of(tmp_path, **{"loom-0.dist-info/METADATA": METADATA.replace("1.26", "2.0")})) != first
    assert digest(wheel_of(tmp_path, **{"loom/a.py": "a = 2\n"})) != first


def test_answers_are_kept_and_read(page: Path, tmp_path: Path) -> None:
    answer = Trial(Environment("bare", sys.executable), tmp_path, print, ["a|b", "a|b"], 12.6, "3.11.7")
    keep("bare", row_of(answer, True, "0123abcd"))
    keep("oldest", row_of(Trial(Environment("oldest", ""), tmp_path, print), False, "0123abcd"))
    assert passed_before("bare", "0123abcd")
    assert not passed_before("bare", "ffffffff")
    assert not passed_before("oldest", "0123abcd")
    keep("bare", row_of(answer, True, "ffffffff"))
    assert passed_before("bare", "ffffffff")
    assert not passed_before("bare", "0123abcd")
    text = page.read_text()
    assert text.count("| `bare` | 3.11.7 | passed | 13 |") == 1
    assert text.count("| a/b |") == 1
    assert text.startswith("# A page\n\nWords.\n\n| environment |")
    assert text.endswith("\n\nMore words.\n")


def test_an_environment_that_cannot_be_made_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "FOLDER", tmp_path)
    told: list[str] = []
    fallen = Trial(Environment("bare", "/bin/false"), tmp_path, told.append)
    assert not fallen.run()
    assert fallen.notes == ["venv: exit status 1"]
    assert told == ["  FAILED: venv: exit status 1\n"]


def test_a_block_may_ask_for_another_extra_and_for_nothing_else() -> None:
    block = Block("a.md:1", "python", "import torch\n")
    missing = "[here] the package onnx is not installed. Run pip install 'loom-compute[onnx]'."
    assert trial._other(missing, "torch", block) == "[onnx]"
    assert not trial._other(missing, "onnx", block)
    assert trial._other("ModuleNotFoundError: No module named 'torch'", "onnx", block) == "torch"
    assert not trial._other("ModuleNotFoundError: No module named 'loom.gone'", "onnx", block)
    assert not trial._other("AssertionError", "onnx", block)


def test_every_extra_of_ci_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for commits in range(len(EXTRAS)):
        monkeypatch.setattr(environments, "_git", lambda *words, count=commits: str(count))
        names.add(environments.turn())
    assert names == {name for name, extra in EXTRAS.items() if not extra.is_large}


def test_no_python_is_claimed_that_was_not_run() -> None:
    claimed = set(re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text()))
    rows = [row[0] for row in environments._ROW.finditer(environments.PAGE.read_text())]
    run = {found[1] for row in rows if (found := re.search(r"\| (3\.\d+)\.\d+ \| passed \|", row))}
    assert claimed
    assert claimed <= run, "run make environments, or claim less"
