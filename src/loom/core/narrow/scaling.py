"""Arrays into storage: the scales they get, and their codes.

Layer: core (numpy alone). Rounding: code = nearest whole number, halves to even, of number / scale, one division in
f64, saturating; of floats the nearest of the type, once. Invariant: scales are made of exact or correctly rounded f64
operations in a fixed order, so that an array is stored in the same bytes everywhere.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.conversions import widen
from loom.core.dlpack import require_no_gradient
from loom.core.errors import ArgumentError, DTypeError, NotFinite, near_matches
from loom.core.given import flag
from loom.core.narrow.floats import encode_floats
from loom.core.narrow.packing import pack
from loom.core.narrow.stored import StoredArray, require_shape
from loom.core.narrow.types import NumericKind, NumericType, numeric_type

__all__ = ["RULES", "store"]

Array = np.ndarray[Any, Any]

RULES = ("auto", "none", "tensor", "row", "channel")
"""How scales are chosen: see ``store``."""
_WIDE = 16
"""Floats of so many bits, or more, are stored as they are, unless a scale is asked for."""


def store(
    array: Any, dtype: Any, *, scales: Any = "auto", power_of_two: bool = False, channel: int = -1,
    where: str = "loom.nn.numeric.store",
) -> StoredArray:  # fmt: skip
    """Return an array as it is stored in a type.

    ``scales``: ``"none"``, 1 (and 0 is the code of 0); ``"tensor"``, one for all elements; ``"row"``, one for each
    index of the first axis; ``"channel"``, one for each index of the axis ``channel``; ``"auto"``: none of floats of 16
    bits and more, else one for all. Or a number above 0, or numbers of as many axes as the array, those with a scale of
    full size. Arrays of less than two axes have one for all, whatever the rule; f64, f32 and bf16 have the range and no
    scale.

    A scale that is chosen is the least f32 (f64 for an array of f64) with which nothing is too large: largest size /
    largest code (of i8 127, i4 7, i2 1, f8_e4m3 448, f4_e2m1 6); of unsigned types (largest - smallest, 0 among them) /
    largest code, 0 being a code of its own. The scale of ``ternary`` and ``binary`` makes the sum of squared errors
    least: of signs the mean size; of -1, 0 and 1 the mean of the k largest sizes for the best k (Li and others,
    "Ternary Weight Networks", 2016, solved exactly). Zeros alone have the scale 1 (of signs 0).

    What a given scale makes too large is stored as the largest code of its sign.

    Args:
        array: Array of finite real numbers, any shape.
        dtype: Type of ``TYPES``, or its name.
        scales: Rule of the scales, a number above 0, or numbers of as many axes as the array.
        power_of_two: Whether a scale is the least power of two that is no smaller (of ternary and binary the nearest
            one).
        channel: Axis of the rule "channel".
        where: Beginning of errors' texts.

    Raises:
        ArgumentError: Scales that are no numbers above 0 or do not fit; there is no such rule; ``power_of_two`` of
            scales that are given.
        DTypeError: Not a type of storage; not an array of real numbers.
        NotFinite: NaN or an infinity among them.

    >>> stored = store([[1.0, -0.5], [0.25, 0.0]], "i4")
    >>> stored.codes().tolist(), stored.nbytes
    ([[7, -4], [2, 0]], 10)
    """
    kind = numeric_type(dtype, where)
    power = flag(power_of_two, f"{where}, power_of_two")
    values, scale_type = _numbers(array, where)
    if isinstance(scales, str):
        axis = _axis(_rule(scales, where), values, channel, where)
        scale, zero = _choose(values, kind, scales, axis, scale_type, power=power)
    elif power:
        raise ArgumentError(f"{where}, power_of_two", "has no effect on scales that are given",
                            expected=", ".join(RULES), got=repr(scales)[:60], remedy="Leave it out")  # fmt: skip
    else:
        scale = _read_scales(scales, scale_type, f"{where}, scales")
        require_shape("scale", scale, values.shape, f"{where}, scales")
        zero = _zero(_reduce(np.minimum, values, scale.shape), scale, kind)
    return _encode(values, kind, scale, zero)


def _numbers(array: Any, where: str) -> tuple[Array, type[np.floating[Any]]]:
    """Return what is given as f64, and the type of its scales; see that all are finite."""
    given: Any = getattr(array, "dtype", None)
    if (
        isinstance(given, np.dtype)
        and str(cast("Any", given).type.__module__) == "ml_dtypes"
        and given.name != "bfloat16"
    ):
        array = np.asarray(array).astype(np.float32)  # exactly: its types have at most 8 bits
    if str(cast("Any", given)).startswith("torch.float8"):  # which numpy lacks
        require_no_gradient(array, where)
        array = array.detach().cpu().float()
    held, found = read_array(array, where)
    values = widen(held, found)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and (np.abs(values.astype(np.float64)) > 2.0**53).any():
        raise DTypeError(where, "integers that f64 does not hold", expected="at most 2**53 in size", got=found,
                         remedy="They need no conversion: keep them as they are")  # fmt: skip
    with np.errstate(invalid="ignore"):  # signalling NaNs
        wide = values.astype(np.float64)
    is_finite = np.isfinite(wide)
    if not is_finite.all():
        place = tuple(int(i) for i in np.argwhere(~is_finite)[0])
        raise NotFinite(where, f"an element is {wide[place]}", expected="finite numbers",
                        got=f"{np.count_nonzero(~is_finite)} others, the first at {place}",
                        remedy="Store finite numbers: where do these come from?")  # fmt: skip
    return wide, np.float64 if values.dtype == np.float64 else np.float32


def _rule(scales: str, where: str) -> str:
    if scales not in RULES:
        raise ArgumentError(f"{where}, scales", f"no rule is called {scales!r:.60}",
                            remedy=near_matches(scales, RULES) or f"Write one of {', '.join(RULES)}")  # fmt: skip
    return scales


def _axis(rule: str, values: Array, channel: int, where: str) -> int | None:
    """Return the axis along which scales differ."""
    if rule not in ("row", "channel") or values.ndim < 2:
        return None
    if rule == "row":
        return 0
    if (
        isinstance(channel, bool)
        or not isinstance(channel, (int, np.integer))
        or not -values.ndim <= channel < values.ndim
    ):
        raise ArgumentError(f"{where}, channel", "no such axis", expected=f"{-values.ndim} to {values.ndim - 1}",
                            got=repr(channel)[:60], remedy="Name an axis of the array")  # fmt: skip
    return int(channel) % values.ndim


def _read_scales(scales: Any, scale_type: type[np.floating[Any]], where: str) -> Array:
    try:
        held, dtype = read_array(scales, where)
        if held.dtype == np.bool_:
            raise DTypeError(where, "no numbers", got=dtype)
        found = widen(held, dtype).astype(np.float64)
    except DTypeError as error:
        raise ArgumentError(where, "neither a rule nor numbers", expected=", ".join(RULES) + ", or numbers above 0",
                            got=repr(scales)[:60], remedy="Pass one of them") from error  # fmt: skip
    with np.errstate(over="ignore", under="ignore"):
        made = found.astype(scale_type)
    wrong = ~np.isfinite(made) | ~(made > 0)
    if wrong.any():
        raise ArgumentError(where, "an unusable scale", expected="finite numbers above 0",
                            got=float(found[wrong].flat[0]), remedy="Pass others, or a rule")  # fmt: skip
    return made


def _choose(
    values: Array, kind: NumericType, rule: str, axis: int | None, scale_type: type[np.floating[Any]], *, power: bool
) -> tuple[Array | None, Array | None]:  # fmt: skip
    """Return the scale and the code of 0 that a rule asks for."""
    if kind.is_float and (rule == "none" or kind.name in _RANGE or (rule == "auto" and kind.bits >= _WIDE)):
        return None, None
    if rule == "none":
        zero = np.zeros((), kind.code_type) if kind.kind is NumericKind.UNSIGNED else None
        return np.ones((), scale_type), zero
    shape = () if axis is None else tuple(n if i == axis else 1 for i, n in enumerate(values.shape))
    lowest, highest = _reduce(np.minimum, values, shape), _reduce(np.maximum, values, shape)
    if kind.kind in (NumericKind.TERNARY, NumericKind.BINARY):
        scale = _least_squares(values, kind, axis, scale_type).reshape(shape)
    elif kind.kind is NumericKind.UNSIGNED:
        scale = _covering(highest / kind.largest - lowest / kind.largest, highest > lowest, scale_type)
    else:
        size = np.maximum(highest, -lowest)
        scale = _covering(size / kind.largest, size > 0, scale_type)
    if power:
        scale = _power_of_two(scale, kind)
    return scale, _zero(lowest, scale, kind)


_RANGE = ("f64", "f32", "bf16")
"""Floats whose exponents need no scale."""


def _reduce(function: Any, values: Array, shape: tuple[int, ...]) -> Array:
    """Return the least, or the largest, number and 0, of all elements that have a scale in common."""
    axes = (
        tuple(i for i in range(values.ndim) if not shape or shape[i] == 1) if len(shape) in (0, values.ndim) else None
    )
    return function.reduce(values, axis=axes, keepdims=bool(shape), initial=0.0)


def _covering(quotient: Array, is_any: Array, scale_type: type[np.floating[Any]]) -> Array:
    """Return quotients as scales, none smaller; 1 where there is nothing to scale."""
    with np.errstate(under="ignore"):
        made = np.asarray(quotient).astype(scale_type)
    made = np.where(made < quotient, np.nextafter(made, scale_type(np.inf)), made)
    tiny = np.nextafter(scale_type(0), scale_type(1))
    return np.where(is_any, np.maximum(made, tiny), scale_type(1)).astype(scale_type)


def _least_squares(values: Array, kind: NumericType, axis: int | None, scale_type: type[np.floating[Any]]) -> Array:
    """Return the scales of signs, and of -1, 0 and 1, that make squared errors least; one for each slice."""
    count = 1 if axis is None else values.shape[axis]
    nothing = scale_type(0 if kind.kind is NumericKind.BINARY else 1)
    if not values.size:
        return np.full(count, nothing)
    rows = np.abs(values if axis is None else np.moveaxis(values, axis, 0)).reshape(count, -1)
    most = rows.max(axis=1)
    rows = rows / np.where(most > 0, most, 1.0)[:, None]
    counts = cast("Array", np.arange(1, rows.shape[1] + 1))
    if kind.kind is NumericKind.BINARY:
        mean = np.cumsum(rows, axis=1)[:, -1] / counts[-1]  # one after the other: numpy's own sums have no fixed order
    else:
        sums = np.cumsum(-np.sort(-rows, axis=1), axis=1)
        best = np.argmax(sums * sums / counts, axis=1)
        mean = sums[np.arange(len(rows)), best] / counts[best]
    with np.errstate(under="ignore"):
        made = (mean * most).astype(scale_type)
    tiny = np.nextafter(scale_type(0), scale_type(1))
    return np.where(most > 0, np.maximum(made, tiny), nothing).astype(scale_type)


def _power_of_two(scale: Array, kind: NumericType) -> Array:
    fraction, exponent = np.frexp(scale)
    is_nearest = kind.kind in (NumericKind.TERNARY, NumericKind.BINARY)
    lower = fraction < 0.75 if is_nearest else fraction == 0.5
    top = np.finfo(scale.dtype).maxexp - 1
    made = np.ldexp(np.ones_like(scale), np.minimum(exponent - lower, top))
    return np.where(scale > 0, made, scale).astype(scale.dtype)


def _zero(lowest: Array, scale: Array, kind: NumericType) -> Array | None:
    """Return the code of 0 of an unsigned type."""
    if kind.kind is not NumericKind.UNSIGNED:
        return None
    with np.errstate(over="ignore"):
        return _saturate(np.rint(-lowest / scale.astype(np.float64)), 0, int(kind.largest), kind.code_type)


def _saturate(whole: Array, low: int, high: int, dtype: np.dtype[Any]) -> Array:
    """Return whole numbers of f64 as integers, those outside as the end of their side."""
    inner = np.where((whole > low) & (whole < high), whole, 0.0).astype(dtype)
    found = np.where(whole <= low, np.array(low, dtype), inner)
    return np.where(whole >= high, np.array(high, dtype), found)


def _encode(values: Array, kind: NumericType, scale: Array | None, zero: Array | None) -> StoredArray:
    with np.errstate(all="ignore"):
        given = values if scale is None else values / np.where(scale > 0, scale, 1).astype(np.float64)
    if kind.is_float:
        codes = encode_floats(given, kind)
    elif kind.kind is NumericKind.BINARY:
        codes = (values >= 0).astype(np.uint8)
    elif zero is not None:
        codes = _from_zero(np.rint(given), zero, kind)
    else:
        wide = np.dtype(f"i{max(kind.bits, 8) // 8}")
        codes = _saturate(np.rint(given), int(kind.smallest), int(kind.largest), wide).view(kind.code_type)
    flat = np.ascontiguousarray(codes).reshape(-1)
    packed = pack(flat, kind.bits) if kind.is_packed else flat.astype(kind.code_type.newbyteorder("<"))
    return StoredArray(kind, values.shape, packed.tobytes(), scale, zero)


def _from_zero(steps: Array, zero: Array, kind: NumericType) -> Array:
    """Return the codes that are so many steps from the code of 0, saturating; exact for 64 bits as well."""
    top = int(kind.largest)
    above = _saturate(steps, 0, top, np.dtype(np.uint64))
    below = _saturate(-steps, 0, top, np.dtype(np.uint64))
    start = zero.astype(np.uint64)
    room = np.uint64(top) - start
    return np.where(steps < 0, start - np.minimum(below, start), start + np.minimum(above, room)).astype(kind.code_type)
