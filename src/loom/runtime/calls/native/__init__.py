"""Calls of kernels by machine code: ``offer`` lets those that come again be known to it.

Layer: runtime. ``door.ll`` and ``arguments.ll`` are the code, ``nativedoor`` opens it, ``layouts`` looks whether it can
be, ``calltables`` is what it knows, of kernels by ``kernelkeys``, of other functions by ``functionkeys``.
"""

from loom.runtime.calls.native.kernelkeys import offer

__all__ = ["offer"]
