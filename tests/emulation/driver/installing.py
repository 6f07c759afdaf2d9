"""Puts the emulated driver in the place of NVIDIA's: ``loom.device("cuda")`` is a GPU that is not there.

``LOOM_TEST_CUDA=compiled`` does so for a whole run of tests (``tests/conftest.py``): kernels are compiled for this
processor; with ``emulated`` their PTX is interpreted, which takes its time. ``LOOM_TEST_CUDA_CHIP=80`` says another
compute capability than 9.0, ``LOOM_TEST_CUDA_SEED=3`` draws the order of streams and of nodes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emulation.driver.binding import Binding, Emulated
from emulation.driver.code import Code, Compiled
from emulation.driver.streams import Order
from loom.runtime.drivers.cuda import api, opened, registry
from loom.runtime.drivers.cuda.gpus import find_gpus

__all__ = ["asked", "install", "installed"]


def asked(how: str) -> Emulated:
    """Return the driver that the environment asks for."""
    chip = os.environ.get("LOOM_TEST_CUDA_CHIP", "90")
    seed = os.environ.get("LOOM_TEST_CUDA_SEED")
    order = Order.LATE if seed is None else Order.DRAWN
    return Emulated(_code(how), chip=(int(chip[:-1]), int(chip[-1])), room=1 << 34, seed=int(seed or 0), order=order)


def _code(how: str) -> Code:
    if how == "compiled":
        return Compiled()
    if how == "emulated":
        from emulation.driver.interpreted import Interpreted

        return Interpreted()
    raise ValueError(f"LOOM_TEST_CUDA is compiled or emulated, got {how!r}")


def _put(binding: Any, compiling: Any, loading: Any) -> tuple[Any, Any, Any]:
    """Have Loom use these; return what it used before."""
    before = api._binding, opened.compile_kernel, opened.load_artifact
    api._binding, opened.compile_kernel, opened.load_artifact = binding, compiling, loading
    api._loaded.clear()
    find_gpus.forget()
    registry._DEVICES._opened.clear()
    registry._DEVICES._refused.clear()
    return before


def install(machine: Emulated) -> tuple[Any, Any, Any]:
    """Have Loom find this driver from now on; return what it used before."""
    binding = Binding(machine)
    if isinstance(machine.code, Compiled):
        return _put(lambda: binding, machine.code.compile, lambda *given: given[-1]())
    return _put(lambda: binding, opened.compile_kernel, opened.load_artifact)


@contextmanager
def installed(machine: Emulated) -> Iterator[Emulated]:
    """Have Loom find this driver in a ``with`` block."""
    before = install(machine)
    try:
        yield machine
    finally:
        _put(*before)
