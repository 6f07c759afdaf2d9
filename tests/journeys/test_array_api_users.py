"""scipy's and scikit-learn's array API paths take tensors, and find what they find of numpy's arrays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("array_api_users.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_results_of_scipy_and_sklearn() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("sklearn")
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "LOOM_DEVICE": "cpu", "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    lines = ended.stdout.splitlines()
    assert len(lines) == 26, ended.stderr[-4000:]
    assert [line for line in lines if not line.endswith(": same")] == []
