"""PTX as the emulated driver does it: by the interpreter of ``emulation.ptx``, instruction by instruction."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from emulation.driver.code import Sizes
from emulation.ptx.launch import begin, launch
from emulation.ptx.memory import Memory
from emulation.ptx.module import Module

__all__ = ["Interpreted"]

_PTX = b"\x7fPTX"


class Interpreted:
    """PTX, instruction by instruction; with a ``seed`` few groups at a time, in an order that it draws."""

    name = "Interpreted"

    def __init__(self, seed: int | None = None) -> None:
        self.memory = Memory()
        self.drawn = None if seed is None else random.Random(seed)

    def linked(self, text: bytes) -> bytes:
        Module(text.decode("ascii"), self.memory)
        return _PTX + text

    def load(self, data: bytes) -> Module | None:
        return Module(data.removeprefix(_PTX).decode("ascii"), self.memory) if data.startswith(_PTX) else None

    def sizes(self, module: Module, entry: str) -> tuple[int, ...] | None:
        found = module.entries.get(entry)
        return tuple(p.size for p in found.params) if found is not None else None

    def run(self, module: Module, entry: str, groups: Sizes, lanes: Sizes, shared: int, given: Sequence[bytes]) -> None:
        launch(module, entry, groups, lanes, shared, given, self.memory, self.drawn)

    def begin(
        self, module: Module, entry: str, groups: Sizes, lanes: Sizes, shared: int, given: Sequence[bytes]
    ) -> Callable[[], None]:
        return begin(module, entry, groups, lanes, shared, given, self.memory, self.drawn)
