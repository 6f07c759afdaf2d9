"""Records factorisations of matrices by columns: elimination, Cholesky's, Householder's reflections.

Layer: schedules. Columns are a multiple of 64 long, with zeros below the last row (``kernels.linalg.lu``); the order of
operations is the plain right-looking one. Invariant: panels, batches and threads change no bit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Protocol

import numpy as np

from loom.core.dtype import DType, u32
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.kernels.linalg import lu as kernels
from loom.kernels.linalg.cholesky import cholesky_panel, lower_triangle
from loom.kernels.linalg.lu import COLUMNS, PANEL, PANEL_THREADS
from loom.kernels.linalg.qr import apply_reflection, make_reflection
from loom.kernels.linalg.vectors import TILE, columns_to_rows, identity_columns, rows_to_columns
from loom.schedules.recorder import Recorder, StorageLike

__all__ = [
    "Columns", "record_basis", "record_cholesky", "record_determinants", "record_factors", "record_reflections",
    "record_solution",
]  # fmt: skip


class Repeater(Recorder, Protocol):
    """What does dispatches over and over, as a chain; a parameter may be an array, a number for each time."""

    def repeat(self, repeats: int) -> AbstractContextManager[Any]:
        """Return what is entered to record dispatches that are done so often."""
        ...


@dataclass(slots=True)
class Columns:
    """A recording over a batch of matrices laid in ``columns`` columns of n rows, padded to ``rows``."""

    chain: Recorder
    element: DType
    batch: int
    n: int
    columns: int
    memory: StorageLike = field(init=False)

    def __post_init__(self) -> None:
        self.columns = _round_up(self.columns, COLUMNS)
        nbytes = self.batch * self.columns * self.rows * self.element.nbytes
        if nbytes // self.element.nbytes > 0xFFFF_FFFF:
            raise ShapeError(
                "loom.linalg", "the matrices are too large", expected="less than 2^32 elements with their padding",
                got=nbytes // self.element.nbytes, remedy="Work on the batch in parts",
            )  # fmt: skip
        self.memory = self.chain.device.allocate(nbytes)

    @property
    def lanes(self) -> int:
        """Lanes of a group that works alone on a panel or column."""
        return PANEL_THREADS if self.chain.device.caps.threads else PANEL

    @property
    def rows(self) -> int:
        """Elements of a column in memory."""
        return _round_up(self.n, PANEL)

    def words(self, count: int) -> StorageLike:
        """Return memory for ``count`` u32 a matrix."""
        return self.chain.device.allocate(self.batch * count * u32.nbytes)

    def load(self, source: Any, m: int, first: int) -> None:
        """Record n by m matrices becoming the columns from ``first`` on."""
        groups = -(-m // TILE), -(-self.rows // TILE), self.batch
        params = [self.n, m, self.rows, self.columns, first]
        self.chain.dispatch(rows_to_columns(self.element), [source, self.memory], params, groups=groups)

    def identity(self, m: int, first: int) -> None:
        """Record the columns from ``first`` on becoming the m first of the identity."""
        groups = -(-self.rows // PANEL), m, self.batch
        kernel = identity_columns(self.element)
        self.chain.dispatch(kernel, [self.memory], [self.rows, self.columns, first], groups=groups)

    def store(self, target: Any, n: int, m: int, first: int, *, upper: bool = False) -> None:
        """Record the n first rows of the m columns from ``first`` on becoming n by m matrices."""
        groups = -(-m // TILE), -(-n // TILE), self.batch
        params = [n, m, self.rows, self.columns, first]
        kernel = columns_to_rows(self.element, upper=upper)
        self.chain.dispatch(kernel, [self.memory, target], params, groups=groups)


def _record_elimination(work: Columns, pivots: Any, info: Any) -> None:
    """Record the elimination of the n first columns, done to the others too."""
    n, element, chain = work.n, work.element, work.chain
    for first in range(0, n, PANEL):
        end = min(first + PANEL, n)
        params = [first, end, n, work.rows, work.columns]
        panel = kernels.eliminate_panel(element, work.lanes)
        chain.dispatch(panel, [work.memory, pivots, info], params, groups=work.batch)
        if end < work.columns:
            groups = -(-(work.columns - end) // PANEL), work.batch
            chain.dispatch(kernels.eliminate_rows(element), [work.memory, pivots], params, groups=groups)
            _record_rest(work, [first, end, work.rows, work.columns], symmetric=False)


def _record_rest(work: Columns, sizes: list[int], *, symmetric: bool) -> None:
    """Record what a panel does to the rows and columns beyond it, if there are rows."""
    end = sizes[1]
    if end % PANEL or end == work.rows:
        return
    groups = (work.rows - end) // PANEL, -(-(work.columns - end) // COLUMNS), work.batch
    kernel = kernels.eliminate_rest(work.element, symmetric=symmetric)
    work.chain.dispatch(kernel, [work.memory], sizes, groups=groups)


def record_solution(work: Columns, info: Any, m: int) -> None:
    """Record the elimination and the back substitution of m columns behind the matrix."""
    pivots = work.words(work.n)
    _record_elimination(work, pivots, info)
    kernel = kernels.back_substitution(work.element, work.lanes)
    work.chain.dispatch(kernel, [work.memory], [work.n, work.rows, work.columns], groups=(m, work.batch))


def record_determinants(work: Columns, out: Any) -> None:
    """Record the elimination and the products of the pivots."""
    pivots, info = work.words(work.n), work.words(1)
    _record_elimination(work, pivots, info)
    params = [work.n, work.rows, work.columns, work.batch]
    kernel = kernels.determinant(work.element)
    work.chain.dispatch(kernel, [work.memory, pivots, out], params, groups=-(-work.batch // PANEL))


def record_factors(work: Columns, out: Any, pivots: Any) -> None:
    """Record the elimination and its factors, rows exchanged in both."""
    info = work.words(1)
    _record_elimination(work, pivots, info)
    params = [work.n, work.rows, work.columns]
    kernel = kernels.swap_rows(work.element)
    work.chain.dispatch(kernel, [work.memory, pivots], params, groups=(-(-work.n // PANEL), work.batch))
    work.store(out, work.n, work.n, 0)


def record_cholesky(work: Columns, out: Any, info: Any) -> None:
    """Record the lower triangular factors of symmetric matrices."""
    for first in range(0, work.n, PANEL):
        end = min(first + PANEL, work.n)
        sizes = [first, end, work.rows, work.columns]
        work.chain.dispatch(cholesky_panel(work.element, work.lanes), [work.memory, info], sizes, groups=work.batch)
        _record_rest(work, sizes, symmetric=True)
    groups, params = (-(-work.n // PANEL), work.n, work.batch), [work.n, work.rows, work.columns]
    work.chain.dispatch(lower_triangle(work.element), [work.memory, out], params, groups=groups)


def record_reflections(chain: Repeater, work: Columns, factors: Any, k: int, n: int) -> None:
    """Record the reflection of each of k columns, applied to those after it."""
    steps = np.arange(k, dtype=np.uint32)
    left = np.stack([n - 1 - steps, np.full(k, work.batch)], axis=1)
    buffers, sizes = [work.memory, factors], [k, work.rows, work.columns]
    with chain.repeat(k):
        chain.dispatch(make_reflection(work.element), buffers, [steps, *sizes], groups=work.batch)
        applied = apply_reflection(work.element, apart=False)
        chain.dispatch(applied, buffers, [steps, steps + np.uint32(1), *sizes], groups=left)


def record_basis(chain: Repeater, work: Columns, basis: Columns, factors: Any, k: int,
                 columns: int | None = None) -> None:  # fmt: skip
    """Record the reflections applied to the identity, the last one first; column j is reached by those up to j.

    ``columns`` of the basis are wanted, by default k.
    """
    steps = np.arange(k - 1, -1, -1, dtype=np.uint32)
    groups = np.stack([(columns or k) - steps, np.full(k, work.batch)], axis=1)
    params = [steps, steps, k, work.rows, work.columns, basis.columns]
    with chain.repeat(k):
        kernel = apply_reflection(work.element, apart=True)
        chain.dispatch(kernel, [work.memory, factors, basis.memory], params, groups=groups)


def _round_up(n: int, multiple: int) -> int:
    """Return the least multiple that is not below n."""
    return -(-n // multiple) * multiple
