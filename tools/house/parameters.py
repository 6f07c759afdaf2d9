"""Parameters with defaults that nobody passes, as far as names can tell.

A parameter counts as passed if anywhere in ``src``, the tests, conformance, the examples, the benchmarks, the tools or
the Python of documents a call whose last word is the function (for a constructor: its class, one derived from it, or
another name that an import gives them) names it, reaches its position, or hands over ``*`` or ``**``.

Strangers may call a function that stands below a decorator of Loom's, that a file which imports or defines it reads as
a value, or whose name is a string outside ``src``: all its positions are passed, and a keyword is if any call or any
key of a dictionary has its name. Options of commands are passed if one of their flags stands in a text. Calls of
functions that are found by listing a module (``tests/hostile``) are nobody's use. Invariant: an error of this rule
calls a parameter passed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from .calls import Calls
from .sources import Source, read_sources, read_uses


class _Passed:
    """All that all files pass, by the last word of what is called."""

    def __init__(self, calls: Iterable[Calls]) -> None:
        self.most: dict[str, int] = defaultdict(int)
        self.words: dict[str, set[str]] = defaultdict(set)
        self.values: set[str] = set()
        self.keys: set[str] = set()
        self.children: dict[str, set[str]] = defaultdict(set)
        self.others: dict[str, set[str]] = defaultdict(set)
        for each in calls:
            for name, (most, words) in each.passed.items():
                self.most[name] = max(self.most[name], most)
                self.words[name].update(words)
                self.keys.update(words)
            self.values.update(each.values)
            self.keys.update(each.keys)
            for alias, name in each.aliases:
                self.others[name].add(alias)
            for name, bases in each.bases:
                for base in bases:
                    self.children[base].add(name)

    def callers(self, owner: str, name: str) -> set[str]:
        """Return the words that a call of a function may end in."""
        wanted, seen = [owner if name in ("__init__", "__new__") else name], set[str]()
        while wanted:
            word = wanted.pop()
            if word not in seen:
                seen.add(word)
                wanted += [*self.others[word], *(self.children[word] if name.startswith("__") else ())]
        return seen


def count_defaults(sources: dict[str, Source]) -> int:
    """Return how many parameters have a default."""
    return sum(len(found) for s in sources.values() for *_, found in s.facts.calls.definitions)


def idle_parameters(root: Path) -> list[tuple[str, int, str]]:
    """Return file, line and ``function(name=)`` of the parameters that nobody passes."""
    sources, uses = read_sources(root), read_uses(root)
    passed = _Passed([s.facts.calls for s in sources.values()] + [use.calls for use in uses])
    passed.values.update(word for use in uses for word in use.calls.words)
    flags = {flag for use in uses for flag in use.flags}
    options = {name: found for s in sources.values() for name, found in s.facts.calls.options.items()}
    idle: list[tuple[str, int, str]] = []
    for source in sources.values():
        own = {**options, **source.facts.calls.options}
        for owner, name, line, strange, parameters in source.facts.calls.definitions:
            words = passed.callers(owner, name)
            shown = f"{owner}.{name}".strip(".").replace(".__init__", "")
            for parameter, at, marks in parameters:
                known = [flag for mark in marks for flag in own.get(mark[1:], ()) or ([mark] if mark[0] != "=" else [])]
                if not (flags & set(known) if known else _is_passed(passed, words, strange, parameter, at)):
                    idle.append((str(source.path), line, f"{shown}({parameter}=)"))
    return idle


def _is_passed(passed: _Passed, words: set[str], strange: bool, parameter: str, at: int) -> bool:
    if any({parameter, "**"} & passed.words[word] or 0 <= at < passed.most[word] for word in words):
        return True
    return (strange or bool(words & passed.values)) and (at >= 0 or parameter in passed.keys)
