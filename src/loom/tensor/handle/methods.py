"""Functions of ``loom.tensor`` as methods: one table of names; and the names that torch and numpy have for others.

Layer: tensor. Functions become methods where they are first used; type checkers read ``methods.pyi``, which
``tools/methods.py`` writes. Invariant: a method is the function with the tensor as its first operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from loom.core.dtype import DType, bool_, dtype_of, f16, f32, f64, i32, i64
from loom.core.errors import ArgumentError, LoomError
from loom.core.given import is_list, items
from loom.core.late import late
from loom.core.tracebacks import brief_class
from loom.runtime.registry import device
from loom.tensor.handle.operators import as_operand
from loom.tensor.ops.views import normal_axis
from loom.tensor.record.graph import Node, same

if TYPE_CHECKING:
    from loom.core import numbers
    from loom.tensor.handle import chained
else:
    chained = late("loom.tensor.handle", "chained")
    numbers = late("loom.core", "numbers")

__all__ = ["METHODS", "Methods", "fresh"]

METHODS = (
    "abs", "acos", "acosh", "angle", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atanh", "bincount",
    "ceil", "clip", "conj", "copysign", "cos", "cosh", "count_nonzero", "cummax", "cummin", "cumprod", "cumsum",
    "detach", "diff", "expand_dims", "expm1", "flatten", "floor", "gelu", "histogram", "index_add", "index_copy",
    "index_fill", "index_put", "index_select", "isfinite", "isinf", "isnan", "kthvalue", "log10", "log1p", "log2",
    "log_softmax", "masked_fill", "masked_select", "maximum", "median", "minimum", "moveaxis", "nonzero",
    "quantile", "reciprocal", "repeat", "scatter", "scatter_add", "scatter_reduce", "searchsorted", "sign", "silu",
    "sin", "sinh", "softmax", "sort", "split", "square", "squeeze", "take", "take_along_axis", "tan", "topk",
    "tril", "triu", "trunc", "unique", "variance",
)  # fmt: skip
"""Functions whose first operand is the tensor."""


def fresh(found: Any, *given: Any) -> Any:
    """Return a result as a tensor of its own: another handle, if it is one of those given."""
    if isinstance(found, Node):
        return same(found) if _is_among(found, given) else found
    if type(found) in (list, tuple):
        return type(found)(fresh(each, *given) for each in found)
    return found


def _is_among(found: Node, given: Iterable[Any]) -> bool:
    is_one = False
    for each in given:
        is_one = is_one or found is each or (type(each) in (list, tuple) and _is_among(found, each))
    return is_one


def own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function never return a tensor that it was given."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        return fresh(found, *args) if isinstance(found, (Node, list, tuple)) else found

    return call


class _Late:
    """A method that is made of its function where it is first used: few programs use many."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: object = None) -> object:
        method = own(_of(self._name))
        setattr(Methods, self._name, method)
        return getattr(owner if instance is None else instance, self._name)


def _of(name: str) -> Callable[..., Any]:
    return getattr(import_module("loom.tensor"), name)


def _axes(given: tuple[Any, ...]) -> Any:
    return given[0] if len(given) == 1 and is_list(given[0]) else given


@brief_class
class Methods:
    """What a tensor can do by name; those of ``METHODS`` are the functions of ``loom.tensor``."""

    __slots__ = ()

    # reductions, with the axis by position too

    def any(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """Return whether one element is not 0, along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return _of("any")(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """Return whether no element is 0, along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return _of("all")(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """Return the product along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return _of("prod")(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Any:
        """Return the variance along an axis, several, or all; ``correction`` is taken from the number of elements.

        Args:
            axis: Axis, or a list of axes; None: all.
            correction: Number that is taken from that of elements before it divides.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``correction`` is no number; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return _of("var")(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Any:
        """Return the standard deviation along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            correction: Number that is taken from that of elements before it divides.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``correction`` is no number; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return _of("std")(self, axis=axis, correction=correction, keepdims=keepdims)

    def norm(self, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:  # noqa: A002 - as numpy's
        """Return the norm of a vector, or of rows along an axis.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.
            ord: Order of the norm: a number, inf or -inf among them.

        Raises:
            ArgumentError: There is no such axis; ``ord`` is no number; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        linalg: Any = import_module("loom.tensor.linalg")
        return linalg.vector_norm(self, axis=axis, keepdims=keepdims, ord=ord)

    def dot(self, other: Any) -> Any:
        """Return the matrix product, or that of two vectors; ``other`` may be a list or an array, too.

        Args:
            other: Tensor, array or list of numbers (k,), (..., k, n).

        Raises:
            ArgumentError: Not a tensor, nor what one is made of.
            DTypeError: Not numbers, or dtypes that do not meet.
            ShapeError: The inner dimensions differ.
        """
        return fresh(_of("matmul")(self, as_operand(other, self)), self)

    def matmul(
        self, other: Any, *, transpose_a: bool = False, transpose_b: bool = False, precision: str | None = None,
        guarantee: Any = None, out_dtype: Any = None,
    ) -> Any:  # fmt: skip
        """Return the matrix product as ``tensor.matmul``; ``other`` may be a list or an array, too.

        Args:
            other: Tensor, array or list of numbers (k,), (..., k, n).
            transpose_a: Whether the last two axes of this one are exchanged before.
            transpose_b: Whether those of the other one are.
            precision: Precision: "full", "x12", "q8", "q12" or "q24"; None: that of ``loom.precision``.
            guarantee: Guarantee of ``loom.Guarantee``; None: that of the precision.
            out_dtype: Dtype of the result; None: as ``tensor.matmul`` has it.

        Raises:
            ArgumentError: Not a tensor; an unusable option.
            DTypeError: Not numbers; dtypes that do not meet; not a dtype.
            ShapeError: The inner dimensions differ.
        """
        return fresh(_of("matmul")(self, as_operand(other, self), transpose_a=transpose_a, transpose_b=transpose_b,
                                   precision=precision, guarantee=guarantee, out_dtype=out_dtype), self)  # fmt: skip

    def round(self, decimals: int = 0) -> Any:
        """Return the nearest whole number of each element, halves to even, or with so many ``decimals``.

        Args:
            decimals: Number of decimals, from -300 to 300.

        Raises:
            ArgumentError: Not such a number.
        """
        return fresh(_of("round")(self, decimals), self)

    # shapes by other names

    def ravel(self) -> Any:
        """Return it in one dimension."""
        return fresh(_of("reshape")(self, (-1,) if self.size else (0,)), self)  # type: ignore[attr-defined]

    def view(self, *shape: Any) -> Any:
        """Return it in another shape; no tensor sees what is assigned to another.

        Args:
            *shape: Length of each axis, or one list of them; one may be -1, for what is left.

        Raises:
            ArgumentError: Not whole numbers.
            ShapeError: A shape of another number of elements.
        """
        return self.reshape(*shape)  # type: ignore[attr-defined]

    def view_as(self, other: Any) -> Any:
        """Return it in the shape of another.

        Args:
            other: Array whose shape it takes.

        Raises:
            ArgumentError: Not an array.
            ShapeError: A shape of another number of elements.
        """
        if not hasattr(other, "shape"):
            raise ArgumentError("view_as", "not an array", expected="one whose shape to take", got=repr(other)[:80],
                                remedy="Pass a tensor, or write view(*shape)")  # fmt: skip
        return self.reshape(other.shape)  # type: ignore[attr-defined]

    def expand(self, *shape: Any) -> Any:
        """Return it repeated to a shape, of which -1 keeps a length.

        Args:
            *shape: Length of each axis, or one list of them; -1 keeps one.

        Raises:
            ArgumentError: Not whole numbers of at least -1.
            ShapeError: The shape does not extend to it.
        """
        wanted = [numbers.whole(n, "expand", least=-1) for n in items(_axes(shape), "expand", "lengths")]
        own_shape = (1,) * (len(wanted) - self.ndim) + self.shape  # type: ignore[attr-defined]
        return self.broadcast_to(tuple(m if n == -1 else n for n, m in zip(wanted, own_shape, strict=False)))  # type: ignore[attr-defined]

    def transpose(self, *axes: Any) -> Any:
        """Return it with two axes exchanged, or with all in another order: three numbers or more, or one sequence.

        Without numbers it is ``T``.

        Args:
            *axes: Two axes, or all of them in their new order, as numbers or one list; none: the other way round.

        Raises:
            ArgumentError: There is no such axis, or one is named twice.
            DTypeError: Not axes.
        """
        if not axes or (len(axes) == 1 and axes[0] is None):
            if cast("Any", self).ndim <= 2:
                return cast("Any", self).T
            chained.warn_of_axes("transpose()", cast("Any", self).ndim)
            axes = (-2, -1)
        if len(axes) != 2 or is_list(axes[0]):
            return cast("Any", self).permute(*axes)
        return fresh(_of("transpose")(self, *axes), self)

    def swapaxes(self, first: int, second: int) -> Any:
        """Return it with two axes exchanged.

        Args:
            first: Axis.
            second: Axis that changes places with it.

        Raises:
            ArgumentError: There is no such axis.
            DTypeError: Not an axis.
        """
        return fresh(_of("transpose")(self, first, second), self)

    def unsqueeze(self, axis: int) -> Any:
        """Return it with a new axis of length 1.

        Args:
            axis: Place of the new axis, from -ndim - 1 to ndim.

        Raises:
            ArgumentError: There is no such place, or it is no whole number.
        """
        return _of("expand_dims")(self, axis)

    def chunk(self, chunks: int, axis: int = 0) -> list[Any]:
        """Return at most ``chunks`` parts along an axis, of one length but for the last.

        Args:
            chunks: Most parts, at least 1.
            axis: Axis that is cut.

        Raises:
            ArgumentError: Not a number of parts; there is no such axis.
            DTypeError: Not an axis.
        """
        x = cast("Any", self)
        n: int = x.shape[normal_axis(x, axis, "chunk")]
        size = max(1, -(-n // numbers.whole(chunks, "chunk, chunks", least=1)))
        return fresh(_of("split")(self, [min(size, n - at) for at in range(0, n, size)] or [0], axis), self)

    def tile(self, *repetitions: Any) -> Any:
        """Return it repeated along its axes.

        Args:
            *repetitions: Number of repetitions along each axis, or one list of them.

        Raises:
            ShapeError: A number of repetitions that is below 0, or no whole one.
        """
        return fresh(_of("tile")(self, tuple(_axes(repetitions))), self)

    def roll(self, shift: Any, axis: Any = None) -> Any:
        """Return its elements moved along axes, the last ones to the front.

        Args:
            shift: Places that elements move, a list of them for several axes.
            axis: Axis, or a list of axes; None: all elements in a row.

        Raises:
            ArgumentError: Not whole numbers, or not one for each axis; there is no such axis.
            DTypeError: Not an axis.
        """
        return fresh(_of("roll")(self, shift, axis=axis), self)

    def flip(self, axis: Any = None) -> Any:
        """Return it with the order of its elements reversed along axes.

        Args:
            axis: Axis, or a list of axes; None: all.

        Raises:
            ArgumentError: There is no such axis.
            DTypeError: Not an axis.
        """
        return fresh(_of("flip")(self, axis=axis), self)

    def clamp(self, min: Any = None, max: Any = None) -> Any:  # noqa: A002 - as torch's
        """Return its elements moved between two bounds.

        Args:
            min: Least number, or an array; None: no bound.
            max: Largest number, or an array; None: no bound.

        Raises:
            DTypeError: A bound that is no number, or that the dtype lacks.
            ShapeError: The shapes do not broadcast.
        """
        return fresh(_of("clip")(self, min, max), self)

    @property
    def mT(self) -> Any:  # noqa: N802 - as the standard calls it
        """It with its last two axes exchanged."""
        return fresh(_of("matrix_transpose")(self), self)

    @property
    def real(self) -> Any:
        """The real parts of its elements."""
        return fresh(_of("real")(self), self)

    @property
    def imag(self) -> Any:
        """The imaginary parts of its elements, of complex ones."""
        return _of("imag")(self)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.nbytes  # type: ignore[attr-defined]

    def copy(self) -> Any:
        """Return a tensor of the same elements, which assignments to this one do not change."""
        return same(self)  # type: ignore[type-var]

    clone = copy

    def contiguous(self) -> Any:
        """Return itself: elements are packed wherever it matters."""
        return self  # type: ignore[return-value]

    def to_device(self, where: Any, /, *, stream: Any = None) -> Any:
        """Return it on a device, copied there if it is on another. ``stream`` is None: reading waits.

        Args:
            where: Device, or its name.
            stream: None.

        Raises:
            ArgumentError: ``stream`` is another.
            DTypeError: Not a device.
            DeviceError: There is no such device.
        """
        if stream is not None:
            raise ArgumentError("tensor.to_device, stream", "tensors have no streams of a device", expected=None,
                                got=stream, remedy="Leave it out")  # fmt: skip
        home = device(where)
        return same(self) if home is self.home else _of("array")(self, on=home)  # type: ignore[attr-defined,type-var]

    def to(self, where: Any) -> Any:
        """Return it converted to a dtype, or on a device.

        Args:
            where: Dtype, device, or a name of one.

        Raises:
            DTypeError: Neither a dtype nor a device.
            DeviceError: There is no such device.
        """
        if isinstance(where, DType):
            return self.astype(where)  # type: ignore[attr-defined]
        try:
            wanted = None if hasattr(where, "allocate") else dtype_of(where, "tensor.to")
        except LoomError:
            wanted = None
        return self.to_device(where) if wanted is None else self.astype(wanted)  # type: ignore[attr-defined]

    def cpu(self) -> Any:
        """Return it on the CPU."""
        return self.to_device("cpu")

    # dtypes by other names; last, as the names are those of builtins

    def type(self, dtype: Any) -> Any:
        """Return it converted to another dtype.

        Args:
            dtype: Dtype, or its name.

        Raises:
            DTypeError: Not a dtype.
        """
        return self.astype(dtype)  # type: ignore[attr-defined]

    def half(self) -> Any:
        """Return it as f16."""
        return self.astype(f16)  # type: ignore[attr-defined]

    def float(self) -> Any:
        """Return it as f32."""
        return self.astype(f32)  # type: ignore[attr-defined]

    def double(self) -> Any:
        """Return it as f64."""
        return self.astype(f64)  # type: ignore[attr-defined]

    def int(self) -> Any:
        """Return it as i32."""
        return self.astype(i32)  # type: ignore[attr-defined]

    def long(self) -> Any:
        """Return it as i64."""
        return self.astype(i64)  # type: ignore[attr-defined]

    def bool(self) -> Any:
        """Return it as bools: which elements are not 0."""
        return self.astype(bool_)  # type: ignore[attr-defined]


for _name in METHODS:
    setattr(Methods, _name, _Late(_name))
