"""Products by a vendor's library, where a caller asks for them: the only results that are promised nothing of bits.

Layer: tensor. Invariant: a tensor that depends on such a product says so (``Node.is_fast``), and so does the program
that computes it; its operation is another one than the exact product's, so that no program and no gradient mixes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.late import late
from loom.core.numerics import Guarantee
from loom.kernels.maps.nest import number
from loom.kernels.types import PRODUCTS
from loom.tensor.ops.joining import fill
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make
from loom.tensor.record.layout import StridedLayout

if TYPE_CHECKING:
    from loom.runtime.plans import library
    from loom.runtime.plans.library import DenseProduct
else:
    library = late("loom.runtime.plans", "library")

__all__ = ["FAST_MATMUL", "asks_fast", "dense_product", "multiply_fast", "refuse_fast", "swap_axes"]

_NAMES = {
    "fast": Guarantee.FAST, Guarantee.FAST: Guarantee.FAST,
    "exact": Guarantee.BIT_EXACT, Guarantee.BIT_EXACT: Guarantee.BIT_EXACT,
}  # fmt: skip


def asks_fast(guarantee: Any, precision: Any, where: str) -> bool:
    """Tell whether an argument ``guarantee`` asks for what is fast: "fast" or ``Guarantee.FAST``; None and "exact" (or
    ``Guarantee.BIT_EXACT``) do not. ArgumentError for anything else, and beside a ``precision``."""
    if guarantee is None:
        return False
    found = _NAMES.get(guarantee) if isinstance(guarantee, (str, Guarantee)) else None
    if found is None:
        raise ArgumentError(f"{where}, guarantee", "unknown", expected="None, 'exact' or 'fast'", got=repr(guarantee),
                            remedy="Leave it out")  # fmt: skip
    if found is Guarantee.FAST and precision is not None:
        raise ArgumentError(f"{where}, guarantee", "a library's product has no precision of Loom's",
                            expected="one of guarantee='fast' and precision", got=f"precision={precision!r}",
                            remedy="Leave one out")  # fmt: skip
    return found is Guarantee.FAST


def refuse_fast(values: Any, where: str) -> None:
    """Raise ArgumentError for a tensor among ``values`` of which nothing is promised, where bits are vouched for."""
    if any(isinstance(x, Node) and x.is_fast for x in values):
        raise ArgumentError(where, "it depends on a product with guarantee='fast', or a kernel with order='any'",
                            expected="exact results", got="bits that nobody vouches for",
                            remedy="Compute it without either, or pass x.numpy(), which forgets it")  # fmt: skip


def swap_axes(access: StridedLayout) -> StridedLayout:
    """Return an access with its last two axes exchanged."""
    order = [*range(len(access.shape) - 2), len(access.shape) - 1, len(access.shape) - 2]
    return access.permute(order)


def _accepts(access: StridedLayout) -> bool:
    return access.is_packed or swap_axes(access).is_packed


def dense_product(
    sides: tuple[int, int, int], types: tuple[DType, DType], flipped: tuple[bool, bool], a_batch: tuple[int, ...],
    b_batch: tuple[int, ...], where: str,
) -> DenseProduct:  # fmt: skip
    """Return what a library is to multiply: ``sides`` m, n, k, ``types`` of elements and result, and which is stored
    transposed. ShapeError for batches of which both sides repeat some, DTypeError for a type that is none of theirs."""
    m, n, k = sides
    batches = math.prod(np.broadcast_shapes(a_batch, b_batch))
    own = math.prod(a_batch), math.prod(b_batch)
    if any(count not in (1, batches) for count in own):
        raise ShapeError(f"{where}, guarantee", "the batches repeat in part", expected="all of an operand, or one",
                         got=f"{a_batch} and {b_batch}",
                         remedy="Leave guarantee out, or broadcast_to first")  # fmt: skip
    element, result = types
    call = library.DenseProduct(m, n, k, element, result, *flipped, batches, *(count != batches for count in own))
    if result not in PRODUCTS[element]:
        raise DTypeError(f"{where}, guarantee", f"{element} operands do not give {result}",
                         expected=" or ".join(map(str, PRODUCTS[element])), got=result,
                         remedy="Convert the result")  # fmt: skip
    return call


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    a, b = node.inputs
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if node.size == 0:
        return
    if k == 0:
        fill(draft, out, node.size, number(0, node.dtype))
        return
    flipped = not operands[0].access.is_packed, not operands[1].access.is_packed
    call = dense_product((m, n, k), (a.dtype, node.dtype), flipped, a.shape[:-2], b.shape[:-2], "matmul")
    library.require_fast(call, draft.home, "matmul")
    draft.dispatch(library.library_kernel(call), [operands[0].buffer, operands[1].buffer, out], [], 1)


FAST_MATMUL = TensorOp("fast_matmul", NodeKind.KERNEL, record=_record, accepts=_accepts, is_fast=True)


def multiply_fast(a: NodeT, b: NodeT, result: DType) -> NodeT:
    """Return the product of matrices by the library; errors where there is none."""
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    call = dense_product((m, n, k), (a.dtype, result), (False, False), a.shape[:-2], b.shape[:-2], "matmul")
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)
    made = make(FAST_MATMUL, [a, b], shape, result)
    library.require_fast(call, made.device, "matmul")
    return made
