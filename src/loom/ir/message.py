"""The text of a ``print`` or ``assert`` inside a kernel, the same from every device.

Layer: ir. The interpreter and the CPU device both format here, so a line never depends on where the
kernel ran. Invariant: a float is written with the fewest digits that read back as the same bits of its
own precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType

__all__ = ["format_message", "format_value"]

_POSITIONAL = 1e-4, 1e16
"""Between these a float is written without an exponent."""


def format_value(value: Any, dtype: DType) -> str:
    """Return one scalar of type ``dtype`` (not bf16) as text: ``True``, ``-3``, ``0.1``, ``nan``, ``-inf``.

    >>> from loom.core.dtype import f32
    >>> format_value(0.1, f32)
    '0.1'
    """
    if dtype.is_bool:
        return str(bool(value))
    if dtype.is_integer:
        return str(int(value))
    return _float_text(dtype.numpy.type(value))


def _float_text(x: Any) -> str:
    """Write as Python's ``repr`` writes a float (numpy's own ``str`` of float32 varies by version)."""
    if not np.isfinite(x):
        return str(float(x))
    with np.errstate(over="ignore"):  # of f16, which has no such numbers
        least, most = (x.dtype.type(limit) for limit in _POSITIONAL)
    if x == 0 or least <= abs(x) < most:
        return np.format_float_positional(x, unique=True, trim="0")
    return np.format_float_scientific(x, unique=True, trim="-", exp_digits=2)


def format_message(pieces: Sequence[str], values: Sequence[Any], dtypes: Sequence[DType]) -> str:
    """Return ``pieces`` (one more than there are values) with the values, formatted, between them.

    >>> from loom.core.dtype import i32
    >>> format_message(("i = ", "!"), [7], [i32])
    'i = 7!'
    """
    words = [pieces[0]]
    for value, dtype, piece in zip(values, dtypes, pieces[1:], strict=True):
        words += [format_value(value, dtype), piece]
    return "".join(words)
