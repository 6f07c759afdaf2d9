"""Circles and directions: files that import each other, folders that do, and imports that point to a higher layer.

Invariant: a circle is a strongly connected part of a graph with more than one node.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from .sources import Source


def find_circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the circles of a graph, largest first (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in edges[name]:
            if target not in order:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == order[name]:
            at = stack.index(name)
            circles.append(sorted(stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in order:
            visit(name)
    return sorted((c for c in circles if len(c) > 1), key=lambda c: (-len(c), c))


def file_circles(sources: dict[str, Source], most: int) -> list[list[str]]:
    """Return the circles of files by imports that run at ``most`` (``facts.CALLING``, ..) or earlier."""
    return find_circles({name: [t for t, w in s.imports.items() if w <= most] for name, s in sources.items()})


def folder_circles(sources: dict[str, Source]) -> list[list[str]]:
    """Return the circles of folders by imports of any kind.

    A folder is the files that stand in it: those in the root of a package are a room of their own beside its other
    rooms. Doors are left out at both ends: to gather names from the rooms below is what ``__init__`` is for.
    """
    edges: dict[str, set[str]] = defaultdict(set)
    for source in sources.values():
        for target in source.imports:
            edges[_room(target)]  # rooms that import nothing are rooms as well
            if not _is_door(source.name) and not _is_door(target) and _room(target) != _room(source.name):
                edges[_room(source.name)].add(_room(target))
    return find_circles({room: sorted(targets) for room, targets in sorted(edges.items())})


def folder_pairs(sources: dict[str, Source]) -> list[tuple[str, str]]:
    """Return the pairs of folders that import each other, by way of others as well.

    A circle of n folders has n (n - 1) / 2 of them, so that two circles that become one are a rise.
    """
    return [pair for circle in folder_circles(sources) for pair in combinations(circle, 2)]


def _room(name: str) -> str:
    return name.rpartition(".")[0]


def _is_door(name: str) -> bool:
    return name.endswith(".__init__")


def read_layers(root: Path) -> dict[str, int]:
    """Return each package's layer by the contract in ``pyproject.toml``, 0 at the bottom."""
    text = (root / "pyproject.toml").read_text()
    contract = re.search(r"^layers = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r'"([^"]+)"', contract[1]) if contract else []
    return {name.strip(" ()"): at for at, row in enumerate(reversed(rows)) for name in row.split("|")}


def arrows_up(sources: dict[str, Source], layers: dict[str, int]) -> list[tuple[str, str]]:
    """Return the imports of any kind that do not point to a lower layer or stay in their package."""

    def package(name: str) -> str:
        return name.split(".")[1]

    across = [(s.name, t) for s in sources.values() for t in s.imports if package(s.name) != package(t)]
    inside = [(a, b) for a, b in across if package(a) in layers and package(b) in layers]
    return [(a, b) for a, b in inside if layers[package(a)] <= layers[package(b)]]
