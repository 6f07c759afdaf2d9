"""The native door: opened once for a process, with what its code (``door.ll``) is told.

Layer: runtime. ``KernelFunction.__call__`` becomes a method in machine code, which calls the function that was there
wherever a call is not one that it knows. Invariant: what the code was told lives to the end of the process; where any
layout is not as expected nothing is installed, and all calls go the way through Python.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np

from loom.core import options
from loom.core.tracebacks import brief
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.interp.debugger import CURRENT
from loom.runtime.calls.native.calltables import CallTable
from loom.runtime.calls.native.layouts import is_known, places_of
from loom.runtime.drivers.cpu.code import link
from loom.runtime.drivers.cpu.walker import processor_source
from loom.runtime.memory.order import BOUNDS, Use, Uses
from loom.runtime.memory.storage import HostStorage
from loom.runtime.port.cache import ArtifactCache
from loom.runtime.port.device import DirectRun
from loom.runtime.port.log import LOG_WORDS, new_log, read_log
from loom.runtime.port.profile import OPEN
from loom.targets.base import LOG_HEADER_WORDS, Artifact, Site
from loom.targets.llvm.machine import emit, host_machine, llvm_fingerprint

__all__ = ["Door", "open_door"]

_ENTRIES = ("loom_door", "loom_door_open", "loom_function", "loom_try")
_FUNCTIONS = (
    "PyObject_GetAttr",
    "PyLong_AsLongLongAndOverflow",
    "PyFloat_AsDouble",
    "PyContextVar_Get",
    "PyList_Size",
    "PyList_GetItem",
    "PyDict_GetItemWithError",
    "PyErr_Clear",
    "PyObject_Vectorcall",
    "Py_IncRef",
    "Py_DecRef",
    "PyTuple_Size",
    "PyTuple_GetItem",
)
_MEMORY_FUNCTIONS = ("PyMem_Malloc", "PyMem_Free", "PyErr_NoMemory")
_METHOD_FLAGS = 0x0080 | 0x0002
"""METH_FASTCALL and METH_KEYWORDS."""


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class Door:
    """What the door's code is told, and the settings that the known calls were made under."""

    def __init__(self, environment: dict[bytes, bytes], slots: tuple[int, ...]) -> None:
        self._environment = environment
        self._names = options.CALL_SETTINGS
        self._expected = [environment.get(name) for name in self._names]
        self._pairs = np.zeros(2 * len(self._names), np.uint64)
        self._silent_log, self._told = np.zeros(LOG_HEADER_WORDS, np.uint64), new_log(LOG_WORDS)
        self._slow = KernelFunction.__call__
        self._attribute = "known_calls"
        self._code = link(_artifact().data, *_ENTRIES)
        storage, uses, use = slots[:3], slots[3:7], slots[7:9]
        told: list[int] = [
            1,
            1,
            *map(id, (self._slow, self._attribute, None, CURRENT, OPEN, BOUNDS, environment)),
            len(self._names),
            self._pairs.ctypes.data,
            id(True),
            id(False),
            id(HostStorage),
            *storage,
            id(Uses),
            *uses,
            id(Use),
            *use,
            *map(_function, _FUNCTIONS),
            id(int),
            id(tuple),
            self._silent_log.ctypes.data,
            *map(_function, _MEMORY_FUNCTIONS),
            id(CallTable),
            slots[9],
            self._told.ctypes.data,
            id(report),
            _function("PyBytes_FromStringAndSize"),
            _function("PyObject_GetItem"),
            id(()),
            _function("PyObject_Size"),
        ]
        self._facts = np.array(told, np.uint64)
        self._kept = CURRENT, OPEN, BOUNDS, report
        self._set_pairs()

    @property
    def generation(self) -> int:
        """The number of the settings that calls are known under."""
        return int(self._facts[1])

    def renew(self) -> bool:
        """Tell whether settings changed, so that what was known holds no more; those of now hold from here on."""
        found = [self._environment.get(name) for name in self._names]
        if all(a is b for a, b in zip(found, self._expected, strict=True)):
            return False
        self._facts[1] += 1
        self._expected = found
        self._set_pairs()
        return True

    def _set_pairs(self) -> None:
        self._pairs[::2] = [id(name) for name in self._names]
        self._pairs[1::2] = [0 if value is None else id(value) for value in self._expected]

    def install(self) -> None:
        """Let kernels be called by the code, to the end of the process."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.address("loom_door_open"))(self._facts.ctypes.data)
        word = ctypes.c_uint64
        self._try = ctypes.CFUNCTYPE(None, word, word)(self._code.address("loom_try"))
        self._function = _MethodDef(b"call", self._code.address("loom_function"), _METHOD_FLAGS, b"")
        text = f"__call__($self, /, *args, **named)\n--\n\n{self._slow.__doc__ or ''}".encode()
        self._method = _MethodDef(b"__call__", self._code.address("loom_door"), _METHOD_FLAGS, text)
        make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)(
            ("PyDescr_NewMethod", ctypes.pythonapi)
        )
        method = make(KernelFunction, ctypes.addressof(self._method))
        # kernels may be called by finalizers when all modules are gone
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(method))
        atexit.register(self.shut)
        cast("Any", KernelFunction).__call__ = method
        os.register_at_fork(after_in_child=self.after_fork)

    def function(self, table: CallTable) -> Callable[..., Any]:
        """Return what serves the calls that a table knows, and has its ``slow`` do all others."""
        make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
            ("PyCFunction_NewEx", ctypes.pythonapi)
        )
        return make(ctypes.addressof(self._function), table, None)

    def seconds(self, run: DirectRun) -> float:
        """Return how long a program takes over memory that is in its cells, the least of three times."""
        steps = np.array(sum(run.steps, ()), np.uint64)
        found: list[float] = []
        for _ in range(3):
            begun = perf_counter()
            self._try(steps.ctypes.data, len(run.steps))
            found.append(perf_counter() - begun)
        return min(found)

    def after_fork(self) -> None:
        """What is known stands for runs of the parent's: it is found out anew."""
        self._facts[1] += 1

    def shut(self) -> None:
        """Let all calls go through Python again."""
        self._facts[0] = 0
        cast("Any", KernelFunction).__call__ = self._slow


@brief
def report(sites: tuple[Site, ...], log: bytes) -> None:
    """Print what a kernel printed, and raise the fault that it told of."""
    outcome = read_log(np.frombuffer(log, np.uint64).copy(), lambda _: sites)
    for line in outcome.lines:
        print(line)
    if outcome.error is not None:
        raise outcome.error


def _function(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def _artifact() -> Artifact:
    machine = host_machine(optimised=False)
    texts = [Path(__file__).with_name(f"{name}.ll").read_text("utf-8") for name in ("arguments", "recorded", "door")]
    source = "\n".join([f'target triple = "{machine.triple}"', *texts, processor_source(platform.machine())])
    return ArtifactCache().artifact(
        f"door {machine} {llvm_fingerprint()} {source}",
        lambda: Artifact("object", emit(source, machine, "object"), "door"),
    )


_opened: list[Door | None] = []


def open_door() -> Door | None:
    """Return the door, open_door now if it was not; None where it stays shut."""
    if not _opened:
        try:
            _opened.append(_open())
        except (AttributeError, OSError, RuntimeError):  # no such C function, or an LLVM of other ways
            _opened.append(None)
    return _opened[0]


def _open() -> Door | None:
    environment = options.environment()
    if environment is None or not is_known():
        return None
    found = [
        places_of(HostStorage, "_address", "nbytes", "uses"),
        places_of(Uses, "writer", "readers", "older", "merged"),
        places_of(Use, "_gate", "_run"),
        places_of(CallTable, "place"),
    ]
    slots = [each for each in found if each is not None]
    if len(slots) < len(found):
        return None
    door = Door(environment, tuple(place for each in slots for place in each))
    door.install()
    return door
