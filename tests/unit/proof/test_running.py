"""Digests: every bit counts, NaNs are one, dtype and shape belong to them."""

from __future__ import annotations

import hashlib

import numpy as np

from loom.proof.running import digest_of, digest_of_texts


def test_a_digest_is_the_sha256_it_says() -> None:
    x = np.array([1.0, -0.0], np.float32)
    assert digest_of([x]) == hashlib.sha256(b"<f4 (2,)\n" + bytes.fromhex("0000803f00000080")).hexdigest()
    assert digest_of_texts(["a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()


def test_what_changes_a_digest_and_what_does_not() -> None:
    x = np.array([1.0, np.nan, 2.0], np.float32)
    other = x.view(np.uint32).copy()
    other[1] = 0xFFC12345
    assert digest_of([x]) == digest_of([other.view(np.float32)])
    changed = [x[::-1], x.reshape(1, 3), x.astype(np.float64), x.view(np.uint32), np.array([1.0, np.nan, -2.0], "f4")]
    assert len({digest_of([a]) for a in (x, *changed)}) == 6
    assert digest_of([np.float32(0.0)]) != digest_of([np.float32(-0.0)])
    assert digest_of([x, x]) != digest_of([x])
