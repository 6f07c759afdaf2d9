"""What functions of tensors ask of operands in a pattern's words.

Layer: patterns. Invariant: nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.dtype import DType
from loom.core.errors import DTypeError, ShapeError
from loom.tensor import Tensor

__all__ = ["require_dtype", "require_ndim"]


def require_dtype(x: Tensor, allowed: Sequence[DType], where: str) -> None:
    """Raise DTypeError unless an array has one of some dtypes."""
    if x.dtype not in allowed:
        raise DTypeError(where, "unsupported dtype", expected="one of " + ", ".join(map(str, allowed)), got=x.dtype,
                         remedy="Convert first, for example with array.astype")  # fmt: skip


def require_ndim(x: Tensor, ndim: int, where: str) -> None:
    """Raise ShapeError unless an array has so many dimensions."""
    if x.ndim != ndim:
        raise ShapeError(where, "wrong number of dimensions", expected=ndim, got=f"{x.ndim}, shape {x.shape}",
                         remedy="Reshape it")  # fmt: skip
