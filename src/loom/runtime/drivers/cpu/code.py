"""Links object code into this process and finds the addresses of its functions.

Layer: runtime. Invariant: code stays in memory as long as the ``LinkedCode`` that owns it.
"""

from __future__ import annotations

import gc
import itertools
from functools import cache
from typing import Any
from weakref import WeakSet

from loom.core.errors import DeviceError

__all__ = ["LinkedCode", "link"]

_NUMBERS = itertools.count()


MOST_LINKED = 24_000
"""Pieces of code in memory at once; at some 30,000 LLVM's linker would end the process."""


class LinkedCode:
    """Machine code in memory; ``address`` of a symbol is an integer."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        _linked.add(self)

    def address(self, symbol: str) -> int:
        """Return where a function that was exported starts."""
        return self._tracker[symbol]


_linked: WeakSet[LinkedCode] = WeakSet()


@cache
def _linker() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.create_lljit_compiler()


def link(obj: bytes, *symbols: str) -> LinkedCode:
    """Load an object file that may call the C library, and export ``symbols``."""
    from llvmlite import binding

    if len(_linked) >= MOST_LINKED:
        gc.collect()  # programs in circles let go of theirs
        if len(_linked) >= MOST_LINKED:
            raise DeviceError(
                "device 'cpu'", "too many kernels are in use at once", expected=f"less than {MOST_LINKED}",
                got=len(_linked), remedy="Free programs that are done: program.free()",
            )  # fmt: skip
    library = binding.JITLibraryBuilder().add_object_img(obj).add_current_process()
    for symbol in symbols:
        library.export_symbol(symbol)
    return LinkedCode(library.link(_linker(), f"loom-{next(_NUMBERS)}"))
