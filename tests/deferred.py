"""Libraries that tests compare with are loaded by the first test that uses them, not by collection.

``install`` puts a finder before Python's own, which answers the import of a deferred library by a stand-in:
``import torch`` and ``from torch import nn`` at the head of a test file cost nothing, a name of `nn` there loads it.
Invariants: a stand-in has the attributes of the module itself, for reading and for writing; who looks at it without
asking for a name of the library's own (pytest looks at everything in a test file for ``__wrapped__``) loads nothing.

Modules of tests that are made of such a library (classes of its modules) are put off in the same way: ``HELPERS``.
Tables at the head of a test file take functions by ``functions_of(library)``, and other values as ``Later``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LIBRARIES = frozenset({
    "duckdb", "gguf", "httpx", "jsonschema", "matplotlib", "mlx", "mpmath", "onnx", "onnxruntime", "openai", "pandas",
    "polars", "pyarrow", "ray", "safetensors", "scipy", "skl2onnx", "sklearn", "tokenizers", "torch", "transformers",
})  # fmt: skip
HELPERS = frozenset({
    "unit.nn.structure.modules_of_torch", "unit.pytorch.odd_modules", "unit.pytorch.operator_cases",
    "unit.pytorch.random_modules", "unit.pytorch.torch_modules",
    "unit.pytorch.traced_modules",
})  # fmt: skip


class _Deferred(ModuleType):
    """The stand-in of a module."""

    def __getattr__(self, name: str) -> Any:
        full, is_probe = f"{self.__name__}.{name}", name.startswith(("__", "_pytest", "_mock"))
        is_package = sys.modules.get(self.__name__) is self and "__path__" in vars(self) and name != "__main__"
        if is_package and find_spec(full) is not None:  # torch.__config__ is a module too
            return import_module(full)
        if is_probe and name not in ("__version__", "__all__"):
            raise AttributeError(name)
        module = _load(self.__name__)
        if name == "__all__":  # ``import *`` would take the names that the stand-in itself has
            return getattr(module, name, [word for word in vars(module) if not word.startswith("_")])
        return getattr(module, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("__") or isinstance(value, _Deferred):  # as Python's import does
            super().__setattr__(name, value)
        else:
            setattr(_load(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_load(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(_load(self.__name__))


class _DeferredLoader(Loader):
    """The loader of a library's module, put off until the module is used."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Deferred


class _Finder(MetaPathFinder):
    """Finds stand-ins for modules of ``LIBRARIES``, but for what a library imports of itself and of others."""

    loading = 0

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        library, _, inner = name.partition(".")
        if self.loading or (library not in LIBRARIES and name not in HELPERS):
            return None
        if inner and library in LIBRARIES and not isinstance(sys.modules.get(library), _Deferred):
            return None  # the library is loaded
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, Loader) and spec.origin is not None:
            spec.loader = _DeferredLoader(spec.loader)
        return spec

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self.loading += 1
        try:
            yield
        finally:
            self.loading -= 1


_FINDER = _Finder()


def _load(name: str) -> ModuleType:
    """Return a module itself; all stand-ins leave ``sys.modules``, so that what it imports finds none."""
    if isinstance(sys.modules.get(name), _Deferred):
        for other, module in list(sys.modules.items()):
            if isinstance(module, _Deferred):
                del sys.modules[other]
    with _FINDER.at_work():
        return import_module(name)


class Later:
    """A value that is made when a test asks; pytest names a case of it by its place, as of any other object."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def value_of(given: Any) -> Any:
    """Return what is given, or what is to be made of it now."""
    return given.make() if isinstance(given, Later) else given


class functions_of:
    """The functions of a module by their names, each looked up when it is called."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def function(*given: Any, **options: Any) -> Any:
            return getattr(self._module, name)(*given, **options)

        return function


def install() -> None:
    """Put the finder before Python's own."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
