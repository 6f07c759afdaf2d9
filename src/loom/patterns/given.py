"""Results that the host works out from what patterns gave: back to where the data were.

Layer: patterns. Types that are not computed in are read as one that is: 16-bit floats as f32, integers
and bools as f64. Invariant: a result is an array of the device exactly if the data were; f32 made of 16-bit floats is
rounded to those.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.conversions import bfloat16_bits, show, widen
from loom.core.dtype import DType, bf16, f16, f32, f64
from loom.core.errors import ShapeError
from loom.patterns.array_calls import Arrays
from loom.runtime.port.device import Device
from loom.tensor import Tensor, array
from loom.tensor.record.graph import note_origins

__all__ = ["as_given", "host_arithmetic", "read_any", "read_numbers", "read_rows"]

_HALVES = {"f16": f16, "float16": f16, "bf16": bf16, "bfloat16": bf16}
"""Types of 16-bit floats by the names that Loom, numpy and torch give them."""


def read_rows(
    where: str, data: Any, on: str | Device | None = None, *, what: str = "", allowed: Sequence[DType] = (f32, f64)
) -> np.ndarray[Any, Any]:
    """Return data (..., n), n at least 1, in host memory, as ``read_numbers``; ShapeError for others."""
    x = read_numbers(where, data, on, what=what, allowed=allowed)
    if not x.shape or not x.size:
        raise ShapeError(f"{where}, {what or 'data'}", "no elements along an axis", expected="(..., n), n at least 1",
                         got=x.shape, remedy="Pass a row")  # fmt: skip
    return x


def read_numbers(
    where: str, data: Any, on: str | Device | None = None, *, what: str = "", allowed: Sequence[DType] = (f32, f64)
) -> np.ndarray[Any, Any]:
    """Return numbers of any shape in host memory, of one of ``allowed`` types, which f32 and f64 are among."""
    memory, dtype = read_any(where, data, on, what=what)
    if dtype in allowed:
        return memory
    return widen(memory, dtype).astype(np.float32 if dtype.is_float else np.float64)


def read_any(
    where: str, data: Any, on: str | Device | None = None, *, what: str = ""
) -> tuple[np.ndarray[Any, Any], DType]:
    """Return elements in host memory, not to be written, as they are stored, and their dtype."""
    call = Arrays(where, on, data)
    return call.input(data, what).host_elements() if call.of_tensors else call.read(data, what)


@contextmanager
def host_arithmetic() -> Generator[None, None, None]:
    """Compute on the host with ordinary settings, without numpy's warnings: what is no number is NaN, as on devices."""
    with ordinary_arithmetic(), np.errstate(all="ignore"):
        yield


def as_given(data: Any, found: Any) -> Any:
    """Return a result on the device that ``data`` was on."""
    half = _half_of(data) if found.dtype == np.float32 else None
    if not isinstance(data, Tensor):
        return found if half is None else _round(np.asarray(found), half)[()]
    made = array(found, on=data.device)
    if half is not None:
        made = made.astype(half)
    note_origins(made, [data])
    return made


def _half_of(data: Any) -> DType | None:
    kind = getattr(data, "dtype", None)
    return _HALVES.get(getattr(kind, "name", None) or str(kind).rpartition(".")[2])


def _round(found: np.ndarray[Any, Any], half: DType) -> np.ndarray[Any, Any]:
    if half == bf16:
        return show(bfloat16_bits(found), bf16)
    with np.errstate(over="ignore", under="ignore"):
        return found.astype(np.float16)
