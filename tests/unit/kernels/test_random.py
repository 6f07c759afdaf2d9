"""Philox4x32-10 gives the words that its authors published (Random123, ``kat_vectors``)."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from kernel_oracle import run
from loom import Out, u32
from loom.kernels.maps.random import philox

# counter, key, words
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@loom.kernel(workgroup=8)
def block(out: Out[u32], a: u32, b: u32, c: u32, d: u32, k: u32, m: u32):
    words = philox(a, b, c, d, k, m)
    if loom.global_id() == 0:
        for n in loom.static_range(4):
            out[n] = words[n]


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row[0][:8])
def test_known_answers(row: tuple[str, str, str], place: str) -> None:
    counter, key, words = ([int(word, 16) for word in column.split()] for column in row)
    out = np.zeros(4, np.uint32)
    run(block, out, params=[*counter, *key], on=place)
    assert out.tolist() == words
