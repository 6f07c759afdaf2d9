"""Records eigenvalues and eigenvectors of symmetric matrices.

Layer: schedules. Up to ``SMALL`` rows a lane takes a matrix, the elements of all of them side by side; larger ones are
worked on by groups. Invariant: the size of the matrices alone chooses the way, and the batch changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import DType, u32
from loom.kernels.group.clear import CLEAR_LANES, clear_words
from loom.kernels.linalg.bidiagonal import diagonalize_bidiagonal, reflect_row, reflect_rows, singular_small, write_pair
from loom.kernels.linalg.qr import apply_reflection, make_reflection
from loom.kernels.linalg.rotations import LANES, STEPS, apply_rotations, scale_square, wide, write_sorted
from loom.kernels.linalg.symmetric import (
    diagonalize,
    eigen_small,
    multiply_symmetric,
    tridiagonal_column,
    write_vectors,
)
from loom.kernels.linalg.vectors import TILE, transpose_tiles
from loom.schedules.linalg.elimination import Columns
from loom.schedules.recorder import Recorder

__all__ = [
    "ROUNDS",
    "SMALL",
    "Lists",
    "record_eigen",
    "record_product",
    "record_singular",
    "record_zeros",
    "side_by_side",
]

SMALL = 16
"""Rows up to which a lane takes a whole matrix."""
_SMALL_LANES = 16
ROUNDS = STEPS + 1
"""Times that rotations are found and applied: enough for the most steps there can be."""


def side_by_side(chain: Recorder, element: DType, source: Any, out: Any, batch: int, size: int) -> None:
    """Record ``batch`` rows of ``size`` elements becoming columns: element k of all rows side by side."""
    groups = -(-size // TILE), -(-batch // TILE), 1
    chain.dispatch(transpose_tiles(element), [source, out], [batch, size], groups=groups)


def record_eigen(chain: Recorder, source: Any, out: Any, element: DType, batch: int, n: int, *, vectors: bool) -> None:
    """Record the eigenvalues, ascending, of ``batch`` symmetric n by n matrices, and with ``vectors`` the eigenvectors.

    ``out``: for each matrix n values, followed, with ``vectors``, by n rows of the vectors.
    """
    if n <= SMALL:
        _record_small(chain, source, out, element, batch, n, vectors)
    else:
        _record_large(chain, source, out, element, batch, n, vectors)


def _record_small(chain: Recorder, source: Any, out: Any, element: DType, batch: int, n: int, vectors: bool) -> None:
    v, found = (chain.device.allocate(batch * size * element.nbytes) for size in (n * n, (n + 1) * n))
    d, e = (chain.device.allocate(batch * n * element.nbytes) for _ in range(2))
    side_by_side(chain, element, source, v, batch, n * n)
    chain.dispatch(eigen_small(element), [v, d, e, found], [n, batch], groups=-(-batch // _SMALL_LANES))
    if vectors:
        side_by_side(chain, element, found, out, (n + 1) * n, batch)
    else:
        side_by_side(chain, element, found, out, n, batch)


def _record_large(chain: Recorder, source: Any, out: Any, element: DType, batch: int, n: int, vectors: bool) -> None:
    rows = -(-n // LANES) * LANES
    work, house = (Columns(chain, element, batch, n, rows) for _ in range(2))
    w, p, factors = (chain.device.allocate(batch * rows * element.nbytes) for _ in range(3))
    d, e = (chain.device.allocate(batch * rows * wide(element).nbytes) for _ in range(2))
    back = chain.device.allocate(batch * element.nbytes)
    for memory, size in ((work.memory, rows * rows), (house.memory, rows * rows), (p, rows), (factors, rows)):
        record_zeros(chain, memory, element, batch * size)
    record_zeros(chain, e, wide(element), batch * rows)
    work.load(source, n, 0)
    chain.dispatch(scale_square(element), [work.memory, back], [rows, rows], groups=batch)
    steps = np.arange(n, dtype=np.uint32)
    with chain.repeat(n):
        buffers = [work.memory, house.memory, w, p, factors, d, e]
        chain.dispatch(tridiagonal_column(element), buffers, [steps, n, rows], groups=batch)
        buffers = [work.memory, house.memory, w, factors, p]
        chain.dispatch(multiply_symmetric(element), buffers, [steps, n, rows], groups=(rows // LANES, batch))
    ranks = chain.device.allocate(batch * rows * u32.nbytes)
    step = n * (n + 1) if vectors else n
    lists = Lists(chain, element, batch, n, vectors)
    if not vectors:
        chain.dispatch(diagonalize(element, vectors=False), [d, e, *lists.buffers, back], lists.params, groups=batch)
        chain.dispatch(write_sorted(element), [d, back, ranks, out], [n, rows, step], groups=(rows // LANES, batch))
        return
    basis = Columns(chain, element, batch, n, rows)
    basis.identity(rows, 0)
    record_product(chain, house, basis, factors, n)
    with chain.repeat(ROUNDS):
        chain.dispatch(diagonalize(element, vectors=True), [d, e, *lists.buffers, back], lists.params, groups=batch)
        lists.apply(basis, 0)
    chain.dispatch(write_sorted(element), [d, back, ranks, out], [n, rows, step], groups=(rows // LANES, batch))
    chain.dispatch(write_vectors(element), [basis.memory, back, ranks, out], [n, rows, n, step], groups=(n, batch))


def record_zeros(chain: Recorder, memory: Any, element: DType, size: int) -> None:
    """Record ``size`` elements becoming zero."""
    chain.dispatch(clear_words(element), [memory], [size], groups=-(-size // CLEAR_LANES))


def record_product(chain: Recorder, house: Columns, basis: Columns, factors: Any, n: int, first: int = 1) -> None:
    """Record the identity in ``basis`` becoming the product of the reflections in columns ``first`` to n - 2."""
    rows, turns = house.rows, np.arange(n - 2, first - 1, -1, dtype=np.uint32)
    groups = np.stack([n - turns, np.full(turns.size, house.batch)], axis=1)
    with chain.repeat(turns.size):
        kernel = apply_reflection(house.element, apart=True)
        chain.dispatch(kernel, [house.memory, factors, basis.memory], [turns, turns, rows, rows, rows, rows], groups)


class Lists:
    """Memory for rotations of matrices of n rows, made and applied in rounds."""

    def __init__(self, chain: Recorder, element: DType, batch: int, n: int, kept: bool, several: int = 1) -> None:
        self.chain, self.element, self.batch = chain, element, batch
        self.room = n * n
        room = batch * self.room if kept else 1
        allocate = chain.device.allocate
        self.turns = [allocate(2 * room * element.nbytes) for _ in range(several)]
        self.places = [allocate(room * u32.nbytes) for _ in range(several)]
        self.counts = allocate(batch * 8 * u32.nbytes)
        self.params = [self.room, n, -(-n // LANES) * LANES]
        record_zeros(chain, self.counts, u32, batch * 8)

    @property
    def buffers(self) -> list[Any]:
        """Of all lists: turns, places; then the counts."""
        both = zip(self.turns, self.places, strict=True)
        return [memory for pair in both for memory in pair] + [self.counts]

    def apply(self, x: Columns, which: int) -> None:
        """Record what list ``which`` does to columns."""
        buffers = [x.memory, self.turns[which], self.places[which], self.counts]
        params = [which, self.room, x.rows, x.columns]
        self.chain.dispatch(apply_rotations(self.element), buffers, params, groups=(x.rows // LANES, self.batch))


def record_singular(
    chain: Recorder, source: Any, out: Any, element: DType, batch: int, n: int, *, vectors: bool
) -> None:
    """Record the singular values, descending, of ``batch`` square matrices of n rows, and with ``vectors`` the vectors.

    ``out``: for each matrix n values, followed, with ``vectors``, by n rows whose columns are the left vectors and n
    rows that are the right vectors.
    """
    if n <= SMALL:
        _record_small_pair(chain, source, out, element, batch, n, vectors)
    else:
        _record_large_pair(chain, source, out, element, batch, n, vectors)


def _record_small_pair(
    chain: Recorder, source: Any, out: Any, element: DType, batch: int, n: int, vectors: bool
) -> None:
    whole = n * n if vectors else 1
    sizes = n * n, whole, whole, n, n, n + 2 * n * n
    x, *rest = (chain.device.allocate(batch * size * element.nbytes) for size in sizes)
    side_by_side(chain, element, source, x, batch, n * n)
    chain.dispatch(singular_small(element, vectors=vectors), [x, *rest], [n, batch], groups=-(-batch // _SMALL_LANES))
    side_by_side(chain, element, rest[-1], out, sizes[-1] if vectors else n, batch)


def _record_large_pair(
    chain: Recorder, source: Any, out: Any, element: DType, batch: int, n: int, vectors: bool
) -> None:
    rows = -(-n // LANES) * LANES
    work, house = (Columns(chain, element, batch, n, rows) for _ in range(2))
    left, right = (chain.device.allocate(batch * rows * element.nbytes) for _ in range(2))
    d, e = (chain.device.allocate(batch * rows * wide(element).nbytes) for _ in range(2))
    back = chain.device.allocate(batch * element.nbytes)
    for memory, size in ((work.memory, rows * rows), (left, rows), (right, rows)):
        record_zeros(chain, memory, element, batch * size)
    record_zeros(chain, e, wide(element), batch * rows)
    work.load(source, n, 0)
    chain.dispatch(scale_square(element), [work.memory, back], [rows, rows], groups=batch)
    steps = np.arange(n, dtype=np.uint32)
    beyond = np.stack([n - 1 - steps, np.full(n, batch)], axis=1)
    with chain.repeat(n):
        buffers, sizes = [work.memory, left], [rows, rows, rows]
        chain.dispatch(make_reflection(element), buffers, [steps, *sizes], groups=batch)
        applied = apply_reflection(element, apart=False)
        chain.dispatch(applied, buffers, [steps, steps + np.uint32(1), *sizes], groups=beyond)
        buffers = [work.memory, house.memory, right, d, e]
        chain.dispatch(reflect_row(element), buffers, [steps, n, rows], groups=batch)
        buffers = [work.memory, house.memory, right]
        chain.dispatch(reflect_rows(element), buffers, [steps, n, rows], groups=(rows // LANES, batch))
    ranks = chain.device.allocate(batch * rows * u32.nbytes)
    step = n + 2 * n * n if vectors else n
    lists = Lists(chain, element, batch, n, vectors, several=2)
    arguments = [d, e, *lists.buffers, back], lists.params
    order = write_sorted(element, descending=True)
    if not vectors:
        chain.dispatch(diagonalize_bidiagonal(element, vectors=False), *arguments, groups=batch)
        chain.dispatch(order, [d, back, ranks, out], [n, rows, step], groups=(rows // LANES, batch))
        return
    bases = [Columns(chain, element, batch, n, rows) for _ in range(2)]
    for basis, reflections, factors, first in ((bases[0], work, left, 0), (bases[1], house, right, 1)):
        basis.identity(rows, 0)
        record_product(chain, reflections, basis, factors, n, first)
    with chain.repeat(2 * ROUNDS):
        chain.dispatch(diagonalize_bidiagonal(element, vectors=True), *arguments, groups=batch)
        for k in range(2):
            lists.apply(bases[k], k)
    chain.dispatch(order, [d, back, ranks, out], [n, rows, step], groups=(rows // LANES, batch))
    buffers = [*(b.memory for b in bases), d, back, ranks, out]
    chain.dispatch(write_pair(element), buffers, [n, rows, n, step], groups=(n, batch))
