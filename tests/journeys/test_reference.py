"""The API reference, as ``make docs`` writes it: every public name is in it, and no link leads nowhere."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pdoc", reason="pdoc writes the reference: pip install '.[docs]'")

TOOL = Path(__file__).parents[2] / "tools/reference.py"


def test_every_public_name_is_in_it_and_no_link_is_broken(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", TOOL, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "loom.html").read_text()
    assert "Elementary" not in page, "functions of kernels stand there as functions"
    assert 'href="loom/tensor.html"' in page
    assert 'id="uniform"' in (tmp_path / "loom/random.html").read_text()


def _tool() -> Any:
    spec = spec_from_file_location("reference_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_broken_is_found(tmp_path: Path) -> None:
    tool = _tool()
    (tmp_path / "a.html").write_text('<a href="b.html#there">x</a><a href="b.html#not">x</a><a href="c.html">x</a>')
    (tmp_path / "b.html").write_text('<p id="there"><script>"href="${url}"</script><a href="https://loom">x</a></p>')
    assert list(tool.find_broken(tmp_path)) == ["a.html: b.html#not", "a.html: c.html"]
    for name in tool.public_modules():
        path = tmp_path / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(exist_ok=True, parents=True)
        names = [n for n in tool.public_names(tool.public_modules()[name]) if n != "gpu_primes"]
        path.write_text("".join(f'<p id="{n}">' for n in names))
    assert list(tool.find_missing(tmp_path)) == ["loom.gpu_primes"]
