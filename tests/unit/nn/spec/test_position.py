"""The place of network documents: they need ``loom.core``, formats of files and numpy, and nothing that computes."""

from __future__ import annotations

import subprocess
import sys


def test_documents_are_read_without_devices() -> None:
    code = "import loom.nn.spec, sys; print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('loom.')}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['core', 'formats', 'nn']"
