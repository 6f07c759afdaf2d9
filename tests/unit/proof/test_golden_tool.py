"""``tools/golden.py``: a case alone is computed and written, and nothing else of the file changes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loom.core.errors import ArgumentError

ROOT = Path(__file__).parents[3]
FILE = ROOT / "src/loom/proof/golden.json"
GUIDE = ROOT / "docs/guide/verify.md"
CASE, OTHER = "vectors f32, dot", "vectors i8, dot"
Run = Callable[..., str]


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_tool", ROOT / "tools/golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the tool over copies of its files, the digests being ``document``, and return what it writes."""
    digests, guide = tmp_path / "golden.json", tmp_path / "verify.md"

    def run(document: Any, *arguments: str) -> str:
        digests.write_text(json.dumps(document))
        guide.write_text(GUIDE.read_text())
        monkeypatch.setattr(tool, "FILE", digests)
        monkeypatch.setattr(tool, "GUIDE", guide)
        monkeypatch.setattr(sys, "argv", ["golden.py", *arguments])
        tool.main()
        if digests.read_text() == FILE.read_text():
            assert guide.read_text() == GUIDE.read_text()
        return digests.read_text()

    return run


def _golden() -> Any:
    return json.loads(FILE.read_text())


def test_the_file_has_sorted_keys() -> None:
    assert FILE.read_text() == json.dumps(_golden(), indent=1, sort_keys=True) + "\n", "run tools/golden.py"


def test_a_damaged_case_is_repaired_alone(run: Run) -> None:
    damaged = _golden()
    damaged["cases"][CASE] = damaged["layers"]["3"] = damaged["vectors"]["3"] = "0" * 64
    assert run(damaged, "--case", CASE) == FILE.read_text()
    damaged["cases"][OTHER] = damaged["layers"]["4"] = "1" * 64
    lines = zip(run(damaged, "--case", CASE).splitlines(), FILE.read_text().splitlines(), strict=True)
    changed = [got.split('"')[1] for got, want in lines if got != want]
    assert changed == [OTHER, "3", "4"], "what is not computed is kept, and the layer's digest is of what is kept"


def test_cases_are_named_by_globs_and_often(run: Run) -> None:
    damaged = _golden()
    names = ["NaN: 0 * inf, loop", "NaN: 0 * inf, straight", CASE]
    damaged["cases"] = {name: digest for name, digest in damaged["cases"].items() if name not in names}
    assert run(damaged, "--case", "NaN: 0 ? inf, [ls]*", "--case", CASE) == FILE.read_text()


def test_a_layer_writes_the_same_bytes(run: Run) -> None:
    damaged = _golden()
    damaged["cases"] = {name: digest for name, digest in damaged["cases"].items() if not name.startswith("NaN")}
    damaged["cases"]["a case that is gone"] = damaged["vectors"]["1"] = "0" * 64
    assert run(damaged, "--layer", "1") == FILE.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_run_writes_the_same_bytes(run: Run) -> None:
    assert run({}) == FILE.read_text()


def test_an_unknown_name_is_an_error_that_names_near_ones(run: Run) -> None:
    with pytest.raises(ArgumentError, match=rf"got 'vectors f33, dot'\. Did you mean '{CASE}'"):
        run(_golden(), "--case", "vectors f33, dot")
    with pytest.raises(ArgumentError, match=r"no such case: got 'nothing\*'"):
        run(_golden(), "--case", CASE, "--case", "nothing*")


def test_a_layer_with_another_new_case_is_an_error(run: Run) -> None:
    damaged = _golden()
    del damaged["cases"][OTHER]
    with pytest.raises(ArgumentError, match=rf"each of layer 3, got \['{OTHER}'\]\. Name them by --case too"):
        run(damaged, "--case", CASE)


@pytest.mark.parametrize(
    "text", ["", "<<<<<<< HEAD", "[]", '{"cases": {}}', '{"cases": {}, "layers": [], "vectors": {}}']
)
def test_a_damaged_file_is_an_error(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "golden.json"
    file.write_text(text)
    monkeypatch.setattr(tool, "FILE", file)
    monkeypatch.setattr(sys, "argv", ["golden.py", "--case", CASE])
    with pytest.raises(ArgumentError, match=r"golden\.json is damaged: expected an object .* Run git checkout"):
        tool.main()
    assert file.read_text() == text


def test_another_device_is_compared_and_writes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = _golden()
    with pytest.raises(SystemExit, match="0"):
        run(damaged, "--case", CASE, "--on", "cpu")
    assert capsys.readouterr().out == "1 of 1 cases as in golden.json on cpu\n"
    damaged["cases"][CASE] = "0" * 64
    with pytest.raises(SystemExit, match="1"):
        run(damaged, "--case", CASE, "--on", "cpu")
    assert capsys.readouterr().out == f"0 of 1 cases as in golden.json on cpu\n  {CASE}\n"


def test_a_guide_without_its_sentence_is_an_error(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "GUIDE", tmp_path / "verify.md")
    (tmp_path / "verify.md").write_text("# Verify\n")
    with pytest.raises(ArgumentError, match=r"verify\.md says no root: expected 'The root of all four"):
        tool.guide_with("0" * 64)
