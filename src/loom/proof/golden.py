"""The digests that every device must reproduce, computed beforehand by the reference interpreter.

Layer: proof. ``golden.json`` is written by ``tools/golden.py`` alone. Invariant: a change of any digest is a
change of the numeric contract, and stands in the changelog.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from loom.core.late.dataclass import dataclass

__all__ = ["SPEC", "Golden", "golden"]

SPEC = "loom-verify/1"
"""Name of the set of cases; digests of different sets cannot be compared."""
_FILE = Path(__file__).with_name("golden.json")


@dataclass(frozen=True, slots=True)
class Golden:
    """Digests by case, by layer (its number as text), and of everything."""

    spec: str
    vectors: dict[str, str]
    cases: dict[str, str]
    layers: dict[str, str]


@cache
def golden() -> Golden:
    """Return the digests committed with this version."""
    return Golden(**json.loads(_FILE.read_text()))
