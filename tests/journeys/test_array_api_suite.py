"""The official suite of the Python array API standard, run over ``loom.tensor`` as it is.

It is looked for where ``ARRAY_API_TESTS`` says, then in ``shared/peers/array-api-tests`` beside the checkout; without
it these tests are skipped. What is known to fail is named with its reason in ``array_api_failures.txt``, twenty tests
at most; whether examples are drawn that fail is chance, so that these tests may pass: that the reasons hold is tested
in ``tests/unit/tensor/standard/test_strict.py``. ``make test`` takes the parts that are quick, ``make prove`` all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPECTED = Path(__file__).with_name("array_api_failures.txt")
ROOT = Path(__file__).parents[2]
_NEEDED = ("hypothesis", "ndindex", "pytest_jsonreport")
_MOST = 20


def _suite() -> Path:
    given = os.environ.get("ARRAY_API_TESTS")
    places = [Path(given)] if given else [p / "shared/peers/array-api-tests" for p in (ROOT.parent, ROOT.parents[1])]
    found = next((p for p in places if (p / "array_api_tests").is_dir()), None)
    if found is None:
        pytest.skip(f"no array-api-tests at {' or '.join(map(str, places))}: set ARRAY_API_TESTS to a checkout of it")
    for module in _NEEDED:
        pytest.importorskip(module)
    return found


def _run(names: list[str], examples: int, timeout: float) -> str:
    """Run files of the suite in a process of its own; return what it prints at the end."""
    suite = _suite()
    environment = os.environ | {
        "ARRAY_API_TESTS_MODULE": "exec('from loom import tensor as xp')", "ARRAY_API_TESTS_VERSION": "2024.12",
        "LOOM_DEVICE": "cpu", "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "pytest", *(f"array_api_tests/{name}" for name in names), "-q", "-p", "no:cacheprovider",
        "-p", "no:xdist", "-o", "addopts=", "-o", "xfail_strict=False", "--max-examples", str(examples),
        "--disable-deadline", "--derandomize", "--tb=short", "--xfails-file", str(EXPECTED),
    ]  # fmt: skip
    ended = subprocess.run(
        command, cwd=suite, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    text = ended.stdout + ended.stderr
    assert ended.returncode == 0, text[-20_000:]
    assert " passed" in text, text[-2000:]
    return text


def _expected() -> list[str]:
    return [line for line in EXPECTED.read_text().splitlines() if line.strip() and not line.startswith("#")]


def test_the_list_of_failures_is_short_and_tells_why() -> None:
    lines = EXPECTED.read_text().splitlines()
    assert len(_expected()) <= _MOST
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("array_api_tests"):
            assert before.startswith("# "), f"{line} has no reason above it"


def test_names_and_signatures() -> None:
    _run(["test_has_names.py", "test_signatures.py", "test_constants.py", "test_inspection_functions.py"], 2, 300)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_suite() -> None:
    _run([""], 20, 7000)
