"""Tiny architectures of ``transformers`` beside PyTorch, for batches of 3, 1 and 2."""

from __future__ import annotations

import pytest

import loom

pytest.importorskip("torch")
pytest.importorskip("transformers")
from unit.pytorch.architectures import NAMES, compare

_WITHIN = 5e-5
"""Of the largest number; that of MobileNets is 2.5e-5, of all others 2e-6."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_an_architecture_are_those_of_torch(name: str) -> None:
    assert compare(name, loom.from_torch) < _WITHIN
