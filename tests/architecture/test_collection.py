"""The whole tree is collected without a library that tests only compare with, and with a driver of another package."""

from __future__ import annotations

import json
from pathlib import Path

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
