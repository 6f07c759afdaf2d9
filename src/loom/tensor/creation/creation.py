"""Tensors that are made of numbers, shapes and the arrays of others.

Layer: tensor. Chapter "Creation functions" of the array API standard 2024.12; ``on`` is Loom's word for ``device``.
Invariant: what can be told by a formula of indices takes no memory until it must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

from loom.core.dtype import DType, c64, dtype_of, f32, f64, i64, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag, one_of
from loom.core.numbers import whole
from loom.core.promotion import is_number, promote
from loom.runtime.borrowed import home_of_others
from loom.runtime.port.device import Device
from loom.runtime.registry import device as device_of
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.handle.borrowing import over_gpu, over_host
from loom.tensor.ops import elementwise as maps
from loom.tensor.ops import views
from loom.tensor.ops.parts import join
from loom.tensor.record.graph import INPUT, Node, as_shape, require_tensor
from loom.tensor.standard.dtypes import copy_handle

__all__ = [
    "arange", "asarray", "astype", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace",
    "meshgrid", "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip

Place = str | Device | None
_ANY = Tensor(INPUT, (), (), f32)
_MOST = 0xFFFF_FFFF


def _home(device: Place, on: Place, where: str) -> Device | None:
    """Return the device that one of two words names."""
    if device is not None and on is not None and device_of(device) is not device_of(on):
        raise ArgumentError(f"{where}, device", "device and on differ", expected="one of them", got=f"{device}, {on}",
                            remedy="Leave one out")  # fmt: skip
    named = on if device is None else device
    return None if named is None else device_of(named)


def _like(home: Device | None) -> Tensor:
    """Return what numbers take their class and device from."""
    return _ANY if home is None else Tensor(INPUT, (), (), f32, device=home)


def _place(x: Tensor, home: Device | None) -> Tensor:
    """Return a formula of indices as one of a device."""
    x.device = home if x.device is None else x.device
    return x


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Place = None, copy: bool | None = None, on: Place = None
) -> Tensor:
    """Return numbers, nested lists, or the array of another library as a tensor; a tensor as it is, if it fits.

    ``copy=True`` returns another tensor always; ArgumentError (a ValueError) for ``copy=False`` if elements must be
    copied: to another dtype or device, and of everything but tensors.

    Args:
        obj: Numbers, nested lists, an array of another library, or a tensor.
        dtype: Dtype; None: that of ``obj``.
        device: Device, or its name, as the array API calls it; None: the default device.
        copy: True: always copy; False: never, refused where it must; None: where it must.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: A number is not usable there; the elements must be copied.
        DTypeError: Not a device; there is no such dtype.
        ShapeError: What is read lies outside the storage.
        DeviceError: There is no such device.
    """
    home = _home(device, on, "asarray")
    wanted = None if dtype is None else dtype_of(dtype, "asarray, dtype")
    if copy is not None:
        flag(copy, "asarray, copy")
    is_fit = isinstance(obj, Tensor) and wanted in (None, obj.dtype) and (home is None or obj.device in (None, home))
    if copy is False and not is_fit:
        raise ArgumentError("asarray, copy", "the elements must be copied", expected="copy=None or True", got=copy,
                            remedy="Leave copy out")  # fmt: skip
    if not isinstance(obj, Tensor):
        return array(obj, wanted, on=home)
    if home is not None and obj.device not in (None, home):
        return array(obj, wanted, on=home)
    found = obj if wanted is None else maps.cast(obj, wanted)
    return copy_handle(found) if copy and found is obj else found


def from_dlpack(x: Any, /, *, device: Place = None, copy: bool | None = None, on: Place = None) -> Tensor:
    """Return an array of another library (PyTorch, JAX, CuPy, MLX, ...) as a tensor, in its dtype.

    A copy, on the device named, else where the array is: on its GPU of CUDA, or on the default device. ``copy=False``:
    over the memory of the array, which Loom never writes (who changes the tensor changes other memory), and which its
    owner should leave alone while the tensor is used; ArgumentError where that cannot be: the device has memory of its
    own, or the elements have gaps between them or are not there as they are (other byte order, torch's conjugates).
    DTypeError for elements that Loom has no type for, by their name.

    Args:
        x: Array with ``__dlpack__``, on the host or on a GPU.
        device: Device, or its name, as the array API calls it; None: the default device.
        copy: True: always copy; False: never, refused where it must; None: where it must.
        on: Device, or its name; None: the default device.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: A number is not usable there.
        DTypeError: It has no __dlpack__(); not a device.
        ShapeError: Too many elements.
    """
    where = "from_dlpack"
    if not hasattr(x, "__dlpack__"):
        remedy = "Pass the array whose capsule it is" if type(x).__name__ == "PyCapsule" else "Use tensor.array"
        raise DTypeError(where, "it has no __dlpack__()", expected="an array of a library with DLPack",
                         got=type(x).__name__, remedy=remedy)  # fmt: skip
    if copy is not None and not flag(copy, "from_dlpack, copy") and not isinstance(x, Tensor):
        return _share(x, _home(device, on, where), where)
    home = _home(device, on, where)
    if home is None and copy is None and not isinstance(x, Tensor):
        home = home_of_others([x])
    return asarray(x, device=home, copy=copy)


def _share(x: Any, home: Device | None, where: str) -> Tensor:
    """Return a tensor over the memory of an array of another library."""
    there = cast("Tensor | None", over_gpu(Tensor, x, where))
    if there is None:
        there = cast("Tensor | None", over_host(Tensor, x, where, device_of(None) if home is None else home))
    if there is None or (home is not None and there.device is not home):
        got = (
            "one with gaps, of other bytes, or in memory that the device does not see"
            if there is None
            else there.home.name
        )
        expected = "a contiguous array" + ("" if home is None else f" in memory of {home.name!r}")
        raise ArgumentError(f"{where}, copy", "the elements must be copied", expected=expected, got=got,
                            remedy="Leave copy out")  # fmt: skip
    return there


def astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: str | Device | None = None) -> Tensor:
    """Return a tensor in another dtype, on another device if one is named.

    Floats to integers truncate and saturate, NaN gives 0. ``copy=False`` returns ``x`` itself if nothing changes.

    Args:
        x: Tensor of any shape.
        dtype: Dtype to convert to.
        copy: Whether a tensor that has the dtype is copied.
        device: Device, or its name; None: that of ``x``.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: Not a device; the dtype is not supported; there is no such dtype.
        DeviceError: There is no such device.
    """
    require_tensor(x, "astype")
    copy = flag(copy, "astype, copy")
    found = x
    if device is not None and device_of(device) is not x.device:
        found = asarray(x, device=device)
    found = maps.cast(found, dtype)
    return copy_handle(found) if found is x and copy else found


# one number everywhere


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Place = None, on: Place = None) -> Tensor:
    """Return a tensor of one number everywhere; it takes no memory until it must.

    ``dtype``: None is that of the number: f32 for floats, i64 for ints, bool. DTypeError for a number it lacks.

    Args:
        shape: Lengths of the axes, or one length.
        fill_value: Number everywhere.
        dtype: Dtype; None: that of the number, f32 of a float.
        device: Device, or its name, as the array API calls it; None: the default device.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: Not a device; an operand is no number; the dtype is not supported; a number does not fit the dtype;
            there is no such dtype.
        ShapeError: Not a shape.
    """
    if isinstance(fill_value, Node) and not fill_value.shape:
        number = cast("Tensor", fill_value)
        found = number if dtype is None else maps.cast(number, dtype)
        return views.broadcast_to(found, as_shape(shape, "tensor.full"))
    if dtype is None:
        wanted = promote("tensor.full", [], [fill_value])
    else:
        wanted = dtype_of(dtype, "tensor.full")
    home = _home(device, on, "tensor.full")
    value = float(fill_value) if wanted.is_float and isinstance(fill_value, (bool, int)) else cast("Any", fill_value)
    number = maps.constant(value, wanted, _like(home), "tensor.full")
    return views.broadcast_to(_place(number, home), as_shape(shape, "tensor.full"))


def _whole_of(value: int, dtype: Any) -> Any:
    """Return 0 or 1 as a number that a dtype takes."""
    return bool(value) if dtype_of(dtype, "tensor").is_bool else value


def zeros(shape: Any, dtype: Any = None, *, device: Place = None, on: Place = None) -> Tensor:
    """Return a tensor of zeros, f32 by default.

    Args:
        shape: Lengths of the axes, or one length.
        dtype: Dtype; None: f32.
        device: Device, or its name, as the array API calls it; None: the default device.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: Not a device; there is no such dtype.
        ShapeError: Not a shape.
        DeviceError: There is no such device.
    """
    dtype = f32 if dtype is None else dtype
    return full(shape, _whole_of(0, dtype), dtype, device=device, on=on)


def ones(shape: Any, dtype: Any = None, *, device: Place = None, on: Place = None) -> Tensor:
    """Return a tensor of ones, f32 by default.

    Args:
        shape: Lengths of the axes, or one length.
        dtype: Dtype; None: f32.
        device: Device, or its name, as the array API calls it; None: the default device.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: There is no such dtype; not a device.
        ShapeError: Not a shape.
    """
    dtype = f32 if dtype is None else dtype
    return full(shape, _whole_of(1, dtype), dtype, device=device, on=on)


def empty(shape: Any, dtype: Any = None, *, device: Place = None, on: Place = None) -> Tensor:
    """Return a tensor whose elements do not matter: zeros, so that nothing depends on what memory held before.

    Args:
        shape: Lengths of the axes, or one length.
        dtype: Dtype; None: f32.
        device: Device, or its name, as the array API calls it; None: the default device.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: There is no such dtype; not a device.
        ShapeError: Not a shape.
        DeviceError: There is no such device.
    """
    return zeros(shape, dtype, device=device, on=on)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Place = None, on: Place = None) -> Tensor:
    """Return a tensor of one number everywhere, of the shape, dtype and device of ``x``.

    Args:
        x: Tensor of any shape.
        fill_value: Number everywhere.
        dtype: Dtype; None: that of ``x``.
        device: Device, or its name; None: that of ``x``.
        on: Device, or its name; None: that of ``x``.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Not a device; there is no such dtype.
        DeviceError: There is no such device.
    """
    require_tensor(x, "full_like")
    home = _home(device, on, "full_like") or x.device
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype, device=home)


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Place = None, on: Place = None) -> Tensor:
    """Return zeros of the shape, dtype and device of ``x``.

    Args:
        x: Tensor of any shape.
        dtype: Dtype; None: that of ``x``.
        device: Device, or its name; None: that of ``x``.
        on: Device, or its name; None: that of ``x``.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: There is no such dtype; not a device.
        DeviceError: There is no such device.
    """
    require_tensor(x, "zeros_like")
    return full_like(x, _whole_of(0, x.dtype if dtype is None else dtype), dtype=dtype, device=device, on=on)


def ones_like(x: Tensor, /, *, dtype: Any = None, device: Place = None, on: Place = None) -> Tensor:
    """Return ones of the shape, dtype and device of ``x``.

    Args:
        x: Tensor of any shape.
        dtype: Dtype; None: that of ``x``.
        device: Device, or its name; None: that of ``x``.
        on: Device, or its name; None: that of ``x``.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: There is no such dtype; not a device.
        DeviceError: There is no such device.
    """
    require_tensor(x, "ones_like")
    return full_like(x, _whole_of(1, x.dtype if dtype is None else dtype), dtype=dtype, device=device, on=on)


def empty_like(x: Tensor, /, *, dtype: Any = None, device: Place = None, on: Place = None) -> Tensor:
    """Return zeros of the shape, dtype and device of ``x``, as ``empty`` does.

    Args:
        x: Tensor of any shape.
        dtype: Dtype; None: that of ``x``.
        device: Device, or its name; None: that of ``x``.
        on: Device, or its name; None: that of ``x``.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: There is no such dtype; not a device.
    """
    return zeros_like(x, dtype=dtype, device=device, on=on)


# sequences


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Place = None, on: Place = None
) -> Tensor:
    """Return ``start``, ``start + step`` .. up to ``stop``, which is outside; ``arange(n)`` counts from 0.

    i64, or f32 if one of the numbers is a float. Floats are computed as ``start + k * step`` in f64 and rounded once.
    A second argument that is a dtype is that (``arange(8, "u32")``). DTypeError if ``dtype`` lacks a number.

    Args:
        start: First number; alone: ``stop``, counted to from 0.
        stop: End, which is outside; None: ``start``.
        step: Difference of neighbours, not 0.
        dtype: Dtype; None: i64 of integers, f32 of floats.
        device: Device, or its name, as the array API calls it; None: the default device.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Not a number; not finite.
        DTypeError: Not a device; there is no such dtype.

    >>> arange(2, 9, 3).tolist()
    [2, 5, 8]
    """
    if stop is not None and not is_number(stop):
        stop, dtype = None, stop if dtype is None else dtype
    first, last = (0, start) if stop is None else (start, stop)
    given = [_real(each, "tensor.arange") for each in (first, last, step)]
    wanted = promote("tensor.arange", [], given) if dtype is None else dtype_of(dtype, "tensor.arange")
    wanted = i64 if dtype is None and wanted.is_bool else wanted
    home = _home(device, on, "tensor.arange")
    if all(isinstance(n, int) for n in given):
        return _place(_whole_steps(range(*_stepping(given)), wanted, _like(home)), home)
    first, last, step = (float(n) for n in _stepping(given))
    if not all(map(math.isfinite, (first, last, step))):
        raise ArgumentError("tensor.arange", "not finite", expected="finite numbers", got=given, remedy="Check them")
    count = max(0, math.ceil((last - first) / step))
    if wanted.is_integer or wanted.is_bool:
        raise DTypeError("tensor.arange", f"floats in {wanted}", expected="a type of floats", got=given,
                         remedy="Pass whole numbers, or leave dtype out")  # fmt: skip
    at = maps.coordinate((_at_most(count),), 0, f64, _like(home))
    return _place(maps.cast(maps.apply("add", maps.apply("mul", at, step), first), wanted), home)


def _real(value: Any, where: str) -> Any:
    """Return one number as Python's int or float."""
    if is_number(value) and not isinstance(value, complex):
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, (int, float)):
            return int(value) if isinstance(value, bool) else value
    raise ArgumentError(where, "not a number", expected="ints or floats", got=repr(value)[:80], remedy="Pass numbers")


def _stepping(given: Sequence[Any]) -> Sequence[Any]:
    if given[2] == 0:
        raise ArgumentError("tensor.arange, step", "it leads nowhere", expected="a number other than 0", got=given[2],
                            remedy="Leave it out for 1")  # fmt: skip
    return given


def _at_most(count: int) -> int:
    if count > _MOST:
        raise ShapeError("tensor.arange", "too many elements", expected="less than 2^32", got=count,
                         remedy="Take larger steps")  # fmt: skip
    return count


def _whole_steps(numbers: range, dtype: DType, like: Tensor) -> Tensor:
    """Return whole numbers as a tensor; DTypeError if the dtype lacks one."""
    count = _at_most(max(0, (numbers.stop - numbers.start + numbers.step - (1 if numbers.step > 0 else -1))
                         // numbers.step))  # fmt: skip
    ends = (numbers.start, numbers.start + (count - 1) * numbers.step) if count else ()
    for end in ends:
        if not dtype.is_bool:
            maps.as_number(end, dtype, "tensor.arange")
        elif end not in (0, 1):
            raise DTypeError("tensor.arange", "bool has two numbers", expected="another dtype", got=dtype,
                             remedy="Use i32")  # fmt: skip
    if numbers.start == 0 and numbers.step == 1:
        return maps.coordinate((count,), 0, dtype, like)
    wide = u64 if ends and max(ends) > i64.maximum else f64 if dtype.is_float else i64
    at = maps.coordinate((count,), 0, wide, like)
    step, start = (_wrap(n, wide) for n in (numbers.step, numbers.start))
    return maps.cast(maps.apply("add", maps.apply("mul", at, step), start), dtype)


def _wrap(value: int, dtype: DType) -> float | int:
    """Return a whole number as one of 64 bits that makes the same sums modulo 2^64."""
    if dtype.is_float:
        return float(value)
    value %= 1 << 64
    return value if dtype == u64 or value <= i64.maximum else value - (1 << 64)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Place = None, endpoint: bool = True,
    on: Place = None,
) -> Tensor:  # fmt: skip
    """Return ``num`` numbers from ``start`` to ``stop``, which is the last one unless ``endpoint`` is False.

    Computed in f64 as ``start + k * step`` and rounded once, to f32 by default; complex ends give c64, part by part.

    Args:
        start: First number.
        stop: Last number, or the end outside.
        num: How many numbers.
        dtype: Dtype; None: f32.
        device: Device, or its name, as the array API calls it; None: the default device.
        endpoint: Whether ``stop`` is the last number.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: A number is not usable there; not a whole number.
        DTypeError: Not a device; there is no such dtype.
        DeviceError: There is no such device.

    >>> linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    home = _home(device, on, "tensor.linspace")
    count = whole(num, "tensor.linspace, num", least=0)
    with_end = flag(endpoint, "tensor.linspace, endpoint")
    if isinstance(start, complex) or isinstance(stop, complex):
        kind = c64 if dtype is None else dtype_of(dtype, "tensor.linspace")
        ends = zip(*(maps.split_number(each, "tensor.linspace") for each in (start, stop)), strict=True)
        halves = [linspace(a, b, count, dtype=f64, device=home, endpoint=with_end) for a, b in ends]
        return maps.cast(join(*halves), kind)
    wanted = f32 if dtype is None else dtype_of(dtype, "tensor.linspace")
    first, last = (float(_real(each, "tensor.linspace")) for each in (start, stop))
    parts = max(1, count - with_end)
    at = maps.coordinate((count,), 0, f64, _like(home))
    step = (last - first) / parts
    if math.isfinite(step):
        found = maps.apply("add", maps.apply("mul", at, step), first)
    else:  # the distance is more than any float
        found = maps.apply(
            "mul", maps.apply("add", maps.apply("mul", at, last / parts / 2 - first / parts / 2), first / 2), 2.0
        )
    if with_end and count > 1:
        found = maps.where(maps.apply("eq", at, float(count - 1)), last, found)
    return _place(maps.cast(found, wanted), home)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Place = None, on: Place = None
) -> Tensor:
    """Return a matrix of zeros with ones on its diagonal, or the ``k``-th above it; f32 by default.

    Args:
        n_rows: Number of rows.
        n_cols: Number of columns; None: ``n_rows``.
        k: Diagonal of the ones, above the main one.
        dtype: Dtype of the result, as a Loom or numpy dtype or its name; None: the rule of the function.
        device: Device, or its name, as the array API calls it; None: the default device.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Not a whole number; a number is out of range.
        DTypeError: Not a device; there is no such dtype.

    >>> eye(2, 3, k=1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    rows = whole(n_rows, "tensor.eye", least=0)
    shape = rows, rows if n_cols is None else whole(n_cols, "tensor.eye", least=0)
    home = _home(device, on, "tensor.eye")
    found = _diagonal("eq", shape, whole(k, "tensor.eye, k"), _like(home))
    return _place(maps.cast(found, f32 if dtype is None else dtype), home)


def _diagonal(operation: str, shape: tuple[int, ...], k: int, like: Tensor) -> Tensor:
    """Return how the column compares with the row + k, for the last two axes."""
    row, column = (maps.coordinate(shape, len(shape) - axis, i64, like) for axis in (2, 1))
    return maps.apply(operation, maps.apply("sub", column, row), max(-_MOST, min(_MOST, k)))


def _triangle(x: Tensor, k: int, operation: str, where: str) -> Tensor:
    require_tensor(x, where)
    if x.ndim < 2:
        raise ShapeError(where, "not a matrix", expected="at least 2 dimensions", got=x.shape, remedy="Reshape it")
    inside = _diagonal(operation, x.shape, whole(k, f"{where}, k"), x)
    return maps.where(inside, x, _whole_of(0, x.dtype))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return matrices (..., n, m) with zeros above the ``k``-th diagonal.

    Args:
        x: Tensor (.., n, m).
        k: Diagonal, above the main one.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number.
    """
    return _triangle(x, k, "le", "tril")


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return matrices (..., n, m) with zeros below the ``k``-th diagonal.

    Args:
        x: Tensor (.., n, m).
        k: Diagonal, above the main one.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor.
    """
    return _triangle(x, k, "ge", "triu")


def meshgrid(*arrays: Tensor, indexing: Literal["xy", "ij"] = "xy") -> list[Tensor]:
    """Return for each tensor of one dimension the grid of its numbers: ``indexing="xy"`` has the second axis first.

    Grids have one axis for each of the tensors, and all the same shape.

    Args:
        *arrays: Tensors of one dimension.
        indexing: "xy": the second axis first, as numpy's; "ij": in order.

    Raises:
        ArgumentError: There is no such option; an operand is no tensor.
        ShapeError: More than one dimension.
    """
    for x in arrays:
        require_tensor(x, "meshgrid")
        if x.ndim > 1:
            raise ShapeError(
                "meshgrid", "more than one dimension", expected="vectors", got=x.shape, remedy="Flatten it"
            )
    swapped = one_of(indexing, "meshgrid, indexing", ("xy", "ij")) == "xy" and len(arrays) > 1
    order = [1, 0, *range(2, len(arrays))] if swapped else list(range(len(arrays)))
    shape = tuple(arrays[a].size for a in order)
    places = [[x.size if a == n else 1 for a in order] for n, x in enumerate(arrays)]
    return [views.broadcast_to(views.reshape(x, place), shape) for x, place in zip(arrays, places, strict=True)]
