"""Order-free products by units that multiply tiles of bytes (tensor cores): each group a patch of the result.

Layer: kernels. Operands are planes of digits (see ``planes``). A group brings a block of 128 k of its rows and columns
to shared memory, its warps multiply tiles of 16 by 8 there, each lane scales the exact sums it is given and adds them
up in f32, block after block, in registers. Invariant: t, the exact sum of a block, is that of the definition, and what
follows it is ``scaled`` and added in the order of ``kernels.matmul.tiles``; a ``Patch`` changes speed, never bits.

q8: t = s. q12: t = 4032 hh - 63 ll + 64 x, of x = (h + l)(h' + l'). q24: nine products in five sums, by their weight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, i32, i64, u32
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, fma, group_id, local_id, private, shared, static_range, tile_product
from loom.ir.passes.tiles import TILE_LANES
from loom.kernels.matmul.digits import scale_total
from loom.kernels.matmul.planes import PLANE_WORDS, planes_of
from loom.kernels.precisions import Precision

__all__ = ["Patch", "multiply_planes", "patch_of"]

_ROWS, _COLUMNS = 16, 8
"""Of a tile."""
_SPARE = 4
"""Words between rows in shared memory, so that lanes that read a column of them meet no bank twice."""
_QUAD: Any = i32.vector(4)
_WEIGHTS = (4032, -63, 64)
"""Of hh, ll and x in t of q12."""


@dataclass(frozen=True, slots=True)
class Patch:
    """``down`` by ``across`` warps, each with ``rows`` by ``columns`` tiles of 16 by 8.

    ``staged``: planes are brought one after the other, in place of all together.
    """

    down: int
    across: int
    rows: int
    columns: int
    staged: bool = False

    @property
    def lanes(self) -> int:
        """Lanes of a group."""
        return self.down * self.across * TILE_LANES

    def shared_nbytes(self, precision: Precision, subgroup: int) -> int:
        """Return the most bytes of shared memory of a group: operands, and each subgroup's tile where units hide it."""
        planes = 1 if self.staged else planes_of(precision)
        words = (self.height + self.width) * (planes * PLANE_WORDS + _SPARE)
        return (words + self.lanes // subgroup * _ROWS * _COLUMNS) * i32.nbytes

    @property
    def height(self) -> int:
        """Rows of a group."""
        return self.down * self.rows * _ROWS

    @property
    def width(self) -> int:
        """Columns of a group."""
        return self.across * self.columns * _COLUMNS


_PATCHES = {"q8": Patch(2, 4, 4, 4), "q12": Patch(4, 2, 2, 4, staged=True), "q24": Patch(4, 2, 1, 2)}
"""128 by 128; 128 by 64, by planes; 64 by 32: what fits 48 KiB of shared memory, and 255 registers without spills."""
_LEAST_NORMAL, _MOST_BITS = 2.0**-126, 126


def patch_of(precision: Precision) -> Patch:
    """Return the patch of a group."""
    return _PATCHES[precision.name]


def _bringing(patch: Patch, planes: int) -> tuple[Callable[..., None], Callable[..., None], int, int]:
    """Return what reads a lane's words of a block, what lays them down, how many they are, and the pitch of rows."""
    brought = 1 if patch.staged else planes
    per, lanes, height = brought * PLANE_WORDS, patch.lanes, patch.height
    pitch, words = per + _SPARE, planes * PLANE_WORDS
    assert not height * per % lanes | patch.width * per % lanes, "rows and columns are whole turns"
    turns = (height + patch.width) * per // lanes

    def read(
        a: Any, b: Any, held: Any, lane: Any, a_first: Any, b_first: Any, row: Any, column: Any, m: Any, n: Any,
        blocks: Any, block: Any, plane: Any,
    ) -> None:  # fmt: skip
        for t in static_range(turns):
            number = lane + t * lanes
            line, rest = number // per, block * words + plane * PLANE_WORDS + number % per
            if t * lanes < height * per:
                held[t] = a[(a_first + min(row + line, m - 1)) * (blocks * words) + rest]
            else:
                held[t] = b[(b_first + min(column + (line - height), n - 1)) * (blocks * words) + rest]

    def lay(tile: Any, held: Any, lane: Any) -> None:
        for t in static_range(turns):
            number = lane + t * lanes
            tile[number // per * pitch + number % per] = held[t]

    return read, lay, turns, pitch


def _whole_sums(precision: Precision, pitch: int) -> Callable[..., Any]:
    """Return what tells the exact sums of a block of one tile, four of a lane, where all planes are there."""
    words = PLANE_WORDS

    def product(tile: Any, a_at: Any, b_at: Any, p: Any, q: Any, sums: Any) -> Any:
        return tile_product(tile, a_at + p * words, b_at + q * words, sums, words, pitch)

    def of_one(tile: Any, a_at: Any, b_at: Any, totals: Any) -> None:
        found = product(tile, a_at, b_at, 0, 0, _QUAD(0))
        for r in static_range(4):
            totals[r] = found[r]

    def of_digits(tile: Any, a_at: Any, b_at: Any, totals: Any) -> None:
        highest = product(tile, a_at, b_at, 2, 2, _QUAD(0))
        high = product(tile, a_at, b_at, 1, 2, product(tile, a_at, b_at, 2, 1, _QUAD(0)))
        middle = product(tile, a_at, b_at, 1, 1, product(tile, a_at, b_at, 2, 0, _QUAD(0)))
        middle = product(tile, a_at, b_at, 0, 2, middle)
        low = product(tile, a_at, b_at, 0, 1, product(tile, a_at, b_at, 1, 0, _QUAD(0)))
        lowest = product(tile, a_at, b_at, 0, 0, _QUAD(0))
        for r in static_range(4):
            upper, lower = highest[r] * 256 + high[r], low[r] * 256 + lowest[r]
            totals[r] = i64(upper) * (1 << 24) + i64(middle[r]) * (1 << 16) + i64(lower)

    def of_halves(tile: Any, a_at: Any, b_at: Any, totals: Any) -> None:
        for r in static_range(4):
            totals[r] = i32(0)
        for p in static_range(3):
            part = product(tile, a_at, b_at, p, p, _QUAD(0))
            for r in static_range(4):
                totals[r] = totals[r] + part[r] * _WEIGHTS[p]

    if planes_of(precision) == 1:
        return of_one
    return of_halves if precision.sum_bits < 32 else of_digits


def _add_scaled(
    sums: Any, totals: Any, first: Any, at: Any, high: Any, wide: Any, i: Any, j: Any, is_usual: Any
) -> None:
    """Scale a lane's sums of tile (i, j), from ``at`` on, and add them to those that it keeps, from ``first`` on.

    Where no product of scales and sums can leave the normal range all of them are exact: one scale for both, and fused.
    """
    if is_usual:
        for r in static_range(4):
            scale = high[2 * i + r // 2] * wide[2 * j + r % 2]
            sums[first + r] = fma(f32(totals[at + r]), scale, sums[first + r])
    else:
        for r in static_range(4):
            found = scale_total(totals[at + r], high[2 * i + r // 2], wide[2 * j + r % 2])
            sums[first + r] = sums[first + r] + found


def _is_usual(high: Any, wide: Any, highest: Any) -> Any:
    """Tell whether all products of scales, times 1 to the largest sum, are normal numbers: none is NaN either."""
    least_high, most_high, least_wide, most_wide = high[0], high[0], wide[0], wide[0]
    for n in static_range(1, len(high)):
        least_high, most_high = min(least_high, high[n]), max(most_high, high[n])
    for n in static_range(1, len(wide)):
        least_wide, most_wide = min(least_wide, wide[n]), max(most_wide, wide[n])
    is_normal = least_high * least_wide >= _LEAST_NORMAL
    return is_normal and most_high * most_wide <= highest


def _computing(patch: Patch, precision: Precision, pitch: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return what reads the scales of a lane's rows or columns, and what adds a stage of a block to what it keeps."""
    planes, rows, columns, staged = planes_of(precision), patch.rows, patch.columns, patch.staged
    stages, sum_tile = planes if staged else 1, _whole_sums(precision, pitch)
    total_type, highest = i32 if precision.sum_bits < 32 else i64, 2.0 ** (_MOST_BITS - precision.sum_bits)

    def scales_of(held: Any, scales: Any, first: Any, start: Any, many: Any, step: Any, beside: Any, last: Any) -> None:
        for i in static_range(many):
            held[2 * i] = scales[first + min(start + i * step, last)]
            held[2 * i + 1] = scales[first + min(start + i * step + beside, last)]

    def compute(tile: Any, sums: Any, totals: Any, a_at: Any, b_at: Any, high: Any, wide: Any, stage: Any) -> None:
        found, is_usual = private(total_type, 4), _is_usual(high, wide, highest)
        for i in static_range(rows):
            for j in static_range(columns):
                first = (i * columns + j) * 4
                left, right = a_at + i * (_ROWS * pitch), b_at + j * (_COLUMNS * pitch)
                if staged:
                    part = tile_product(tile, left, right, _QUAD(0), PLANE_WORDS, pitch)
                    for r in static_range(4):
                        before = i32(0)
                        if stage > 0:
                            before = totals[first + r]
                        totals[first + r] = before + part[r] * _WEIGHTS[stage]
                    if stage == stages - 1:
                        _add_scaled(sums, totals, first, first, high, wide, i, j, is_usual)
                else:
                    sum_tile(tile, left, right, found)
                    _add_scaled(sums, found, first, 0, high, wide, i, j, is_usual)

    return scales_of, compute


@cache
def multiply_planes(patch: Patch, precision: Precision) -> KernelFunction:
    """Return the kernel that multiplies planes of both operands into chunks of the result.

    Group (x, y, z) computes a patch of part ``z % parts`` of batch ``z // parts``, of matrices ``which[batch]`` and
    ``which[batches + batch]``; a part is ``span`` blocks. Element (row, column) of a part goes to
    ``out[(z m + row) n + column]``.
    """
    planes, rows, columns, lanes = planes_of(precision), patch.rows, patch.columns, patch.lanes
    height, width, across, count = patch.height, patch.width, patch.across, patch.rows * patch.columns * 4
    read, lay, turns, pitch = _bringing(patch, planes)
    staged, stages = patch.staged, planes if patch.staged else 1
    scales_of, compute = _computing(patch, precision, pitch)

    @kernel(workgroup=lanes, trusted=True)
    def units(
        a: In[i32],
        b: In[i32],
        a_scales: In[f32],
        b_scales: In[f32],
        which: In[u32],
        out: Out[f32],
        m: u32,
        n: u32,
        blocks: u32,
        batches: u32,
        parts: u32,
        span: u32,
    ):
        lane = local_id()
        batch, part = group_id(2) // parts, group_id(2) % parts
        a_matrix, b_matrix = which[batch], which[batches + batch]
        first_row, first_column = group_id(1) * height, group_id(0) * width
        begin = part * span
        end = begin + min(blocks - begin, span)
        down, right = lane // (TILE_LANES * across), lane // TILE_LANES % across
        a_at, b_at = down * (rows * _ROWS * pitch), right * (columns * _COLUMNS * pitch) + height * pitch
        row = first_row + down * (rows * _ROWS) + lane % TILE_LANES // 4
        column = first_column + right * (columns * _COLUMNS) + lane % 4 * 2
        tile, held = shared(i32, (height + width) * pitch), private(i32, turns)
        sums, totals = private(f32, count), private(i32, count if staged else 1)
        high, wide = private(f32, rows * 2), private(f32, columns * 2)
        for s in static_range(count):
            sums[s] = f32(0)
        a_first, b_first = a_matrix * m, b_matrix * n
        read(a, b, held, lane, a_first, b_first, first_row, first_column, m, n, blocks, begin, 0)
        for block in range(begin, end):
            scales_of(high, a_scales, (a_matrix * blocks + block) * m, row, rows, _ROWS, 8, m - 1)
            scales_of(wide, b_scales, (b_matrix * blocks + block) * n, column, columns, _COLUMNS, 1, n - 1)
            for stage in static_range(stages):
                barrier()
                lay(tile, held, lane)
                barrier()
                following = block
                if stage == stages - 1:
                    following = min(block + 1, end - 1)
                plane = (stage + 1) % stages
                read(a, b, held, lane, a_first, b_first, first_row, first_column, m, n, blocks, following, plane)
                compute(tile, sums, totals, a_at, b_at, high, wide, stage)
        place = group_id(2) * m
        for i in static_range(rows):
            for j in static_range(columns):
                for r in static_range(4):
                    y, x = row + (i * _ROWS + r // 2 * 8), column + (j * _COLUMNS + r % 2)
                    if y < m and x < n:
                        out[(place + y) * n + x] = sums[(i * columns + j) * 4 + r]

    shape = f"{height}x{width}_{rows}x{columns}{'_staged' if staged else ''}"
    units.name = f"matmul_planes_{precision.name}_{shape}"
    return units
