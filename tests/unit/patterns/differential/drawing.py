"""What the differential tests draw: numbers of every kind, shape and type, and how two answers are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

Draw = np.random.Generator
FLOATS = {"float16": 4e-3, "float32": 3e-5, "float64": 1e-9}
"""Types of floats, and how far an answer in them may be off, relative to the largest number of it."""
TYPES = ("float32", "float64", "float16", "int32", "int64", "uint8", "bool", "int8")
KINDS = ("normal", "ties", "level", "shifted", "positive", "below", "nan", "inf", "zeros", "all nan")
LENGTHS = (1, 2, 3, 5, 17, 64, 65, 100, 300)


def one_of(draw: Draw, choices: Any) -> Any:
    """Return one of some objects."""
    return choices[int(draw.integers(0, len(choices)))]


def numbers(draw: Draw, shape: tuple[int, ...], kind: str) -> np.ndarray[Any, Any]:
    """Return numbers of a kind, in f64."""
    x = draw.standard_normal(shape)
    flat = x.reshape(-1)
    if kind == "ties":
        flat[:] = draw.integers(-2, 3, flat.size)
    elif kind == "level":
        flat[:] = one_of(draw, (0.1, -3.7, 1e4, 1 / 3))
    elif kind == "shifted":
        flat += 1000
    elif kind in ("positive", "below"):
        flat[:] = (1 if kind == "positive" else -1) * (np.abs(flat) + 0.1)
    elif kind in ("nan", "inf") and flat.size:
        flat[int(draw.integers(0, flat.size))] = np.nan if kind == "nan" else one_of(draw, (np.inf, -np.inf))
    elif kind == "zeros":
        flat[:] = np.where(draw.random(flat.size) < 0.5, -0.0, 0.0)
    elif kind == "all nan":
        flat[:] = np.nan
    return x


def typed(x: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Return numbers in a type that may lack them: then others."""
    if name in FLOATS:
        return x.astype(name)
    whole = np.clip(np.nan_to_num(x, nan=3.0, posinf=100.0, neginf=-100.0), -100, 100)
    return (np.abs(whole) if name in ("uint8", "bool") else whole).astype(name)


def laid_out(draw: Draw, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the same numbers in another layout or byte order."""
    way = int(draw.integers(0, 4))
    if way == 1:
        return np.asfortranarray(x)
    if way == 2:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x.astype(x.dtype.newbyteorder()) if way == 3 else x


def difference(got: Any, want: Any, tolerance: float) -> str:
    """Return how two answers differ, "" if they do not: NaN where NaN, infinities alike, others nearly equal."""
    got, want = np.asarray(got.numpy() if hasattr(got, "host_elements") else got), np.asarray(want)
    if got.shape != want.shape:
        return f"shapes {got.shape} and {want.shape}"
    if got.dtype.kind in "USO" or want.dtype.kind in "USO":
        return "" if got.tolist() == want.tolist() else f"{got.tolist()[:8]} and {want.tolist()[:8]}"
    a, b = (side.astype(np.complex128 if "c" in (got.dtype.kind, want.dtype.kind) else np.float64).reshape(-1)
            for side in (got, want))  # fmt: skip
    if (np.isnan(a) != np.isnan(b)).any():
        at = int(np.flatnonzero(np.isnan(a) != np.isnan(b))[0])
        return f"at {at} {a[at]}, not {b[at]}"
    finite = np.isfinite(b)
    scale = np.abs(b[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(a - b) <= tolerance * scale + tolerance * 1e-3) & ~(a == b) & ~np.isnan(b)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        return f"at {at} {a[at]}, not {b[at]}"
    return ""
