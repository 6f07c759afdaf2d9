"""An exported network as C sees it, by ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np


class Library:
    """An exported network as C sees it."""

    def __init__(self, path: Path, name: str = "net") -> None:
        self.library, self.name = ctypes.CDLL(str(path)), name
        self("size").restype = ctypes.c_size_t
        for text in ("manifest", "message"):
            self(text).restype = ctypes.c_char_p
        self.memory = ctypes.create_string_buffer(self("size")())
        self.net = ctypes.c_void_p()
        assert self("open")(self.memory, ctypes.c_size_t(len(self.memory)), ctypes.byref(self.net)) == 0

    def __call__(self, function: str) -> Any:
        return getattr(self.library, f"{self.name}_{function}")

    def digest(self) -> str:
        found = (ctypes.c_uint8 * 32)()
        assert self("digest")(self.net, found) == 0
        return bytes(found).hex()

    def forward(self, x: Any, outputs: int = 3) -> Any:
        y = np.zeros((len(x), outputs), np.float32)
        assert self("forward")(self.net, at(x), at(y), len(x)) == 0
        return y

    def train(self, x: Any, y: Any, epochs: int) -> tuple[int, float]:
        loss = ctypes.c_double()
        return self("train")(self.net, at(x), at(y), len(x), epochs, ctypes.byref(loss)), loss.value

    def save(self) -> bytes:
        size = ctypes.c_size_t()
        assert self("save")(self.net, None, ctypes.c_size_t(0), ctypes.byref(size)) == 0
        data = ctypes.create_string_buffer(size.value)
        assert self("save")(self.net, data, size, ctypes.byref(size)) == 0
        return data.raw


def at(array: Any) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)
