"""``scatter``, ``scatter_add``, ``scatter_reduce``, ``index_add``, ``index_put``, ``put_along_axis``: put by index.

Layer: tensor. Everything returns a new tensor. Indices as for ``take``; what has one outside goes nowhere. Elements of
one place are joined in the order of their positions, from 0 (1 for products) on, and then with what was there; of
several that are put in one place the last stays. Invariant: the result depends on the operands alone, never on what
ran first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import u32
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag, is_list, one_of
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, constant, coordinate, where
from loom.tensor.ops.indexing import fold_by, pick
from loom.tensor.ops.joining import pad
from loom.tensor.ops.views import broadcast_to, normal_axis, reshape, routed, take_slices
from loom.tensor.record.graph import require_tensor, same
from loom.tensor.selecting.given import as_positions, as_values, not_bool, require_rank

__all__ = [
    "index_add", "index_copy", "index_fill", "index_put", "masked_fill", "put_along_axis", "scatter", "scatter_add",
    "scatter_reduce",
]  # fmt: skip

_NOWHERE = 0xFFFF_FFFF
_REDUCTIONS = ("sum", "prod", "amax", "amin", "mean")


def scatter(x: Tensor, axis: int, index: Any, src: Any) -> Tensor:
    """Return ``x`` with elements of ``src`` (or a number) put along an axis where ``index`` says, as torch's.

    ``index`` has as many axes as ``x``, none but that one longer; of ``src`` the part of its shape is used. Of several
    in one place the last stays, and has the gradient.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers, or a list of them; below 0: from the end.
        src: Tensor of elements, or a number.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: The elements are no numbers; an axis is no integer; indices are no integers; a number does not fit
            the dtype.
        ShapeError: The index has another number of axes; more indices than elements.
        IndexOutside: There is no such axis; there is no such index.

    >>> from loom import tensor
    >>> tensor.scatter(tensor.zeros((3,)), 0, [2, 0, 2], [1.0, 2.0, 3.0]).tolist()
    [2.0, 0.0, 3.0]
    """
    at, positions, values = _along(x, axis, index, src, "scatter")
    return _put(x, at, positions, values, shared=False)


def put_along_axis(x: Tensor, indices: Any, values: Any, axis: int = -1) -> Tensor:
    """Return ``x`` with ``values`` put where ``take_along_axis`` would take; all but the axis broadcast.

    Args:
        x: Tensor of any shape.
        indices: Tensor of integers that broadcasts but for the axis.
        values: Tensor or number that is put in, broadcast to the indices.
        axis: Axis, negative ones counted from the end.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; indices are no integers; the elements are no numbers.
        ShapeError: The shapes do not broadcast.
        IndexOutside: There is no such index.
    """
    where = "put_along_axis"
    at = normal_axis(x, axis, where)
    positions, shape = as_positions(indices, where, x.shape[at], x, values)
    require_rank(x, where, shape)
    wide = (*x.shape[:at], shape[at], *x.shape[at + 1 :])
    if any(n not in (1, m) for n, m in zip(shape, wide, strict=True)):
        raise ShapeError(where, "the shapes do not broadcast", expected=f"{x.shape} but for axis {at}", got=shape,
                         remedy="Match the other axes")  # fmt: skip
    return _put(x, at, broadcast_to(positions, wide), as_values(values, where, x, wide), shared=False)


def scatter_add(x: Tensor, axis: int, index: Any, src: Any) -> Tensor:
    """Return ``x`` plus, at each place along an axis, the sum of the elements of ``src`` with its index, as torch's.

    The sum of those of a place is made first, in the order of their positions, and then added to ``x``.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers, or a list of them; below 0: from the end.
        src: Tensor of elements, or a number.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; complex numbers; the elements are no numbers; indices are no integers.
        ShapeError: More indices than elements; the source has another number of axes.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> tensor.scatter_add(tensor.ones((3,)), 0, [2, 0, 2], [1.0, 2.0, 3.0]).tolist()
    [3.0, 1.0, 5.0]
    """
    at, positions, values = _along(x, axis, index, src, "scatter_add")
    not_bool(x, "scatter_add")
    return apply("add", x, fold_by(values, positions, at, x.shape[at], shared=False))


def scatter_reduce(x: Tensor, axis: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Tensor:
    """Return ``x`` joined, at each place along an axis, with the elements of ``src`` that have its index, as torch's.

    ``reduce``: "sum", "prod", "amax", "amin" or "mean". Without ``include_self`` places that an index names do not
    count their own element. The gradient of an extreme is shared by all elements that equal it. A mean of integers is
    rounded down.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers, or a list of them; below 0: from the end.
        src: Tensor of elements, or a number.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: Whether ``x`` takes part itself.

    Raises:
        ArgumentError: There is no such option; a number is not usable there; an operand is no tensor.
        DTypeError: The elements are no numbers; an axis is no integer.
        ShapeError: The source has another number of axes; more indices than elements.
        IndexOutside: There is no such index.
    """
    name = "scatter_reduce"
    kind = one_of(reduce, f"{name}, reduce", _REDUCTIONS)
    included = flag(include_self, f"{name}, include_self")
    at, positions, values = _along(x, axis, index, src, name)
    not_bool(x, name)
    made = _Reduction(x, at, positions, values, included)
    if kind == "sum":
        return made.own(made.fold("sum"), "add")
    if kind == "mean":
        return _mean(made)
    return _extreme(made, kind[1:]) if kind != "prod" else _product(made)


class _Reduction:
    """What a reduction by index is made of."""

    def __init__(self, x: Tensor, axis: int, at: Tensor, values: Tensor, included: bool) -> None:
        self.x, self.axis, self.at, self.values, self.included = x, axis, same(at), values, included

    def fold(self, operation: str, values: Tensor | None = None) -> Tensor:
        """Return the fold of the elements, or of others in their places, for each place of ``x``."""
        given = self.values if values is None else values
        return fold_by(given, self.at, self.axis, self.x.shape[self.axis], shared=False, operation=operation)

    def back(self, found: Any) -> Tensor:
        """Return for every element what is at its place."""
        return pick(found, self.at, self.axis, shared=False)

    def counts(self) -> Tensor:
        """Return how many elements have each place."""
        one = broadcast_to(constant(1, u32, self.x), self.values.shape)
        return self.fold("sum", one)  # type: ignore[return-value]

    def own(self, found: Tensor, operation: str) -> Tensor:
        """Return a fold joined with what was there, or what was there where nothing came."""
        if self.included:
            return apply(operation, self.x, found)
        return where(apply("gt", self.counts(), 0), found, self.x)


def _mean(made: _Reduction) -> Tensor:
    counts, x = made.counts(), made.x
    total = made.own(made.fold("sum"), "add")
    count = apply("add", counts, 1) if made.included else apply("max", counts, 1)
    if x.dtype.is_float:
        return total / cast(count, x.dtype)
    return _floor_divided(total, cast(count, x.dtype))


def _floor_divided(a: Tensor, b: Tensor) -> Tensor:
    """Return the quotient of integers rounded down; ``b`` is positive."""
    quotient = apply("idiv", a, b)
    return quotient - cast(apply("lt", a, quotient * b), a.dtype)


def _extreme(made: _Reduction, kind: str) -> Tensor:
    x, values = made.x, made.values
    found = made.own(made.fold(kind, values), kind)
    if not x.dtype.is_float:
        return found

    def vjp(node: Any, g: Any) -> list[Any]:
        x, values = node.inputs[:2]
        again = _Reduction(x, made.axis, made.at, values, made.included)
        hits = cast(_same(values, again.back(node)), x.dtype)
        mine = _same(x, node)
        if not made.included:
            mine = apply("and", mine, apply("eq", again.counts(), 0))
        total = again.fold("sum", hits) + cast(mine, x.dtype)
        share = g / apply("max", total, 1)
        return [where(mine, share, 0), hits * again.back(share)]

    return routed(found, [x, values], vjp)


def _same(a: Tensor, b: Tensor) -> Tensor:
    """Return where two are equal, NaNs too."""
    return apply("or", apply("eq", a, b), apply("and", apply("ne", a, a), apply("ne", b, b)))


def _product(made: _Reduction) -> Tensor:
    x, values = made.x, made.values
    found = made.own(made.fold("product", values), "mul")
    if not x.dtype.is_float:
        return found

    def vjp(node: Any, g: Any) -> list[Any]:
        x, values = node.inputs[:2]
        again = _Reduction(x, made.axis, made.at, values, made.included)
        came = None if made.included else apply("gt", again.counts(), 0)
        own = x if came is None else where(came, 1, x)
        kind = x.dtype
        zero, mine = apply("eq", values, 0), apply("eq", own, 0)
        zeros = again.fold("sum", cast(zero, kind)) + cast(mine, kind)
        rest = again.fold("product", where(zero, 1, values)) * where(mine, 1, own)
        of_x = _without(own, mine, zeros, rest)
        of_values = _without(values, zero, again.back(zeros), again.back(rest))
        return [g * of_x if came is None else where(came, 0, g), again.back(g) * of_values]

    return routed(found, [x, values], vjp)


def _without(x: Tensor, zero: Tensor, zeros: Tensor, rest: Tensor) -> Tensor:
    """Return the product of the others at a place: of ``zeros`` zeros and numbers whose product is ``rest``."""
    nothing_else = where(zero, apply("eq", zeros, 1), apply("eq", zeros, 0))
    return where(nothing_else, rest / where(zero, 1, x), 0)


def index_add(x: Tensor, axis: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """Return ``x`` plus ``alpha`` times the slices of ``source`` along an axis, each where its index says.

    ``index`` has one dimension. Sums as for ``scatter_add``.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers, or a list of them; below 0: from the end.
        source: Tensor of slices, one for each index.
        alpha: Factor of what is added.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: The elements are no numbers; complex numbers do not become real ones; an operand is no number.
        ShapeError: The slices do not fit; the shapes do not broadcast.
        IndexOutside: There is no such axis; there is no such index.
    """
    at, positions, values = _slices(x, axis, index, source, "index_add")
    not_bool(x, "index_add")
    total = fold_by(values, positions, at, x.shape[at], shared=True)
    return apply("add", x, total if _is_one(alpha) else total * alpha)


def _is_one(alpha: Any) -> bool:
    return isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and alpha == 1


def index_copy(x: Tensor, axis: int, index: Any, source: Any) -> Tensor:
    """Return ``x`` with slices along an axis replaced by those of ``source``, each where its index says.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers, or a list of them; below 0: from the end.
        source: Tensor of slices, one for each index.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; the elements are no numbers.
        ShapeError: The slices do not fit; too many elements.
        IndexOutside: There is no such index; there is no such axis.
    """
    at, positions, values = _slices(x, axis, index, source, "index_copy")
    return _put(x, at, positions, values, shared=True)


def index_fill(x: Tensor, axis: int, index: Any, value: Any) -> Tensor:
    """Return ``x`` with slices along an axis filled with a number, where ``index``, of one dimension, says.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers, or a list of them; below 0: from the end.
        value: Number that is put in.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Indices are no integers; an axis is no integer; the elements are no numbers.
        ShapeError: The slices do not fit.
        IndexOutside: There is no such axis; there is no such index.
    """
    return index_copy(x, axis, index, value)


def index_put(x: Tensor, indices: Sequence[Any], values: Any, *, accumulate: bool = False) -> Tensor:
    """Return ``x`` with ``values`` put at indices of its first axes, a tensor for each, broadcast, as torch's.

    ``accumulate``: added, in the order of their positions, as by ``scatter_add``.

    Args:
        x: Tensor of any shape.
        indices: Tensors of integers, one for each of the first axes.
        values: Tensor or number that is put in, broadcast to the indices.
        accumulate: Whether values are added to what is there.

    Raises:
        ArgumentError: An operand is no tensor; not an index for each axis.
        DTypeError: Complex numbers do not become real ones; the elements are no numbers; the rows differ in length.
        ShapeError: The values do not fit.

    >>> from loom import tensor
    >>> tensor.index_put(tensor.zeros((2, 2)), ([0, 1], [1, 0]), [5.0, 6.0]).tolist()
    [[0.0, 5.0], [6.0, 0.0]]
    """
    name = "index_put"
    require_tensor(x, name)
    if not is_list(indices) or not 0 < len(indices) <= x.ndim:
        got = len(indices) if is_list(indices) else repr(indices)
        raise ArgumentError(f"{name}, indices", "not an index for each axis", expected=f"1 to {x.ndim} of them",
                            got=got, remedy="Pass a tuple of them")  # fmt: skip
    at, shape = _flat(x, list(indices), values, name)
    count, inner = len(indices), x.shape[len(indices) :]
    flat = reshape(x, (math.prod(x.shape[:count]), *inner))
    given = reshape(as_values(values, name, x, (*shape, *inner)), (math.prod(shape), *inner))
    at = reshape(at, (math.prod(shape),))
    if flag(accumulate, f"{name}, accumulate"):
        not_bool(x, name)
        made = apply("add", flat, fold_by(given, at, 0, flat.shape[0], shared=True))
    else:
        made = _put(flat, 0, at, given, shared=True)
    return reshape(made, x.shape)


def _flat(x: Tensor, indices: list[Any], values: Any, name: str) -> tuple[Tensor, tuple[int, ...]]:
    """Return the place in the first axes, taken as one, that indices of each name; and their common shape."""
    each = [as_positions(index, name, n, x, values, *indices) for index, n in zip(indices, x.shape, strict=False)]
    try:
        shape = np.broadcast_shapes(*(s for _, s in each))
    except ValueError:
        raise ShapeError(name, "the indices do not broadcast", expected="one shape", got=[s for _, s in each],
                         remedy="Reshape them") from None  # fmt: skip
    found: Any = None
    inside: Any = None
    for (at, _), n in zip(each, x.shape, strict=False):
        here = apply("lt", broadcast_to(at, shape), n)
        inside = here if inside is None else apply("and", inside, here)
        found = broadcast_to(at, shape) if found is None else found * n + broadcast_to(at, shape)
    return where(inside, found, _NOWHERE), shape


def masked_fill(x: Tensor, mask: Any, value: Any) -> Tensor:
    """Return ``x`` with ``value`` where ``mask``, bools that broadcast to its shape, holds.

    Args:
        x: Tensor of any shape.
        mask: Tensor of bools that broadcasts to the shape.
        value: Number that is put in, or a tensor of one element.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: The rows differ in length; the elements are no numbers.
        ShapeError: The shapes do not broadcast.
    """
    require_tensor(x, "masked_fill")
    require_tensor(mask, "masked_fill, mask")
    return where(broadcast_to(mask, x.shape), as_values(value, "masked_fill", x), x)


# what all are made of


def _put(x: Tensor, axis: int, at: Tensor, values: Tensor, *, shared: bool) -> Tensor:
    """Return ``x`` with values put along an axis: at each place the last that has its index."""
    n, shape = x.shape[axis], at.shape if shared else values.shape
    numbers = apply("add", coordinate(shape, 0 if shared else axis, u32, x), 1)
    last = fold_by(numbers, at, 0 if shared else axis, n, shared=shared, operation="max")
    taken = pick(values, apply("sub", last, 1), axis, shared=shared)
    found = apply("gt", last, 0)
    if shared:
        found = reshape(found, tuple(n if a == axis else 1 for a in range(x.ndim)))
    return where(found, taken, x)


def _along(x: Tensor, axis: Any, index: Any, src: Any, name: str) -> tuple[int, Tensor, Tensor]:
    """Return the axis, indices and values of a scatter, all but the axis as long as those of ``x``."""
    at = normal_axis(x, axis, name)
    positions, shape = as_positions(index, name, x.shape[at], x, src)
    require_rank(x, name, shape)
    if any(a != at and n > m for a, (n, m) in enumerate(zip(shape, x.shape, strict=True))):
        raise ShapeError(name, "the indices reach beyond the tensor", expected=f"at most {x.shape} but for axis {at}",
                         got=shape, remedy="Take a part of them")  # fmt: skip
    values = as_values(src, name, x)
    if values.ndim:
        require_rank(x, name, values.shape, "source")
        if any(n > m for n, m in zip(shape, values.shape, strict=True)):
            raise ShapeError(name, "more indices than elements", expected=f"at most {values.shape}", got=shape,
                             remedy="Take a part of them")  # fmt: skip
        values = take_slices(values, [0] * x.ndim, [1] * x.ndim, shape)
    else:
        values = broadcast_to(values, shape)
    missing = [(0, 0 if a == at else m - n) for a, (n, m) in enumerate(zip(shape, x.shape, strict=True))]
    if any(after for _, after in missing):
        positions, values = pad(positions, missing, _NOWHERE), pad(values, missing, False if x.dtype.is_bool else 0)
    return at, positions, values


def _slices(x: Tensor, axis: Any, index: Any, source: Any, name: str) -> tuple[int, Tensor, Tensor]:
    """Return the axis, indices and values of slices."""
    at = normal_axis(x, axis, name)
    positions, shape = as_positions(index, name, x.shape[at], x, source)
    if len(shape) > 1:
        raise ShapeError(name, "the index has several dimensions", expected="one dimension", got=shape,
                         remedy="Flatten it")  # fmt: skip
    count = math.prod(shape)
    wide = (*x.shape[:at], count, *x.shape[at + 1 :])
    values = as_values(source, name, x)
    if values.ndim and values.shape != wide:
        raise ShapeError(name, "the slices do not fit", expected=wide, got=values.shape, remedy="Match the index")
    return at, reshape(positions, (count,)), broadcast_to(values, wide)
