"""Every file in examples/ runs in a fresh process, says what it did, and ends with an assert."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from sweep import check_each

ROOT = Path(__file__).parents[2]
FOLDERS = ("examples", "examples/data", "examples/networks", "examples/models")
EXAMPLES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))
GALLERY = sorted((ROOT / "examples/gallery").glob("*.py"))
NOT_RUN: set[str] = set()
"""Names of examples that cannot run here, each with its reason beside it."""
LONG = {"char_transformer", "conv2d_digits", "coordination", "integer_digits", "lora_grammar", "out_of_distribution"}
"""Those that take several seconds, of which ``make prove`` runs all; what they show has tests of its own."""


def _param(path: Path) -> pytest.ParameterSet:
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])


def test_there_are_examples() -> None:
    assert {"hello_loom", "tier2_sieve", "tier3_double", "debug_kernel"} <= {p.stem for p in EXAMPLES}
    assert {p.name for p in EXAMPLES} >= NOT_RUN


@pytest.mark.parametrize("path", [_param(p) for p in EXAMPLES if p.name not in NOT_RUN])
def test_example_runs(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout, "an example says what it did"
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


@pytest.mark.needs("threads")
@pytest.mark.parametrize("name", ["prime_swarm", "three_pipelines", "tier2_sieve"])
def test_example_runs_on_threads(name: str, on: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    environment = {**os.environ, "LOOM_DEVICE": on}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize(("name", "digest"), [("tiny_transformer", "e71deaf2db92"), ("lora_grammar", "18e9bffbdefc")])
def test_trained_languages_have_one_digest(name: str, digest: str, threads: str, on: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples/models" / f"{name}.py")]
    environment = {**os.environ, "LOOM_DEVICE": on, "LOOM_THREADS": threads}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"digest {digest}" in done.stdout


def test_three_pipelines_take_fifteen_lines() -> None:
    assert len((ROOT / "examples/three_pipelines.py").read_text().splitlines()) <= 15


@pytest.mark.parametrize("path", GALLERY, ids=lambda p: p.stem)
def test_the_gallery_shows_what_its_programs_draw(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(path), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (drawn,) = tmp_path.iterdir()
    if path.stem == "pictures":
        return
    assert drawn.stem == path.stem
    kept = (ROOT / "docs/gallery" / drawn.name).read_bytes()
    assert pixels_of(drawn.read_bytes()) == pixels_of(kept), "draw it anew: --out docs/gallery"
    assert f"]({drawn.name})" in (ROOT / "docs/gallery/README.md").read_text()


def pixels_of(png: bytes) -> tuple[bytes, bytes]:
    """Return the head and the pixels of a PNG of one data chunk, whatever packed them."""
    assert png[37:41] == b"IDAT"
    return png[:29], zlib.decompress(png[41 : 41 + int.from_bytes(png[33:37], "big")])


def test_examples_are_short_documented_and_check_themselves() -> None:
    check_each(_is_short_documented_and_checks_itself, [*EXAMPLES, *GALLERY])


def _is_short_documented_and_checks_itself(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) < 60
    last = tree.body[-1]
    if isinstance(last, ast.If) and "__main__" in ast.unparse(last.test):
        last = last.body[-1]
    assert isinstance(last, ast.Assert)
