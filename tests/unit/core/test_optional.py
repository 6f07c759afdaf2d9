"""Where a package of an extra is missing, or broken, its main doors tell the extra by name."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from loom.core.errors import DeviceError, StateError
from loom.core.optional import PACKAGES, find, has, lazy, load, require
from tools.extras import EXTRAS

_DOORS = [(name, n) for name, extra in EXTRAS.items() for n in range(len(extra.doors))]
_WITHOUT = """
import json
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
{program}
"""
_EVERY_DOOR = """
answers = []
for door in {doors!r}:
    try:
        exec(compile(door, "<door>", "exec"), {{"__name__": "__main__"}})
        answers.append("")
    except Exception as error:
        answers.append(f"{{type(error).__mro__[-5:]}} {{error}}")
print(json.dumps(answers))
"""


def _run(program: str) -> str:
    code = _WITHOUT.format(packages=set(PACKAGES), program=program)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _answers() -> list[str]:
    doors = [EXTRAS[name].doors[n] for name, n in _DOORS]
    return json.loads(_run(_EVERY_DOOR.format(doors=doors)).splitlines()[-1])


@pytest.mark.parametrize(("extra", "n"), _DOORS)
def test_a_door_tells_the_extra_that_is_missing(extra: str, n: int) -> None:
    answer = _answers()[_DOORS.index((extra, n))]
    assert "LoomError" in answer
    assert f"Run pip install 'loom-compute[{extra}]'" in answer, answer


def test_every_extra_of_users_has_a_door() -> None:
    assert set(EXTRAS) == {extra for _, extra in PACKAGES.values()}
    assert all(extra.doors and all(page.exists() for page in extra.documents()) for extra in EXTRAS.values())


def test_numpy_gets_f32_of_bf16_without_ml_dtypes() -> None:
    program = """
import numpy as np
import loom
x = loom.array(np.array([1.5, -2.0, 3.0], np.float32)).astype(loom.bf16)
for given in (x, x[0], loom.gpu_sum(x)):
    found = np.asarray(given)
    assert isinstance(given.numpy(), np.ndarray)
    assert (found.dtype, found.shape) == (np.float32, given.shape), found
print(np.asarray(loom.gpu_sum(x)).tolist(), np.asarray(x).tolist())
"""
    assert _run(program).split("\n")[0] == "2.5 [1.5, -2.0, 3.0]"


def test_bf16_is_proved_without_ml_dtypes() -> None:
    program = """
from loom.proof.attestation import _judge
from loom.proof.cases import cases_of
from loom.runtime.registry import device
for case in cases_of(3):
    if "bf16" in case.name:
        print(case.name, _judge(case, device("cpu"), case.inputs())[1])
"""
    lines = [line for line in _run(program).splitlines() if line]
    assert len(lines) >= 2
    assert all(line.endswith(" None") for line in lines), lines


def test_what_is_there_and_does_not_load_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usearch").mkdir()
    (tmp_path / "usearch/__init__.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "usearch", raising=False)
    monkeypatch.delitem(sys.modules, "usearch.index", raising=False)
    with pytest.raises(StateError) as caught:
        load("usearch", "here")
    assert str(caught.value) == (
        "[here] the package usearch cannot be loaded (No module named 'no_such_library'): expected the extra "
        "'vectors', got a broken one. Run pip install --force-reinstall 'loom-compute[vectors]'."
    )
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wgpu", None)
    with pytest.raises(DeviceError) as caught:
        require("wgpu", "device 'webgpu'", DeviceError)
    assert str(caught.value) == (
        "[device 'webgpu'] the package wgpu is not installed: expected the extra 'webgpu', got none. "
        "Run pip install 'loom-compute[webgpu]'."
    )
    monkeypatch.delitem(sys.modules, "wgpu.backends", raising=False)  # another test may have loaded it
    with pytest.raises(StateError, match=r"Run pip install 'loom-compute\[webgpu\]', or use vulkan\.$"):
        load("wgpu.backends", "here", otherwise="or use vulkan")
    assert find("wgpu") is None
    assert not has("wgpu")
    assert find("json") is json


def test_a_stand_in_loads_its_module_for_the_first_name_that_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = lazy("onnx.helper", "here")
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnx.helper", None)
    assert not hasattr(helper, "__wrapped__"), "who looks through names asks for no package"
    with pytest.raises(StateError, match=r"\[here\] the package onnx .*pip install"):
        _ = helper.make_node
    monkeypatch.undo()
    assert helper.make_node is load("onnx.helper", "here").make_node
