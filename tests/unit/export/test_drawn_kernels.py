"""Kernels of all types that are drawn at random give in C what they give in Loom, bit for bit."""

from __future__ import annotations

import ctypes
from pathlib import Path
from random import Random

import numpy as np
import pytest

import loom
from loom.export import export_c, freeze_kernel
from unit.export.drawn_kernels import ODD, called, draw, load, values


def compare(seed: int, folder: Path) -> None:
    """Export the kernel of a seed; run it here and there over arrays of several lengths, also none."""
    r, g, name = Random(seed), np.random.default_rng(seed), f"k{seed}"
    drawn = draw(r, name)
    kernel = load(drawn, folder / f"drawn_{seed}.py")
    export_c(freeze_kernel(kernel), folder, optimize=r.choice(["size", "speed"]))
    library = ctypes.CDLL(str(folder / "x86_64-linux" / f"lib{name}.so"))
    for least in (1, 1, 0):
        shapes = [tuple(g.integers(least, [300, 20, 8][n - 1], n).tolist()) for _, n in drawn.buffers]
        arrays = [values(g, kind, shape) for (kind, _), shape in zip(drawn.buffers, shapes, strict=True)]
        axes = len(drawn.workgroup)
        groups = [*g.integers(least, 5, axes).tolist(), *[1] * (3 - axes)]
        params = [r.choice(ODD[kind]) for kind in drawn.params]
        mine = [a.copy() for a in arrays]
        assert called(library, drawn, name, mine, params, groups) == 0
        chain = loom.Chain("cpu")
        chain.dispatch(kernel, arrays, params, groups=tuple(groups))
        chain.build().run()
        for (kind, _), a, b in zip(drawn.buffers, arrays, mine, strict=True):
            assert a.tobytes() == b.tobytes(), f"{kind} with {params}, {groups} groups\n{drawn.text}"


@pytest.mark.parametrize("seed", [2])
def test_drawn_kernels_give_the_same_bits(seed: int, tmp_path: Path) -> None:
    compare(seed, tmp_path)


@pytest.mark.slow
def test_many_drawn_kernels_give_the_same_bits(tmp_path: Path) -> None:
    for seed in range(1000, 1040):
        compare(seed, tmp_path)
