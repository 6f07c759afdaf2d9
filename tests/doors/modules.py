"""Which public names stand in two modules, or in one with ``gpu_`` before them and in another without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import loom

__all__ = ["function", "pairs", "public_modules"]

PREFIX = "gpu_"


def public_modules() -> dict[str, ModuleType]:
    """Return the modules that ``loom`` names in its ``__all__``, theirs too, by their public names."""
    modules: dict[str, ModuleType] = {"loom": loom}
    waiting = ["loom"]
    while waiting:
        place = waiting.pop(0)
        for name in getattr(modules[place], "__all__", ()):
            value = getattr(modules[place], name)
            if isinstance(value, ModuleType) and value not in modules.values():
                modules[f"{place}.{name}"] = value
                waiting.append(f"{place}.{name}")
    return modules


def pairs() -> set[tuple[str, str]]:
    """Return all pairs of full names that mean different functions by the same word."""
    places: dict[str, list[str]] = defaultdict(list)
    for place, module in public_modules().items():
        for name in getattr(module, "__all__", ()):
            if callable(getattr(module, name)) and not isinstance(getattr(module, name), ModuleType):
                places[name.removeprefix(PREFIX)].append(f"{place}.{name}")
    return {
        (one, two)
        for names in places.values()
        for one in sorted(names)
        for two in sorted(names)
        if one < two and function(one) is not function(two)
    }


def function(name: str) -> Callable[..., Any]:
    """Return what a full name means."""
    found: Any = loom
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found
