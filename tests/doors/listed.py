"""The written list of differences: lines of ``differences.toml``, and which cases they allow."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

__all__ = ["Line", "Other", "lines", "others"]


@dataclass(frozen=True)
class Line:
    """Cases that may differ, one that does, and the reason."""

    calls: str
    example: str
    reason: str
    kinds: str
    """Of which operands."""

    def allows(self, case: str) -> bool:
        """Tell whether a case is among them."""
        kind = case.split(" | ")[2]
        return (self.kinds == "*" or kind in self.kinds.split()) and _pattern(self.calls).match(case) is not None


@dataclass(frozen=True)
class Other:
    """Names that are the same word for different things, by any module's name, and the reason."""

    names: frozenset[str]
    reason: str


@cache
def _pattern(calls: str) -> re.Pattern[str]:
    literal = calls.replace("[", "[[]")  # a list among the options is no class of letters
    return re.compile(fnmatch.translate(literal))


@cache
def _document() -> dict[str, list[dict[str, str]]]:
    return tomllib.loads(Path(__file__).with_name("differences.toml").read_text())


def lines() -> list[Line]:
    """Return the lines of calls."""
    return [Line(**line) for line in _document()["calls"]]


def others() -> list[Other]:
    """Return the lines of names that are not called."""
    return [Other(frozenset(line["names"].split()), line["reason"]) for line in _document()["names"]]
