"""``cumulative_sum``, ``cumulative_prod``, ``cummax``, ``cummin``, ``logcumsumexp``, ``diff``: along an axis.

Layer: tensor. Sums follow the canonical order of ``loom.gpu_scan``. Invariant: result i depends on the elements up to i
alone, and its gradient is finite wherever the function is.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import dtype_of, f32, i64, u8, u32
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag
from loom.core.numbers import whole
from loom.schedules.axis import rows_along
from loom.schedules.scan import Scanning, scanning_of
from loom.tensor.arrays.functions import maximum
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, coordinate, where
from loom.tensor.ops.indexing import fold_by
from loom.tensor.ops.joining import concat, pad
from loom.tensor.ops.ordering import SCAN, running
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.reductions import PRODUCT
from loom.tensor.ops.views import broadcast_to, detach, normal_axis, reshape, reverse, routed, take_slices
from loom.tensor.record.graph import require_tensor
from loom.tensor.record.vjps import derivative
from loom.tensor.selecting.given import as_values

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "diff", "logcumsumexp"]


def cumulative_sum(x: Tensor, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """Return the running sum along an axis, which may be left out for one dimension.

    Floats keep their dtype (16 bits are added in f32, every result rounded once), integers and bools give i64,
    unsigned ones u64; ``dtype``: what is converted to first. ``include_initial``: one element more, 0, comes before.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.
        dtype: Dtype of the result, as a Loom or numpy dtype or its name; None: the rule of the function.
        include_initial: Whether the result begins with the neutral element.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: An axis is no integer; there is no such dtype.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> tensor.cumulative_sum(tensor.array([1, 2, 3]), include_initial=True).tolist()
    [0, 1, 3, 6]
    """
    return _cumulative(x, "cumulative_sum", "sum", axis, dtype, include_initial)


def cumulative_prod(x: Tensor, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """Return the running product along an axis; types and ``include_initial`` (1) as for ``cumulative_sum``.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.
        dtype: Dtype of the result, as a Loom or numpy dtype or its name; None: the rule of the function.
        include_initial: Whether the result begins with the neutral element.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; there is no such dtype.
        IndexOutside: There is no such axis.
    """
    return _cumulative(x, "cumulative_prod", "product", axis, dtype, include_initial)


def cumsum(x: Tensor, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return the running sum along an axis, as ``cumulative_sum``.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.
        dtype: Dtype of the result, as a Loom or numpy dtype or its name; None: the rule of the function.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; there is no such dtype.
        IndexOutside: There is no such axis.
    """
    return _cumulative(x, "cumsum", "sum", axis, dtype, False)


def cumprod(x: Tensor, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return the running product along an axis, as ``cumulative_prod``.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.
        dtype: Dtype of the result, as a Loom or numpy dtype or its name; None: the rule of the function.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: There is no such dtype; an axis is no integer.
    """
    return _cumulative(x, "cumprod", "product", axis, dtype, False)


def _cumulative(x: Tensor, name: str, op: str, axis: Any, dtype: Any, initial: bool) -> Tensor:
    require_tensor(x, name)
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"{name}, axis", "no axis to go along", expected="an int", got=f"None, shape {x.shape}",
                            remedy="Name the axis, or flatten the tensor")  # fmt: skip
    at = 0 if axis is None else normal_axis(x, axis, name)
    begins = flag(initial, f"{name}, include_initial")
    wanted = None if dtype is None else dtype_of(dtype, name)
    if wanted is not None and wanted.is_bool:
        raise DTypeError(f"{name}, dtype", "not a type of running folds", expected="numbers", got=wanted,
                         remedy="Convert afterwards with astype")  # fmt: skip
    wanted = i64 if wanted is None and x.dtype.is_bool else wanted
    given = x if wanted is None or x.dtype == wanted else cast(x, wanted)
    found = _scan(given, at, op)
    found = found if wanted is None else cast(found, wanted)
    if not begins:
        return found
    widths = [(int(a == at), 0) for a in range(x.ndim)]
    return pad(found, widths, 0 if op == "sum" else 1)


def _scan(x: Tensor, axis: int, op: str) -> Tensor:
    if x.dtype.is_complex:
        if op == "sum":
            return join(_scan(part_of(x, 0), axis, op), _scan(part_of(x, 1), axis, op))
        found, reach = x, 1  # in log n steps of twice the reach
        while reach < x.shape[axis]:
            found, reach = _shift(found, axis, reach, 1) * found, 2 * reach
        return found
    scanning = scanning_of(op, x.dtype)
    return running(x, axis, scanning, scanning.result)


@derivative(SCAN)
def _running(node: Tensor, g: Tensor) -> list[Any]:
    axis, scanning = node.attributes
    x = node.inputs[0]
    if not x.dtype.is_float:
        return [None]
    if scanning.name == "sum":
        return [reverse(_scan(reverse(g, axis), axis, "sum"), axis)]
    assert scanning.name == "product", "others have derivatives of their own"
    wide = f32 if x.dtype.storage_only else x.dtype
    before = _shift(_scan(cast(x, wide), axis, "product"), axis, 1, 1)
    return [cast(before * _backwards(cast(x, wide), cast(g, wide), axis), x.dtype)]


@derivative(PRODUCT)
def _product(node: Tensor, g: Tensor) -> list[Tensor | None]:
    """Give each factor the product of all others, without a division, so that zeros do no harm."""
    x, (first, last, folding) = node.inputs[0], node.attributes
    if not x.dtype.is_float:
        return [None]
    rows = rows_along(x.shape, first, last)
    wide = reshape(cast(x, folding.accumulator), (rows.outer, rows.n, rows.inner))
    before = _shift(_scan(wide, 1, "product"), 1, 1, 1)
    after = reverse(_shift(_scan(reverse(wide, 1), 1, "product"), 1, 1, 1), 1)
    g = cast(reshape(g, (rows.outer, 1, rows.inner)), wide.dtype)
    return [cast(reshape(before * after * g, x.shape), x.dtype)]


def _shift(x: Tensor, axis: int, by: int, fill: float) -> Tensor:
    """Return the elements ``by`` places later along an axis (earlier if negative), a number where there are none."""
    n, size = x.shape[axis], abs(by)
    shape = tuple(max(0, n - size) if a == axis else m for a, m in enumerate(x.shape))
    starts = [size if a == axis and by < 0 else 0 for a in range(x.ndim)]
    part = take_slices(x, starts, [1] * x.ndim, shape)
    room = min(n, size)
    return pad(part, [((room, 0) if by > 0 else (0, room)) if a == axis else (0, 0) for a in range(x.ndim)], fill)


def _backwards(x: Tensor, g: Tensor, axis: int) -> Tensor:
    """Return s with s[i] = g[i] + x[i + 1] s[i + 1]: the gradient of a running product but for what came before.

    No division, so that zeros do no harm. In log n steps of twice the reach (Kogge and Stone, 1973).
    """
    factor, total, reach = _shift(x, axis, -1, 0), g, 1
    while reach < x.shape[axis]:
        total = total + factor * _shift(total, axis, -reach, 0)
        factor = factor * _shift(factor, axis, -reach, 0)
        reach *= 2
    return total


# extremes


def cummax(x: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the running maximum along an axis, NaN from the first on, and where it is (i64), of equal ones the last.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> [t.tolist() for t in tensor.cummax(tensor.array([1, 3, 2, 3]))]
    [[1, 3, 3, 3], [0, 1, 1, 3]]
    """
    return _extreme(x, axis, "max")


def cummin(x: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the running minimum along an axis, NaN from the first on, and where (i64), of equal ones the last.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    return _extreme(x, axis, "min")


def _extreme(x: Tensor, axis: Any, op: str) -> tuple[Tensor, Tensor]:
    name = f"cum{op}"
    require_tensor(x, name)
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"{name}, axis", "no axis to go along", expected="an int", got=f"None, shape {x.shape}",
                            remedy="Name the axis, or flatten the tensor")  # fmt: skip
    at = 0 if axis is None else normal_axis(x, axis, name)
    plain = cast(x, u8) if x.dtype.is_bool else x
    found = _scan(detach(plain), at, op)
    hit = apply("eq", plain, found) | apply("ne", plain, plain)
    places = _scan(where(hit, coordinate(x.shape, at, u32, x), 0), at, "max")
    if x.dtype.is_bool:
        return apply("ne", found, 0), cast(places, i64)
    if not x.dtype.is_float:
        return found, cast(places, i64)

    def vjp(node: Any, g: Any) -> list[Any]:
        return [fold_by(g, places, at, node.shape[at], shared=False)]

    return routed(found, [x], vjp), cast(places, i64)


def logcumsumexp(x: Tensor, axis: int | None = None) -> Tensor:
    """Return the logarithm of the running sum of e^x along an axis, without overflow; f16 and bf16 in f32.

    Each step is log(e^a + e^b) = max + log1p(e^-|a - b|), in the order of ``cumulative_sum``.

    Args:
        x: Tensor of any shape.
        axis: Axis; None: only of one dimension.

    Raises:
        ArgumentError: An operand is no tensor; no axis to go along.
        DTypeError: Bools, integers and complex numbers are refused; an axis is no integer; the dtype is not supported.
        IndexOutside: There is no such axis.
    """
    name = "logcumsumexp"
    require_tensor(x, name)
    if not x.dtype.is_float:
        raise DTypeError(name, "unsupported dtype", expected="floats", got=x.dtype, remedy="Convert with astype")
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"{name}, axis", "no axis to go along", expected="an int", got=f"None, shape {x.shape}",
                            remedy="Name the axis, or flatten the tensor")  # fmt: skip
    at = 0 if axis is None else normal_axis(x, axis, name)
    wide = cast(x, f32) if x.dtype.storage_only else x

    def vjp(node: Any, g: Any) -> list[Any]:
        return [_weigh(node.inputs[0], -node, g, at, backwards=True)]

    return cast(routed(_logs(wide, at), [wide], vjp), x.dtype)


def _logs(x: Tensor, axis: int) -> Tensor:
    return running(x, axis, Scanning("logaddexp", x.dtype, x.dtype, x.dtype), x.dtype)


def _weigh(a: Any, b: Any, g: Any, axis: int, *, backwards: bool) -> Any:
    """Return e^a times the running sum of g e^b, by logarithms: of positive and of negative parts.

    ``backwards``: the sum from here on. Its derivatives are such sums again, which go the other way.
    """

    def sum_of(positive: Any) -> Any:
        logs = apply("log", maximum(positive, 0)) + b
        found = reverse(_logs(reverse(logs, axis), axis), axis) if backwards else _logs(logs, axis)
        return (found + a).exp()

    def vjp(node: Any, h: Any) -> list[Any]:
        a, b, g = node.inputs[:3]
        other = _weigh(b, a, h, axis, backwards=not backwards)
        return [h * node, g * other, other]

    return routed(sum_of(g) - sum_of(-g), [a, b, g], vjp)


def diff(x: Tensor, n: int = 1, axis: int = -1, *, prepend: Any = None, append: Any = None) -> Tensor:
    """Return the differences of neighbours along an axis, ``n`` times over; bools differ where they are unequal.

    ``prepend`` and ``append``: values put before and after first, numbers or tensors.

    Args:
        x: Tensor of any shape.
        n: How many times over.
        axis: Axis, negative ones counted from the end.
        prepend: What is put before, a number or a tensor.
        append: What is put after, a number or a tensor.

    Returns:
        Tensor of the axis shorter by ``n``, in its dtype.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor.
        DTypeError: The elements are no numbers; an axis is no integer.
        ShapeError: The shapes do not fit.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> tensor.diff(tensor.array([1, 4, 9, 16])).tolist()
    [3, 5, 7]
    """
    at = normal_axis(x, axis, "diff")
    times = whole(n, "diff, n", least=0)
    parts = [_beside(part, x, at) for part in (prepend, x, append) if part is not None]
    found = parts[0] if len(parts) == 1 else concat(parts, at)
    for _ in range(min(times, found.shape[at] + 1)):
        size = max(0, found.shape[at] - 1)
        shape = tuple(size if a == at else m for a, m in enumerate(found.shape))
        first = take_slices(found, [0] * x.ndim, [1] * x.ndim, shape)
        later = take_slices(found, [int(a == at and size > 0) for a in range(x.ndim)], [1] * x.ndim, shape)
        found = apply("ne" if x.dtype.is_bool else "sub", later, first)
    return found


def _beside(part: Any, x: Tensor, axis: int) -> Tensor:
    if part is x:
        return x
    values = as_values(part, "diff", x)
    return (
        broadcast_to(values, tuple(1 if a == axis else n for a, n in enumerate(x.shape))) if not values.ndim else values
    )
