"""A sweep names every case that fails, goes on after one, and is no test without a case."""

from __future__ import annotations

import pytest

from sweep import check_each


def test_every_case_that_fails_is_named() -> None:
    seen = []

    def check(kind: type, number: int) -> None:
        seen.append((kind, number))
        assert number != 2, "two"
        if kind is str and number == 3:
            raise KeyError("three")

    with pytest.raises(AssertionError) as caught:
        check_each(check, [int, str], range(1, 4))
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 of 6 cases fail:"
    assert [line for line in lines if line.startswith(("int", "str"))] == [
        "int, 2: AssertionError: two", "str, 2: AssertionError: two", "str, 3: KeyError: 'three'",
    ]  # fmt: skip
    assert len(seen) == 6


def test_a_sweep_without_cases_fails_and_one_without_faults_does_not() -> None:
    with pytest.raises(AssertionError, match="no case to check"):
        check_each(print, [])
    check_each(abs, [1, 2])


def test_what_is_no_fault_of_a_case_ends_the_sweep() -> None:
    def stop(_: int) -> None:
        pytest.fail("raises nothing")

    with pytest.raises(pytest.fail.Exception):
        check_each(stop, [1])
