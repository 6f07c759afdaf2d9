"""Figures of the house may only fall: each is exactly its ceiling, and who raises one takes a decision.

The figures are those of ``tools/house``, which ``tools/graph.py`` prints with their members; the ceilings stand in
``ceilings.toml``. That each of these tests can fail is shown in ``test_gates.py``, on checkouts with one fault each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.house.ceilings import FILE, faults_of_figure, faults_of_sizes, parse, raises_without_reason
from tools.house.figures import GATES, package_sizes
from tools.house.history import NoHistoryError, describe_news, text_at_main, text_before
from tools.house.sources import ROOT

CEILINGS = parse((ROOT / FILE).read_text())


def test_every_figure_has_a_ceiling() -> None:
    assert list(CEILINGS.ceilings) == list(GATES), f"expected a row of {FILE} for each gate, in their order"


@pytest.mark.parametrize("name", GATES)
def test_a_figure_is_its_ceiling(name: str) -> None:
    figure, ceiling = len(GATES[name].members(ROOT)), CEILINGS.ceilings[name]
    news = describe_news(ROOT, GATES[name]) if figure > ceiling.most else ""
    faults = faults_of_figure(name, ceiling, figure, news)
    assert not faults, "\n".join(faults)


def test_packages_grow_with_a_reason() -> None:
    faults = faults_of_sizes(CEILINGS.packages, package_sizes(ROOT))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("earlier", [text_before, text_at_main])
def test_what_was_raised_names_a_decision(earlier: Callable[[Path], str]) -> None:
    try:
        before = parse(earlier(ROOT))
    except NoHistoryError as error:
        pytest.skip(f"what was raised cannot be told: {error}")
    faults = raises_without_reason(before, CEILINGS, ROOT / "docs/adr")
    assert not faults, "\n".join(faults)
