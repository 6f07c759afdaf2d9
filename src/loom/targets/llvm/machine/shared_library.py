"""LLVM as a process needs it that compiles nothing: which processor this is, and what links code of earlier processes.

Layer: targets. The library is llvmlite's. Of llvmlite's Python nothing is imported, which declares all that compiling
takes and loads five times as long. Invariant: one thread is in LLVM at a time, by way of here or of ``binding``.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from pathlib import Path
from typing import Any

from loom.core.process.forks import hold_over_forks

__all__ = ["binding", "call_llvm", "host_processor", "llvm_version"]

_LOCK = hold_over_forks(threading.RLock())
"""Under which all of LLVM is called."""
_POINTER, _TEXT, _SIZE, _FLAG = ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_size_t, ctypes.c_bool
_CALLS: dict[str, tuple[Any, ...]] = {
    "GetProcessTriple": (None, _TEXT),
    "GetHostCPUName": (None, _TEXT),
    "GetHostCPUFeatures": (ctypes.c_int, _TEXT),
    "CreateLLJITCompiler": (_POINTER, _POINTER, _FLAG, _FLAG, _TEXT),
    "LLJIT_Link": (_POINTER, _POINTER, ctypes.c_char_p, *(_POINTER, _SIZE) * 3, _TEXT),
    "LLJIT_Dylib_Tracker_Dispose": (_FLAG, _POINTER, _TEXT),
}
"""Results and arguments of the calls; the last argument is where a text is left."""


@cache
def _library() -> ctypes.CDLL:
    import llvmlite
    from llvmlite.utils import get_library_name

    path = Path(llvmlite.__path__[0], "binding", get_library_name())
    if not path.exists():  # in an archive: llvmlite knows where it has put it
        path = binding().ffi.lib._name
    library = ctypes.CDLL(str(path))
    for name, (result, *arguments) in _CALLS.items():
        function = getattr(library, f"LLVMPY_{name}")
        function.restype, function.argtypes = result, arguments
    library.LLVMPY_DisposeString.argtypes = (_POINTER,)
    with _LOCK:
        library.LLVMPY_InitializeNativeTarget()
        library.LLVMPY_InitializeNativeAsmPrinter()
    return library


@cache
def binding() -> Any:
    """Return llvmlite's whole interface, to compile; every machine is known to it."""
    from llvmlite import binding

    hold_over_forks(binding.ffi.lib._lock._lock)
    binding.ffi.register_lock_callback(_LOCK.acquire, _LOCK.release)
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding


def call_llvm(name: str, *arguments: object) -> tuple[Any, str]:
    """Return the result of a call, and the text that it leaves."""
    library, text = _library(), ctypes.c_char_p()
    with _LOCK:
        result = getattr(library, f"LLVMPY_{name}")(*arguments, ctypes.byref(text))
        said = (text.value or b"").decode()
        if text:
            library.LLVMPY_DisposeString(text)
    return result, said


def host_processor() -> tuple[str, str, dict[str, bool]]:
    """Return this process's triple, the processor's name, and its features, as LLVM calls them."""
    features = call_llvm("GetHostCPUFeatures")[1].split(",")
    is_there = {feature[1:]: feature[0] == "+" for feature in features if feature}
    return call_llvm("GetProcessTriple")[1], call_llvm("GetHostCPUName")[1], is_there


def llvm_version() -> str:
    """Return the version of LLVM, in numbers."""
    number: int = _library().LLVMPY_GetVersionInfo()
    return ".".join(map(str, number.to_bytes(4, "big").lstrip(b"\0")))
