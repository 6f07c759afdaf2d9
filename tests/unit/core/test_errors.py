"""Errors: the house form, the tree, and that nothing of one is lost on the way to another process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

import loom
from loom.core import errors
from loom.core.errors import LoomError, near_matches
from loom.ir.faults import assertion_failed, out_of_bounds
from loom.ir.kernel import Loc
from sweep import check_each

CLASSES = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]
ROUTES: dict[str, Callable[[LoomError], LoomError]] = {
    "pickle": lambda e: pickle.loads(pickle.dumps(e)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "[here] it broke."),
        ({"expected": 3}, "[here] it broke: expected 3."),
        ({"got": "x"}, "[here] it broke: got x."),
        ({"expected": 0, "got": False}, "[here] it broke: expected 0, got False."),
        ({"got": 1, "remedy": "Mend it."}, "[here] it broke: got 1. Mend it."),
        ({"remedy": "Did you mean 'y'?"}, "[here] it broke. Did you mean 'y'?"),
    ],
)
def test_house_form(given: dict[str, object], text: str) -> None:
    error = LoomError("here", "it broke", **given)  # type: ignore[arg-type]
    assert str(error) == text
    assert (error.where, error.what) == ("here", "it broke")
    assert (error.expected, error.got) == (given.get("expected"), given.get("got"))


def test_every_class_has_the_house_form_and_the_base() -> None:
    check_each(_has_the_house_form_and_the_base, CLASSES)


def _has_the_house_form_and_the_base(kind: type[LoomError]) -> None:
    error = kind("here", "it broke", expected="a", got="b", remedy="Mend it")
    assert str(error) == "[here] it broke: expected a, got b. Mend it."
    assert isinstance(error, LoomError)


def test_classes_mix_in_what_python_would_raise() -> None:
    pairs = {
        "ArgumentError": ValueError, "DTypeError": TypeError, "OutOfBounds": IndexError, "StateError": RuntimeError,
        "AssertionFailed": AssertionError, "NotANumber": ArithmeticError, "LoomTimeout": TimeoutError,
        "CacheError": OSError, "SyntaxNotSupported": SyntaxError, "DeviceError": RuntimeError,
    }  # fmt: skip
    assert [n for n, base in pairs.items() if not issubclass(getattr(errors, n), base)] == []


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_nothing_of_an_error_is_lost(route: Callable[[LoomError], LoomError]) -> None:
    check_each(_comes_back_whole, CLASSES, [route])


def _comes_back_whole(kind: type[LoomError], route: Callable[[LoomError], LoomError]) -> None:
    error = kind("here", "it broke", expected=loom.f32, got=(1, 2), remedy="Mend it")
    again = route(error)
    assert type(again) is kind
    assert str(again) == str(error) == "[here] it broke: expected f32, got (1, 2). Mend it."
    assert again.args == error.args
    assert (again.expected, again.got, again.remedy) == (loom.f32, (1, 2), "Mend it")


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_faults_keep_their_attributes(route: Callable[[LoomError], LoomError]) -> None:
    fault = route(out_of_bounds("k", Loc("a.py", 7), 3, "load", "buffer", "x", 12, 10))
    assert isinstance(fault, errors.OutOfBounds)
    assert (fault.lane, fault.line, fault.memory, fault.index, fault.bound) == (3, 7, "x", 12, 10)
    assert str(fault) == (
        "[kernel 'k' at a.py:7] load outside buffer 'x' in lane 3: expected an index from 0 to 9, got 12. "
        "Guard it, for example with: if i < len(x)."
    )
    failed = route(assertion_failed("k", Loc("a.py", 8), 4, "too large"))
    assert isinstance(failed, errors.AssertionFailed)
    assert (failed.lane, failed.line, failed.message) == (4, 8, "too large")
    assert failed.index is None


def test_faults_declare_their_attributes() -> None:
    fault = errors.KernelFault("k", "it broke")
    assert (fault.lane, fault.line, fault.memory, fault.index, fault.bound) == (None,) * 5
    assert errors.AssertionFailed("k", "it broke").message == ""
    assert errors.NotANumber("k", "it broke").operands == ()


def test_what_cannot_travel_goes_as_its_text() -> None:
    class Local:
        def __str__(self) -> str:
            return "a local thing"

    error = pickle.loads(pickle.dumps(LoomError("here", "it broke", got=Local())))
    assert str(error) == "[here] it broke: got a local thing."


def test_notes_travel() -> None:
    error = LoomError("here", "it broke")
    error.__notes__ = ["while testing"]  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while testing"]


def test_near_matches_name_the_misspelt_one() -> None:
    assert near_matches("rgisters", ["globals", "registers", "heap"]) == "Did you mean 'registers'?"


def test_few_names_are_all_listed_once() -> None:
    assert near_matches("zzz", ["cpu", "interp", "cpu"]) == "Known names: cpu, interp"


def test_names_that_are_no_texts_are_told_too() -> None:
    assert near_matches("weight", ["weights", b"weight", 7]) == "Did you mean 'weights' or \"b'weight'\"?"
    assert near_matches("zzz", [b"\xff", "cpu", 7]) == "Known names: 7, b'\\xff', cpu"


def test_of_many_names_the_nearest_twelve_are_listed_best_first() -> None:
    known = [f"quite_another_{i:03}" for i in range(170)] + ["sum_of_all"]
    text = near_matches("sum", known)
    names = text.removeprefix("Nearest names: ").removesuffix(" (of 171)").split(", ")
    assert len(names) == 12
    assert names[0] == "sum_of_all"
    assert set(names) <= set(known)


def test_an_unknown_name_in_a_kernel_does_not_list_the_whole_module() -> None:
    @loom.kernel
    def k(x: loom.InOut[loom.u32]) -> None:
        x[0] = zzyzx(1)  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(errors.KernelError) as caught:
        _ = k.verified
    assert "zzyzx" in str(caught.value)
    assert str(caught.value).count(",") < 14
