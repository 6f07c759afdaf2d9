"""What functions of tensors ask of operands in a pattern's words.

Layer: patterns. Invariant: nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loom.core.dtype import DType, f64
from loom.core.errors import DTypeError, ShapeError
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import cast

__all__ = ["as_statistic", "require_alike", "require_dtype", "require_ndim"]


def as_statistic(x: Tensor) -> Tensor:
    """Return integers and bools as f64, as statistics have it."""
    return x if x.dtype.is_float else cast(x, f64)


def require_alike(where: str, given: Mapping[str, Tensor], *, integers: bool = False) -> None:
    """Raise DTypeError unless arrays, by their names, are floats (or ``integers``) of one dtype."""
    wanted: DType | None = None
    for name, x in given.items():
        usable = x.dtype.is_float or (integers and x.dtype.is_integer)
        if not usable or x.dtype != (wanted or x.dtype):
            kinds = "an integer or a float" if integers else "f16, bf16, f32 or f64"
            raise DTypeError(
                f"{where}, {name}", "unsupported dtype", expected=wanted or kinds, got=x.dtype,
                remedy="Convert first, for example with array.astype(numpy.float32)",
            )  # fmt: skip
        wanted = x.dtype


def require_dtype(dtype: DType, allowed: Sequence[DType], where: str) -> None:
    """Raise DTypeError unless an array has one of some dtypes."""
    if dtype not in allowed:
        raise DTypeError(where, "unsupported dtype", expected="one of " + ", ".join(map(str, allowed)), got=dtype,
                         remedy="Convert first, for example with array.astype")  # fmt: skip


def require_ndim(x: Tensor, ndim: int, where: str) -> None:
    """Raise ShapeError unless an array has so many dimensions."""
    if x.ndim != ndim:
        raise ShapeError(where, "wrong number of dimensions", expected=ndim, got=f"{x.ndim}, shape {x.shape}",
                         remedy="Reshape it")  # fmt: skip
