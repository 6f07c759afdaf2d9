"""Order-free products by units that multiply 64 rows at once (Hopper's tensor cores): each group a patch of the result.

Layer: kernels. Operands are panels (see ``panels``), which a unit copies to shared memory while others are multiplied:
a ticket is the rows and columns of a group of one plane, or of all planes, of a block, and their scales. Each 128 lanes
multiply 64 rows by the group's columns; what they do with the sums while others multiply is as in ``units``.
Invariant: t, the exact sum of a block, is that of the definition, scaled and added in the order of ``tiles``.

q8: t = s. q12: t = 64 (63 hh + x) - 63 ll, of x = (h + l)(h' + l'), in one register a sum: as t is below 2^29, it may
be worked out modulo 2^32, where 64 / -63 is a whole number. q24: nine products in five sums, by their weight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, i32, i64, u32
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    barrier,
    fetch,
    fetched,
    fma,
    group_id,
    local_id,
    num_groups,
    private,
    release,
    select,
    shared,
    static_range,
    wide_product,
)  # fmt: skip
from loom.ir.passes.wide import TICKET_NBYTES, WIDE_LANES, WIDE_ROWS
from loom.kernels.matmul.digits import scale_total
from loom.kernels.matmul.panels import PANEL_ROWS
from loom.kernels.matmul.planes import PLANE_WORDS, planes_of
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.precisions import Precision

__all__ = ["WidePatch", "multiply_panels", "wide_patch_of", "wide_patches_of"]

_ORDER = (0, 2, 1)
"""Planes of q12 as they are multiplied: of hh, x, ll."""
_HALF = 64 * pow(-63, -1, 1 << 32) % (1 << 32)
_FACTORS = (63, _HALF - (_HALF >> 31 << 32), -63)
"""What sums of q12 are multiplied by after each plane: ((63 hh + x) f + ll) (-63), where -63 f = 64 modulo 2^32."""
_SPAN = CHUNK // BLOCK
"""Blocks of a part, which a lane each looks at before they are multiplied."""
_LEAST_NORMAL, _MOST_BITS = 2.0**-126, 126
_BAND = 12
"""Rows of patches that neighbouring groups share, so that what they read stays near."""


@dataclass(frozen=True, slots=True)
class WidePatch:
    """``down`` times 64 rows by ``width`` columns, of which ``tickets`` are in shared memory at a time."""

    down: int
    width: int
    tickets: int

    @property
    def ahead(self) -> int:
        """Return how many tickets words are fetched ahead: so that whoever is quicker by one waits for nobody."""
        return max(self.tickets - 2, 1)

    @property
    def lanes(self) -> int:
        """Lanes of a group."""
        return self.down * WIDE_LANES

    @property
    def height(self) -> int:
        """Rows of a group."""
        return self.down * WIDE_ROWS

    def shared_nbytes(self, precision: Precision) -> int:
        """Return the bytes of shared memory of a group."""
        words = (self.height + self.width) * (_together(precision) * PLANE_WORDS + 1)
        return self.tickets * (words * i32.nbytes + TICKET_NBYTES) + _SPAN * u32.nbytes


_PATCHES = {
    "q8": (WidePatch(2, 192, 5), WidePatch(2, 128, 6), WidePatch(1, 128, 6), WidePatch(1, 64, 6)),
    "q12": (WidePatch(3, 128, 5), WidePatch(2, 128, 6), WidePatch(1, 128, 6), WidePatch(1, 64, 6)),
    "q24": (WidePatch(2, 64, 3), WidePatch(1, 64, 3)),
}
"""What fits 227 KiB of shared memory, and the registers of a multiprocessor without spills: the quickest first."""
_EDGE = 144
"""What a row or column of a patch costs beside an element of it, as seen on an H100."""


def wide_patches_of(precision: Precision) -> tuple[WidePatch, ...]:
    """Return the patches of a group that there are."""
    return _PATCHES[precision.name]


def wide_patch_of(precision: Precision, m: int, n: int, times: int, workers: int) -> WidePatch:
    """Return the patch that ``times`` products of ``m`` by ``n`` take least time with on a GPU of ``workers``."""

    def cost(patch: WidePatch) -> int:
        groups = -(-m // patch.height) * -(-n // patch.width) * times
        return -(-groups // workers) * (patch.height * patch.width + _EDGE * (patch.height + patch.width))

    return min(wide_patches_of(precision), key=cost)


def _together(precision: Precision) -> int:
    """Return the planes of a ticket: all of them where each is multiplied by each."""
    return planes_of(precision) if precision.sum_bits > 32 else 1


def _products(patch: WidePatch, precision: Precision) -> Callable[..., None]:
    """Return what multiplies a ticket's planes: into ``sums`` and ``kept`` as far as that goes."""
    width, a_words, b_words = patch.width, patch.height * PLANE_WORDS, patch.width * PLANE_WORDS
    count = width // 2

    def of_one(tile: Any, sums: Any, kept: Any, a_at: Any, b_at: Any, turn: Any) -> None:  # noqa: ARG001
        wide_product(sums, tile, a_at, b_at, width, False)

    def of_halves(tile: Any, sums: Any, kept: Any, a_at: Any, b_at: Any, turn: Any) -> None:  # noqa: ARG001
        wide_product(sums, tile, a_at, b_at, width, turn > 0)
        for n in static_range(count):
            sums[n] = sums[n] * _FACTORS[turn]

    def of_digits(tile: Any, sums: Any, kept: Any, a_at: Any, b_at: Any, turn: Any) -> None:  # noqa: ARG001
        """Leave t as ``kept`` 2^24 + ``sums``, of which each is below 2^31."""
        part = private(i32, count)
        wide_product(kept, tile, a_at + 2 * a_words, b_at + 2 * b_words, width, False)
        wide_product(part, tile, a_at + 2 * a_words, b_at + b_words, width, False)
        wide_product(part, tile, a_at + a_words, b_at + 2 * b_words, width, True)
        for n in static_range(count):
            kept[n] = kept[n] * 256 + part[n]
        wide_product(part, tile, a_at + 2 * a_words, b_at, width, False)
        wide_product(part, tile, a_at + a_words, b_at + b_words, width, True)
        wide_product(part, tile, a_at, b_at + 2 * b_words, width, True)
        for n in static_range(count):
            kept[n] = kept[n] + (part[n] >> 8)
            sums[n] = (part[n] & 255) << 8
        wide_product(part, tile, a_at + a_words, b_at, width, False)
        wide_product(part, tile, a_at, b_at + b_words, width, True)
        for n in static_range(count):
            sums[n] = (sums[n] + part[n]) << 8
        wide_product(sums, tile, a_at, b_at, width, True)

    if planes_of(precision) == 1:
        return of_one
    return of_halves if precision.sum_bits < 32 else of_digits


def _adding(patch: WidePatch, precision: Precision) -> Callable[..., None]:
    """Return what scales a lane's sums of a block and adds them to those that it keeps."""
    is_pair, columns = precision.sum_bits > 32, patch.width // 8

    def total(sums: Any, kept: Any, n: Any) -> Any:
        if is_pair:
            return i64(kept[n]) * (1 << 24) + i64(sums[n])
        return sums[n]

    def add(found: Any, sums: Any, kept: Any, scales: Any, high_at: Any, wide_at: Any, is_usual: Any) -> None:
        """Where no product of scales and sums can leave the normal range, one scale for both is exact, and fused."""
        high = private(f32, 2)
        high[0], high[1] = scales[high_at], scales[high_at + 8]
        if is_usual:
            for j in static_range(columns):
                for r in static_range(2):
                    wide = scales[wide_at + j * 8 + r]
                    for i in static_range(2):
                        n = j * 4 + i * 2 + r
                        found[n] = fma(f32(total(sums, kept, n)), high[i] * wide, found[n])
        else:
            for j in static_range(columns):
                for r in static_range(2):
                    wide = scales[wide_at + j * 8 + r]
                    for i in static_range(2):
                        n = j * 4 + i * 2 + r
                        found[n] = found[n] + scale_total(total(sums, kept, n), high[i], wide)

    return add


def _bringing(patch: WidePatch, precision: Precision) -> tuple[Callable[..., None], int, int, int]:
    """Return what fetches a ticket, the pieces of it, and the words and scales that it takes of shared memory."""
    width, height, tickets = patch.width, patch.height, patch.tickets
    planes, together, sides = planes_of(precision), _together(precision), height + width
    pieces, room = 2 * together + 2, sides * together * PLANE_WORDS

    def bring(
        tile: Any, scales: Any, a: Any, b: Any, a_scales: Any, b_scales: Any, ticket: Any, a_block: Any, b_block: Any,
        plane: Any, a_rows: Any, b_rows: Any, row: Any, column: Any,
    ) -> None:  # fmt: skip
        """Fetch the planes of a ticket from ``plane`` on, and the scales of its block."""
        slot = ticket % tickets
        at = slot * room
        for p in static_range(together):
            a_first = ((a_block * planes + plane + p) * a_rows + row) * PLANE_WORDS
            b_first = ((b_block * planes + plane + p) * b_rows + column) * PLANE_WORDS
            fetch(ticket, tile, at + p * height * PLANE_WORDS, a, a_first, height * PLANE_WORDS, tickets, pieces)
            b_at = at + (together * height + p * width) * PLANE_WORDS
            fetch(ticket, tile, b_at, b, b_first, width * PLANE_WORDS, tickets, pieces)
        fetch(ticket, scales, slot * sides, a_scales, a_block * a_rows + row, height, tickets, pieces)
        fetch(ticket, scales, slot * sides + height, b_scales, b_block * b_rows + column, width, tickets, pieces)

    return bring, pieces, room, sides


def _place(height: Any, width: Any) -> Any:
    """Return the row and the column of a group's patch: groups go down a band of rows, then to the next columns."""
    across = num_groups(0)
    number = group_id(1) * across + group_id(0)
    band = number // (_BAND * across)
    rows_of_band = min(num_groups(1) - band * _BAND, _BAND)
    within = number - band * (_BAND * across)
    return (band * _BAND + within % rows_of_band) * height, within // rows_of_band * width


def _is_usual(a_extremes: Any, b_extremes: Any, a_at: Any, b_at: Any, patch: Any, precision: Any) -> Any:
    """Tell whether all products of a patch's scales, times 1 to the largest sum, are normal numbers: none is NaN.

    ``a_at``, ``b_at``: where the extremes of its rows and columns begin.
    """
    least_high, most_high = a_extremes[a_at], a_extremes[a_at + 1]
    least_wide, most_wide = b_extremes[b_at], b_extremes[b_at + 1]
    for n in static_range(1, patch.height // PANEL_ROWS):
        least_high = min(least_high, a_extremes[a_at + 2 * n])
        most_high = max(most_high, a_extremes[a_at + (2 * n + 1)])
    for n in static_range(1, patch.width // PANEL_ROWS):
        least_wide = min(least_wide, b_extremes[b_at + 2 * n])
        most_wide = max(most_wide, b_extremes[b_at + (2 * n + 1)])
    return least_high * least_wide >= _LEAST_NORMAL and most_high * most_wide <= 2.0 ** (
        _MOST_BITS - precision.sum_bits
    )


@cache
def multiply_panels(patch: WidePatch, precision: Precision) -> KernelFunction:
    """Return the kernel that multiplies panels of both operands into chunks of the result.

    Groups are as in ``multiply_planes``, but for their order along x and y; ``a_extremes`` and ``b_extremes`` hold the
    least and the largest scale of each ``PANEL_ROWS`` of a block, ``a_rows`` and ``b_rows`` are rows filled up.
    """
    width, height, lanes, tickets = patch.width, patch.height, patch.lanes, patch.tickets
    together, count, ahead = _together(precision), patch.width // 2, patch.ahead
    turns = planes_of(precision) // together
    order = _ORDER if turns > 1 else (0,)
    bring, pieces, room, sides = _bringing(patch, precision)
    multiply, add = _products(patch, precision), _adding(patch, precision)

    @kernel(workgroup=lanes, trusted=True)
    def units(
        a: In[i32],
        b: In[i32],
        a_scales: In[f32],
        b_scales: In[f32],
        a_extremes: In[f32],
        b_extremes: In[f32],
        which: In[u32],
        out: Out[f32],
        m: u32,
        n: u32,
        a_rows: u32,
        b_rows: u32,
        blocks: u32,
        batches: u32,
        parts: u32,
        span: u32,
    ):
        lane = local_id()
        batch, part = group_id(2) // parts, group_id(2) % parts
        row, column = _place(height, width)
        begin = part * span
        many = min(blocks - begin, span)
        a_block, b_block = which[batch] * blocks + begin, which[batches + batch] * blocks + begin
        tile, scales, usual = shared(i32, tickets * room), shared(f32, tickets * sides), shared(u32, _SPAN)
        own = lane // WIDE_LANES * WIDE_ROWS
        high = own + lane % WIDE_LANES // 32 * 16 + lane % 32 // 4
        found, sums, kept = private(f32, count), private(i32, count), private(i32, count)
        for s in static_range(count):
            found[s] = f32(0)
        for s in static_range(ahead):
            if s < many * turns:
                first, second, plane = a_block + s // turns, b_block + s // turns, u32(order[s % turns])
                bring(tile, scales, a, b, a_scales, b_scales, u32(s), first, second, plane, a_rows, b_rows, row, column)
        if lane < many:
            a_at = ((a_block + lane) * a_rows + row) // PANEL_ROWS * 2
            b_at = ((b_block + lane) * b_rows + column) // PANEL_ROWS * 2
            usual[lane] = select(_is_usual(a_extremes, b_extremes, a_at, b_at, patch, precision), 1, 0)
        barrier()
        for block in range(many):
            is_usual = usual[block] != 0
            for turn in static_range(turns):
                ticket = block * turns + turn
                at = ticket % tickets * room
                fetched(ticket, tickets, pieces)
                wide_at = at + together * height * PLANE_WORDS
                multiply(tile, sums, kept, at + own * PLANE_WORDS, wide_at, turn)
                later = ticket + ahead
                if later < many * turns:
                    step = block + (turn + ahead) // turns
                    first, second, plane = a_block + step, b_block + step, u32(order[(turn + ahead) % turns])
                    bring(
                        tile, scales, a, b, a_scales, b_scales, later, first, second, plane, a_rows, b_rows, row, column
                    )
                if turn == turns - 1:
                    high_at = ticket % tickets * sides
                    add(found, sums, kept, scales, high_at + high, high_at + height + lane % 4 * 2, is_usual)
                release(ticket, tickets, pieces)
        for j in static_range(width // 8):
            for r in static_range(4):
                y, x = row + high + r // 2 * 8, column + j * 8 + lane % 4 * 2 + r % 2
                if y < m and x < n:
                    out[(group_id(2) * m + y) * n + x] = found[j * 4 + r]

    units.name = f"matmul_panels_{precision.name}_{height}x{width}"
    return units
