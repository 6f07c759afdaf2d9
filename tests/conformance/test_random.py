"""Random kernels on every target: the bits of every buffer are the interpreter's."""

from __future__ import annotations

import numpy as np
import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.cases.language.random_kernels import FAST_SEEDS, SEEDS
from conformance.running import TARGETS, Target, conform, load_case, reference_bits
from loom.ir.kernel import For, If, Return, While, walk

_FAST_RUNS = [(s, t) for s in FAST_SEEDS for t in TARGETS if (t.device != "x86-64" and t.simd != 8) or s % 4 < 2]
"""Width 8 and the oldest x86-64 run half of the seeds."""
_SLOW_RUNS = [(s, t) for s in SEEDS for t in TARGETS if (s, t) not in set(_FAST_RUNS)]


@pytest.mark.parametrize(("seed", "target"), _FAST_RUNS, ids=str)
def test_bits(seed: int, target: Target) -> None:
    conform(f"random/{seed}", target)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "target"), _SLOW_RUNS, ids=str)
def test_bits_of_many(seed: int, target: Target) -> None:
    conform(f"random/{seed}", target)


def test_fast_seeds_have_what_they_are_for() -> None:
    """Among them are branches, both kinds of loops, early returns, barriers, groups of 1 and of over 64 lanes."""
    kernels = [load_case(f"random/{seed}").kernel for seed in FAST_SEEDS]
    kinds = {type(s) for kernel in kernels for s in walk(kernel.body)}
    assert {If, For, While, Return} <= kinds
    assert {k.lanes for k in kernels} >= {1, 2, 7, 16, 64, 96}
    assert sum(bool(k.shared) for k in kernels) > 10


def test_random_kernels_compute_something() -> None:
    """Nearly all write numbers that are neither all zero nor all alike."""
    alive = 0
    for seed in FAST_SEEDS:
        out = reference_bits(f"random/{seed}")[-2]
        alive += np.unique(out).size > 2
    assert alive > 50
