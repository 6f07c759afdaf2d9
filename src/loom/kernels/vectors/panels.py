"""How vectors lie in memory: panels of rows side by side for each k, so that lanes read them together.

Layer: kernels. Element k of row r of a panel of ``width`` rows is word ``k width + r`` of it. A word holds a float, or
four neighbouring bytes, each an integer plus 128 (``BIAS``). A row has facts beside it: ``squares``, the sum of the
squares of what is kept, in the order of matrix products (the least number there is where that vanishes and the vector
does not); ``weights``, what its products with queries are multiplied by;
and ``scales``, what its integers are multiplied by. Invariant: what is kept of a vector depends on that vector alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i8, i32, u32, u64
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    barrier,
    bitcast,
    global_id,
    group_id,
    local_id,
    private,
    rint,
    select,
    shared,
    sqrt,
    static_range,
)  # fmt: skip

__all__ = ["BIAS", "BYTES", "Panel", "lay_bytes", "lay_floats", "read_rows", "words_of"]

BYTES = 4
"""Bytes of a word."""
BIAS = 128
"""What is added to an integer from -127 to 127, so that bytes are read without their sign."""
_MOST = 127.0
_LEAST = 2.0**-149
_LANES = 256
_FEW_ROWS = 32


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel for ``lanes`` times ``vectors`` rows of words of type ``held``; ``queries`` are compared at once.

    ``index`` is the type of indexes; 64 bits let a CPU fold constant distances into addresses.
    """

    lanes: int
    vectors: int
    queries: int
    held: DType
    index: DType = u64

    @property
    def width(self) -> int:
        """Rows of the panel."""
        return self.lanes * self.vectors

    @property
    def staged(self) -> int:
        """Rows of which elements are brought into shared memory at a time."""
        return self.width if self.width <= _FEW_ROWS else self.lanes

    @property
    def stage(self) -> int:
        """Elements of each of them, whole blocks, that are brought there."""
        return 2 * BLOCK if self.width <= _FEW_ROWS else BLOCK

    @property
    def name(self) -> str:
        """Its part of a kernel's name."""
        return f"{self.held}_{self.queries}x{self.vectors}x{self.lanes}"


def words_of(dims: int, kept: DType) -> int:
    """Return the words of a vector of ``dims`` elements that are kept as a type."""
    return -(-dims // BYTES) if kept == i8 else dims


def _weight(cosine: bool) -> Callable[[Any], Any]:
    """Return what makes a row's weight of its squares: 1 / length where angles are asked for, 0 for length 0."""
    if not cosine:
        return lambda _: f32(1)
    return lambda square: select(square > 0, 1 / sqrt(select(square > 0, square, f32(1))), f32(0))


def _bringing(lanes: int, pitch: int, at: DType) -> Callable[..., None]:
    """Return what copies rows into shared memory."""

    def bring(x: Any, staged: Any, source: Any, here: Any, dims: Any, size: Any) -> None:
        """Read ``size`` neighbours of each row as they lie in memory."""
        for r in range(here):
            at_row = source + at(r) * at(dims) + at(local_id())
            whole = size // lanes * lanes
            for k in range(0, whole, lanes):
                staged[r * pitch + k + local_id()] = x[at_row + at(k)]
            if whole + local_id() < size:
                staged[r * pitch + whole + local_id()] = x[at_row + at(whole)]

    return bring


@cache
def lay_floats(panel: Panel, *, cosine: bool) -> KernelFunction:
    """Return the kernel (x, sizes, out, squares, weights, scales) that lays ``x``, rows of f32, into panels.

    ``sizes``: the first row to be written, how many there are, their length, where in ``x`` they begin. A group writes
    a panel. ``scales`` are 1.
    """
    held, at, width, lanes, rows, stage = (
        panel.held, panel.index, panel.width, panel.lanes, panel.staged, panel.stage,
    )  # fmt: skip
    vectors = rows // lanes
    weight = _weight(cosine)
    pitch = stage + 1

    bring = _bringing(lanes, pitch, at)

    def put(
        staged: Any, out: Any, total: Any, found: Any, target: Any, top: Any, low: Any, high: Any, size: Any,
        is_whole: Any,
    ) -> None:  # fmt: skip
        part = private(f32, vectors)
        for block in range(0, size, BLOCK):
            for v in static_range(vectors):
                part[v] = f32(0)
            for k in range(block, block + min(size - block, BLOCK)):
                for v in static_range(vectors):
                    row = top + v * lanes + local_id()
                    if is_whole or (row >= low and row < high):
                        given = staged[(row - low) * pitch + k]
                        kept = held(given)
                        found[v] = found[v] | (bitcast(u32, given) << 1)
                        part[v] = part[v] + f32(kept) * f32(kept)
                        out[target + (at(k) * width + v * lanes)] = kept
            for v in static_range(vectors):
                total[v] = total[v] + part[v]

    @kernel(workgroup=lanes, trusted=True)
    def lay(
        x: In[f32],
        sizes: In[u32],
        out: InOut[held],  # type: ignore[valid-type]
        squares: InOut[f32],
        weights: InOut[f32],
        scales: InOut[f32],
    ):
        staged = shared(f32, rows * pitch)
        total, found = private(f32, vectors), private(u32, vectors)
        first, count, dims, begin = sizes[0], sizes[1], sizes[2], sizes[3]
        p = first // width + group_id()
        for part in static_range(width // rows):
            top = p * width + part * rows
            low, high = max(top, first), min(top + rows, first + count)
            if low < high:
                for v in static_range(vectors):
                    total[v] = f32(0)
                    found[v] = u32(0)
                for piece in range(0, dims, stage):
                    size = min(dims - piece, stage)
                    barrier()
                    bring(x, staged, at(begin) + at(low - first) * at(dims) + at(piece), high - low, dims, size)
                    barrier()
                    target = (at(p) * at(dims) + at(piece)) * width + (part * rows + at(local_id()))
                    if high - low == rows:  # so that no lane of a CPU is masked
                        put(staged, out, total, found, target, top, low, high, size, True)
                    else:
                        put(staged, out, total, found, target, top, low, high, size, False)
                for v in static_range(vectors):
                    row = top + v * lanes + local_id()
                    if row >= low and row < high:
                        squares[row] = select(total[v] == 0 and found[v] != 0, f32(_LEAST), total[v])
                        weights[row] = weight(total[v])
                        scales[row] = f32(1)

    lay.name = f"vectors_lay_{panel.name}{'_cosine' * cosine}"
    return lay


def _quantise(x: Any, at: Any, fine: Any) -> Any:
    return i32(rint(x[at] * fine))


def _whole(x: Any, at: Any, _fine: Any) -> Any:
    return i32(x[at])


@cache
def lay_bytes(panel: Panel, *, cosine: bool, source: DType = f32) -> KernelFunction:
    """Return the same for elements kept as integers from -127 to 127 times a scale, largest element / 127.

    ``squares`` are those of the integers, as f32, times the scale twice; the weight of a length is made of integers.
    ``source`` i8: ``x`` holds the integers, and ``scales`` what they are multiplied by.
    """
    at, width, lanes = panel.index, panel.width, panel.lanes
    weight = _weight(cosine)
    is_kept = source == i8
    integer = _whole if is_kept else _quantise

    @kernel(workgroup=lanes, trusted=True)
    def lay(
        x: In[source],  # type: ignore[valid-type]
        sizes: In[u32],
        out: InOut[i32],
        squares: InOut[f32],
        weights: InOut[f32],
        scales: InOut[f32],
    ):
        first, count, dims, begin = sizes[0], sizes[1], sizes[2], sizes[3]
        p = first // width + group_id()
        words = (dims + (BYTES - 1)) // BYTES
        for v in static_range(panel.vectors):
            row = p * width + v * lanes + local_id()
            if row >= first and row < first + count:
                x_at = at(begin) + at(row - first) * at(dims)
                target = at(p) * (at(words) * width) + v * lanes + at(local_id())
                scale, fine = scales[row], f32(0)
                if not is_kept:
                    largest = f32(0)
                    for k in range(dims):
                        largest = max(largest, abs(x[x_at + at(k)]))
                    scale = largest / f32(_MOST)
                    fine = select(largest > 0, f32(_MOST) / select(largest > 0, largest, f32(1)), f32(0))
                total = i32(0)
                for w in range(words):
                    word = i32(0)
                    for b in static_range(BYTES):
                        k = w * BYTES + b
                        value = select(k < dims, integer(x, x_at + at(min(k, dims - 1)), fine), i32(0))
                        total = total + value * value
                        word = word | ((value + BIAS) << (8 * b))
                    out[target + at(w) * width] = word
                square = f32(total) * scale * scale
                squares[row] = select(square == 0 and total != 0, f32(_LEAST), square)
                weights[row] = weight(f32(total)) if cosine else scale
                if not is_kept:
                    scales[row] = scale

    lay.name = f"vectors_lay_{source}_as_bytes_{panel.name}{'_cosine' * cosine}"
    return lay


@cache
def read_rows(panel: Panel, kept: DType) -> KernelFunction:
    """Return the kernel (x, sizes, out) that copies rows out of panels, as they are kept: row by row.

    ``sizes``: the first row, how many, their length. ``out`` has elements of type ``kept``; integers are without bias.
    """
    at, width, held = panel.index, panel.width, panel.held
    packed = kept == i8

    @kernel(workgroup=_LANES, trusted=True)
    def read(
        x: In[held],  # type: ignore[valid-type]
        sizes: In[u32],
        out: Out[kept],  # type: ignore[valid-type]
    ):
        first, count, dims = sizes[0], sizes[1], sizes[2]
        words = (dims + (BYTES - 1)) // BYTES if packed else dims
        i = group_id(1)
        if i < count:
            row = first + i
            source = at(row // width) * (at(words) * width) + at(row % width)
            k = global_id()
            if k < dims:
                if packed:
                    word = x[source + at(k // BYTES) * width]
                    out[at(i) * at(dims) + at(k)] = kept(((word >> i32(8 * (k % BYTES))) & 255) - BIAS)
                else:
                    out[at(i) * at(dims) + at(k)] = x[source + at(k) * width]

    read.name = f"vectors_read_{panel.name}_{kept}"
    return read
