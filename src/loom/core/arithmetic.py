"""Keeps the host's arithmetic ordinary where a caller's is not: round to nearest, subnormals kept.

Layer: core. Audio and machine-learning libraries switch whole threads to flush-to-zero; parameters converted
there, constants folded there and kernels interpreted there would have other bits. Invariant: the caller's
settings are back when the ``with`` ends.

Source: fegetenv and fesetenv of C99, section 7.6; FE_DFL_ENV is the address -1 in glibc and musl, and of a variable in
macOS. Windows: _controlfp_s of its C library.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["in_ordinary_arithmetic", "ordinary_arithmetic"]

_ONE, _LITTLE, _LEAST_NORMAL, _LEAST = 1.0, 2.0**-55, float.fromhex("0x1p-1022"), float.fromhex("0x1p-1074")
_MOST_ENVIRONMENT_BYTES = 512
_CONTROLS = 0x03000300
"""Bits of _controlfp_s: rounding (_MCW_RC) and subnormals (_MCW_DN); all 0 is ordinary."""


def _is_ordinary() -> bool:
    """Tell whether this thread rounds to nearest and keeps subnormals; the operands are no literals, to be computed."""
    keeps = _LEAST != 0.0 and _LEAST_NORMAL * 0.5 != 0.0
    return keeps and _ONE + _LITTLE == _ONE and _ONE - _LITTLE == _ONE


@contextmanager
def ordinary_arithmetic() -> Generator[None, None, None]:
    """Compute with ordinary floating-point settings inside the ``with`` (or the function so decorated)."""
    if _is_ordinary():
        yield
        return
    before = _settings()
    _use(None)
    try:
        yield
    finally:
        _use(before)


def _settings() -> Any:
    """Return this thread's settings."""
    if sys.platform == "win32":
        word = ctypes.c_uint()
        ctypes.CDLL("ucrtbase")._controlfp_s(ctypes.byref(word), 0, 0)
        return word.value & _CONTROLS
    kept = ctypes.create_string_buffer(_MOST_ENVIRONMENT_BYTES)
    ctypes.CDLL(None).fegetenv(kept)
    return kept


def _use(settings: Any) -> None:
    """Give this thread settings that it had, None for ordinary ones."""
    if sys.platform == "win32":
        word = ctypes.c_uint()
        ctypes.CDLL("ucrtbase")._controlfp_s(ctypes.byref(word), settings or 0, _CONTROLS)
        return
    library = ctypes.CDLL(None)
    if settings is not None:
        library.fesetenv(settings)
    elif sys.platform == "darwin":
        library.fesetenv(ctypes.byref(ctypes.c_char.in_dll(library, "_FE_DFL_ENV")))
    else:
        library.fesetenv(ctypes.c_void_p(-1))


def in_ordinary_arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a foreign function that is called with ordinary settings, and changes none of the caller's.

    Threads that it starts inherit the settings; a library that it loads may change those of the calling thread.
    """

    def call(*args: Any) -> Any:
        if not _is_ordinary():
            with ordinary_arithmetic():
                return function(*args)
        found = function(*args)
        if not _is_ordinary():
            _use(None)
        return found

    return call
