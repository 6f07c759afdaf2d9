"""Modules of Loom that load when a name of them is first used: what few processes need, named at the top of a file.

Layer: core. ``if TYPE_CHECKING`` imports them for type checkers, ``else`` takes them from here. Invariant: a loaded
stand-in has the module's own dictionary, so that a name costs what it costs there, and is what it is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["late"]


class _LateModule:
    """A module that is not loaded yet; several threads that use it first load it once."""

    __slots__ = ("__dict__", "_place")

    def __init__(self, place: str) -> None:
        self._place = place

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # who looks through a file's names, as doctest does, loads nothing
            raise AttributeError(name)
        module = import_module(self._place)
        self.__dict__ = module.__dict__
        return getattr(module, name)


def late(package: str, names: str) -> Any:
    """Return a stand-in of each module of a package that is named, of one alone not in a list."""
    modules = [_LateModule(f"{package}.{name}") for name in names.split()]
    return modules if len(modules) > 1 else modules[0]
