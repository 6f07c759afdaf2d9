"""Operators of images: other sizes.

Layer: onnx. Invariant: where elements are taken from is decided in f64 on the host, by shapes and factors alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.core.late.dataclass import dataclass
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_Numbers = np.ndarray[Any, Any]
_WAYS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
         "tf_crop_and_resize", "tf_half_pixel_for_nn")  # fmt: skip


def _prefer_floor(x: _Numbers) -> _Numbers:
    return np.ceil(x - 0.5)


def _prefer_ceil(x: _Numbers) -> _Numbers:
    return np.floor(x + 0.5)


_NEAREST: dict[str, Callable[[_Numbers], _Numbers]] = {
    "round_prefer_floor": _prefer_floor, "round_prefer_ceil": _prefer_ceil, "floor": np.floor, "ceil": np.ceil,
}  # fmt: skip


@dataclass(frozen=True)
class _Way:
    """How elements between others are made."""

    mode: str
    coordinates: str
    nearest: str = "floor"
    a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


def _source(way: _Way, n: int, m: int, scale: float, roi: tuple[float, float]) -> _Numbers:
    """Return where each of m places lies among n elements."""
    at, length = np.arange(m, dtype=np.float64), n * scale
    kind = way.coordinates
    if kind == "asymmetric":
        return at / scale
    if kind == "align_corners":
        return at * 0 if length == 1 else at * (n - 1) / (length - 1)
    if kind == "tf_crop_and_resize":
        start, end = roi
        if m == 1:
            return at + 0.5 * (start + end) * (n - 1)
        return start * (n - 1) + at * (end - start) * (n - 1) / (length - 1)
    if kind == "tf_half_pixel_for_nn":
        return (at + 0.5) / scale
    half = (at + 0.5) / scale - 0.5
    if kind == "pytorch_half_pixel" and m == 1:
        return at * 0
    if kind == "half_pixel_symmetric":
        return n / 2 * (1 - m / length) + half
    return half


def _cubic(x: _Numbers, a: float) -> _Numbers:
    """Return Keys' cubic kernel (1981)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _neighbours(way: _Way, source: _Numbers, n: int, scale: float) -> tuple[_Numbers, _Numbers]:
    """Return for each place its neighbours and their weights, which sum to 1."""
    low = np.floor(source)
    shrink = min(scale, 1.0) if way.antialias else 1.0
    reach = 1 if way.mode == "linear" else 2
    first = math.floor(-reach / shrink) + 1
    offsets = np.arange(first, 2 - first if reach == 2 else first + 2 - 2 * first)
    distance = (offsets - (source - low)[:, None]) * shrink
    weights = np.clip(1 - np.abs(distance), 0, 1) if reach == 1 else _cubic(distance, way.a)
    places = low[:, None] + offsets
    if way.exclude_outside:
        weights = np.where((places < 0) | (places >= n), 0.0, weights)
    return np.clip(places, 0, n - 1).astype(np.int64), weights / weights.sum(-1, keepdims=True)


def _resize_axis(
    call: NodeCall, x: Tensor, axis: int, way: _Way, m: int, scale: float, roi: tuple[float, float]
) -> Tensor:
    n = x.shape[axis]
    source = _source(way, n, m, scale, roi)
    spread = (m, *(1,) * (x.ndim - 1 - axis))
    if way.mode == "nearest":
        places = np.clip(_NEAREST[way.nearest](source), 0, n - 1).astype(np.int64)
        found = x if np.array_equal(places, np.arange(n)) else lt.take(x, call.array(places), axis)
    elif n == m and np.array_equal(source, np.arange(n)):
        found = x
    else:
        places, weights = _neighbours(way, source, n, scale)
        total: Any = None
        for k in range(places.shape[1]):
            share = call.array(weights[:, k].reshape(spread).astype(np.float64), x.dtype)
            term = lt.take(x, call.array(np.ascontiguousarray(places[:, k])), axis) * share
            total = term if total is None else total + term
        found = total
    if way.coordinates != "tf_crop_and_resize":
        return found
    outside = call.array(((source < 0) | (source > n - 1)).reshape(spread))
    return lt.where(outside, lt.full((), way.extrapolation, x.dtype), found)


def _resample(
    call: NodeCall, way: _Way, axes: Sequence[int], sizes: Sequence[int], scales: Sequence[float], roi: Sequence[float]
) -> Tensor:
    x = call.tensor(0)
    shape = list(x.shape)
    for axis, m in zip(axes, sizes, strict=True):
        shape[axis] = m
    call.check_shape(shape)
    if 0 in x.shape or min(shape, default=1) < 1 or any(not s > 0 for s in scales):
        raise call.refusal("no elements", expected="positive sizes", got=f"{x.shape} to {shape}")
    is_made_wide = way.mode != "nearest" and (x.dtype.is_integer or x.dtype.bits < 32)
    found = lt.cast(x, "f32") if is_made_wide else x
    for i, (axis, m, scale) in enumerate(zip(axes, sizes, scales, strict=True)):
        if scale == 1 and m == x.shape[axis] and way.coordinates != "tf_crop_and_resize":
            continue
        crop = (roi[i], roi[i + len(axes)]) if way.coordinates == "tf_crop_and_resize" else (0.0, 1.0)
        found = _resize_axis(call, found, axis, way, m, scale, crop)
    return lt.cast(found, x.dtype)


def _require_finite(call: NodeCall, scales: Sequence[float]) -> None:
    if not all(math.isfinite(s) for s in scales):
        raise call.refusal("a scale that is no number", expected="finite numbers", got=list(scales))


@operator("Resize", since=11)
def _resize(call: NodeCall) -> Made:
    shape = call.value(0).shape
    axes = call.axes(call.integers("axes", list(range(len(shape)))), len(shape))
    way = _Way(
        call.text("mode", "nearest", ("nearest", "linear", "cubic")),
        call.text("coordinate_transformation_mode", "half_pixel", _WAYS),
        call.text("nearest_mode", "round_prefer_floor", tuple(_NEAREST)),
        call.real("cubic_coeff_a", -0.75), call.flag("exclude_outside"), call.flag("antialias"),
        call.real("extrapolation_value", 0.0),
    )  # fmt: skip
    policy = call.text("keep_aspect_ratio_policy", "stretch", ("stretch", "not_larger", "not_smaller"))
    given = call.host(2).reshape(-1).tolist() if call.has_input(2) else []
    wanted = call.numbers(3) if call.has_input(3) else []
    roi = call.host(1).reshape(-1).tolist() if call.has_input(1) else []
    if bool(given) == bool(wanted) or len(given or wanted) != len(axes):
        raise call.refusal("not a scale or a size for each axis", expected=len(axes), got=(given, wanted))
    if way.coordinates == "tf_crop_and_resize" and len(roi) != 2 * len(axes):
        raise call.refusal("roi", expected=f"{2 * len(axes)} numbers", got=len(roi))
    lengths = [shape[a] for a in axes]
    _require_finite(call, given)
    if given:
        scales, sizes = given, [math.floor(n * s) for n, s in zip(lengths, given, strict=True)]
    else:
        scales, sizes = [m / n if n else 0 for n, m in zip(lengths, wanted, strict=True)], wanted
        if policy != "stretch":
            scale = min(scales) if policy == "not_larger" else max(scales)
            scales, sizes = [scale] * len(axes), [math.floor(n * scale + 0.5) for n in lengths]
    return _resample(call, way, axes, sizes, scales, roi)


@operator("Upsample", since=7)
def _upsample(call: NodeCall) -> Made:
    shape = call.value(0).shape
    scales = call.reals("scales") if call.opset < 9 else call.host(1).reshape(-1).tolist()
    if len(scales) != len(shape):
        raise call.refusal("not a scale for each axis", expected=len(shape), got=scales)
    _require_finite(call, scales)
    mode = call.text("mode", "nearest", ("nearest", "linear", "bilinear"))
    way = _Way("nearest" if mode == "nearest" else "linear", "asymmetric")
    sizes = [math.floor(n * s) for n, s in zip(shape, scales, strict=True)]
    return _resample(call, way, range(len(shape)), sizes, scales, [])
