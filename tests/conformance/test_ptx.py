"""Every kernel as PTX: the text exists, and no instruction in it may round, flush or fuse otherwise than written."""

from __future__ import annotations

import re

import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.running import CASES, SLOW, load_case, theme, verified
from loom.ir.kernel import Instr, walk
from loom.targets.base import Bounds
from loom.targets.llvm.target import LlvmTarget

_FORBIDDEN = {
    "approximate": r"\.approx\b",
    "flushing": r"\.ftz\b",
    "taken not to overflow": r"\b(neg\.s16|abs\.s\d\d|sub\.s16\s+%\w+, 0)\b",  # by ptxas, see targets/llvm/gpu/ptx.py
    "fused": r"\bfma\b|\bmad(\.\w+)*\.f(32|64)\b",
    "free to fuse": r"\b(add|sub|mul)\.f(32|64)\b",  # ptxas may join these where .rn is not written
    "not rounded to nearest": r"\b(div|sqrt|rcp)\.(?!rn\.)[\w.]*f(32|64)\b|\.(rz|rm|rp)\.f(32|64)\b",
}
_OFTEN = {"random": 2, "probe": 2, "library": 4, "threads": 5, "sorting": 2, "sorting-threads": 3}
"""Every how many kernels of a theme one is always looked at; make prove looks at all."""
_THEMES = list(dict.fromkeys(theme(name) for name in CASES))


def _ptx(name: str) -> str:
    return LlvmTarget("ptx").compile(verified(load_case(name).kernel), Bounds.CHECKED).data.decode()


def _require_exact(name: str) -> None:
    text = _ptx(name)
    assert ".visible .entry loom_" in text, name
    fuses = any(isinstance(s, Instr) and s.name == "fma" for s in walk(load_case(name).kernel.body))
    asked = {"fused"} if fuses else set[str]()
    wanted = {why: pattern for why, pattern in _FORBIDDEN.items() if why not in asked}
    found = {why: hit[0] for why, pattern in wanted.items() if (hit := re.search(pattern, text))}
    assert not found, f"{name}: {found}"


@pytest.mark.parametrize("about", _THEMES)
def test_exact_instructions_only(about: str) -> None:
    names = [name for name in CASES if theme(name) == about and name not in SLOW]
    for name in names[:: _OFTEN.get(about, 1)]:
        _require_exact(name)


@pytest.mark.slow
@pytest.mark.parametrize("about", _THEMES)
def test_exact_instructions_in_all(about: str) -> None:
    for name in CASES:
        if theme(name) == about:
            _require_exact(name)


def test_the_instructions_meant_are_there() -> None:
    """The names looked for above are how PTX writes them."""
    text = _ptx("operations/f32")
    for instruction in ("add.rn.f32", "sub.rn.f32", "mul.rn.f32", "div.rn.f32", "sqrt.rn.f32"):
        assert instruction in text
