"""Links object code into this process and finds the addresses of its functions.

Layer: runtime. Invariant: code stays in memory as long as the ``LinkedCode`` that owns it.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

__all__ = ["LinkedCode", "link"]

_NUMBERS = itertools.count()


class LinkedCode:
    """Machine code in memory; ``address`` of a symbol is an integer."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def address(self, symbol: str) -> int:
        """Return where a function that was exported starts."""
        return self._tracker[symbol]


@cache
def _linker() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    # The older linker maps code and constants apart and aborts the process where large arrays push them 2 GiB apart.
    return binding.create_lljit_compiler(use_jit_link=True)


def link(obj: bytes, *symbols: str) -> LinkedCode:
    """Load an object file that may call the C library, and export ``symbols``."""
    from llvmlite import binding

    library = binding.JITLibraryBuilder().add_object_img(obj).add_current_process()
    for symbol in symbols:
        library.export_symbol(symbol)
    return LinkedCode(library.link(_linker(), f"loom-{next(_NUMBERS)}"))
