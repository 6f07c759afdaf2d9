"""Loom's dataclasses behave as Python's: every case is run by both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from threading import Barrier, Thread
from typing import Any

import pytest

from loom.core.late.dataclass import dataclass
from loom.nn.train import Adam, TrainConfig


def classes(made: Any) -> tuple[Any, ...]:
    @made(frozen=True, slots=True)
    class Frozen:
        """A class."""

        x: int
        y: tuple[int, ...] = ()
        z: list[int] = dataclasses.field(default_factory=list, compare=False)
        w: dict[str, int] = dataclasses.field(default_factory=dict, hash=False, repr=False)

    @made(frozen=True, slots=True, kw_only=True)
    class Further(Frozen):
        """One of a base."""

        v: int = 3

        def __post_init__(self) -> None:
            object.__setattr__(self, "v", self.v + 1)

    @made(slots=True)
    class Plain:
        """One that is written."""

        a: int = 1
        b: int = dataclasses.field(default=2, init=False)

    @made
    class Own:  # noqa: PLW1641
        """One with methods of its own."""

        a: int

        def __init__(self) -> None:
            self.a = 5

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

    @made(frozen=True, eq=False)
    class Same:
        """One that is equal to itself."""

        a: int

    return Frozen, Further, Plain, Own, Same


CASES: dict[str, Callable[..., Any]] = {
    "signatures": lambda *found: [str(inspect.signature(each)) for each in found],
    "frozen": lambda a, *_: (a(1), a(1, (2,), [3], {"w": 4}), a(1) == a(1, z=[2]), a(1) == a(2), a(1) != 1),
    "hashes": lambda a, *_: (hash(a(1)) == hash(a(1, w={"b": 1})), len({a(1), a(1), a(2)})),
    "bases": lambda a, b, *_: (b(1), b(1, v=8).v, b(1) == b(1), a(1) == b(1), b.__match_args__, b.__slots__),
    "defaults are apart": lambda a, *_: a(1).z is a(1).z,
    "plain": lambda _a, _b, c, *_: (c(), c(7), c().b, c.__hash__),
    "own": lambda _a, _b, _c, d, _e: (d(), d().a, d() == 3, d.__hash__),
    "same": lambda *found: (found[-1](1) == found[-1](1), found[-1].__hash__ is object.__hash__),
    "replaced": lambda a, b, *_: (dataclasses.replace(a(1), x=2), dataclasses.replace(b(1), v=0)),
    "copied": lambda a, b, *_: (copy.copy(a(1)), copy.deepcopy(b(1, z=[1]))),
    "as others": lambda a, b, *_: (dataclasses.asdict(a(1)), dataclasses.astuple(b(1))),
    "no arguments": lambda a, *_: a(),
    "too many": lambda a, *_: a(1, 2, 3, 4, 5),
    "by position": lambda _a, b, *_: b(1, (), [], {}, 5),
    "written": lambda a, *_: setattr(a(1), "x", 2),
    "written, of a base": lambda _a, b, *_: setattr(b(1), "x", 2),
    "deleted": lambda _a, b, *_: delattr(b(1), "v"),
    "unknown": lambda _a, _b, c, *_: setattr(c(), "q", 2),
    "no hash": lambda _a, _b, c, *_: hash(c()),
}  # fmt: skip


def told(case: Callable[..., Any], made: Any) -> str:
    try:
        return repr(case(*classes(made)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", CASES)
def test_a_class_is_as_pythons(name: str) -> None:
    assert told(CASES[name], dataclass) == told(CASES[name], dataclasses.dataclass)


@dataclass(frozen=True, slots=True)
class Kept:
    """One that pickles by name."""

    x: int
    y: str = "y"


def test_it_is_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept(3, "z"))) == Kept(3, "z")


def test_threads_that_write_a_method_at_once_write_one() -> None:
    for _ in range(20):
        kind, start, found = classes(dataclass)[0], Barrier(4), list[Any]()

        def run(kind: Any = kind, start: Barrier = start, found: list[Any] = found) -> None:
            start.wait()
            found.append((kind(1), hash(kind(1)), kind(1) == kind(1)))

        threads = [Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(each == found[0] for each in found)


def test_annotations_of_a_class_can_be_evaluated() -> None:
    signature = inspect.signature(TrainConfig, eval_str=True)
    assert signature.parameters["batch_size"].annotation is not None
    assert not any(isinstance(p.annotation, str) for p in signature.parameters.values())
    assert typing.get_type_hints(TrainConfig.__init__)


def test_no_attribute_of_a_frozen_one_is_set() -> None:
    """Python's own says something of ``super`` for one that a base has not."""
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'lr'"):
        Adam().lr = 1  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        del Adam().beta1  # type: ignore[misc]
