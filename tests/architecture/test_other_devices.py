"""A driver of another package passes what it offers: the CPU's own, registered as ``other``; ``test_collection``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRIVER = """
from dataclasses import replace
from loom.runtime.drivers.cpu import DRIVER as CPU, CpuDevice

class Other(CpuDevice):
    name = kind = "other"

OTHER = Other()
DRIVER = replace(CPU, open=lambda _name, _where: OTHER, infos=lambda: [OTHER.describe()])
"""
SUITES = {
    "conformance": "tests/conformance/test_cases.py",
    "random kernels": "tests/conformance/test_random.py",
    "programs": "tests/conformance/test_programs.py",
    "messages": "tests/conformance/test_messages.py",
    "faults": "tests/conformance/test_after_faults.py",
    "verify": "tests/unit/proof/test_verify.py",
    "patterns": "tests/unit/patterns/scans/test_scan.py",
    "statistics": "tests/unit/patterns/stats/test_moments.py",
    "tensors": "tests/unit/tensor/test_bits.py",
    "errors": "tests/unit/runtime/test_unit_misuse.py",
    "leaks": "tests/unit/support/test_engine.py",
}


def run(tmp_path: Path, *arguments: str) -> str:
    """Run pytest where the other package is installed; return what it printed."""
    (tmp_path / "other_driver.py").write_text(DRIVER)
    about = tmp_path / "other_driver-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-driver\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[loom.drivers]\nother = other_driver:DRIVER\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "other", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_what_it_offers(tmp_path: Path) -> None:
    assert " passed" in run(
        tmp_path, SUITES["faults"], SUITES["errors"], "tests/unit/patterns/calling/test_everywhere.py"
    )
