"""libloom as C sees it, by ctypes: built once for a session of tests."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

CODES = ("OK", "NULL", "DOCUMENT", "ABSENT", "MEMORY", "ARGUMENT", "NOT_FINITE", "FILE")
_ALLOCATE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Allocator(ctypes.Structure):
    _fields_ = [("allocate", _ALLOCATE), ("release", _RELEASE), ("user", ctypes.c_void_p)]


class Heap:
    """Memory that is counted: ``held`` bytes; of the call number ``fails_at`` on there is none."""

    def __init__(self, fails_at: int | None = None) -> None:
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        self.held = self.calls = 0

        def allocate(_user: Any, nbytes: int) -> Any:
            self.calls += 1
            if fails_at is not None and self.calls >= fails_at:
                return None
            self.held += nbytes
            return libc.malloc(nbytes)

        def release(_user: Any, memory: Any, nbytes: int) -> None:
            self.held -= nbytes
            libc.free(memory)

        self.functions = Allocator(_ALLOCATE(allocate), _RELEASE(release), None)


class NativeError(Exception):
    """A code of the library, with its text."""

    def __init__(self, code: int, text: str, path: str) -> None:
        super().__init__(f"{CODES[code]}: {text}")
        self.code, self.path, self.text = CODES[code], path, text


@cache
def folder() -> Path:
    """Return a folder with the library, of one level of processors: the bits are those of all."""
    from loom.export.library import export_library

    made = Path(mkdtemp(prefix="libloom"))
    export_library(made, optimize="size")
    return made


@cache
def library() -> Any:
    """Return the library, its functions' results declared."""
    found = ctypes.CDLL(str(folder() / "libloom.so"))
    for name in ("loom_error", "loom_error_path", "CreateLoomNetwork", "LoomForward", "LoomTrain", "LoomSaveModel",
                 "LoomLoadModel"):  # fmt: skip
        getattr(found, name).restype = ctypes.c_char_p
    found.loom_input_size.restype = found.loom_output_size.restype = ctypes.c_size_t
    return found


def at(array: Any) -> Any:
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class NativeNet:
    """A network of libloom; use ``with``."""

    def __init__(self, document: Any, heap: Heap | None = None) -> None:
        self.library, self.heap, self.net = library(), heap or Heap(), ctypes.c_void_p()
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        code = self.library.loom_make(ctypes.byref(self.net), text, ctypes.byref(self.heap.functions))
        try:
            self._check(code)
        except NativeError:
            self.free()
            raise

    def __enter__(self) -> NativeNet:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def free(self) -> None:
        self.library.loom_free(self.net)
        self.net = ctypes.c_void_p()
        assert self.heap.held == 0

    def _check(self, code: int) -> None:
        if code:
            text, path = (f(self.net).decode() for f in (self.library.loom_error, self.library.loom_error_path))
            raise NativeError(code, text, path)

    def digest(self) -> str:
        out = ctypes.create_string_buffer(65)
        self._check(self.library.loom_digest(self.net, out))
        return out.value.decode()

    def forward(self, x: Any) -> Any:
        y = np.zeros((len(x), self.library.loom_output_size(self.net)), np.float32)
        self._check(self.library.loom_forward(self.net, at(x), ctypes.c_size_t(len(x)), at(y)))
        return y

    def _of_samples(self, function: Callable[..., int], x: Any, y: Any, *settings: Any) -> float:
        loss, classes = ctypes.c_double(), y.dtype == np.int32
        targets = (at(y), None) if classes else (None, at(y))
        size = ctypes.c_size_t(len(x))
        self._check(function(self.net, *settings, at(x), *targets, size, ctypes.byref(loss)))
        return loss.value

    def train(self, x: Any, y: Any, **settings: Any) -> float:
        return self._of_samples(self.library.loom_train, x, y, json.dumps(settings).encode())

    def score(self, x: Any, y: Any, **settings: Any) -> float:
        return self._of_samples(self.library.loom_score, x, y, json.dumps(settings).encode())

    def begin(self, **settings: Any) -> None:
        self._check(self.library.loom_begin(self.net, json.dumps(settings).encode()))

    def step(self, x: Any, y: Any) -> float:
        return self._of_samples(self.library.loom_step, x, y)

    def save(self) -> bytes:
        nbytes = ctypes.c_size_t()
        self._check(self.library.loom_save(self.net, None, ctypes.c_size_t(0), ctypes.byref(nbytes)))
        out = ctypes.create_string_buffer(nbytes.value)
        self._check(self.library.loom_save(self.net, out, nbytes, ctypes.byref(nbytes)))
        return out.raw

    def load(self, file: bytes) -> None:
        self._check(self.library.loom_load(self.net, file, ctypes.c_size_t(len(file))))
