"""``nonzero``, ``argwhere``, ``masked_select``, ``unique`` and its kin: results whose size depends on the elements.

Layer: tensor. The count is waited for, the rest is recorded; what a program is fed has no count when it is recorded,
and is refused. Invariant: what is found is in row-major order, or in the order of ``sort``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from loom.core.dtype import bool_, i64, u32
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.creation.creation import arange, zeros
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.indexing import fold_by
from loom.tensor.ops.joining import concat, stack
from loom.tensor.ops.ordering import first_of
from loom.tensor.ops.parts import part_of
from loom.tensor.ops.views import broadcast_to, reshape
from loom.tensor.record.graph import require_tensor
from loom.tensor.selecting.scanning import cumulative_sum
from loom.tensor.selecting.searching import require_elements
from loom.tensor.selecting.taking import take

__all__ = [
    "argwhere", "flatnonzero", "masked_select", "nonzero", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
]  # fmt: skip


class UniqueAll(NamedTuple):
    """What ``unique_all`` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What ``unique_counts`` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What ``unique_inverse`` returns."""

    values: Tensor
    inverse_indices: Tensor


def _positions(mask: Tensor, name: str) -> Tensor:
    """Return the positions (i64) where a row of bools holds; their number is waited for."""
    require_elements(mask, name, "Use tensor.where, or topk, whose sizes are fixed")
    if not mask.size:
        return zeros((0,), i64)
    counts = cumulative_sum(cast(mask, u32)).evaluate()
    total = int(counts[-1].item())
    at = where(mask, cast(counts, u32) - 1, 0xFFFF_FFFF)
    numbers = arange(mask.size, u32)
    return cast(fold_by(numbers, at, 0, total, shared=True), i64)


def flatnonzero(x: Tensor) -> Tensor:
    """Return where the elements, in row-major order, are not 0 (i64).

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of one dimension, i64.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "flatnonzero")
    return _flat_places(x, "flatnonzero")


def _flat_places(x: Tensor, name: str) -> Tensor:
    return _positions(reshape(x if x.dtype.is_bool else apply("ne", x, 0), (x.size,)), name)


def nonzero(x: Tensor) -> tuple[Tensor, ...]:
    """Return where elements are not 0: the indices (i64) along each axis, in row-major order.

    Their number is waited for; in what a program is fed it is unknown, and refused.

    Args:
        x: Tensor of any shape.

    Raises:
        ArgumentError: An operand is no tensor; a number has no axes.

    >>> from loom import tensor
    >>> [t.tolist() for t in tensor.nonzero(tensor.array([[0, 5], [7, 0]]))]
    [[0, 1], [1, 0]]
    """
    require_tensor(x, "nonzero")
    if not x.ndim:
        raise ArgumentError("nonzero", "a number has no axes", expected="at least 1 dimension", got=x.shape,
                            remedy="Reshape it to (1,)")  # fmt: skip
    at = _flat_places(x, "nonzero")
    found: list[Tensor] = []
    for axis, n in enumerate(x.shape):
        step = math.prod(x.shape[axis + 1 :])
        place = at if step == 1 else apply("idiv", at, max(1, step))
        found.append(place if axis == 0 else apply("irem", place, max(1, n)))
    return tuple(found)


def argwhere(x: Tensor) -> Tensor:
    """Return the indices (i64) of the elements that are not 0, one row (count, axes) each.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of shape (count, axes), i64.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "argwhere")
    return stack(nonzero(x), 1) if x.ndim else zeros((int(bool(x)), 0), i64)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where ``mask``, bools that broadcast to the shape, holds, in row-major order.

    Args:
        x: Tensor of any shape.
        mask: Tensor of bools that broadcasts to the shape.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: No bools.
    """
    require_tensor(x, "masked_select")
    require_tensor(mask, "masked_select, mask")
    if mask.dtype != bool_:
        raise DTypeError("masked_select, mask", "no bools", expected="bool", got=mask.dtype, remedy="Compare, x != 0")
    at = _positions(reshape(broadcast_to(mask, x.shape), (x.size,)), "masked_select")
    return take(reshape(x, (x.size,)), at)


# different elements


class _Runs:
    """The elements in order, and where each different one begins."""

    def __init__(self, x: Tensor, name: str, equal_nan: bool) -> None:
        require_tensor(x, name)
        require_elements(x, name, "Sort, and compare neighbours: sizes are then fixed")
        flat = reshape(x, (x.size,))
        self.shape, self.size = x.shape, x.size
        plain = flat + 0.0 if x.dtype.is_float or x.dtype.is_complex else flat
        self.order = _order(plain)
        in_order = take(plain, self.order)
        if x.size < 2:
            begins = broadcast_to(array([True], on=x.device), (x.size,))
        else:
            before, after = in_order[:-1], in_order[1:]
            differ = apply("ne", before, after)
            if equal_nan and (x.dtype.is_float or x.dtype.is_complex):
                differ = differ & ~(apply("ne", before, before) & apply("ne", after, after))
            begins = concat([array([True], on=x.device), differ])
        self.begins = begins
        self.starts = _positions(begins, name)
        self.indices = take(self.order, self.starts)
        self.values = take(flat, self.indices)

    def counts(self) -> Tensor:
        """Return how many of each there are."""
        end = array([self.size], i64, on=self.starts.device)
        return concat([self.starts[1:], end]) - self.starts if self.starts.size else self.starts

    def inverse(self) -> Tensor:
        """Return which of the different ones each element is."""
        if not self.size:
            return zeros(self.shape, i64)
        numbers = cumulative_sum(cast(self.begins, u32)) - 1
        found = fold_by(cast(numbers, u32), cast(self.order, u32), 0, self.size, shared=True)
        return cast(reshape(found, self.shape), i64)


def _order(x: Tensor) -> Tensor:
    """Return the positions that put a row in order; complex numbers by real, then by imaginary part."""
    if not x.dtype.is_complex:
        return first_of(x, x.size, descending=False)
    by_imaginary = first_of(part_of(x, 1), x.size, descending=False)
    return take(by_imaginary, first_of(take(part_of(x, 0), by_imaginary), x.size, descending=False))


def unique_values(x: Tensor) -> Tensor:
    """Return the different elements in the order of ``sort``; every NaN is different, -0 and +0 are one.

    Their number is waited for; in what a program is fed it is unknown, and refused.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of one dimension, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor; the size of the result depends on what a program is fed.
    """
    return _Runs(x, "unique_values", False).values


def unique_counts(x: Tensor) -> UniqueCounts:
    """Return the ``values`` of ``unique_values`` and how often each occurs, ``counts`` (i64).

    Args:
        x: Tensor of any shape.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    runs = _Runs(x, "unique_counts", False)
    return UniqueCounts(runs.values, runs.counts())


def unique_inverse(x: Tensor) -> UniqueInverse:
    """Return the ``values`` of ``unique_values`` and where among them each element is, ``inverse_indices`` (i64).

    Args:
        x: Tensor of any shape.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    runs = _Runs(x, "unique_inverse", False)
    return UniqueInverse(runs.values, runs.inverse())


def unique_all(x: Tensor) -> UniqueAll:
    """Return ``values``, first ``indices`` in row-major order, ``inverse_indices`` and ``counts``, all others i64.

    Args:
        x: Tensor of any shape.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    runs = _Runs(x, "unique_all", False)
    return UniqueAll(runs.values, runs.indices, runs.inverse(), runs.counts())


def unique(
    x: Tensor, *, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    equal_nan: bool = True,
) -> Any:  # fmt: skip
    """Return the different elements in the order of ``sort``, and what else is asked for, as ``numpy.unique``.

    Args:
        x: Tensor of any shape.
        return_index: Whether the first position of each is returned.
        return_inverse: Whether the place of each element among them is returned.
        return_counts: Whether how often each occurs is returned.
        equal_nan: Whether all NaNs are one.

    Returns:
        Tensor of one dimension, in its dtype.

    Raises:
        ArgumentError: A number is not usable there.

    >>> from loom import tensor
    >>> [t.tolist() for t in tensor.unique(tensor.array([3, 1, 3]), return_inverse=True, return_counts=True)]
    [[1, 3], [1, 0, 1], [1, 2]]
    """
    runs = _Runs(x, "unique", flag(equal_nan, "unique, equal_nan"))
    found: list[Tensor] = [runs.values]
    if flag(return_index, "unique, return_index"):
        found.append(runs.indices)
    if flag(return_inverse, "unique, return_inverse"):
        found.append(runs.inverse())
    if flag(return_counts, "unique, return_counts"):
        found.append(runs.counts())
    return found[0] if len(found) == 1 else tuple(found)
