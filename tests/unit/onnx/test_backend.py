"""ONNX's own tests of nodes and models: a case passes if and only if ``excluded.json`` does not list it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loom.core.errors import LoomError
from tests.unit.onnx.backend_cases import KINDS, cases, check, excluded

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
"""numpy's and protobuf's, of ONNX's own cases."""

_EVERY = 120
"""Of the ordinary run; ``make prove`` takes them all."""


def _hold(names: list[str]) -> None:
    table, surprises = excluded(), dict[str, str]()
    for name in names:
        try:
            check(cases()[name])
            outcome = ""
        except LoomError as error:
            outcome = f"refused: {error}"
        except AssertionError as error:
            outcome = f"differs: {error}"
        expected = table.get(name, "")
        if outcome.split(":")[0] != expected.split(":")[0]:
            surprises[name] = f"{outcome or 'passed'} (the table: {expected or 'passes'})"
    assert not surprises


def test_a_part_of_onnx_cases_passes_but_for_those_listed() -> None:
    _hold([name for name, case in cases().items() if case.kind != "real"][::_EVERY])


@pytest.mark.slow
def test_every_case_of_onnx_passes_but_for_those_listed() -> None:
    _hold(list(cases()))


def test_nine_of_ten_cases_of_known_dtypes_pass_and_none_is_listed_without_a_case() -> None:
    table = excluded()
    assert set(table) <= set(cases())
    nodes = [name for name, case in cases().items() if case.kind == "node"]
    passed = [name for name in nodes if name not in table]
    unknown = [name for name in nodes if "no such dtype" in table.get(name, "")]
    assert len(nodes) >= 1700
    assert len(passed) >= 0.97 * (len(nodes) - len(unknown))
    for kind in KINDS[1:]:
        others = [name for name, case in cases().items() if case.kind == kind]
        refused = [name for name in others if name in table]
        assert others
        assert all("String" in table[name] for name in refused)
    assert all(reason.startswith(("refused: ", "differs: ")) for reason in table.values())


def test_the_page_lists_the_operators_that_are_done() -> None:
    import loom.onnx.operators  # enters them  # noqa: F401
    from loom.onnx.registry import OPERATORS

    page = (Path(__file__).parents[3] / "docs/guide/models/onnx.md").read_text()
    listed = page[page.index("## Operators") : page.index("By the bodies")]
    names = {name for domain, name in OPERATORS if domain != "loom"}
    assert set(re.findall(r"`(\w+)`", listed)) == names
    assert len(names) >= 150
