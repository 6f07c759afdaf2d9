"""Drawn calls of the namespace beside numpy's: dtypes, shapes, layouts and numbers that nobody would think of."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from unit.tensor.differential.calls import CALLS
from unit.tensor.differential.draws import check

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")


def _compare(name: str, seed: int, on: str) -> None:
    call = CALLS[name](Random(f"{name} {seed}"), name, on)
    if call is not None:
        found, wanted, options = call
        check(found, wanted, **options)


def test_every_function_once() -> None:
    """A seed of each in one test: what fails says which."""
    wrong: list[str] = []
    with np.errstate(all="ignore"):
        for name in CALLS:
            for seed in range(2):
                try:
                    _compare(name, seed, "interp")
                except Exception as error:
                    wrong.append(f"{name} {seed}: {error!r}"[:500])
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_more_seeds_on_every_device(name: str, on: str) -> None:
    with np.errstate(all="ignore"):
        for seed in range(2, 12):
            _compare(name, seed, on)
