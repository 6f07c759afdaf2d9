"""Packages that Loom runs without: the one place that asks for them, and tells who lacks one how to get it.

Layer: core. Invariant: every import of such a package stands after ``require``, or is ``load``, ``lazy`` or ``find``,
so that nobody meets a bare ModuleNotFoundError; ``tests/architecture/test_extras.py`` reads all sources for it.
"""

from __future__ import annotations

import platform
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from loom.core.errors import LoomError, StateError

__all__ = ["PACKAGES", "find", "has", "lazy", "load", "require"]

PACKAGES = {
    "cuda": ("cuda-bindings", "cuda"),
    "gguf": ("gguf", "models"),
    "google": ("onnx", "onnx"),  # protobuf, which onnx brings
    "h11": ("uvicorn", "serve"),
    "jinja2": ("jinja2", "models"),
    "llguidance": ("llguidance", "models"),
    "matplotlib": ("matplotlib", "plots"),
    "ml_dtypes": ("ml_dtypes", "onnx"),
    "onnx": ("onnx", "onnx"),
    "pyarrow": ("pyarrow", "data"),
    "pygame": ("pygame-ce", "window"),
    "ray": ("ray", "cluster"),
    "sklearn": ("scikit-learn", "demo"),
    "starlette": ("starlette", "serve"),
    "tokenizers": ("tokenizers", "models"),
    "torch": ("torch", "torch"),
    "usearch": ("usearch", "vectors"),
    "uvicorn": ("uvicorn", "serve"),
    "vulkan": ("vulkan", "vulkan"),
    "wgpu": ("wgpu", "webgpu"),
    "ziglang": ("ziglang", "export"),
}
"""What is imported: the distribution that brings it, and the extra of Loom's that asks for that."""


_SINCE = {"wgpu": (3, 11)}
"""The oldest Python that a package has releases for, where that is newer than Loom's."""


def load(module: str, where: str, error: type[LoomError] = StateError, otherwise: str = "") -> Any:
    """Return a module of a package of ``PACKAGES``.

    Raises an ``error`` at ``where`` if it is not there, with the command that installs it and what else there is to do,
    ``otherwise``; and if it is there but does not load, with the reason.
    """
    package = module.partition(".")[0]
    distribution, extra = PACKAGES[package]
    try:
        return import_module(module)
    except ImportError as reason:
        is_absent = isinstance(reason, ModuleNotFoundError) and (reason.name or "").partition(".")[0] == package
        why = "is not installed" if is_absent else f"cannot be loaded ({' '.join(str(reason).split())[:300]})"
        flag = "" if is_absent else "--force-reinstall "
        if sys.version_info[:2] < _SINCE.get(package, (3, 0)):
            what, wanted = f"the package {distribution} has no release for this Python", _SINCE[package]
            least, remedy = f"{wanted[0]}.{wanted[1]} or newer", f"Use a newer Python{otherwise and ', ' + otherwise}"
            raise error(where, what, expected=least, got=platform.python_version(), remedy=remedy) from None
        raise error(where, f"the package {distribution} {why}", expected=f"the extra {extra!r}",
                    got="none" if is_absent else "a broken one",
                    remedy=f"Run pip install {flag}'loom-compute[{extra}]'{otherwise and ', ' + otherwise}",
                    ) from (None if is_absent else reason)  # fmt: skip


def require(module: str, where: str, error: type[LoomError] = StateError) -> None:
    """Raise as ``load`` does if a module is missing: what stands before an import statement, which tells types more."""
    load(module, where, error)


def find(module: str) -> Any | None:
    """Return a module, or None where it is missing: for what is done another way without it."""
    try:
        return import_module(module)
    except ImportError:
        return None


def has(package: str) -> bool:
    """Tell whether a package is installed, without importing it."""
    return find_spec(package) is not None


class _LazyModule:
    """A module that is loaded when a name of it is first asked for."""

    def __init__(self, module: str, where: str) -> None:
        self._told = module, where

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who looks through a file's names, as doctest does, asks for no package
            raise AttributeError(name)
        self._module = self.__dict__.get("_module") or load(*self._told)
        return getattr(self._module, name)


def lazy(module: str, where: str) -> Any:
    """Return a stand-in for a module of ``PACKAGES``: its names are the module's, which ``load`` brings for the first.

    Names that begin with two underscores are not; ``load`` gives the module itself.
    """
    return _LazyModule(module, where)
