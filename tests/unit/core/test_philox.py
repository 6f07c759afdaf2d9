"""Philox on the host: the words published with Random123 (kat_vectors, philox4x32 10)."""

from __future__ import annotations

import numpy as np
import pytest

from loom.core.philox import philox

ONES = 0xFFFF_FFFF
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_words(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    first, *others = counter
    found = philox(np.array([7, first], np.uint64), others[0], others[1], others[2], key[1] << 32 | key[0])
    assert tuple(int(word[1]) for word in found) == words
