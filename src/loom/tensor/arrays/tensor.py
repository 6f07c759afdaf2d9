"""``Tensor``: the handle of a recorded node, with operators; and the ways to make one.

Layer: tensor. Invariant: operators only record. Elements are computed when ``numpy``, ``item``, ``tolist``,
``evaluate`` or an array protocol asks for them, or when a compiled program runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from sys import getrefcount
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.arrays import read_array, read_as
from loom.core.conversions import convert, host_type, widen
from loom.core.dtype import DType, c64, c128, dtype_of, f32, f64
from loom.core.errors import ArgumentError, ShapeError, StateError, near_matches
from loom.core.given import is_int, is_list, text
from loom.core.late import late
from loom.core.numerics import Guarantee
from loom.core.tracebacks import brief_class
from loom.runtime.memory.storage import HostStorage, Storage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device
from loom.tensor.handle.lending import (
    DIRECT,
    before_run,
    copy_memory,
    from_storage,
    is_reshaped,
    lend,
    lend_once,
    memory_of,
    share_memory,
)
from loom.tensor.handle.methods import Methods, fresh
from loom.tensor.handle.operators import Operators, as_operand, function, in_place
from loom.tensor.ops import elementwise as maps
from loom.tensor.ops import reductions, views
from loom.tensor.record.graph import INPUT, KNOWN, PARAMETER, Node, TensorOp, as_shape, note_origins, same, whole_view
from loom.tensor.record.timelines import settle
from loom.tensor.record.versions import before_writing
from loom.tensor.run.eager import evaluate_one

if TYPE_CHECKING:
    from loom.tensor.complexes import arithmetic
    from loom.tensor.handle import assigning, borrowing, chained, display, indexing, moving, packing, windows
    from loom.tensor.standard import info
else:
    arithmetic, info = late("loom.tensor", "complexes.arithmetic standard.info")
    assigning, display, indexing, moving, packing, windows = late(
        "loom.tensor.handle", "assigning display indexing moving packing windows"
    )
    borrowing, chained = late("loom.tensor.handle", "borrowing chained")

__all__ = ["Array", "Tensor", "array", "input", "parameter"]


_BASIC = frozenset((int, slice, type(None), type(Ellipsis)))
"""Types of keys that are views."""


def _record_call(*call: object) -> object:
    """Record the call of a user's kernel with tensors; few programs make one."""
    return import_module("loom.tensor.kernelcalls").record_call(*call)


@brief_class
class Tensor(Operators, Methods, Node, Readable):
    """A tensor of a shape and dtype known at once, its elements computed when they are needed.

    Made by ``array``, ``parameter``, ``input``, ``zeros`` .. and by operators and functions of tensors. Operands of
    one operation have one dtype (Python numbers take it) and broadcast as in numpy.

    >>> x = array([[1.0, 2.0], [3.0, 4.0]], "f32")
    >>> ((x @ x).relu() + 1).tolist()
    [[8.0, 11.0], [16.0, 23.0]]
    """

    __slots__ = ()
    called = "tensor"
    record_call = staticmethod(_record_call)
    direct = DIRECT

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """Return ``loom.tensor``, a namespace of the array API standard; ArgumentError for another version of it."""
        if api_version not in (None, *info.VERSIONS):
            raise ArgumentError("tensor", "another version of the array API standard", got=api_version,
                                expected=" or ".join(info.VERSIONS), remedy="Leave it out")  # fmt: skip
        return sys.modules["loom.tensor"]

    # elements

    def evaluate(self) -> Tensor:
        """Compute the elements now, with those of everything they are made of that is still unknown.

        Returns:
            The tensor itself.

        Raises:
            StateError: It is made of an input, which has no elements.
        """
        if self.data is None:
            evaluate_one(self)
        return self

    def host_elements(self) -> tuple[np.ndarray[Any, Any], DType]:
        """Return a copy of the elements as they are stored (bf16 as its 16 bits), and the dtype."""
        return memory_of(self).read(0, self.nbytes).view(self.dtype.numpy).reshape(self.shape), self.dtype

    def shared_memory(self) -> Storage | None:
        """Return the memory of the elements, None if they must be copied; nobody may write there."""
        return share_memory(self)

    def copied_memory(self) -> Storage:
        """Return other memory on its device with a copy of the elements."""
        return copy_memory(memory_of(self), self.nbytes, self.home)

    def item(self) -> Any:
        """Return the only element as a Python number; ShapeError if there are more or none.

        Raises:
            ShapeError: No element, or several.
        """
        if self.size != 1:
            raise ShapeError("tensor.item", "not one element", expected=1, got=self.size, remedy="Use tolist()")
        return self.tolist_flat()[0]

    def tolist_flat(self) -> list[Any]:
        """Return the elements in row-major order."""
        return widen(*self.host_elements()).reshape(-1).tolist()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers (one number for shape ())."""
        flat = np.empty(self.size, object)
        flat[:] = self.tolist_flat()
        return flat.reshape(self.shape).tolist()

    def assign(self, values: Any) -> None:
        """Write a parameter's elements from the host, after every run that was launched.

        Args:
            values: Array of its shape.

        Raises:
            DTypeError: Not numbers, or one that the dtype lacks.
            ShapeError: An array of another shape.
            StateError: It is no parameter.
        """
        if self.op is not PARAMETER or self.data is None:
            raise StateError(
                "tensor.assign",
                "only a parameter can be written",
                expected="a parameter",
                got=self.op.name,
                remedy="Make it with tensor.parameter",
            )
        self.write_elements(read_as(values, self.dtype, "tensor.assign"))
        self.is_fast = _is_made_of_fast(values)

    def write_elements(self, memory: np.ndarray[Any, Any]) -> None:
        """Write elements as they are stored (bf16 as its 16 bits); ShapeError for another shape."""
        assert self.data is not None
        if memory.shape != self.shape:
            raise ShapeError("tensor.assign", "another shape", expected=self.shape, got=memory.shape, remedy="Match it")
        settle(self.device)
        with before_writing([self]):
            self.data.write(0, memory.reshape(-1).view(np.uint8))

    @property
    def home(self) -> Device:
        """The device its elements are on, or will be."""
        return self.device or device(None)

    @property
    def guarantee(self) -> Guarantee:
        """``FAST`` for what depends on a product with ``guarantee="fast"`` or a kernel with ``order="any"``, else
        ``BIT_EXACT``; copies do not tell."""
        return Guarantee.FAST if self.is_fast else self.home.guarantee

    def lend(self, where: str) -> tuple[Storage, Device]:
        """Return the elements' memory for a kernel, and its device; StateError for what has no elements."""
        self._require_elements(where)
        return lend(self)

    def lend_part(self) -> windows.WrittenPart | None:
        """Return what puts back what a kernel writes into a view, as in ``k(x[2:5])``; None for what is no view."""
        return windows.window_of(self)

    def meets(self, other: Readable) -> bool:
        """Tell whether a kernel that writes it writes elements of ``other``: both are views of one tensor."""
        return isinstance(other, Node) and windows.share_elements(self, other)

    def lend_once(self, where: str, *, writes: bool) -> tuple[Storage, Device]:
        """Return the same for one run that begins now."""
        self._require_elements(where)
        return lend_once(self, writes=writes)

    def _require_elements(self, where: str) -> None:
        if self.is_fed:
            raise StateError(where, "its elements are those that a program is fed", expected="a tensor made of arrays",
                             got=self.recipe(), remedy="Bind tensor.array(..), or what a program returned")  # fmt: skip

    def follow_fast(self) -> None:
        """Take note that a run writes it that reads what ``is_fast``: whose memory it has is written, too."""
        node: Any = self
        node.is_fast = True
        while is_reshaped(node):
            node = node.inputs[0]
            node.is_fast = True

    def before_run(self, *, writes: bool) -> None:
        """Let the memory that was lent hold the elements; if it ``writes``, what was recorded keeps those there are."""
        before_run(self, writes=writes)

    def host(self) -> np.ndarray[Any, Any]:
        """Return the elements where they are, read-only.

        Raises:
            StateError: The elements are not in the host's memory.
        """
        storage = memory_of(self)
        if not isinstance(storage, HostStorage):
            raise StateError(
                "loom.Array", f"the memory of device {self.home.name!r} is not the host's", remedy="Use numpy()"
            )
        view = storage.bytes[: self.nbytes].view(host_type(self.dtype)).reshape(self.shape)
        view.flags.writeable = False
        return view

    def recipe(self) -> str:
        """Return what it is, in words: dtype, shape, and the operation that makes it; nothing is computed."""
        shape = " x ".join(map(str, self.shape)) or "one element"
        name = f" {self.name!r}" if self.name else ""
        return f"<tensor{name} {self.dtype}, {shape}, {self.op.name}>"

    def __repr__(self) -> str:
        return display.show(self)

    def _repr_html_(self) -> str:
        return display.show_html(self)

    def __reduce__(self) -> Any:
        return packing.pack(self)

    def __copy__(self) -> Tensor:
        return self if self.op.is_fed or self.op.is_written else same(self)

    def __deepcopy__(self, memo: Any) -> Tensor:
        made, parts = packing.pack(self)
        return made(*parts)

    def __getattr__(self, name: str) -> Any:
        near = "" if name.startswith("_") else f". {near_matches(name, dir(type(self)))}"
        raise AttributeError(f"a tensor has no {name!r}{near}", name=name, obj=self)

    # elements by index

    def __pow__(self, other: Any) -> Tensor:
        if self.dtype.is_complex and is_int(other) and abs(other) <= arithmetic.MOST_FACTORS:
            return fresh(arithmetic.power(self, other), self)
        if is_int(other) and other == 2:
            return self * self
        return function("pow")(self, as_operand(other, self))

    def __rpow__(self, other: Any) -> Tensor:
        return function("pow")(as_operand(other, self), self)

    def __ipow__(self, other: Any) -> Tensor:  # type: ignore[misc]
        assigning.replace(self, in_place("tensor.__ipow__", self, self**other))
        return self

    def __getitem__(self, key: Any) -> Tensor:
        if type(key) in _BASIC or (type(key) is tuple and set(map(type, cast("tuple[Any, ...]", key))) <= _BASIC):
            found = views.slice_by(self, key)
            return whole_view(self) if found is self else found
        return indexing.index(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        holders = getrefcount(self)
        is_lost = holders <= chained.NOBODY + len(self.users or ()) and chained.is_temporary(self, holders)
        assigning.assign_at(self, key, value)
        if is_lost:
            chained.warn_of_loss()

    def fill(self, value: Any) -> None:
        """Set all elements to a number.

        Args:
            value: Number, or an array of a shape that extends to this one.

        Raises:
            DTypeError: Not numbers, or one that the dtype lacks.
            ShapeError: A shape that does not extend to it.
        """
        assigning.assign_at(self, ..., value)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    # what is used most, as methods

    def map(self, operation: str, *others: Any) -> Tensor:
        """Return an operation or elementary function of this and other operands, by name: ``x.map("exp")``.

        Args:
            operation: Name of an operation of ``tensor.OPERATIONS``.
            *others: Tensors or numbers that it takes besides.

        Raises:
            ArgumentError: No operation is called so, or it takes another number of operands.
            DTypeError: Operands of dtypes that it is not for.
            ShapeError: The shapes do not broadcast.
        """
        return maps.apply(_require_known(operation), self, *others)

    def astype(self, dtype: Any) -> Tensor:
        """Return it converted to another dtype.

        Args:
            dtype: Dtype, or its name.

        Raises:
            DTypeError: Not a dtype.
        """
        return fresh(maps.cast(self, dtype), self)

    def relu(self) -> Tensor:
        """Return max(x, 0)."""
        return maps.apply("relu", self, 0)

    def exp(self) -> Tensor:
        """Return e to the x."""
        return maps.apply("exp", self)

    def log(self) -> Tensor:
        """Return the natural logarithm."""
        return maps.apply("log", self)

    def sqrt(self) -> Tensor:
        """Return the square root."""
        return maps.apply("sqrt", self)

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangent."""
        return maps.apply("tanh", self)

    def sigmoid(self) -> Tensor:
        """Return 1 / (1 + e^-x)."""
        return maps.apply("sigmoid", self)

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """Return the sum along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return fresh(reductions.sum_of(self, axis, keepdims=keepdims), self)

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """Return the mean along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
        """
        return fresh(reductions.mean_of(self, axis, keepdims=keepdims), self)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """Return the largest element along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
            EmptyError: No elements along an axis.
        """
        return fresh(reductions.max_of(self, axis, keepdims=keepdims), self)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """Return the smallest element along an axis, several, or all.

        Args:
            axis: Axis, or a list of axes; None: all.
            keepdims: Whether the axes stay, with length 1.

        Raises:
            ArgumentError: There is no such axis; ``keepdims`` is no truth.
            DTypeError: Not an axis.
            EmptyError: No elements along an axis.
        """
        return fresh(reductions.min_of(self, axis, keepdims=keepdims), self)

    def reshape(self, *shape: Any) -> Tensor:
        """Return it in another shape, one length of which may be -1.

        Args:
            *shape: Length of each axis, or one list of them; one may be -1, for what is left.

        Raises:
            ArgumentError: Not whole numbers.
            ShapeError: A shape of another number of elements.
        """
        return fresh(views.reshape(self, *shape), self)

    def permute(self, *axes: Any) -> Tensor:
        """Return it with its axes in another order: numbers, or one sequence of them.

        Args:
            *axes: All axes in their new order, as numbers or one list.

        Raises:
            ArgumentError: There is no such axis, or not each once.
            DTypeError: Not axes.
        """
        return fresh(views.permute(self, axes[0] if len(axes) == 1 and is_list(axes[0]) else axes), self)

    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        """Return it repeated to a shape.

        Args:
            shape: Length of each axis.

        Raises:
            ShapeError: Not a shape, or one that it does not extend to.
        """
        return fresh(views.broadcast_to(self, shape), self)

    @property
    def T(self) -> Tensor:  # noqa: N802 - as everybody calls it
        """It with its two axes exchanged; of more axes, with a warning, the last two, as ``mT`` has it."""
        if self.ndim > 2:
            chained.warn_of_axes("T", self.ndim)
        return fresh(views.transpose(self), self) if self.ndim > 1 else same(self)


Array = Tensor
"""As ``loom`` calls it."""


def _require_known(operation: str) -> str:
    if isinstance(operation, str) and operation == "select":
        raise ArgumentError("tensor.map", "select has a condition, which is no operand", expected="another operation",
                            got="select", remedy="Use tensor.where(condition, a, b)")  # fmt: skip
    if not isinstance(operation, str) or operation not in maps.OPERATIONS:
        is_relu = isinstance(operation, str) and operation == "relu"
        remedy = "Use x.relu()" if is_relu else near_matches(operation, list(maps.OPERATIONS))
        raise ArgumentError("tensor.map", f"no operation is called {operation!r}", remedy=remedy)
    return operation


# making


def array(data: Any, dtype: Any = None, *, on: str | Device | None = None) -> Tensor:
    """Return a tensor with a copy of ``data`` on a device: numbers, nested lists, numpy, DLPack, another tensor.

    ``dtype``: what the elements are converted to, each rounded once; DTypeError for one that it lacks. The default is
    that of the array, f32 for Python's floats, i64 for its ints. What operations, patterns and kernels make of it stays
    on the device, and is computed when it is needed: element by element operations in one kernel.

    Args:
        data: Numbers, nested lists, an array of numpy or of DLPack, or a tensor.
        dtype: Dtype; None: that of ``data``, f32 of Python's floats, i64 of its integers.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: There is no such dtype; not a device; the elements are no numbers.
        ShapeError: Too many elements.
        DeviceError: There is no such device.

    >>> (array([[1, 2], [3, 4]], on="cpu") + 1).tolist()
    [[2, 3], [4, 5]]
    """
    there = None if isinstance(data, Tensor) else borrowing.over_gpu(Tensor, data, "tensor.array")
    if there is not None:
        data, on = cast("Tensor", there), there.device if on is None else on
    where = device(on)
    if there is not None and (dtype is None or dtype_of(dtype, "tensor.array") == there.dtype):
        memory = copy_memory(memory_of(there), there.nbytes, where)
        return cast("Tensor", from_storage(Tensor, memory, there.dtype, there.shape, where))
    if isinstance(data, Tensor) and (dtype is None or dtype_of(dtype, "tensor.array") == data.dtype):
        return moving.copy_to(data, where)
    if isinstance(data, Tensor) and dtype is not None and _keeps_slopes(data.dtype, dtype_of(dtype, "tensor.array")):
        return moving.copy_to(maps.cast(data, dtype), where)
    made = _store(KNOWN, data, dtype, on, "")
    origins = [data] if isinstance(data, Tensor) else _tensors_in(data)
    if origins:
        note_origins(made, origins)
    return made


def _keeps_slopes(given: DType, wanted: DType) -> bool:
    """Tell whether a conversion on the device is that of the host, and has a derivative: to wider floats."""
    return given.is_float and wanted.is_float and wanted.bits > given.bits


def _tensors_in(data: Any) -> list[Tensor]:
    """Return the tensors in nested lists."""
    if not is_list(data):
        return []
    kinds = set(map(type, data))
    if not any(issubclass(kind, (Tensor, list, tuple)) for kind in kinds):
        return []
    found: list[Tensor] = []
    for each in data:
        found += [each] if isinstance(each, Tensor) else _tensors_in(each)
    return found


def parameter(data: Any, dtype: Any = None, *, name: str = "", on: str | Device | None = None) -> Tensor:
    """Return a tensor that keeps its place on a device, and that programs may update (``compile(updates=..)``).

    Args:
        data: Numbers, nested lists, an array of numpy or of DLPack, or a tensor.
        dtype: Dtype; None: that of ``data``.
        name: Name, for errors and for files.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: There is no such dtype; not a device; not a text.
    """
    return _store(PARAMETER, data, dtype, on, name)


def _store(op: TensorOp, data: Any, dtype: Any, on: str | Device | None, name: str) -> Tensor:
    where = f"tensor.{op.name}"
    home, name = device(on), text(name, f"{where}, name")
    memory, found = read_array(data, where, dtype=None if dtype is None else dtype_of(dtype, where), complexes=True)
    wanted = found if dtype is None else dtype_of(dtype, where)
    if dtype is None and found in (f64, c128) and _is_of_python(data):
        wanted = f32 if found == f64 else c64
    memory = convert(memory, found, wanted, where)
    storage = home.allocate(memory.nbytes, zeroed=False)
    storage.write(0, memory.reshape(-1).view(np.uint8))
    made = Tensor(op, (), memory.shape, wanted, name=name, data=storage, device=home)
    made.is_fast = _is_made_of_fast(data)
    return made


def _is_made_of_fast(data: Any) -> bool:
    return any(x.is_fast for x in ([data] if isinstance(data, Tensor) else _tensors_in(data)))


def parameter_in(memory: Any, dtype: Any, *, name: str = "", on: str | Device | None = None) -> Tensor | None:
    """Return a tensor that is kept in the memory of a numpy array, of its shape; None if the device cannot share it.

    ``memory``: contiguous, of the dtype's type in numpy; who else writes it sees to it that no program runs.
    """
    home = device(on)
    storage = home.adopt(memory)
    wanted = dtype_of(dtype, "tensor.parameter_in")
    return (
        None if storage is None else Tensor(PARAMETER, (), memory.shape, wanted, name=name, data=storage, device=home)
    )


_NUMBERS = frozenset((bool, int, float, complex))
"""Python's own."""


def _is_of_python(data: Any) -> bool:
    """Tell whether data are Python's numbers, in lists or not; np.float64 is a float, and is none of them."""
    if not is_list(data):
        return isinstance(data, (int, float, complex)) and not isinstance(data, np.generic)
    kinds = set(map(type, data))
    return all(map(_is_of_python, data)) if not kinds <= _NUMBERS else True


def input(name: str, shape: Sequence[int], dtype: Any = "f32") -> Tensor:  # noqa: A001 - tensor.input
    """Return a place that is fed before each run of a program, by name.

    Args:
        name: Name by which a program is fed.
        shape: Lengths of the axes, or one length.
        dtype: Dtype of what is fed.

    Raises:
        DTypeError: Not a text; there is no such dtype.
        ShapeError: Not a shape; too many dimensions.
    """
    name = text(name, "tensor.input, name")
    return Tensor(INPUT, (), as_shape(shape, "tensor.input"), dtype_of(dtype, "tensor.input"), name=name)
