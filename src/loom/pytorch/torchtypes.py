"""Elements of PyTorch's tensors as arrays, and Loom's names of their dtypes.

Layer: pytorch. Invariant: what is read of a tensor is a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import DTypeError
from loom.core.optional import lazy

__all__ = ["Constant", "array_of", "dtype_name", "torch", "trees"]

_WHERE = "loom.from_torch"
torch: Any = lazy("torch", _WHERE)
"""The package ``torch``, which is loaded when it is first needed."""
trees: Any = lazy("torch.utils._pytree", _WHERE)
"""PyTorch's trees of tuples, lists and dicts around tensors."""
_DTYPES = {
    "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64", "int8": "i8", "int16": "i16",
    "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "bool": "bool",
    "complex64": "c64", "complex128": "c128",
}  # fmt: skip

Constant = tuple[Array, str]
"""Elements, bf16 as the same numbers in f32, and Loom's name of the dtype."""


def dtype_name(dtype: object, where: str = _WHERE) -> str:
    """Return Loom's name of a dtype of PyTorch's; DTypeError for one that Loom has not."""
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        known, remedy = ", ".join(_DTYPES.values()), "Convert the module: module.float()"
        raise DTypeError(where, "Loom has no such dtype", expected=known, got=name, remedy=remedy)
    return _DTYPES[name]


def array_of(x: Any) -> Constant:
    """Return the elements of a tensor of PyTorch's, bf16 as the same numbers in f32, and Loom's name of its dtype."""
    name = dtype_name(x.dtype)
    held = x.detach().cpu().resolve_conj().resolve_neg()
    return np.array((held.float() if name == "bf16" else held).contiguous().numpy()), name
