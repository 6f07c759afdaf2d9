"""Links object code into this process and finds the addresses of its functions.

Layer: runtime. Invariant: code stays in memory as long as the ``LinkedCode`` that owns it.
"""

from __future__ import annotations

import ctypes
import itertools
from functools import cache
from typing import Any
from weakref import finalize

from loom.targets.llvm.machine.shared_library import call_llvm

__all__ = ["LinkedCode", "link"]

_NUMBERS = itertools.count()
_OBJECT, _LIBRARY = 2, 3


class _Linked(ctypes.Structure):
    """What is linked: an object, or a library by name, of none that of this process."""

    _fields_ = (("kind", ctypes.c_uint8), ("data", ctypes.c_char_p), ("nbytes", ctypes.c_size_t))


class _Symbol(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("address", ctypes.c_uint64))


class LinkedCode:
    """Machine code in memory; ``address`` of a symbol is an integer."""

    def __init__(self, tracker: int, addresses: dict[str, int]) -> None:
        self._addresses = addresses
        finalize(self, call_llvm, "LLJIT_Dylib_Tracker_Dispose", tracker).atexit = False

    def address(self, symbol: str) -> int:
        """Return where a function that was exported starts."""
        return self._addresses[symbol]


@cache
def _linker() -> Any:
    # The older linker maps code and constants apart and aborts the process where large arrays push them 2 GiB apart.
    return _require(*call_llvm("CreateLLJITCompiler", None, False, True))


def link(obj: bytes, *symbols: str) -> LinkedCode:
    """Load an object file that may call the C library, and export ``symbols``."""
    parts = (_Linked * 2)(_Linked(_OBJECT, obj, len(obj)), _Linked(_LIBRARY, b"", 0))
    found = (_Symbol * len(symbols))(*(_Symbol(symbol.encode()) for symbol in symbols))
    name = f"loom-{next(_NUMBERS)}".encode()
    tracker = _require(*call_llvm("LLJIT_Link", _linker(), name, parts, 2, None, 0, found, len(symbols)))
    return LinkedCode(tracker, {symbol: row.address for symbol, row in zip(symbols, found, strict=True)})


def _require(result: Any, said: str) -> Any:
    if not result:
        raise RuntimeError(said)
    return result
