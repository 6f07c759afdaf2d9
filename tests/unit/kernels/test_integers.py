"""A layer of an integer network as one kernel: the same integers by every operation and tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import i8, i16
from loom.kernels.matmul.integers import EACH, multiply_integers, pack_bias, pack_integers
from loom.kernels.matmul.tiles import Tile
from loom.runtime.chain import Chain


def _rounded(total: Any, shift: int) -> Any:
    whole, rest = np.divmod(total, 1 << shift)
    half = (1 << shift) >> 1
    return whole + ((rest > half) | ((rest == half) & (whole % 2 == 1) & (shift > 0)))


@pytest.mark.needs("compiled")
@pytest.mark.parametrize("dots", ["", "dot4_i8", "dot4_u8i8"])
def test_every_operation_gives_the_definition(on: str, dots: str) -> None:
    rng, device = np.random.default_rng(7), loom.device(on)
    for (m, k, n), shift, result in (((5, 9, 37), 6, i8), ((3, 130, 16), 0, i16)):
        a, b = (rng.integers(-127, 128, shape, dtype=np.int8) for shape in ((m, k), (k, n)))
        a[0], b[:, 0] = 127, -127
        bias = rng.integers(-(1 << 20), 1 << 20, n)
        tile = Tile(2, 2, 8, 2)
        words = np.zeros((m, -(-k // EACH) * EACH), np.int8)
        words[:, :k] = a
        packed, biases = pack_integers(b, tile.columns, dots), pack_bias(bias, b, tile.columns, dots)
        out = np.zeros((m, n), result.numpy)
        held = [device.allocate(x.nbytes) for x in (words, packed, biases, out)]
        for storage, x in zip(held, (words, packed, biases, out), strict=True):
            storage.write(0, x.reshape(-1).view(np.uint8))
        most = (1 << (result.bits - 1)) - 1
        chain = Chain(device)
        groups = (-(-m // tile.rows), len(biases) // tile.columns)
        params = [m, n, words.shape[1] // EACH, shift, -most, most]
        chain.dispatch(multiply_integers(tile, dots, result), held, params, groups)
        chain.build().run()
        expected = np.clip(_rounded(a.astype(np.int64) @ b.astype(np.int64) + bias, shift), -most, most)
        found = held[3].read(0, out.nbytes).view(out.dtype).reshape(m, n)
        assert np.array_equal(found, expected)
