"""Facts by every path: at branches, at the ends of turns, and where loops are left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loom.ir.forward import Forward
from loom.ir.kernel import For, If, Instr, While
from loom.ir.text import parse_kernel

_HEAD = "kernel @k workgroup 8 1 1 {\n  buffer y: u32 read_write\n  param a: bool\n  param b: bool\n  var v: u32\n"
_TOLD = "  %0 = param a : bool\n  %1 = param b : bool\n  %2 = const 0x0 : u32\n  %3 = const 0x1 : u32\n"


class _Paths(Forward[frozenset[str]]):
    """The ways by which a place is reached, in the words of what they passed; ``seen`` has those of each store."""

    def __init__(self) -> None:
        super().__init__()
        self.state = frozenset({""})
        self.seen: list[set[str]] = []

    def add(self, word: str) -> None:
        self.state = frozenset(way + word for way in self.state)

    def assume(self, s: If | While, *, holds: bool) -> None:
        name = str(s.condition.attr.name)
        self.add(name if holds else name.upper())

    def begin(self, s: For | While) -> None:
        self.add("for " if isinstance(s, For) else "while ")

    def join(self, s: If | For | While, before: frozenset[str], ends: Sequence[frozenset[str]]) -> None:
        self.state = frozenset[str]().union(*ends)

    def instr(self, s: Instr) -> None:
        if s.name == "store":
            self.seen.append(set(self.state))


STORE = "store y %2 %2"
CASES: dict[str, tuple[str, list[set[str]]]] = {
    "both sides": (f"if %0 {{ \n {STORE} \n }} else {{ \n }} \n {STORE}", [{"a"}, {"a", "A"}]),
    "one side leaves": (f"if %0 {{ \n return \n }} \n {STORE}", [{"A"}]),
    "none goes on": (f"if %0 {{ \n return \n }} else {{ \n return \n }} \n {STORE}", []),
    "a loop that counts": (f"for %4 = %2 to %3 step %3 : u32 {{ \n {STORE} \n }} \n {STORE}", [{"for "}, {"", "for "}]),
    "a break": (
        f"for %4 = %2 to %3 step %3 : u32 {{ \n if %0 {{ \n break \n }} \n {STORE} \n }} \n {STORE}",
        [{"for A"}, {"", "for a", "for A"}],
    ),
    "a continue": (
        f"for %4 = %2 to %3 step %3 : u32 {{ \n if %0 {{ \n continue \n }} \n {STORE} \n }} \n {STORE}",
        [{"for A"}, {"", "for a", "for A"}],
    ),
    "a return": (
        f"for %4 = %2 to %3 step %3 : u32 {{ \n if %0 {{ \n return \n }} \n }} \n {STORE}", [{"", "for A"}],
    ),
    "a test": (
        f"while {{ \n {STORE} \n }} test %0 {{ \n {STORE} \n }} \n {STORE}", [{"while "}, {"while a"}, {"while A"}],
    ),
    "a test, and a break": (
        f"while {{ \n }} test %0 {{ \n if %1 {{ \n break \n }} \n {STORE} \n }} \n {STORE}",
        [{"while aB"}, {"while A", "while ab"}],
    ),
    "a break of the inner loop": (
        f"while {{ \n }} test %0 {{ \n while {{ \n }} test %1 {{ \n break \n }} \n {STORE} \n }} \n {STORE}",
        [{"while awhile B", "while awhile b"}, {"while A"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_places_are_reached_by_every_path(name: str) -> None:
    text, wanted = CASES[name]
    paths = _Paths()
    paths.block(parse_kernel(f"{_HEAD}{_TOLD}{text}\n}}\n").body)
    assert paths.seen == wanted
    assert paths.turns == []


def test_what_is_around_a_place_ends_with_it() -> None:
    """A pass that joins nothing has behind a statement what held in front of it."""

    class Depth(Forward[int]):
        state = 0

        def assume(self, s: If | While, *, holds: bool) -> None:
            self.state += 1

        def instr(self, s: Instr) -> None:
            if s.name == "store":
                seen.append(self.state)

    seen: list[int] = []
    inner = f"if %0 {{ \n {STORE} \n if %1 {{ \n {STORE} \n }} \n {STORE} \n }} else {{ \n {STORE} \n }} \n {STORE}"
    Depth().block(parse_kernel(f"{_HEAD}{_TOLD}{inner}\n}}\n").body)
    assert seen == [1, 2, 1, 1, 0]
