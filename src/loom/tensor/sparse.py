"""Sparse matrices stored by rows (CSR), and their products with dense ones.

Layer: tensor. Invariant: row pointers ascend and columns are inside, checked when the matrix is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.arrays import read_as
from loom.core.dtype import DType, i64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.tracebacks import brief_class
from loom.kernels.linalg.sparse import SPMM_LANES, SPMM_ROWS, multiply_sparse
from loom.kernels.maps.nest import number
from loom.runtime.plans.library import SparseProduct, library_kernel, require_fast
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.fast import asks_fast
from loom.tensor.ops.indexing import gather
from loom.tensor.ops.joining import fill
from loom.tensor.ops.reductions import sum_of
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import NodeKind, TensorOp, as_shape, make, require_tensor
from loom.tensor.record.vjps import derivative

__all__ = ["CSR", "csr", "spmm"]


def _record(node: Any, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    rows, n = node.shape
    if node.size:
        groups = (-(-n // SPMM_LANES), -(-rows // SPMM_ROWS))
        draft.dispatch(multiply_sparse(node.dtype), [*(o.buffer for o in operands), out], [rows, n], groups)


SPMM = TensorOp("spmm", NodeKind.KERNEL, record=_record)


@derivative(SPMM)
def _vjp(node: Any, g: Any) -> list[Any]:
    _, columns, values, dense = node.inputs
    (matrix,) = node.attributes
    by_value = sum_of(gather(g, matrix.row_of_place) * gather(dense, columns), -1)
    return [None, None, by_value, _product(matrix.transposed(values), g)]


_Host = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@brief_class
class CSR:
    """A sparse matrix of ``shape``: row r has ``values`` at ``columns``, places ``starts[r]`` to ``starts[r + 1]``."""

    def __init__(
        self, shape: tuple[int, int], starts: Any, columns: Any, values: Tensor, host: _Host | None = None
    ) -> None:
        self.shape = shape
        self.starts = starts
        self.columns = columns
        self.values = values
        self._host = host or (np.zeros(0, np.uint32), np.zeros(0, np.uint32))
        self._rows: Tensor | None = None
        self._flipped: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def places(self) -> int:
        """How many elements are stored."""
        return self.values.size

    @property
    def row_of_place(self) -> Tensor:
        """The row of every value."""
        if self._rows is None:
            starts, _ = self._host
            rows = np.repeat(np.arange(self.shape[0], dtype=np.uint32), np.diff(starts.astype(np.int64)))
            self._rows = array(rows, on=self.values.device)
        return self._rows

    def transposed(self, values: Tensor) -> CSR:
        """Return the transposed matrix, its values taken from ``values`` in the order of this one's places."""
        require_tensor(values, "CSR.transposed")
        if values.shape != self.values.shape:
            raise ShapeError("CSR.transposed", "not one value for each place", expected=self.values.shape,
                             got=values.shape, remedy="Match them")  # fmt: skip
        if self._flipped is None:
            starts, columns = self._host
            rows = np.repeat(np.arange(self.shape[0], dtype=np.uint32), np.diff(starts.astype(np.int64)))
            order = np.argsort(columns, kind="stable").astype(np.uint32)
            counts = np.bincount(columns, minlength=self.shape[1])
            heads = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
            self._flipped_host = heads, rows[order]
            where = self.values.device
            self._flipped = array(heads, on=where), array(rows[order], on=where), array(order, on=where)
        heads, rows_of, order = self._flipped
        return CSR((self.shape[1], self.shape[0]), heads, rows_of, gather(values, order), self._flipped_host)


def csr(
    shape: tuple[int, int], starts: Any, columns: Any, values: Any, dtype: Any = None, *, on: str | Device | None = None
) -> CSR:
    """Return a sparse matrix: ``starts`` of rows + 1 places, ``columns`` and ``values`` (numbers, or a tensor).

    ShapeError or ArgumentError if they do not fit together.

    Args:
        shape: Rows and columns.
        starts: Integers (rows + 1,): where rows begin.
        columns: Integers: the column of each value.
        values: Numbers, or a tensor, one for each column.
        dtype: Dtype of the values; None: theirs.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: A column is outside.
        DTypeError: The elements are no numbers; there is no such dtype; the rows differ in length; not a device.
        ShapeError: Not a shape; not row pointers; not one value for each column.
        DeviceError: There is no such device.
    """
    rows, width = _two(as_shape(shape, "tensor.csr, shape"))
    heads, inner = read_as(starts, i64, "tensor.csr, starts"), read_as(columns, i64, "tensor.csr, columns")
    fits = heads.shape == (rows + 1,) and heads[0] == 0 and heads[-1] == inner.size and (np.diff(heads) >= 0).all()
    if not fits:
        raise ShapeError(
            "tensor.csr, starts",
            "not row pointers",
            expected=f"{rows + 1} ascending numbers from 0 to {inner.size}",
            got=f"{heads.size} numbers",
            remedy="Give where each row starts, and the end",
        )
    if inner.size and (inner.min() < 0 or inner.max() >= width):
        raise ArgumentError("tensor.csr, columns", "a column is outside", expected=f"0 to {width - 1}",
                            got=f"{inner.min()} to {inner.max()}", remedy="Check the shape")  # fmt: skip
    held = values if isinstance(values, Tensor) else array(values, dtype, on=on)
    if held.shape != inner.shape:
        raise ShapeError("tensor.csr, values", "not one value for each column", expected=inner.shape, got=held.shape,
                         remedy="Match them")  # fmt: skip
    where = held.device if held.device is not None else on
    host = heads.astype(np.uint32), inner.astype(np.uint32)
    return CSR((rows, width), array(host[0], on=where), array(host[1], on=where), held, host)


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise ShapeError("tensor.csr, shape", "not the shape of a matrix", expected="(rows, columns)", got=shape,
                         remedy="Pass two numbers")  # fmt: skip
    return shape[0], shape[1]


def _record_fast(node: Any, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    if not node.size:
        return
    (matrix,) = node.attributes
    if not matrix.places:
        fill(draft, out, node.size, number(0, node.dtype))
        return
    call = _call_of(matrix, node.shape[1], node.dtype)
    require_fast(call, draft.home, "spmm")
    draft.dispatch(library_kernel(call), [*(o.buffer for o in operands), out], [], 1)


FAST_SPMM = TensorOp("fast_spmm", NodeKind.KERNEL, record=_record_fast, is_fast=True)


def _call_of(matrix: CSR, n: int, dtype: DType) -> SparseProduct:
    return SparseProduct(matrix.shape[0], n, matrix.shape[1], matrix.places, dtype)


@derivative(FAST_SPMM)
def _fast_vjp(node: Any, g: Any) -> list[Any]:
    _, columns, values, dense = node.inputs
    (matrix,) = node.attributes
    by_value = sum_of(gather(g, matrix.row_of_place) * gather(dense, columns), -1)
    return [None, None, by_value, _product(matrix.transposed(values), g, FAST_SPMM)]


def spmm(matrix: CSR, dense: Tensor, *, guarantee: Any = None) -> Tensor:
    """Return the product of a sparse matrix (m, k) and a dense one (k, n); products are added in the order stored.

    ``guarantee="fast"``: by cuSPARSE, of f32 on a device of CUDA (DTypeError or DeviceError elsewhere); of the bits
    nothing is promised, and the result says so (``x.guarantee``).

    Args:
        matrix: Sparse matrix (m, k).
        dense: Tensor (k, n).
        guarantee: "fast": by the vendor's library, without a promise of bits; None: BIT_EXACT.

    Raises:
        ArgumentError: Not a sparse matrix; there is no such option.
        DTypeError: Unsupported operands.
        ShapeError: The shapes do not fit.
    """
    if not isinstance(matrix, CSR):
        raise ArgumentError("spmm", "not a sparse matrix", expected="what tensor.csr returns", got=repr(matrix),
                            remedy="Make it with tensor.csr")  # fmt: skip
    require_tensor(dense, "spmm")
    if not dense.dtype.is_float or dense.dtype != matrix.values.dtype:
        raise DTypeError("spmm", "unsupported operands", expected=f"floats of one dtype, {matrix.values.dtype}",
                         got=dense.dtype, remedy="Convert one with astype")  # fmt: skip
    if dense.ndim != 2 or dense.shape[0] != matrix.shape[1]:
        raise ShapeError("spmm", "the shapes do not fit", expected=f"({matrix.shape[1]}, n)", got=dense.shape,
                         remedy="The dense matrix has a row for each column")  # fmt: skip
    if not asks_fast(guarantee, None, "spmm"):
        return _product(matrix, dense)
    made = _product(matrix, dense, FAST_SPMM)
    require_fast(_call_of(matrix, dense.shape[1], dense.dtype), made.device, "spmm")
    return made


def _product(matrix: CSR, dense: Tensor, op: TensorOp = SPMM) -> Tensor:
    inputs = [matrix.starts, matrix.columns, matrix.values, dense]
    return make(op, inputs, (matrix.shape[0], dense.shape[1]), dense.dtype, (matrix,))
