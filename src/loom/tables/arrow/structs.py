"""The structs of the Arrow C data interface, and the capsules they travel in.

Layer: tables. What writes streams and what reads them share them. Invariant: the layout is
the interface's: no field is added, left out or moved.

Source: "The Arrow C data interface" and "The Arrow PyCapsule interface", arrow.apache.org.
"""

from __future__ import annotations

import ctypes

__all__ = [
    "ArrowArray",
    "ArrowSchema",
    "ArrowStream",
    "GetError",
    "GetNext",
    "GetSchema",
    "ReleaseArray",
    "ReleaseSchema",
    "ReleaseStream",
    "place_in",
]


class ArrowSchema(ctypes.Structure):
    """``ArrowSchema``."""


class ArrowArray(ctypes.Structure):
    """``ArrowArray``."""


class ArrowStream(ctypes.Structure):
    """``ArrowArrayStream``."""


ReleaseSchema = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowSchema))
ReleaseArray = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArray))
ReleaseStream = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowStream))
GetSchema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ArrowStream), ctypes.POINTER(ArrowSchema))
GetNext = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ArrowStream), ctypes.POINTER(ArrowArray))
GetError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(ArrowStream))

ArrowSchema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_char_p), ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("children", ctypes.POINTER(ctypes.POINTER(ArrowSchema))),
    ("dictionary", ctypes.POINTER(ArrowSchema)), ("release", ReleaseSchema), ("private_data", ctypes.c_void_p),
]  # fmt: skip
ArrowArray._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64), ("n_children", ctypes.c_int64), ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))), ("dictionary", ctypes.POINTER(ArrowArray)),
    ("release", ReleaseArray), ("private_data", ctypes.c_void_p),
]  # fmt: skip
ArrowStream._fields_ = [
    ("get_schema", GetSchema), ("get_next", GetNext), ("get_last_error", GetError), ("release", ReleaseStream),
    ("private_data", ctypes.c_void_p),
]  # fmt: skip

place_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
"""Return the address of what a capsule of a name points to."""
