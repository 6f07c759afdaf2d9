"""GGUF's blocks have the bits of gguf's reference implementation, whatever bytes they hold."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from loom.formats.decoding import decode
from loom.formats.encodings import ENCODINGS, GGML_TYPES

QUANTISED = [
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "IQ4_NL",
    "IQ4_XS",
    "IQ2_XXS",
    "MXFP4",
    "TQ1_0",
]


def test_sizes_are_those_of_ggml() -> None:
    for kind, (block, nbytes) in gguf.GGML_QUANT_SIZES.items():
        if kind.value in GGML_TYPES:
            found = GGML_TYPES[kind.value]
            assert (found.name, found.block, found.nbytes) == (kind.name, block, nbytes)
    assert {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"} <= set(ENCODINGS)


@pytest.mark.parametrize("encoding", ["F32", "F16", "BF16", *QUANTISED])
def test_drawn_bytes_have_the_reference_bits(encoding: str) -> None:
    """Every code, infinite and missing scales among them."""
    known = ENCODINGS[encoding]
    rng = np.random.default_rng(19)
    count = 600 if known.block > 1 else 20_000
    raw = rng.integers(0, 256, (count, known.nbytes), np.uint8)
    kind = gguf.GGMLQuantizationType[encoding]
    with np.errstate(all="ignore"):
        want = gguf.quants.dequantize(raw, kind)
    got = decode(memoryview(raw).cast("B"), encoding, (count, known.block), "here")
    assert got.dtype == np.float32
    got, want = got.reshape(-1), want.reshape(-1)
    is_none = np.isnan(want)  # their signs mean nothing
    assert (np.isnan(got) == is_none).all()
    assert (got.view(np.uint32) == want.view(np.uint32))[~is_none].all()
    assert not is_none.all()


@pytest.mark.parametrize("encoding", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16"])
def test_what_gguf_writes_is_near_what_was_given(encoding: str) -> None:
    given = np.random.default_rng(3).standard_normal((7, 96)).astype(np.float32)
    raw = gguf.quants.quantize(given, gguf.GGMLQuantizationType[encoding])
    got = decode(memoryview(raw.tobytes()), encoding, given.shape, "here")
    assert np.abs(got - given).max() < {"Q8_0": 0.02, "BF16": 0.01}.get(encoding, 0.35)
