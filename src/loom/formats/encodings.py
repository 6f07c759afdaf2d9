"""How the elements of a stored tensor lie in bytes: one row for each encoding of safetensors and of GGUF.

Layer: formats. Invariant: the bytes of a tensor follow from its encoding and shape alone, in whole numbers of any size,
so that no header can make them wrap around.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from loom.core.late.dataclass import dataclass

__all__ = ["ENCODINGS", "GGML_TYPES", "SAFETENSORS_TYPES", "Encoding", "is_countable"]

_MOST_NBYTES = 1 << 63
_WIDEST = 8


@dataclass(frozen=True, slots=True)
class Encoding:
    """``block`` elements in ``nbytes`` bytes. ``ggml``: its number in GGUF files, -1 where they lack it.

    ``by_rows``: blocks never cross a row (the last axis); else elements are packed through the whole tensor.
    """

    name: str
    block: int
    nbytes: int
    ggml: int = -1
    safetensors: bool = False
    by_rows: bool = False

    def __str__(self) -> str:
        return self.name

    def size_of(self, shape: Sequence[int]) -> int | None:
        """Return the bytes of a tensor of this shape, None where it does not consist of whole blocks."""
        count = prod(shape)
        if self.by_rows and (shape[-1] if shape else 1) % self.block:
            return None
        return None if count % self.block else count // self.block * self.nbytes


def is_countable(shape: Sequence[int]) -> bool:
    """Tell whether an array can have this shape: its sizes but for zeros, multiplied, can be counted in bytes."""
    return prod(n for n in shape if n) * _WIDEST < _MOST_NBYTES


def _plain(name: str, bits: int, ggml: int = -1, *, safetensors: bool = True) -> Encoding:
    block = 1
    while block * bits % 8:
        block *= 2
    return Encoding(name, block, block * bits // 8, ggml, safetensors)


_PLAIN = (
    _plain("F64", 64, 28), _plain("F32", 32, 0), _plain("F16", 16, 1), _plain("BF16", 16, 30),
    _plain("F8_E4M3", 8), _plain("F8_E5M2", 8), _plain("F8_E4M3FNUZ", 8), _plain("F8_E5M2FNUZ", 8),
    _plain("F8_E8M0", 8), _plain("F6_E2M3", 6), _plain("F6_E3M2", 6), _plain("F4", 4), _plain("C64", 64),
    _plain("I64", 64, 27), _plain("I32", 32, 26), _plain("I16", 16, 25), _plain("I8", 8, 24),
    _plain("U64", 64), _plain("U32", 32), _plain("U16", 16), _plain("U8", 8), _plain("BOOL", 8),
)  # fmt: skip

_BLOCKS = {
    "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
    "Q8_1": (9, 32, 40), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "Q8_K": (15, 256, 292), "IQ2_XXS": (16, 256, 66),
    "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50), "IQ4_NL": (20, 32, 18),
    "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136), "IQ1_M": (29, 256, 56),
    "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17),
}  # fmt: skip
"""GGUF's blocks: number of the type, elements, bytes (``ggml-common.h`` of llama.cpp)."""

ENCODINGS: dict[str, Encoding] = {e.name: e for e in _PLAIN} | {
    name: Encoding(name, block, nbytes, ggml, by_rows=True) for name, (ggml, block, nbytes) in _BLOCKS.items()
}
"""Name -> encoding, as safetensors and GGUF call them."""

SAFETENSORS_TYPES: dict[str, Encoding] = {e.name: e for e in ENCODINGS.values() if e.safetensors}
GGML_TYPES: dict[int, Encoding] = {e.ggml: e for e in ENCODINGS.values() if e.ggml >= 0}
