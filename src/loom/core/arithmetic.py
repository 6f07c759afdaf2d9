"""Keeps the host's arithmetic ordinary where a caller's is not: round to nearest, subnormals kept.

Layer: core. Audio and machine-learning libraries switch whole threads to flush-to-zero; parameters converted
there, constants folded there and kernels interpreted there would have other bits. Invariant: the caller's
settings are back when the ``with`` ends.

Source: fegetenv and fesetenv of C99, section 7.6; FE_DFL_ENV is the address -1 in glibc and musl.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ordinary_arithmetic"]

_ONE, _LITTLE, _LEAST_NORMAL, _LEAST = 1.0, 2.0**-55, float.fromhex("0x1p-1022"), float.fromhex("0x1p-1074")
_MOST_ENVIRONMENT_BYTES = 512
_DEFAULT = ctypes.c_void_p(-1)


def _is_ordinary() -> bool:
    """Tell whether this thread rounds to nearest and keeps subnormals; the operands are no literals, to be computed."""
    keeps = _LEAST != 0.0 and _LEAST_NORMAL * 0.5 != 0.0
    return keeps and _ONE + _LITTLE == _ONE and _ONE - _LITTLE == _ONE


@contextmanager
def ordinary_arithmetic() -> Iterator[None]:
    """Compute with ordinary floating-point settings inside the ``with`` (or the function so decorated)."""
    if _is_ordinary():
        yield
        return
    library = ctypes.CDLL(None)
    before = ctypes.create_string_buffer(_MOST_ENVIRONMENT_BYTES)
    library.fegetenv(before)
    library.fesetenv(_DEFAULT)
    try:
        yield
    finally:
        library.fesetenv(before)
