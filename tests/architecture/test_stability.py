"""What is promised of public names: rooms say how stable they are, and the guide says the same."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import loom
from tools.reference import public_modules

GUIDE = (Path(__file__).parents[2] / "docs/guide/names.md").read_text()
WORDS = {"stable", "new", "lab"}


def stability(module: str) -> str:
    """Return the word that a module's docstring has; "" for none."""
    found = re.findall(r"^Stability: (\w+)\.$", inspect.getdoc(import_module(module)) or "", re.MULTILINE)
    return found[0] if len(found) == 1 else ""


def _places() -> dict[str, str]:
    return {name: module.__name__ for name, module in public_modules().items()}


def test_every_public_module_says_how_stable_it_is() -> None:
    assert {name: place for name, place in _places().items() if stability(place) not in WORDS} == {}


def test_the_guide_says_what_the_rooms_say() -> None:
    rows = re.findall(r"^\| (`loom.*?) \|.*\| (\w+) \|$", GUIDE, re.MULTILINE)
    assert len(rows) == 11
    places = _places()
    for names, word in rows:
        first, *others = re.findall(r"`([\w.]+)`", names)
        parent = first.rpartition(".")[0]
        for name in [first, *(n if n.startswith("loom.") else f"{parent}.{n}" for n in others)]:
            assert stability(places.get(name, name)) == word, name


def test_forty_names_to_begin_with() -> None:
    table = GUIDE.split("## Forty")[1].split("## The rest")[0]
    names = [name for row in table.splitlines()[4:] for name in re.findall(r"`(\w+)`", row)]
    assert len(names) == len(set(names)) == 40
    assert set(names) <= set(loom.__all__)


def test_words_are_explained() -> None:
    assert set(re.findall(r"^\| (stable|new|lab) \|", GUIDE, re.MULTILINE)) == WORDS
