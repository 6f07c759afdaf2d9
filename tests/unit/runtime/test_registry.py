"""Devices and targets that another package brings: a folder with ``entry_points`` on the path is all it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
from dataclasses import replace
from loom.runtime.port.device import Driver
from loom.runtime.drivers.interp import InterpDevice
from loom.targets.base import Artifact

class Slate(InterpDevice):
    name, kind = "slate", "slate"
    def describe(self):
        return replace(super().describe(), name="slate", kind="slate", description="chalk")

class Chalk:
    name, forms, operations = "chalk", ("text", "names"), frozenset()
    def compile(self, kernel, bounds, form=None):
        return Artifact(form or "text", f"{form} of {kernel.name}".encode(), kernel.name)

slate = Slate()
DRIVER = Driver(lambda name, where: slate, lambda: [slate.describe()], offers=frozenset({"shares"}))
TARGET = Chalk()

def nobody(*_):
    raise OSError("the bus is gone")

GONE = Driver(nobody, nobody)
HALF = Driver(lambda name, where: TARGET, lambda: [])
"""
KERNEL = """
import loom

@loom.kernel
def double(x: loom.InOut[loom.f32]):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 2
"""
ENTRIES = """[loom.drivers]
slate = slate:DRIVER
cpu = slate:DRIVER
broken = slate:NOTHING

[loom.targets]
chalk = slate:TARGET
"""


BROKEN = """[loom.drivers]
a:b = slate:DRIVER
auto = slate:DRIVER
class = slate:Slate
gone = slate:GONE
half = slate:HALF
leaving = leaving:DRIVER
twice = slate:DRIVER

[loom.targets]
class = slate:Chalk
leaving = leaving:TARGET
nothing = slate:NOTHING
text = slate:TARGET
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the folder of a package that was installed there."""
    (tmp_path / "slate.py").write_text(SOURCE)
    (tmp_path / "kernels.py").write_text(KERNEL)
    facts = tmp_path / "slate-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: slate\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


def run(folder: Path, code: str) -> list[str]:
    """Return the lines that code prints where the package is on the path, and no adapter is."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", ""), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "VK_DRIVER_FILES": "none", "VK_ICD_FILENAMES": "none"},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_the_command_line_knows_what_another_package_adds(package: Path) -> None:
    code = """
from typer.testing import CliRunner
from loom.cli.main import app
def invoke(*arguments):
    print(CliRunner().invoke(app, arguments).output.replace(chr(10), " "))
invoke("devices", "--json")
for form in ("chalk", "chalk:names", "chalk:ode"):
    invoke("ir", "kernels.py:double", "--emit", form)
"""
    devices, *emitted = run(package, code)
    found = {d["name"]: d for d in json.loads(devices)}
    assert list(found) == ["cpu", "interp", "broken", "slate"]
    assert found["slate"]["description"] == "chalk"
    assert found["cpu"]["kind"] == "cpu"  # a name of Loom's own cannot be taken
    assert found["broken"]["refused"].startswith("the driver of device 'broken' cannot be loaded (AttributeError: ")
    assert emitted[:2] == ["None of double", "names of double"]
    assert "target 'chalk' has no form 'ode': expected one of text, names. " in emitted[2]


def test_a_device_of_another_package_runs_kernels(package: Path) -> None:
    code = """
import numpy, loom
from kernels import double
from loom.runtime.registry import DRIVERS, driver
x = numpy.arange(3, dtype=numpy.float32)
chain = loom.Chain("slate")
chain.dispatch(double, [x])
chain.build().run()
print(x.tolist(), loom.device("slate") is loom.device("slate"), sorted(driver("slate").offers), DRIVERS.names())
for name in ("slates", "slate:1", "broken"):
    try:
        loom.device(name)
    except loom.LoomError as error:
        print(error)
"""
    lines = run(package, code)
    names = "['cpu', 'interp', 'vulkan', 'webgpu', 'cuda', 'broken', 'slate']"
    assert lines[0] == f"[0.0, 2.0, 4.0] True ['shares'] {names}"
    known = "expected one of auto, broken, cpu, cuda, gpu, interp, slate, vulkan, webgpu. Did you mean 'slate'?"
    assert lines[1] == f"[loom.device] no device is called 'slates': {known}"
    assert lines[2] == f"[loom.device] no device is called 'slate:1': {known}"
    assert lines[3].startswith("[loom.device] the driver of device 'broken' cannot be loaded (AttributeError: ")
    assert lines[3].endswith("Mend or remove the package that brings it.")


@pytest.fixture
def broken(package: Path) -> Path:
    """Return the same folder with a package in it of which nothing is right."""
    (package / "leaving.py").write_text("raise SystemExit(3)")
    facts = package / "wrong-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(BROKEN)
    other = package / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[loom.drivers]\ntwice = slate:GONE\n")
    return package


def test_a_broken_driver_is_refused_and_hides_no_other(broken: Path) -> None:
    code = """
import loom
for info in loom.devices():
    print(info.name, "|", info.refused)
for name in ("class", "leaving", "a:b", "auto", "half"):
    try:
        print(loom.device(name).name)
    except loom.LoomError as error:
        print(error)
"""
    lines = run(broken, code)
    refused = dict(line.split(" | ") for line in lines[:10])
    assert [name for name, why in refused.items() if why == "None"] == ["cpu", "interp", "slate"]
    assert refused["gone"] == "OSError: the bus is gone"
    cannot = "the driver of device {!r} cannot be loaded ({})"
    assert refused["class"] == cannot.format("class", "TypeError: expected a Driver, got <class 'slate.Slate'>")
    assert refused["leaving"] == cannot.format("leaving", "SystemExit: 3")
    for name in ("a:b", "auto"):
        assert refused[name] == cannot.format(name, "ValueError: no device can have this name")
    for name, line in zip(("class", "leaving"), lines[10:], strict=False):
        assert line == f"[loom.device] {refused[name]}. Mend or remove the package that brings it."
    known = "auto, broken, class, cpu, cuda, gone, gpu, half, interp, leaving, slate, twice, vulkan, webgpu"
    assert lines[12].startswith(f"[loom.device] no device is called 'a:b': expected one of {known}. ")
    assert lines[13] == "cpu"
    lacking = "guarantee, caps, describe, allocate, adopt, build"
    assert f"what the driver of 'half' opens is no Device: it lacks kind, {lacking}. Mend or remove" in lines[14]
    several = "LookupError: several packages bring it: slate:DRIVER, slate:GONE"
    assert refused["twice"] == cannot.format("twice", several)


def test_a_broken_target_is_an_error_that_says_so(broken: Path) -> None:
    code = """
from typer.testing import CliRunner
from loom.cli.main import app
for form in ("class", "leaving", "nothing"):
    print(str(CliRunner().invoke(app, ("ir", "kernels.py:double", "--emit", form)).output).replace(chr(10), " "))
"""
    reasons = ("TypeError: expected a Target, got", "SystemExit: 3).", "AttributeError: module 'slate'")
    for name, why, line in zip(("class", "leaving", "nothing"), reasons, run(broken, code), strict=True):
        assert f"[loom ir, --emit] target {name!r} cannot be loaded ({why}" in line


def test_a_device_of_loom_looks_for_no_package(tmp_path: Path) -> None:
    code = "import sys, loom; loom.device('cpu'); print('importlib.metadata' in sys.modules)"
    assert run(tmp_path, code) == ["False"]
