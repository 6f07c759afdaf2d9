"""Calls of kernels by machine code: ``offer`` lets those that come again be known to it.

Layer: runtime. ``door.ll`` is the code, ``door`` opens it, ``layouts`` looks whether it can be, ``tables`` is what it
knows of each kernel.
"""

from loom.runtime.calls.native.tables import offer

__all__ = ["offer"]
