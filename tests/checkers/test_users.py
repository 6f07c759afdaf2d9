"""What users write is checked by mypy and pyright (``tools/users.py``); their sample project runs, too."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkers.project import arrays, kernels, networks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("users_tool", ROOT / "tools/users.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["users_tool"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _remaining(*rows: tuple[str, str, str, int]) -> dict[str, Any]:
    return {"errors": [dict(zip(("checker", "group", "kind", "count"), row, strict=True)) for row in rows]}


def test_figures_may_neither_rise_nor_stay_above_what_is_there(tool: Any) -> None:
    problems = [tool.Problem("mypy", "project", "misc", f"a.py:{n}", "wrong\nin detail") for n in (1, 2)]
    assert tool.judge(problems, _remaining(("mypy", "project", "misc", 2))) == []
    assert tool.judge(problems, _remaining(("mypy", "project", "misc", 1))) == [
        "[mypy project misc] more errors than are allowed: expected at most 1, got 2.",
        "  a.py:1: wrong",
        "  a.py:2: wrong",
    ]
    assert tool.judge(problems, _remaining(("mypy", "project", "misc", 3))) == [
        "[mypy project misc] fewer errors than are allowed: got 2. Lower 3 in remaining.toml."
    ]
    assert len(tool.judge(problems, _remaining(("pyright", "project", "misc", 2)))) == 4, "another checker's"


def test_what_the_checkers_print_is_read(tool: Any) -> None:
    text = (
        'examples/a.py:3: error: Value "x" is wrong  [arg-type]\nexamples/a.py:3: note: see there\n'
        "build/typing/documents/README_3.py:9: error: invalid syntax\nFound 2 errors in 2 files\n"
    )
    assert tool.read_mypy(text) == [
        ("mypy", "examples", "arg-type", "examples/a.py:3", 'Value "x" is wrong'),
        ("mypy", "documents", "syntax", "build/typing/documents/README_3.py:9", "invalid syntax"),
    ]
    rows = [
        {"file": f"/x/{tool.PROJECT}/a.py", "severity": severity, "message": "no", "rule": "reportX",
         "range": {"start": {"line": 4}}}
        for severity in ("error", "warning")
    ]  # fmt: skip
    found = tool.read_pyright(json.dumps({"generalDiagnostics": rows}))
    assert found == [("pyright", "project", "reportX", f"/x/{tool.PROJECT}/a.py:5", "no")]


def test_every_block_of_a_document_is_checked(tool: Any, tmp_path: Path) -> None:
    document = ROOT / "docs/guide/kernels.md"
    tool.write_blocks(tmp_path / "blocks", [document])
    files = list((tmp_path / "blocks").iterdir())
    assert len(files) == len(re.findall("^```python$", document.read_text(), re.MULTILINE)) > 5
    assert all(path.name.startswith("docs_guide_kernels_") for path in files)


def test_each_kind_that_remains_has_a_reason(tool: Any) -> None:
    rows = tool.tomllib.loads(tool.REMAINING.read_text())["errors"]
    assert all(row["count"] > 0 and len(row["why"]) > 10 for row in rows)
    assert sum(row["count"] for row in rows) <= 25, "this sum may only fall"


def test_make_check_runs_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.split("\ntypes:\n", 1)[1].split("\n\n", 1)[0]
    assert "$(BIN)/python tools/users.py" in recipe


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_planted_errors_of_users_are_found(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "tests/checkers/project"
    wrong.mkdir(parents=True)
    (wrong / "wrong.py").write_text("import loom\n\nx: int = loom.Network\nloom.gpu_sum([1], axs=0)\n")
    monkeypatch.setattr(tool, "PROJECT", str(wrong))
    kinds = {problem.kind for problem in tool.run_mypy() if "wrong.py" in problem.place}
    assert kinds == {"assignment", "call-arg"}


def test_the_kernels_of_the_project() -> None:
    x, y = np.arange(9, dtype=np.float32), np.ones(9, np.float32)
    assert kernels.add_scaled(x, y, 2.0).tolist() == [1.0 + 2 * n for n in range(9)]
    image = np.zeros((5, 7), np.float32)
    image[:, 3] = 4
    assert kernels.smoothed(image, 1)[0].tolist() == [0, 0, 1, 2, 1, 0, 0]


def test_the_arrays_of_the_project() -> None:
    x = np.array([3.0, -1.0, 2.0], np.float32)
    assert arrays.summary(x) == pytest.approx({"sum": 4, "median": 2, "largest": 3, "norm": 14**0.5})
    assert arrays.logistic(np.zeros(2, np.float32)).tolist() == [0.5, 0.5]
    samples = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    assert abs(arrays.standardised(samples).numpy().mean(0)).max() < 1e-5
    weights, loss = arrays.descend(samples, samples @ np.array([1, 2, 3], np.float32), 100)
    assert weights == pytest.approx([1, 2, 3], abs=1e-2)
    assert loss < 1e-3
    assert arrays.shapes(arrays.standardised(samples)) == (4,)


def test_the_networks_of_the_project(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((64, 4)).astype(np.float32)
    network, accuracy = networks.train(x, (x[:, 0] > 0).astype(np.int32), 30)
    assert accuracy > 0.9
    assert networks.keep(network, tmp_path / "model.json") == network.digest()
    assert networks.classes(network, x).shape == (64,)
