"""ONNX's own tests of nodes: a case passes if and only if ``excluded.json`` does not list it."""

from __future__ import annotations

import pytest

from loom.core.errors import LoomError
from tests.unit.onnx.backend_cases import cases, check, excluded

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
"""numpy's and protobuf's, of ONNX's own cases."""

_EVERY = 60
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
    _hold(list(cases())[::_EVERY])


@pytest.mark.slow
def test_every_case_of_onnx_passes_but_for_those_listed() -> None:
    _hold(list(cases()))


def test_nine_of_ten_cases_of_known_dtypes_pass_and_none_is_listed_without_a_case() -> None:
    table = excluded()
    assert set(table) <= set(cases())
    unknown = sum("no such" in reason for reason in table.values())
    assert len(cases()) - len(table) >= 0.9 * (len(cases()) - unknown)
    assert all(reason.startswith(("refused: ", "differs: ")) for reason in table.values())
