"""``loom.random``: uniform, normal, integers, bernoulli, dropout_mask, bits and permutation.

Layer: patterns. Numbers come from Philox4x32-10 (``kernels.maps.random``). There is no hidden state: every function
takes ``seed`` (0 to 2^64 - 1) and ``stream`` (0 to 2^32 - 1), and different streams of a seed are independent.
``shape`` is an int or a tuple of them. Results are numpy arrays; with ``like=``, a tensor, they are tensors
on its device. Invariant: element i in row-major order depends on seed, stream, i and the function's own
arguments alone, so a longer result begins with the shorter one (``permutation`` apart).

Stability: stable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from loom.core.dtype import INTEGERS, DType, bf16, bool_, dtype_of, f16, f32, f64, i64, lookup, of_numpy, u32, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.kernels.maps import random as kernels
from loom.patterns.array_calls import Arrays
from loom.patterns.own_operations import Operation
from loom.patterns.sort import gpu_argsort
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["bernoulli", "bits", "dropout_mask", "integers", "normal", "permutation", "uniform"]

_FLOATS = (f32, f64, f16, bf16)
_MOST_ELEMENTS = 0xFFFF_FFFF


def uniform(
    shape: int | Sequence[int],
    *,
    seed: int,
    stream: int = 0,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = f32,
    like: Any = None,
    on: str | Device | None = None,
) -> Any:
    """Return floats spread evenly from ``low`` up to ``high``: f32, f64, f16 or bf16.

    ``low + u (high - low)`` in f32 (f64 in f64), u the upper 24 bits of a word over 2^24 (f64: 53 bits of two words;
    f16 11, bf16 8 bits). u is below 1, yet the rounding of the sum may give ``high``, unless low is 0 and high a
    power of two. ArgumentError unless low < high and the difference is finite.

    Args:
        shape: Length, or lengths by axis, less than 2^32 elements in all.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        low: Least number.
        high: Number above it.
        dtype: f32, f64, f16 or bf16.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array of ``shape`` and ``dtype``.

    Raises:
        ArgumentError: ``low`` is not below ``high``, or their difference not finite; a seed or a stream out of range;
            ``like`` is on another device than ``on``.
        DTypeError: Not numbers; a dtype that is not among those; not a device.
        ShapeError: A length below 0; too many elements.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> uniform(3, seed=1, dtype="float16").tolist()
    [0.89013671875, 0.89453125, 0.58544921875]
    """
    where = "random.uniform"
    element = _dtype(dtype, where, _FLOATS)
    ends = _floats([low, high], element, where, ("low", "high"))
    with np.errstate(over="ignore"):
        if not (ends[0] < ends[1] and np.isfinite(ends[1] - ends[0])):
            raise ArgumentError(
                where, "no range", expected=f"low < high, high - low finite in {_compute_type(element)}",
                got=f"low={low!r}, high={high!r}", remedy="Pass the smaller one as low",
            )  # fmt: skip
    return _draw(where, "uniform", element, ends, shape, seed, stream, like, on)


def normal(
    shape: int | Sequence[int],
    *,
    seed: int,
    stream: int = 0,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = f32,
    like: Any = None,
    on: str | Device | None = None,
) -> Any:
    """Return normally distributed floats, f32, f64, f16 or bf16: ``mean + std z``.

    z comes in pairs, by Box and Muller's formula with Loom's own log, sqrt, sine and cosine; its absolute value is at
    most 6.8 (f64 8.6). ArgumentError for numbers that are not finite and a negative ``std``.

    Args:
        shape: Length, or lengths by axis, less than 2^32 elements in all.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        mean: Mean.
        std: Standard deviation, at least 0.
        dtype: f32, f64, f16 or bf16.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array of ``shape`` and ``dtype``.

    Raises:
        ArgumentError: A number is not finite; ``std`` is negative; a seed or a stream out of range; ``like`` is on
            another device than ``on``.
        DTypeError: Not numbers; a dtype that is not among those; not a device.
        ShapeError: A length below 0; too many elements.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
        G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates", Annals of Mathematical
        Statistics 29, 1958.

    >>> abs(float(normal(1000, seed=1).mean())) < 0.1
    True
    """
    where = "random.normal"
    element = _dtype(dtype, where, _FLOATS)
    moments = _floats([mean, std], element, where, ("mean", "std"))
    if moments[1] < 0:
        raise ArgumentError(where, "negative std", expected="at least 0", got=std, remedy="Pass its absolute value")
    return _draw(where, "normal", element, moments, shape, seed, stream, like, on)


def integers(
    shape: int | Sequence[int],
    low: int,
    high: int,
    *,
    seed: int,
    stream: int = 0,
    dtype: Any = i64,
    like: Any = None,
    on: str | Device | None = None,
) -> Any:
    """Return integers from ``low`` up to but not including ``high``, each exactly equally likely; any integer dtype.

    The upper half of a 64-bit word times ``high - low``; words that would favour some are redrawn from further
    counters of the same element (Lemire 2019). ArgumentError unless low < high fit the dtype.

    Args:
        shape: Length, or lengths by axis, less than 2^32 elements in all.
        low: Least number.
        high: Number after the largest.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        dtype: Dtype of integers.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array of ``shape`` and ``dtype``.

    Raises:
        ArgumentError: Not low < high within the dtype; a seed or a stream out of range; ``like`` is on another device
            than ``on``.
        DTypeError: Not numbers; a dtype that is not among those; not a device.
        ShapeError: A length below 0; too many elements.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
        D. Lemire, "Fast random integer generation in an interval", ACM Transactions on Modeling and Computer Simulation
        29, 2019.

    >>> sorted(set(integers(100, 1, 7, seed=1).tolist()))
    [1, 2, 3, 4, 5, 6]
    """
    where = "random.integers"
    element = _dtype(dtype, where, INTEGERS)
    first, end = _whole(low, where, "low"), _whole(high, where, "high")
    if not element.minimum <= first < end <= element.maximum + 1:
        raise ArgumentError(
            where, "no range", expected=f"{element.minimum} <= low < high <= {element.maximum + 1} for {element}",
            got=f"low={low}, high={high}", remedy="Pass the smaller one as low, or a wider dtype",
        )  # fmt: skip
    count = end - first
    numbers = np.array([first % 2**64, count % 2**64, 2**64 % count], np.uint64)
    return _draw(where, "integers", element, numbers, shape, seed, stream, like, on)


def bits(
    shape: int | Sequence[int],
    *,
    seed: int,
    stream: int = 0,
    dtype: Any = u32,
    like: Any = None,
    on: str | Device | None = None,
) -> Any:
    """Return words of random bits, u32 or u64 (two words each, the earlier one lower).

    Args:
        shape: Length, or lengths by axis, less than 2^32 elements in all.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        dtype: u32 or u64.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array of ``shape`` and ``dtype``.

    Raises:
        ArgumentError: A seed or a stream out of range; ``like`` is on another device than ``on``.
        DTypeError: Not numbers; a dtype that is not among those; not a device.
        ShapeError: A length below 0; too many elements.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> bits(2, seed=0).tolist() == [0x6627E8D5, 0xE169C58D]
    True
    """
    where = "random.bits"
    element = _dtype(dtype, where, (u32, u64))
    return _draw(where, "bits", element, np.zeros(1, np.uint32), shape, seed, stream, like, on)


def bernoulli(
    shape: int | Sequence[int],
    p: float,
    *,
    seed: int,
    stream: int = 0,
    like: Any = None,
    on: str | Device | None = None,
) -> Any:
    """Return bools that are true with probability ``p`` (0 to 1, taken to the nearest 2^-32): word < p 2^32.

    Args:
        shape: Length, or lengths by axis, less than 2^32 elements in all.
        p: Probability of True, from 0 to 1.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array of bools of ``shape``.

    Raises:
        ArgumentError: Not a probability; a seed or a stream out of range; ``like`` is on another device than ``on``.
        DTypeError: Not numbers; not a device.
        ShapeError: A length below 0; too many elements.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> bernoulli(4, 1.0, seed=1).tolist()
    [True, True, True, True]
    """
    where = "random.bernoulli"
    return _draw(where, "bernoulli", bool_, _threshold(p, where, "p"), shape, seed, stream, like, on)


def dropout_mask(
    shape: int | Sequence[int],
    rate: float,
    *,
    seed: int,
    stream: int = 0,
    like: Any = None,
    on: str | Device | None = None,
) -> Any:
    """Return bools that tell what dropout keeps: false with probability ``rate``, where word < rate 2^32.

    The opposite of ``bernoulli(shape, rate)``.

    Args:
        shape: Length, or lengths by axis, less than 2^32 elements in all.
        rate: Probability of False, from 0 to 1.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array of bools of ``shape``.

    Raises:
        ArgumentError: Not a probability; a seed or a stream out of range; ``like`` is on another device than ``on``.
        DTypeError: Not numbers; not a device.
        ShapeError: A length below 0; too many elements.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> dropout_mask(4, 0.0, seed=1).tolist()
    [True, True, True, True]
    """
    where = "random.dropout_mask"
    numbers = _threshold(rate, where, "rate")
    return _draw(where, "dropout_mask", bool_, numbers, shape, seed, stream, like, on)


def permutation(n: int, *, seed: int, stream: int = 0, like: Any = None, on: str | Device | None = None) -> Any:
    """Return 0 to n - 1 in random order (int64): the positions that sort n words of 64 bits, equal ones in order.

    Args:
        n: Number of elements, below 2^32.
        seed: Whole number from 0 to 2^64 - 1.
        stream: Whole number from 0 to 2^32 - 1; streams of a seed are independent.
        like: Tensor, on whose device the result is a tensor; anything else that patterns take: the result is an array
            of numpy, as for None.
        on: Device, or its name; None: that of ``like``, else the default device.

    Returns:
        Array (n,) of int64.

    Raises:
        ArgumentError: ``n`` is out of range; a seed or a stream out of range; ``like`` is on another device than
            ``on``.
        DTypeError: Not numbers; not a device.
        DeviceError: There is no such device.

    Source:
        J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> sorted(permutation(5, seed=1).tolist())
    [0, 1, 2, 3, 4]
    """
    where = "random.permutation"
    count = _whole(n, where, "n")
    if not 0 <= count <= _MOST_ELEMENTS:
        raise ArgumentError(where, "n out of range", expected="0 to 2^32 - 1", got=n, remedy="Permute in parts")
    keys = _draw(where, "bits", u64, np.zeros(1, np.uint32), count, seed, stream, like, on)
    return gpu_argsort(keys, on=on)


def _draw(
    where: str,
    name: str,
    element: DType,
    numbers: np.ndarray[Any, Any],
    shape: int | Sequence[int],
    seed: int,
    stream: int,
    like: Any,
    on: str | Device | None,
) -> Any:
    """Return what a kernel of ``kernels.maps.random`` draws."""
    sizes = _shape(shape, where)
    key, lane = _within(seed, where, "seed", 64), _within(stream, where, "stream", 32)
    seeds = np.array([key & 0xFFFF_FFFF, key >> 32, lane], np.uint32)
    if like is not None:
        call = Arrays(where, on, like)
        call.input(like, "like")
        if call.of_tensors:
            given = call.lend(seeds, u32), call.lend(numbers, of_numpy(numbers.dtype, where))
            return _draw_tensor(*given, name=name, shape=sizes, dtype=element.name)
    return answer(
        where, _draw_tensor, [seeds, numbers], {"name": name, "shape": sizes, "dtype": element.name, "on": on}
    )


def _kernel(name: str, dtype: DType) -> kernels.Draw:
    if name in ("bernoulli", "dropout_mask"):
        return kernels.coins(kept=name == "dropout_mask")
    made: Callable[[DType], kernels.Draw] = getattr(kernels, name)
    return made(dtype)


def _record(draft: Draft, node: Node, seeds: Any, numbers: Any, out: Any) -> None:
    (name,) = node.attributes[0]
    draw = _kernel(name, node.dtype)
    if node.size:
        groups = -(-node.size // (draw.per_block * kernels.RANDOM_LANES))
        draft.dispatch(draw.kernel, [seeds, numbers, out], [node.size], groups=groups)


_DRAW = Operation("random", _record)


def _draw_tensor(seeds: Tensor, numbers: Tensor, *, name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    return _DRAW([seeds, numbers], shape, lookup(dtype), name)


# arguments


def _dtype(given: Any, where: str, allowed: Sequence[DType]) -> DType:
    found = dtype_of(given, where)
    if found not in allowed:
        raise DTypeError(
            where, "unsupported dtype", expected="one of " + ", ".join(map(str, allowed)), got=found,
            remedy="Draw another dtype and convert",
        )  # fmt: skip
    return found


def _compute_type(element: DType) -> DType:
    return f64 if element == f64 else f32


def _shape(given: Any, where: str) -> tuple[int, ...]:
    sizes: tuple[Any, ...] = tuple(cast("Sequence[Any]", given)) if isinstance(given, (tuple, list)) else (given,)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise DTypeError(
                f"{where}, shape", "not a length", expected="an int or a tuple of ints", got=repr(cast("Any", size)),
                remedy="Pass whole numbers",
            )  # fmt: skip
    if any(size < 0 for size in sizes) or math.prod(map(int, sizes)) > _MOST_ELEMENTS:
        raise ShapeError(
            f"{where}, shape", "unusable shape", expected="lengths of at least 0, less than 2^32 elements in all",
            got=cast("Any", given), remedy="Check the lengths",
        )  # fmt: skip
    return tuple(int(size) for size in sizes)


def _whole(given: Any, where: str, name: str) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        raise DTypeError(
            f"{where}, {name}",
            "not a whole number",
            expected="an int",
            got=repr(cast("Any", given)),
            remedy="Round it first",
        )
    return int(cast("Any", given))


def _within(given: Any, where: str, name: str, width: int) -> int:
    value = _whole(given, where, name)
    if not 0 <= value < 1 << width:
        raise ArgumentError(
            f"{where}, {name}", "out of range", expected=f"0 to 2^{width} - 1", got=value,
            remedy=f"Take it modulo 2^{width}",
        )  # fmt: skip
    return value


def _floats(given: list[Any], element: DType, where: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return numbers in the type the kernel computes in; they must be finite there."""
    for value, name in zip(given, names, strict=True):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise DTypeError(f"{where}, {name}", "not a number", expected="a float", got=repr(cast("Any", value)),
                            remedy="Pass one")  # fmt: skip
        if not _is_finite(cast("Any", value), _compute_type(element)):
            raise ArgumentError(
                f"{where}, {name}", "not finite", expected=f"a finite {_compute_type(element)}", got=cast("Any", value),
                remedy="Pass an ordinary number",
            )  # fmt: skip
    return np.array(given, _compute_type(element).numpy)


def _is_finite(value: Any, held: DType) -> bool:
    try:
        with np.errstate(all="ignore"):
            return bool(np.isfinite(held.numpy.type(float(value))))
    except OverflowError:  # an int beyond all floats
        return False


def _threshold(given: Any, where: str, name: str) -> np.ndarray[Any, Any]:
    """Return a probability times 2^32, rounded to nearest."""
    value = float(_floats([given], f64, where, (name,))[0])
    if not 0.0 <= value <= 1.0:
        raise ArgumentError(
            f"{where}, {name}", "not a probability", expected="0 to 1", got=given, remedy="Divide by the total"
        )
    return np.array([round(value * 2.0**32)], np.uint64)


brief_names(globals(), __all__)


def __getattr__(name: str) -> Any:
    raise missing_name("loom.random", name, __all__)
