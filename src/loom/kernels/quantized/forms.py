"""How quantised weights lie in memory: whole numbers without sign, and a scale for each block of them.

Layer: kernels. A matrix has rows of output features, blocks of 16 or 32 weights along the inputs. Weight = (u - offset)
scale, plus the block's minimum where there are minima, each operation rounded to f32. Rows stand side by side in tiles
of ``LANES``: words (tiles, blocks, words of a block, LANES) of i32, scales (tiles, blocks, 1 or 2, LANES), the minima
after the scales. Four bits: byte i of a block holds weight i below and weight i + block / 2 above; eight: weight i.
Invariant: what a form says is where numbers lie and what they mean, never how they are multiplied.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType, f16, f32
from loom.core.late.dataclass import dataclass

__all__ = ["FILLED", "LANES", "BlockForm", "pack_blocks", "unpack_blocks"]

LANES = 16
"""Rows of a tile: neighbours in memory, lanes of a vector."""
FILLED = -1
"""The words of rows that fill up a tile."""


@dataclass(frozen=True, slots=True)
class BlockForm:
    """Whole numbers of ``bits`` (4 or 8), ``block`` of them to a scale; ``offset`` is taken off each.

    ``scale``: the type of scales and minima, f16 or f32.
    """

    bits: int
    block: int
    offset: int
    minima: bool
    scale: DType

    @property
    def words(self) -> int:
        """Words of a block."""
        return self.block * self.bits // 32

    @property
    def halves(self) -> int:
        """Weights of a byte: passes over the words of a block, so that k ascends."""
        return 8 // self.bits

    @property
    def parts(self) -> int:
        """Numbers of a block besides its weights: the scale, and the minimum."""
        return 2 if self.minima else 1

    @property
    def bits_per_weight(self) -> float:
        """Bits that a weight takes, its share of scales included."""
        return self.bits + self.scale.bits * self.parts / self.block

    def __str__(self) -> str:
        return f"u{self.bits}x{self.block}m{self.offset}{'_min' * self.minima}_{self.scale}"


def pack_blocks(form: BlockForm, codes: Array, scales: Array, minima: Array | None) -> tuple[Array, Array]:
    """Return words and scales of ``codes`` (rows, k) u8, ``scales`` and ``minima`` (rows, k / block).

    Rows are filled up to whole tiles with the largest whole numbers, whose scale is 0: so no row of numbers looks.
    """
    rows, k = codes.shape
    tiles, blocks = -(-rows // LANES), k // form.block
    packed = codes.reshape(rows, blocks, form.block)
    if form.bits == 4:
        packed = packed[:, :, : form.block // 2] | (packed[:, :, form.block // 2 :] << np.uint8(4))
    words = np.full((tiles * LANES, blocks, form.words), FILLED, np.int32)
    words[:rows] = np.ascontiguousarray(packed).view(np.int32)
    held = np.zeros((tiles * LANES, blocks, form.parts), np.float16 if form.scale == f16 else np.float32)
    held[:rows, :, 0] = scales
    if minima is not None:
        held[:rows, :, 1] = minima
    return tuple(np.ascontiguousarray(x.reshape(tiles, LANES, blocks, -1).transpose(0, 2, 3, 1)) for x in (words, held))  # type: ignore[return-value]


def unpack_blocks(form: BlockForm, words: Array, scales: Array, rows: int) -> tuple[Array, Array, Array | None]:
    """Return codes (rows, k) u8, scales and minima (rows, k / block) as f32: the opposite of ``pack_blocks``."""
    tiles, blocks = words.shape[0], words.shape[1]
    own, held = (
        np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(tiles * LANES, blocks, -1)[:rows] for x in (words, scales)
    )
    packed = np.ascontiguousarray(own).view(np.uint8)
    if form.bits == 4:
        packed = np.concatenate([packed & np.uint8(15), packed >> np.uint8(4)], axis=2)
    found = held.astype(f32.numpy)
    return packed.reshape(rows, -1), found[:, :, 0], found[:, :, 1] if form.minima else None
