"""Records what is picked along an axis by indices, and what is folded there by index.

Layer: schedules. On a CPU groups own parts of a fold's result and look at every index; where lanes are threads the
places are sorted first, since a lane alone is slow. Invariant: elements of one place are folded in the order of their
positions (``kernels.move.along``), so that no choice made here can be seen in the bits.
"""

from __future__ import annotations

from loom.core.dtype import DType, u32, u64
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.kernels.move import along
from loom.kernels.move.gather import LANES, ROWS, fold_places, start_rows, sum_rows, take_rows
from loom.kernels.sort.keys import DIGIT_BITS, Order, Records
from loom.schedules.axis import Rows
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sorting.sort import plan_sort

__all__ = ["Picking"]

_LARGE = 1 << 32
_LEAST_COLUMNS = 32
"""Elements of a row from which a row is added by lanes side by side."""


@dataclass(frozen=True, slots=True)
class Picking:
    """Elements of (outer, m, inner) and a table of (outer, n, inner): the shape of the table, m, and which indices.

    ``shared``: m indices for all; else one for each element.
    """

    table: Rows
    m: int
    shared: bool

    @property
    def size(self) -> int:
        """Number of elements picked."""
        return self.table.results * self.m

    def record_take(self, chain: Recorder, x: StorageLike, at: StorageLike, out: StorageLike, element: DType) -> None:
        """Record ``out[o, j, i] = x[o, at[o, j, i], i]``; there are elements."""
        outer, n, inner = self.table.outer, self.table.n, self.table.inner
        if self.shared and outer == 1 and inner >= _LEAST_COLUMNS:
            groups = (-(-inner // LANES), -(-self.m // ROWS))
            chain.dispatch(take_rows(element), [x, at, out], [self.m, n, inner], groups)
            return
        columns = self.m * inner
        flat = columns < _LEAST_COLUMNS
        kernel = along.take_along(element, shared=self.shared, alone=inner == 1, flat=flat)
        rows = 1 if flat else -(-outer // along.ROWS)
        groups = (-(-(self.size if flat else columns) // along.LANES), rows)
        chain.dispatch(kernel, [x, at, out], [n, self.m, inner, outer], groups)

    def record_fold(
        self, chain: Recorder, x: StorageLike, at: StorageLike, out: StorageLike, operation: str, element: DType,
        held: DType, where: str,
    ) -> None:  # fmt: skip
        """Record the fold of ``x`` by index into ``out``, of type ``held``, the size of the table."""
        caps, (outer, n, inner) = chain.device.caps, (self.table.outer, self.table.n, self.table.inner)
        if max(self.size, self.table.size) >= _LARGE:
            raise ShapeError(where, "too many elements", expected="less than 2^32", got=max(self.size, self.table.size),
                             remedy="Do it in parts")  # fmt: skip
        if lanes_of(caps) == THREADS:
            self._record_sorted(chain, x, at, out, operation, element, held, where)
            return
        across = inner > 1
        columns = outer * (-(-inner // along.ACROSS) if across else 1)
        shares = across and columns < caps.workers  # a column alone costs as much to look at as to add
        parts = min(n, -(-caps.workers // columns)) if shares else 1
        kernel = along.fold_along(operation, element, held, shared=self.shared, across=across)
        chain.dispatch(kernel, [x, at, out], [n, self.m, inner, parts], (columns, parts))

    def _record_sorted(
        self, chain: Recorder, x: StorageLike, at: StorageLike, out: StorageLike, operation: str, element: DType,
        held: DType, where: str,
    ) -> None:  # fmt: skip
        by_row = self.shared and self.table.outer == 1
        n, rows, inner = (self.m, self.table.n, self.table.inner) if by_row else (self.size, self.table.size, 1)
        if not by_row:
            places = chain.device.allocate(n * u32.nbytes)
            sizes = [self.table.n, self.m, self.table.inner, n]
            chain.dispatch(along.flat_places(shared=self.shared), [at, places], sizes, -(-n // along.LANES))
            at = places
        digits = max(1, -(-(rows - 1).bit_length() // DIGIT_BITS))
        plan = plan_sort(Records(Order(u32), "index"), 1, n, keys_out=True, caps=chain.device.caps, where=where,
                         digits=digits)  # fmt: skip
        sizes = n * u32.nbytes, n * u64.nbytes, (rows + 1) * u32.nbytes, *plan.sizes
        ordered, order, starts, *room = (chain.device.allocate(nbytes) for nbytes in sizes)
        plan.record(chain, at, None, ordered, order, room)
        chain.dispatch(start_rows(), [ordered, starts], [n, rows], rows // LANES + 1)
        if operation == "sum" and inner >= _LEAST_COLUMNS:
            groups = (-(-inner // LANES), -(-rows // ROWS))
            chain.dispatch(sum_rows(element, held), [x, order, starts, out], [rows, inner], groups)
        else:
            kernel = fold_places(operation, element, held)
            chain.dispatch(kernel, [x, order, starts, out], [rows, inner], -(-(rows * inner) // LANES))
