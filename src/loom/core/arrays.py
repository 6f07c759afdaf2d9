"""Reads whatever a caller passes as an array, once for patterns, tensors, networks, units and signals.

Layer: core (numpy alone). Lists, numbers, numpy arrays of any layout and byte order, objects with
``__array_interface__`` or a buffer, DLPack (torch among them, whose gradients are not cut), and Loom's own arrays.
Invariant: a number arrives as it is, or as the nearest one of a float type that was asked for, or not at all; an array
that needs no change is used in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsInt, cast

import numpy as np

from loom.core.conversions import Array, convert, refuse, show, view_typed
from loom.core.dtype import DType, bf16, f64, of_numpy
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import is_array, is_list, is_mapping, is_scalar
from loom.core.late import late

if TYPE_CHECKING:
    from loom.core import dlpack
else:
    dlpack = late("loom.core", "dlpack")

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_AXES", "plain", "read_array", "read_as", "read_complex", "share", "share_elements"]

_MOST_ELEMENTS = 0xFFFF_FFFF
_MOST_WORK = 10_000
MOST_AXES = 64
"""What numpy has."""
_COMPLEX = (np.dtype(np.complex64), np.dtype(np.complex128))
_ODD_BITS, _MOST_EXPONENT = 52, 1023
_PLAIN = frozenset((bool, int, float))
"""Types of a list's elements about which numpy knows everything."""


def read_array(data: Any, where: str, *, dtype: DType | None = None, complexes: bool = False) -> tuple[Array, DType]:
    """Return ``data`` as a contiguous array of its shape in native byte order, with its dtype.

    ``dtype`` types the numbers of a list; arrays keep theirs. bf16 comes in ml_dtypes' type where numpy has it, else
    as its 16 bits. DTypeError for what is no array of numbers, and for complex numbers unless ``complexes``;
    ShapeError for 2^32 elements or more.
    """
    array, found = _found(data, where, dtype, complexes)
    if array.size > _MOST_ELEMENTS:
        raise ShapeError(
            where, "too many elements", expected="less than 2^32", got=array.size, remedy="Process it in parts"
        )
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.require(array, requirements=("C", "A"))
    return array, found


def read_as(data: Any, dtype: DType, where: str) -> Array:
    """Return ``data`` as a contiguous array of ``dtype``, bf16 as its 16 bits; errors as for ``read_array``.

    Floats are rounded once, to the nearest; DTypeError for a whole number, or a bool, that ``dtype`` lacks, and for a
    finite number that would become infinite.
    """
    if dtype.is_complex:
        return convert(*read_array(data, where, complexes=True), dtype, where)
    return convert(*read_array(data, where, dtype=dtype), dtype, where)


def read_complex(data: Any, where: str) -> Array | None:
    """Return ``data`` as a contiguous array of complex64 or complex128 if it is of complex numbers, else None."""
    if is_array(data):
        array = plain(data, where)
    elif isinstance(data, (list, tuple, bool, int, float)):
        array = _of_sequence(data, where, None)
    elif hasattr(data, "host_elements"):
        return None
    else:
        array = share(data, where)[0]
    if array.dtype.kind != "c":
        return None
    array = _native(array)
    if array.dtype not in _COMPLEX:
        raise DTypeError(where, "unsupported dtype", expected="complex64 or complex128", got=array.dtype,
                         remedy="Convert first, for example with array.astype(numpy.complex128)")  # fmt: skip
    return np.require(array, requirements=("C", "A"))


def plain(array: Array, where: str) -> Array:
    """Return an array as one of numpy's own class; DTypeError if it has a mask or holds no numbers."""
    if type(array) is not np.ndarray:
        if hasattr(array, "mask") and not array.dtype.names:  # naming numpy.ma would load it
            raise DTypeError(
                where, "the array has a mask", expected="a plain array", got=type(array).__name__,
                remedy="Use its compressed() or filled()",
            )  # fmt: skip
        array = np.asarray(array)
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise _not_numbers(array.dtype, where)
    return array


# what there is


def _found(data: Any, where: str, dtype: DType | None, complexes: bool) -> tuple[Array, DType]:
    if is_array(data):
        array = plain(data, where)
    elif hasattr(data, "host_elements"):  # Loom's own
        held, found = data.host_elements()
        if found.is_complex and not complexes:
            raise _refuse_complex(found, where)
        return view_typed(held, found), found
    elif isinstance(data, (list, tuple, bool, int, float, complex)):
        array = _of_sequence(data, where, dtype)
        found = _kind_of(array, where, complexes)
        if dtype is None or found == dtype or found.is_complex:
            return _native(array), found
        array = convert(_native(array), found, dtype, where)
        return view_typed(array, dtype), dtype
    else:
        array, found = share(data, where)
        if found is not None:
            return array, found
    found = _kind_of(array, where, complexes)
    return _native(array), found


def _kind_of(array: Array, where: str, complexes: bool) -> DType:
    if array.dtype.kind == "c" and not complexes:
        raise _refuse_complex(array.dtype, where)
    return of_numpy(array.dtype if array.dtype.isnative else array.dtype.newbyteorder("="), where, complexes=complexes)


def _refuse_complex(got: Any, where: str) -> DTypeError:
    return DTypeError(where, "complex numbers", expected="bools, ints or floats", got=got,
                      remedy="Pass .real and .imag apart; loom.signal.fft and its kin take them")  # fmt: skip


def _native(array: Array) -> Array:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _not_numbers(got: Any, where: str) -> DTypeError:
    remedy, names = "Pass numbers", getattr(got, "names", None)
    if names:
        remedy = f"Pass one field, as in array[{names[0]!r}]"
    elif getattr(got, "kind", "b") in "US":
        remedy = "Number texts first: numpy.unique(array, return_inverse=True) gives names and numbers"
    return DTypeError(where, "not numbers", expected="bools, ints or floats", got=got, remedy=remedy)


def _not_an_array(data: Any, error: Exception, where: str) -> DTypeError:
    return DTypeError(
        where, f"not an array ({error})", expected="numbers of one kind in a regular shape",
        got=type(data).__name__, remedy="Pass a numpy array or a list of numbers",
    )  # fmt: skip


# foreign arrays


def share(data: Any, where: str) -> tuple[Array, DType | None]:
    """Return an object of another library as an array, with its dtype if numpy's cannot say it.

    It shares memory with what comes through DLPack or ``__array_interface__``.
    """
    if hasattr(data, "__dlpack__") and not is_scalar(data):
        return _share(data, where)
    _require_whole(data, where)
    try:
        array: Array = np.asarray(data)
    except Exception as error:  # whatever another library raises
        raise _not_an_array(data, error, where) from error
    if array.dtype == object and array.ndim == 0:
        raise _not_numbers(type(data).__name__, where)
    return plain(array, where), None


def _require_whole(data: Any, where: str) -> None:
    """Raise DTypeError for an array that says of some elements that they are missing, or that none is on the host.

    numpy would take NaN for them, and floats for the integers beside them, or leave out a mask.
    """
    got = type(data).__name__
    if _lacks_elements(data):
        raise DTypeError(where, "elements are missing", expected="a number in every place", got=f"nulls in {got}",
                         remedy="Fill them first: fillna(..) of pandas, fill_null(..) of pyarrow")  # fmt: skip
    said = _attribute(data, "__array_interface__")
    if is_mapping(said) and said.get("mask") is not None:
        raise DTypeError(where, "the array has a mask", expected="a plain array", got=got, remedy="Fill it first")
    if not hasattr(data, "__array__") and said is None and _attribute(data, "__cuda_array_interface__") is not None:
        raise DTypeError(where, "its elements are on CUDA", expected="an array in memory of the host",
                         got=f"{got} on CUDA", remedy="Move it to the CPU first")  # fmt: skip


def _lacks_elements(data: Any) -> bool:
    """Tell whether an array, or a table, of Arrow or of pandas has nulls; NaN among floats is a number."""
    if isinstance(count := _attribute(data, "null_count"), int):
        return count > 0
    columns = _attribute(data, "columns")
    if isinstance(columns, list):  # pyarrow's
        return any(map(_lacks_elements, cast("list[Any]", columns)))
    missing = _attribute(_attribute(data, "dtype"), "na_value")
    return not isinstance(missing, (float, type(None))) and hasattr(data, "isna") and bool(data.isna().any())


def _attribute(data: Any, name: str) -> Any:
    """Return an attribute of another library's object, None if it has none or cannot say."""
    try:
        return getattr(data, name, None)
    except Exception:  # whatever another library raises: who reads the elements finds out
        return None


def _share(data: Any, where: str) -> tuple[Array, DType | None]:
    try:
        taken = dlpack.take(data, where)
    except DTypeError as error:
        if hasattr(data, "__array__") and not dlpack.is_torch(data):
            return _through_numpy(data, error, where), None
        raise
    return (view_typed(taken.array, bf16), bf16) if taken.dtype == bf16 else (taken.array, None)


def _through_numpy(data: Any, error: DTypeError, where: str) -> Array:
    _require_whole(data, where)
    try:
        array = plain(np.asarray(data), where).view()
    except DTypeError:
        raise
    except Exception:
        raise error from None
    array.flags.writeable = False  # it may be a copy, which only a reader may take for the object
    return array


# lists


def _of_sequence(data: Any, where: str, dtype: DType | None) -> Array:
    """Return nested lists, or one number, as an array; no integer is rounded but to a float type asked for."""
    if is_list(data):
        try:
            data = _leaves_read(data, where)
        except RecursionError:
            raise DTypeError(where, "a list that contains itself, or too deep a one", expected="at most 64 levels",
                             got="more", remedy="Pass numbers in a regular shape") from None  # fmt: skip
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, OverflowError) as error:
        if "inhomogeneous" not in str(error):
            raise _not_an_array(data, error, where) from error
        raise DTypeError(
            where, "the rows differ in length", expected="numbers in a regular shape",
            got="a ragged list", remedy="Pad them, or pass them apart",
        ) from error  # fmt: skip
    if array.dtype != object and array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise _not_numbers(array.dtype, where)
    is_rounded = array.dtype.kind == "f" and (np.abs(array) >= 2.0 ** (np.finfo(array.dtype).nmant + 1)).any()
    return _exact_integers(data, array, where, dtype) if is_rounded or array.dtype == object else array


def _leaves_read(data: Sequence[Any], where: str) -> Sequence[Any]:
    """Return nested lists whose elements numpy understands: numbers, and arrays without masks."""
    kinds = set(map(type, data))
    if kinds <= _PLAIN:
        return data
    if kinds <= {list, tuple}:
        for row in data:
            if not set(map(type, row)) <= _PLAIN:
                return [_leaves_read(each, where) for each in data]
        return data
    return [_leaf(each, where) for each in data]


def _leaf(value: Any, where: str) -> Any:
    if isinstance(value, (bool, int, float, complex)) or (is_scalar(value) and value.dtype.kind in "biufc"):
        return value
    if is_list(value):
        return _leaves_read(value, where)
    if is_array(value):
        return plain(value, where)
    if isinstance(value, (str, bytes)) or value is None:
        raise _not_numbers(type(value).__name__, where)
    array, found = read_array(value, where, complexes=True)
    return show(array, found)


def _exact_integers(data: Any, array: Array, where: str, dtype: DType | None) -> Array:
    """Return the array of a list in which numpy rounded integers, or found none of its types for them."""
    leaves = list(_leaves(data))
    if all(isinstance(x, (int, np.integer)) for x in leaves):
        for kind in (np.int64, np.uint64):
            limits = np.iinfo(kind)
            if all(limits.min <= int(x) <= limits.max for x in leaves):
                return np.array([int(x) for x in leaves], kind).reshape(array.shape)
        if dtype is not None and dtype.is_float:
            return np.array([_nearest(x, dtype, where) for x in leaves], np.float64).reshape(array.shape)
        both = -(1 << 63) <= min(leaves) < 0 and max(leaves) < 1 << 64
        raise DTypeError(
            where, "no integer type holds all the numbers", expected="int64 or uint64 for all of them",
            got="ints of both ranges" if both else max(leaves, key=abs), remedy="Write them as floats",
        )  # fmt: skip
    if array.dtype == object and not all(isinstance(x, (int, float, np.number, np.bool_)) for x in leaves):
        raise _not_numbers(array.dtype, where)
    if dtype is None or not dtype.is_float:
        _refuse_rounded(leaves, where)
    return np.array([_nearest(x, dtype or f64, where) for x in leaves], np.float64).reshape(array.shape)


def _leaves(data: Any) -> Iterator[Any]:
    if is_list(data):
        for each in data:
            yield from _leaves(each)
    elif is_array(data):
        yield from data.flat
    else:
        yield data


def _refuse_rounded(leaves: list[Any], where: str) -> None:
    """A list of ints and floats is one of float64, which lacks some of the large ints."""
    for x in leaves:
        number = int(cast("SupportsInt", x)) if isinstance(x, (int, np.integer)) else 0
        if abs(number) >= 1 << 1023 or int(float(number)) != number:
            raise DTypeError(where, f"float64 does not hold {number}", expected="ints that it holds among floats",
                             got=number, remedy="Write it as a float to have it rounded")  # fmt: skip


def _nearest(value: Any, dtype: DType, where: str) -> float:
    """Return a number so that rounding it to ``dtype`` is as if from the exact one."""
    if not isinstance(value, (int, np.integer)):
        return float(value)
    number = int(cast("SupportsInt", value))
    shift = max(0, number.bit_length() - _ODD_BITS)
    if shift > _MOST_EXPONENT - _ODD_BITS:
        raise refuse(number, dtype, where)
    if dtype == f64:
        return float(number)
    kept = abs(number) >> shift
    kept |= int(kept << shift != abs(number))  # to odd: a sticky bit below those that a narrower type keeps
    return float(kept if number >= 0 else -kept) * 2.0**shift


def share_elements(x: NDArray[np.generic], y: NDArray[np.generic]) -> bool:
    """Tell whether two arrays have elements in common; where that is hard to tell, True."""
    try:
        return np.shares_memory(x, y, max_work=_MOST_WORK)  # pyright: ignore[reportArgumentType] - any int
    except np.exceptions.TooHardError:
        return True
