"""Tables of names that other packages may add to: Loom's own rows, then the entry points of a group.

Layer: core. Invariant: a row is imported when it is asked for, and other packages are looked for only when a name is
not Loom's own, or all names are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Rows of a table; ``own`` are functions that import and return what Loom itself has."""

    def __init__(self, group: str, own: Mapping[str, Callable[[], T]]) -> None:
        self.group = group
        self._own = own

    @cached_property
    def _others(self) -> dict[str, dict[str, EntryPoint]]:
        """What other packages added, by name and place; a name of Loom's own cannot be taken."""
        from importlib.metadata import entry_points

        found: dict[str, dict[str, EntryPoint]] = {}
        for each in entry_points(group=self.group):
            if each.name not in self._own:
                found.setdefault(each.name, {})[each.value] = each
        return found

    def names(self) -> list[str]:
        """Return all names, Loom's own first."""
        return [*self._own, *sorted(self._others)]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._others

    def load(self, name: str) -> T:
        """Return what a name of the table stands for; whatever its package raises while it is imported goes through.

        LookupError if packages bring several things of the name: none of them is taken.
        """
        own = self._own.get(name)
        if own is not None:
            return own()
        first, *others = sorted(self._others[name])
        if others:
            raise LookupError(f"several packages bring it: {', '.join((first, *others))}")
        return cast("T", self._others[name][first].load())
