"""Random modules beside PyTorch: calls, gradients, losses and weights of three steps, batches of one."""

from __future__ import annotations

import pytest

import loom
from unit.pytorch import random_modules

pytest.importorskip("torch")

_WITHIN = {"call": 5e-5, "one": 5e-5, "slopes": 1e-3, "losses": 1e-4, "weights": 1e-4}
"""Of the largest number, or of 1; slopes are differences of weights over a rate of 0.02."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(60))
def test_random_modules_have_the_numbers_of_torch(seed: int) -> None:
    found = random_modules.compare(seed, loom.from_torch)
    assert all(found[name] < within for name, within in _WITHIN.items() if name in found), found
