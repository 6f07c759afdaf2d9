"""Names of functions, classes and files, and who asks how a device runs its lanes.

Invariant: every list has one entry a fault, with its place, so that a figure is the length of its list.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from .sources import Source

PARTICIPLES = """begun bought brought built chosen done drawn fed given gone grown held hidden kept known laid lent made
meant met paid said seen sent shown sold spent stood sunk taken thrown told torn understood wound woven written"""
"""Irregular ones; those that are verbs as well (bound, cut, found, left, put, read, run, set) are not among them."""
VERBS = "embed exceed feed need proceed seed shed speed"
"""Verbs that end as participles do."""
DOORS = ("__init__.py", "__main__.py")


def participles(sources: dict[str, Source]) -> list[tuple[str, int, str]]:
    """Return file, line and name of functions that begin with a participle; properties are none of them."""
    return [
        (str(s.path), line, name)
        for s in sources.values()
        for line, _, name, is_property in s.facts.functions
        if not is_property and _is_participle(name.strip("_").split("_")[0])
    ]


def _is_participle(word: str) -> bool:
    regular = word.endswith("ed") and len(word) > 3 and word not in VERBS.split()
    return regular or word in PARTICIPLES.split()


def shared_classes(sources: dict[str, Source]) -> dict[str, list[str]]:
    """Return the names that more than one top-level class has, and the files of each."""
    places: dict[str, list[str]] = defaultdict(list)
    for s in sources.values():
        for _, name in s.facts.classes:
            places[name].append(str(s.path))
    return {name: files for name, files in sorted(places.items()) if len(files) > 1}


def shared_files(sources: dict[str, Source]) -> dict[str, list[str]]:
    """Return the names that more than one file has, and their folders; doors are called alike everywhere."""
    places: dict[str, list[str]] = defaultdict(list)
    for s in sources.values():
        places[s.path.name].append(str(s.path.parent))
    return {n: folders for n, folders in sorted(places.items()) if len(folders) > 1 and n not in DOORS}


def count_folders(root: Path, top: str = "src/loom") -> list[tuple[int, str]]:
    """Return how many files each folder below ``top`` holds, the fullest first."""
    files = [p for p in (root / top).rglob("*") if p.suffix in (".py", ".ll") and p.name not in DOORS]
    counts = Counter(str(p.parent.relative_to(root)) for p in files)
    return sorted(((n, folder) for folder, n in counts.items()), reverse=True)


def reads_of(sources: dict[str, Source], flag: str) -> list[str]:
    """Return the places that read ``caps.<flag>``, or ``<anything>.caps.<flag>``."""
    return [f"{s.path}:{line}" for s in sources.values() for line, name in s.facts.asks if name == flag]
