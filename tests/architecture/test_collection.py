"""The whole tree is collected without a library that tests only compare with, and with a driver of another package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from architecture.test_other_devices import ROOT, SUITES, run

WITNESS = f"""
import json, sys, traceback
from pathlib import Path

PLACES = []

def pytest_collection():
    import deferred
    load = deferred._load

    def told(name):
        lines = [f for f in traceback.extract_stack() if f.filename.startswith({str(ROOT)!r}) and
                 f.filename != deferred.__file__]
        PLACES.append(f"{{name}}: {{lines[-1].filename}}:{{lines[-1].lineno}}: {{lines[-1].line}}")
        return load(name)

    deferred._load = told

def pytest_collection_finish():
    import deferred
    libraries = [n for n in deferred.LIBRARIES if not isinstance(sys.modules.get(n), (deferred._Deferred, type(None)))]
    Path(__file__).with_name("witness.json").write_text(json.dumps([libraries, PLACES]))
"""
"""A plugin that writes which libraries are loaded when all is collected, and which lines of tests asked for one."""


def test_it_loads_no_library_and_every_suite_has_the_other_driver(tmp_path: Path) -> None:
    """One collection for both, since each takes seconds."""
    (tmp_path / "witness.py").write_text(WITNESS)
    cases = run(tmp_path, "--collect-only", "-p", "witness").splitlines()
    libraries, places = json.loads((tmp_path / "witness.json").read_text())
    assert not places, "a table at the head of a test file makes what tests/deferred.py puts off: Later, functions_of"
    assert not libraries, "loaded by loom itself, or by another library, while tests are collected"
    missing = [
        name
        for name, file in SUITES.items()
        if not any(case.startswith(file) and "other" in case[len(file) :] for case in cases)
    ]
    assert not missing


@pytest.mark.parametrize(
    "lines",
    [
        "from mpmath import *; assert mpf(1) == 1",  # a library without __all__
        "from scipy.special import *; assert erf(0) == 0",
        "import scipy; assert hasattr(scipy, '__config__') and not hasattr(scipy, '__wrapped__')",
        "import scipy; assert scipy.__config__.show",
        "from scipy import linalg as a; import scipy.linalg as b; assert a.inv is b.inv",
        "import mpmath; mpmath.mp.dps = 50; import mpmath as other; assert other.mp.dps == 50",
    ],
)
def test_a_library_that_is_put_off_is_used_as_itself(lines: str) -> None:
    code = f"import deferred; deferred.install()\n{lines}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
