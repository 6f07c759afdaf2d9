"""Every name that stands in two public modules answers the same at both, or a written line says why it does not.

A share of the calls, drawn by their names, is of the cheap ring; all of them are slow.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import pytest

import loom
from doors.calls import Case, cases, difference, drawn
from doors.listed import Line, Other, lines, others
from doors.modules import PREFIX, function, pairs
from doors.table import ROWS

_SHARE = 140


def _unlisted(chosen: list[Case]) -> list[str]:
    allowed = lines()
    found: list[str] = []
    for case in chosen:
        if any(line.allows(case.name) for line in allowed):
            continue
        text = difference(case)
        if text is not None:
            found.append(f"{case.name}: {text}")
    return found


def _unknown() -> dict[str, list[str]]:
    """Return words whose functions neither the table nor the list joins to each other, with their names."""
    groups: dict[str, set[str]] = defaultdict(set)
    for one, two in pairs():
        groups[one.rpartition(".")[2].removeprefix(PREFIX)] |= {one, two}
    called = [{function(name) for name in row.names} for row in ROWS]
    listed = [{function(name) for name in other.names} for other in others()]
    wrong: dict[str, list[str]] = {}
    for word, names in groups.items():
        left = {function(name) for name in names}
        reached = {left.pop()}
        while grown := [each for each in (*called, *listed) if each & reached and each & left]:
            reached |= set().union(*grown)
            left -= reached
        if left:
            wrong[word] = sorted(names)
    return wrong


def test_every_name_in_two_modules_is_in_the_table() -> None:
    assert not _unknown(), "neither in table.py nor among the names of differences.toml"


def test_a_name_that_the_table_does_not_know_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loom.stats, "negative", lambda x: x, raising=False)
    monkeypatch.setattr(loom.stats, "__all__", [*loom.stats.__all__, "negative"])
    assert _unknown() == {"negative": ["loom.stats.negative", "loom.tensor.negative"]}


@pytest.mark.parametrize("other", others(), ids=lambda other: min(other.names))
def test_names_that_are_not_called_stand_in_two_modules(other: Other) -> None:
    assert set(combinations(sorted(other.names), 2)) <= pairs()


def test_every_name_of_the_table_and_the_list_is_public() -> None:
    known = {f"loom.{name}" for name in loom.__all__}
    for row in ROWS:
        for name in row.names:
            assert function(name) is not None
            assert name.count(".") > 1 or name in known


@pytest.mark.parametrize("row", [row.name for row in ROWS])
def test_a_share_of_the_calls_is_answered_alike(row: str) -> None:
    assert not _unlisted(drawn(_SHARE)[row])


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.calls)
def test_a_listed_difference_is_one(line: Line) -> None:
    found = [case for case in cases() if case.name == line.example]
    assert found, "no case has the name of the example"
    assert line.allows(line.example), "the example is not among the calls"
    assert difference(found[0]) is not None, "the doors no longer differ: take the line away"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("row", [row.name for row in ROWS])
def test_all_calls_are_answered_alike(row: str) -> None:
    assert not _unlisted(drawn(1)[row])
